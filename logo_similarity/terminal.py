"""The two consoles of the command line, and how it shows results and progress."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich import filesize
from rich.console import Console
from rich.progress import (
    BarColumn,
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


def _console(*, stderr: bool = False) -> Console:
    """A console that prints names and texts of a register as they are: no markup, no emoji codes, no line breaks."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


out = _console()
"""Results, on stdout."""
err = _console(stderr=True)
"""Progress, warnings and errors, on stderr."""


def print_table(table: Table) -> None:
    """Print a table to stdout: on a terminal as wide as that, if its columns can shrink so far; elsewhere by lines."""
    if out.is_terminal:
        out.print(table, soft_wrap=False, crop=False)
    else:
        header = [[str(column.header) for column in table.columns]] if table.show_header else []
        print_lines([*header, *zip(*(map(str, column.cells) for column in table.columns), strict=True)])


def print_lines(rows: Iterable[Sequence[str]]) -> None:
    """Print each row to stdout as one line of tab-separated values, for other programs."""
    text = "".join("\t".join(map(printable, row)) + "\n" for row in rows)
    print(text, end="", flush=True)  # noqa: T201 - flushed, so that a full disk is an error of the command


def printable(text: str) -> str:
    """The text without tabs, line breaks and the control characters of terminals, which a register may contain."""
    return "".join(character if character.isprintable() else " " for character in text)


def print_json(value: object) -> None:
    """Print the result of a command as JSON to stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201


def print_json_line(value: object) -> None:
    """Print one of several results as a line of JSON to stdout, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201


class Report(Protocol):
    """Receives the progress of a long task: its stage, the number done, and the total (None: unknown)."""

    def __call__(self, stage: str, done: int, total: int | None) -> None: ...


NumberFormat = Callable[[int], str]


def format_number(number: int) -> str:
    """A number of things: "1,500"."""
    return f"{number:,}"


def format_bytes(number: int) -> str:
    """A number of bytes in decimal units: "1.5 MB"."""
    return filesize.decimal(number)


@contextmanager
def progress(console: Console, number_format: NumberFormat = format_number) -> Iterator[Report]:
    """Show the progress of a task in stages: bars on a terminal, plain lines elsewhere.

    Args:
        console: prints them.
        number_format: formats the numbers done.
    """
    if console.is_terminal:
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), _Done(number_format), _Rate(number_format),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as bar:
            yield _Bar(bar)
    else:
        lines = _Lines(console, number_format)
        yield lines
        lines.flush()


class _Done(ProgressColumn):
    """Empty for a stage that counts nothing."""

    def __init__(self, number_format: NumberFormat) -> None:
        super().__init__()
        self._format = number_format

    def render(self, task: Task) -> Text:
        if not task.completed and not task.total:
            return Text()
        total = "?" if task.total is None else self._format(int(task.total))
        return Text(f"{self._format(int(task.completed))}/{total}", "progress.download")


class _Rate(ProgressColumn):
    def __init__(self, number_format: NumberFormat) -> None:
        super().__init__()
        self._format = number_format

    def render(self, task: Task) -> Text:
        return Text(f"{self._format(round(task.speed))}/s" if task.speed else "")


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

    def __init__(self, console: Console, number_format: NumberFormat) -> None:
        self._console = console
        self._format = number_format
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
            line += f": {self._format(done)}" + (f" of {self._format(total)}" if total else "")
        if rate:
            line += f", {self._format(round(rate))}/s"
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
