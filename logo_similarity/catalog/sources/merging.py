"""Several rows of one logo, as tables have them that were joined: a row for each owner, class or picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from logo_similarity.domain import Reject
from logo_similarity.facets import EXTRA
from logo_similarity.field_kinds import LONGEST_TEXT, FreeText, JsonValue, ListKind, Name
from logo_similarity.fields import FIELDS, Record, select_fields

MOST_ROWS = 1_000
"""Rows of one logo that are merged. Those behind them repeat the id, and are rejected for that."""
_BETWEEN_TEXTS = "; "


class Merger:
    """Merges consecutive records of one id, and counts what it did."""

    def __init__(self, facets: Iterable[str] = ()) -> None:
        """Merge rows of a source with these facets."""
        self._facets = select_fields([EXTRA + name for name in facets])
        self.merged = 0
        """Logos with several rows."""
        self.pictures = 0
        """Logos with several images."""
        self.conflicts: dict[str, int] = {}
        """Logos whose rows differ in a field of one value, by field. The first value is kept."""

    def merge(self, rows: Iterable[Record | Reject]) -> Iterator[Record | Reject]:
        """The rows, with one record for each image of an id.

        Lists are united, texts and names are joined, and of other values the first is kept. The images of a logo after the
        first have the ids "ID#2", "ID#3", and so on. A reject parts the rows of an id if it has another one.
        """
        group: list[Record] = []
        for row in rows:
            if isinstance(row, Record):
                if group and (row.logo_id != group[0].logo_id or len(group) == MOST_ROWS):
                    yield from self._unite(group)
                    group = []
                group.append(row)
            else:
                if group and row.logo_id not in (None, group[0].logo_id):
                    yield from self._unite(group)
                    group = []
                yield row
        yield from self._unite(group)

    def _unite(self, group: Sequence[Record]) -> Iterator[Record]:
        if len(group) < 2:
            yield from group
            return
        self.merged += 1
        values: dict[str, Any] = {field.name: self._united(field, group) for field in FIELDS}
        extra = _united_extra(group)
        for facet in self._facets:
            if items := tuple(sorted({item for record in group for item in facet.value_of(record)})):
                extra[str(facet.column)] = facet.kind.to_json(items)
        first = dataclasses.replace(group[0], extra=extra, **values)
        images = list(dict.fromkeys(record.filename for record in group))
        self.pictures += len(images) > 1
        yield first
        for number, filename in enumerate(images[1:], 2):
            yield dataclasses.replace(first, logo_id=f"{first.logo_id}#{number}", filename=filename)

    def _united(self, field: Any, group: Sequence[Record]) -> Any:  # noqa: ANN401 - of the field's type
        values = [value for record in group if (value := getattr(record, field.name)) != field.kind.empty]
        distinct = list(dict.fromkeys(values))
        if len(distinct) < 2:
            return distinct[0] if distinct else field.kind.empty
        if isinstance(field.kind, ListKind):
            return tuple(sorted({item for value in distinct for item in value}))
        if isinstance(field.kind, FreeText | Name):
            return _BETWEEN_TEXTS.join(distinct)[:LONGEST_TEXT]
        self.conflicts[field.name] = self.conflicts.get(field.name, 0) + 1
        return distinct[0]


def _united_extra(group: Sequence[Record]) -> dict[str, JsonValue]:
    """Every further value: as it is if all rows have the same, else the list of the different ones."""
    values: dict[str, list[JsonValue]] = {}
    for record in group:
        for name, value in record.extra.items():
            different = values.setdefault(name, [])
            if value not in different:
                different.append(value)
    return {name: different[0] if len(different) == 1 else different for name, different in values.items()}
