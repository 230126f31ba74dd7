"""How a source is read, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from logo_similarity.facets import EXTRA


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReading:
    """What a column of a table is read as."""

    name: str
    fields: tuple[str, ...]
    """Empty: the column is kept in `Record.extra`."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """How a source is read. Everything in it is recognised or stated, so that a person can check it."""

    kind: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """Such as "encoding" and "separator"."""
    columns: tuple[ColumnReading, ...] = ()
    """Of a table."""
    notes: tuple[str, ...] = ()
    """What a person should know: choices that may be wrong and, once `Source.rows` has ended, what it met."""
    possible_facets: tuple[str, ...] = ()
    """Columns with few different values, which a mapping could declare as facets."""
    mapping: str | None = None
    """A mapping file that states this reading; None: the kind of source has none."""

    @property
    def facets(self) -> tuple[str, ...]:
        """The names of the facets in `Record.extra`."""
        fields = (field for column in self.columns for field in column.fields)
        return tuple(field.removeprefix(EXTRA) for field in fields if field.startswith(EXTRA))
