"""What the command line shows while it works: a bar on a terminal, plain lines elsewhere."""

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
from rich.text import Text

LINE_SECONDS = 5.0


class Report(Protocol):
    """Takes the news of a long task: its stage, what is done of it, how much there is (None: unknown)."""

    def __call__(self, stage: str, done: int, total: int | None) -> None: ...


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """A way to report the progress of a task in stages, shown as the output allows."""
    if console.is_terminal:
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as bar:
            yield _Bar(bar)
    else:
        lines = _Lines(console)
        yield lines
        lines.flush()


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
    """At most one line in five seconds, and the last of each stage."""

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
        line = f"{stage}: {done:,}" + (f" of {total:,}" if total else "")
        if rate:
            line += f", {rate:,.0f}/s"
            if total and done < total:
                line += f", {(total - done) / rate:,.0f} s left"
        self._pending = line
        if now - self._printed >= LINE_SECONDS:
            self.flush()
            self._printed = now

    def flush(self) -> None:
        """Print what was held back."""
        if self._pending is not None:
            self._console.print(self._pending, highlight=False)
            self._pending = None


def print_json(value: object) -> None:
    """What `--json` prints."""
    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201


def adder(report: Callable[[int], None]) -> Callable[[int], None]:
    """Turns steps into running sums."""
    total = 0

    def add(step: int) -> None:
        nonlocal total
        total += step
        report(total)

    return add
