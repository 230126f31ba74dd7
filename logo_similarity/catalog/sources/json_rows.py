"""JSON tables: one object a line, an array of objects, or objects one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from logo_similarity.catalog.sources.encoding import find_encoding
from logo_similarity.catalog.sources.lines import LONGEST_LINE, Lines
from logo_similarity.catalog.sources.rows import RowError, abbreviate
from logo_similarity.catalog.sources.tables import Row
from logo_similarity.errors import SourceError

CHUNK_CHARACTERS = 65_536
_BETWEEN = " \t\r\n,"
"""Commas too: programs that join lines leave one behind the last."""


class JsonTable:
    """A `.jsonl` or `.ndjson` file has one object a line; the content of a `.json` file decides."""

    columns: Sequence[str] = ()

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        """Raises SourceError if the encoding is not certain."""
        self._path = path
        self._encoding = find_encoding(path, encoding)
        form = "lines" if path.suffix.lower() != ".json" else _form(path, self._encoding)
        self._is_array = form == "array"
        self._by_line = form == "lines"
        self.facts = {"encoding": self._encoding, "form": f"JSON {form}"}

    def rows(self) -> Iterator[Row]:
        """See `Table.rows`."""
        values = self._lines() if self._by_line else self._values()
        for where, value in values:
            yield (
                where,
                value if isinstance(value, dict | RowError) else RowError(f"{abbreviate(value)} is not an object"),
            )

    def _lines(self) -> Iterator[tuple[str, Any]]:
        for number, line in Lines(self._path, self._encoding):
            text = None if line is None else line.strip(_BETWEEN)
            if text in ("", "[", "]"):  # an array with one element a line
                continue
            try:
                value = RowError("the line is too long") if text is None else json.loads(text)
            except (ValueError, RecursionError):
                value = RowError("the line is not valid JSON")
            yield f"{self._path.name}:{number}", value

    def _values(self) -> Iterator[tuple[str, Any]]:
        with self._path.open(encoding=self._encoding, errors="replace") as file:
            try:
                for position, value in enumerate(_decode(file, is_array=self._is_array)):
                    yield f"{self._path.name}[{position}]", value
            except (ValueError, RecursionError) as error:
                raise SourceError(
                    f"{self._path}: is not complete JSON ({error}); fix the file and run the command again"
                ) from None


def _form(path: Path, encoding: str) -> str:
    with path.open(encoding=encoding, errors="replace") as file:
        start = file.read(CHUNK_CHARACTERS).lstrip()
    if start.startswith("["):
        return "array"
    try:
        json.loads(start.partition("\n")[0].strip(_BETWEEN))
    except (ValueError, RecursionError):
        return "objects"
    return "lines"


def _decode(file: TextIO, *, is_array: bool) -> Iterator[Any]:
    """The values in a file, one in memory at a time.

    Raises:
        ValueError: the rest is not JSON.
        RecursionError: a value is nested too deeply.
    """
    text = _Text(file)
    if is_array:
        text.next_character()
        text.at += 1  # the bracket
    while character := text.next_character():
        if is_array and character == "]":
            text.at += 1
            if text.next_character():
                raise ValueError("there is text behind the array")
            return
        yield text.decode()
    if is_array:
        raise ValueError("the array does not end")


class _Text:
    """A text from which values are taken one after another."""

    def __init__(self, file: TextIO) -> None:
        self.at = 0
        self._file = file
        self._buffer = ""
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    def next_character(self) -> str:
        """The character at which the next value begins; empty at the end of the text."""
        while True:
            while self.at < len(self._buffer):
                if self._buffer[self.at] not in _BETWEEN:
                    return self._buffer[self.at]
                self.at += 1
            if self._ended:
                return ""
            self._read()

    def decode(self) -> Any:  # noqa: ANN401 - any JSON
        """The value at the current position."""
        while True:
            try:
                value, end = self._decode(self._buffer, self.at)
            except ValueError:
                if self._ended or len(self._buffer) - self.at > LONGEST_LINE:
                    raise
            else:
                if self._ended or end < len(self._buffer):  # a number at the end of the buffer could go on
                    self.at = end
                    return value
            self._read()

    def _read(self) -> None:
        # Twice as much each time: a long value is not parsed too often.
        rest = self._buffer[self.at :]
        more = self._file.read(max(CHUNK_CHARACTERS, len(rest)))
        self._buffer, self.at, self._ended = rest + more, 0, not more
