"""Text tables: CSV with any of the usual separators (RFC 4180 and what programs make of it)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from logo_similarity.catalog.sources.encoding import find_encoding
from logo_similarity.catalog.sources.lines import Lines
from logo_similarity.catalog.sources.rows import RowError
from logo_similarity.catalog.sources.tables import Row, name_cells, name_columns
from logo_similarity.errors import SourceError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LONGEST_CELL = 1_000_000
"""Characters, as of a row over several lines."""
SAMPLED_LINES, SAMPLED_CHARACTERS = 50, 65_536
"""From these lines the separator is chosen; longer ones are cut."""
_SEPARATOR_LINE = re.compile(r"^\ufeff?\"?sep=(.)\"?\s*$", re.IGNORECASE)
"""The first line, by which Excel is told the separator."""


class _TooLongError(Exception):
    """A row of several lines exceeds the limit."""


class DelimitedTable:
    """A CSV file. A row that cannot be read costs no other row."""

    def __init__(self, path: Path, encoding: str | None = None, separator: str | None = None) -> None:
        """Read the header.

        Raises:
            SourceError: the encoding is not certain, or the header cannot be read.
        """
        self._path = path
        self._encoding = find_encoding(path, encoding)
        sample = _sample(path, self._encoding)
        stated = _SEPARATOR_LINE.match(sample[0]) if sample else None
        lines = sample[1:] if stated else sample
        self._quote = "'" if lines and lines[0].lstrip().startswith("'") else '"'
        self._separator = separator or (stated[1] if stated else _choose_separator(lines, self._quote))
        self._first_line = 2 if stated else 1
        self.facts = {"encoding": self._encoding, "separator": SEPARATORS.get(self._separator, repr(self._separator))}
        # The closing quote of a cell that began on an earlier line.
        quote = self._quote
        self._cell_end = re.compile(rf"^(?:[^{quote}]|{quote}{quote})*+{quote}\s*(?:{re.escape(self._separator)}|$)")
        _, header = next(self._cells(), (1, []))
        if isinstance(header, RowError):
            raise SourceError(f"{path}: the header cannot be read: {header}")
        self.columns = name_columns(path, header)

    def rows(self) -> Iterator[Row]:
        """See `Table.rows`."""
        for number, cells in islice(self._cells(), 1, None):
            row = cells if isinstance(cells, RowError) else name_cells(self.columns, cells)
            if row is not None:
                yield f"{self._path.name}:{number}", row

    def _cells(self) -> Iterator[tuple[int, list[str] | RowError]]:
        """The line on which each row begins, and its cells. Blank lines are left out."""
        csv.field_size_limit(2**31 - 1)  # this module has its own limits
        lines = Lines(self._path, self._encoding)
        for number, line in lines:
            if number < self._first_line or (line is not None and not line.strip()):
                continue
            cells: list[str] | RowError
            if line is None:
                cells = RowError(f"line {number} is too long")
            elif self._quote not in line:
                cells = line.rstrip("\r\n").split(self._separator)
            else:
                cells = self._quoted(number, line, lines)
            if not isinstance(cells, RowError):
                cells = [cell.strip() for cell in cells]
                if len(line or "") > LONGEST_CELL and max(map(len, cells)) > LONGEST_CELL:
                    cells = RowError(f"a cell is longer than {LONGEST_CELL:,} characters")
            yield number, cells

    def _quoted(self, number: int, line: str, lines: Lines) -> list[str] | RowError:
        """The cells of a row with quotes, which may go on in the next lines."""
        taken: list[tuple[int, str]] = []

        def row() -> Iterator[str]:
            size = len(line)
            yield line
            for following, text in lines:
                size += len(text or "")
                if text is None or size > LONGEST_CELL:
                    if text is not None:
                        lines.put_back([(following, text)])
                    raise _TooLongError
                taken.append((following, text))
                yield text

        try:
            return self._parse(row())
        except _TooLongError:
            return self._skip_long_cell(number, lines)
        except csv.Error as error:
            # The lines behind a quote that is not closed are rows, not a part of its cell.
            lines.put_back(taken)
            if '\\"' in line:
                try:
                    return self._parse(iter([line.replace('\\"', '""')]))
                except csv.Error:
                    pass
            reason = "a quote is not closed" if taken or "unexpected end" in str(error) else str(error)
            return RowError(f"line {number} cannot be read as a row: {reason}")

    def _parse(self, lines: Iterator[str]) -> list[str]:
        # Strict: otherwise, text behind a closing quote would be joined to the cell without notice.
        reader = csv.reader(lines, delimiter=self._separator, quotechar=self._quote, strict=True, skipinitialspace=True)
        return next(reader)

    def _skip_long_cell(self, number: int, lines: Lines) -> RowError:
        """Read on behind a quoted cell that is too long, or behind the first line of one that is never closed."""
        for last, text in lines:
            if text is not None and text.count(self._quote) % 2:
                if self._cell_end.match(text):
                    return RowError(
                        f"lines {number} to {last} are one cell that is longer than {LONGEST_CELL:,} characters"
                    )
                break
        lines.rewind(number + 1)
        return RowError(f"line {number} cannot be read as a row: a quote is not closed")


def _sample(path: Path, encoding: str) -> list[str]:
    lines = (text[:SAMPLED_CHARACTERS] for _, text in Lines(path, encoding) if text is not None and text.strip())
    return list(islice(lines, SAMPLED_LINES))


def _choose_separator(lines: list[str], quote: str) -> str:
    """The separator that gives most of the rows as many cells as the header; of several, the one with the most cells."""

    def fitness(separator: str) -> tuple[bool, float, int]:
        reader = csv.reader(lines, delimiter=separator, quotechar=quote, skipinitialspace=True)
        counts = [len(cells) for cells in reader]
        cells = counts[0] if counts else 0
        return cells > 1, sum(count == cells for count in counts) / max(1, len(counts)), cells

    csv.field_size_limit(2**31 - 1)
    return max(SEPARATORS, key=fitness)
