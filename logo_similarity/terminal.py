"""The two consoles of the command line, and how it shows results and progress."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

LINE_SECONDS = 5.0
WIDEST_TABLE = 10_000
"""Characters in a line of a table that is not printed to a terminal: no cell is wrapped."""


def _console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that prints names and texts of a register as they are: no markup, no emoji codes, no line breaks."""
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


out = _console()
"""Results, on stdout."""
err = _console(stderr=True)
"""Progress, warnings and errors, on stderr."""


def print_table(table: Table) -> None:
    """Print a table to stdout: on a terminal as wide as that, if its columns can shrink so far; elsewhere unwrapped."""
    console = out if out.is_terminal else _console(width=WIDEST_TABLE)
    console.print(table, soft_wrap=False, crop=False)


def print_json(value: object) -> None:
    """Print the result of a command as JSON to stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201


class Report(Protocol):
    """Receives the progress of a long task: its stage, the number done, and the total (None: unknown)."""

    def __call__(self, stage: str, done: int, total: int | None) -> None: ...


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """Show the progress of a task in stages: bars on a terminal, plain lines elsewhere."""
    if console.is_terminal:
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), _Count(), _Rate(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as bar:
            yield _Bar(bar)
    else:
        lines = _Lines(console)
        yield lines
        lines.flush()


class _Count(MofNCompleteColumn):
    """Empty for a stage that counts nothing."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.completed or task.total else Text()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._stage = ""
        self._task: TaskID | None = None

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if self._task is None or stage != self._stage:
            if self._task is not None:
                self._bar.stop_task(self._task)
            self._stage = stage
            self._task = self._bar.add_task(stage, total=total)
        self._bar.update(self._task, completed=done, total=total)


class _Lines:
    """At most one line in `LINE_SECONDS`, and the last line of each stage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._started = self._printed = time.monotonic()
        self._first = 0
        self._pending: str | None = None

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.flush()
            self._stage, self._started, self._printed, self._first = stage, now, now, done
        rate = (done - self._first) / (now - self._started) if now > self._started else 0
        line = stage
        if done or total:
            line += f": {done:,}" + (f" of {total:,}" if total else "")
        if rate:
            line += f", {rate:,.0f}/s"
            if total and done < total:
                line += f", {(total - done) / rate:,.0f} s left"
        self._pending = line
        if now - self._printed >= LINE_SECONDS:
            self.flush()
            self._printed = now

    def flush(self) -> None:
        """Print the line that is held back."""
        if self._pending is not None:
            self._console.print(self._pending)
            self._pending = None


def adder(report: Callable[[int], None]) -> Callable[[int], None]:
    """A function that takes steps and reports their running sum."""
    total = 0

    def add(step: int) -> None:
        nonlocal total
        total += step
        report(total)

    return add
