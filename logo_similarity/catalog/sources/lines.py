"""The lines of a text file, one at a time, with a bound on their length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

LONGEST_LINE = 1 << 24
"""Characters."""


class Lines:
    """The numbered lines of a file, with their ends, of which some can be put back. A line that is too long is None.

    Lines end at LF, CR LF or CR. Bytes that the encoding does not have become replacement characters.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self._path = path
        self._encoding = encoding
        self._lines = self._read()
        self._returned: list[tuple[int, str | None]] = []

    def __iter__(self) -> Iterator[tuple[int, str | None]]:
        return self

    def __next__(self) -> tuple[int, str | None]:
        return self._returned.pop() if self._returned else next(self._lines)

    def put_back(self, lines: list[tuple[int, str]]) -> None:
        """Return these lines, the latest that were read, before all others."""
        self._returned += reversed(lines)

    def rewind(self, number: int) -> None:
        """Read on from this line."""
        self._returned.clear()
        self._lines = self._read()
        for current, _ in self._lines:
            if current == number - 1:
                return

    def _read(self) -> Iterator[tuple[int, str | None]]:
        number = 0
        with self._path.open(encoding=self._encoding, errors="replace", newline="") as file:
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) < LONGEST_LINE or line.endswith(("\n", "\r")):
                    yield number, line
                    continue
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(("\n", "\r")):
                    pass
                yield number, None
