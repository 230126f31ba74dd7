"""Which further columns of a table could be facets: those with few different values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from logo_similarity.facets import MOST_FACETS, Keywords, facet_name
from logo_similarity.field_kinds import Notation, UnreadableError, is_missing

MOST_VALUES = 50
MOST_CELLS = 500
"""Different cells, which may have several values each."""
LONGEST_VALUE = 100
LEAST_REPEATS = 2
"""Cells for each value, on average."""
MOST_COLUMNS = 500


@dataclass(slots=True)
class _Cells:
    count: int = 0
    different: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)


class PossibleFacets:
    """Looks at the values of columns, and gives up those with many different ones."""

    def __init__(self, notation: Notation) -> None:
        self._notation = notation
        self._cells: dict[str, _Cells | None] = {}
        """None: the column was given up."""

    def look_at(self, row: Mapping[str, object], used: Collection[str]) -> None:
        """Count the values of a row, but for the columns that are used otherwise."""
        for name, value in row.items():
            if name in used or is_missing(value):
                continue
            if name not in self._cells and len(self._cells) < MOST_COLUMNS:
                self._cells[name] = _Cells()
            cells = self._cells.get(name)
            if cells is None:
                continue
            text = value if isinstance(value, str) else str(value)
            cells.count += 1
            if text not in cells.different and not self._add(cells, text, value):
                self._cells[name] = None

    def _add(self, cells: _Cells, text: str, value: object) -> bool:
        """Add the values of a cell. Returns whether the column is still a possible facet."""
        try:
            values = Keywords().parse(value, self._notation)
        except UnreadableError:
            return False
        cells.different.add(text)
        cells.values |= set(values)
        return (
            len(cells.different) <= MOST_CELLS
            and len(cells.values) <= MOST_VALUES
            and max(map(len, values), default=0) <= LONGEST_VALUE
        )

    def choose(self, used: Collection[str]) -> tuple[str, ...]:
        """The columns that could be facets, but for those that are used otherwise."""
        return tuple(
            name
            for name, cells in self._cells.items()
            if cells is not None
            and name not in used
            and len(cells.values) > 1
            and cells.count >= LEAST_REPEATS * len(cells.values)
            and _can_be_name(name)
        )[:MOST_FACETS]


def _can_be_name(column: str) -> bool:
    try:
        return facet_name(column) == column
    except ValueError:
        return False
