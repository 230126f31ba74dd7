"""What the readers of table formats have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from logo_similarity.catalog.sources.rows import RowError, abbreviate
from logo_similarity.errors import SourceError

Row = tuple[str, dict[str, Any] | RowError]
"""The position of a row, and its values by column, or the reason why it cannot be read."""


class Table(Protocol):
    """A table of one format. Reading its rows a second time yields the same."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that its header or schema states; empty for JSON, whose rows name them."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """How the file is read, for people: "encoding", "separator", "sheet"."""
        ...

    def rows(self) -> Iterator[Row]:
        """Every row.

        Raises:
            SourceError: the rest of the file cannot be read.
            OSError: as for any file.
        """
        ...


def name_columns(path: Path, header: Sequence[object]) -> list[str]:
    """The names in a header: without the empty ones at its end; those in between are numbered.

    Raises:
        SourceError: two columns have the same name.
    """
    names = ["" if name is None else str(name).strip() for name in header]
    while names and not names[-1]:
        names.pop()
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SourceError(
            f"{path}: several columns are named {', '.join(map(abbreviate, repeated[:5]))}; rename all but one of them"
        )
    return names


def name_cells(names: Sequence[str], cells: Sequence[Any]) -> dict[str, Any] | RowError | None:
    """The cells of a row by column. Cells that are missing at its end are None; None for a row without any value."""
    if not any(cell not in (None, "") for cell in cells):
        return None
    if any(cell not in (None, "") for cell in cells[len(names) :]):
        return RowError(f"the row has {len(cells)} cells, the header {len(names)}")
    return dict(zip(names, [*cells, *(None,) * (len(names) - len(cells))], strict=False))
