"""The metadata and the posting lists of several segments as those of one catalog."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.postings import Mask, Postings
from logo_similarity.domain import Logo
from logo_similarity.fields import RegisterField
from logo_similarity.filters import Filter
from logo_similarity.numbering import Numbering


@dataclass(frozen=True, slots=True, eq=False)
class JoinedMetadata:
    """The logos of several segments, except for those that are not visible; see `Metadata`."""

    segments: tuple[Metadata, ...]
    rows: Numbering
    visible: Mask
    """(rows,) bool."""

    def fetch(self, ids: Sequence[int]) -> list[Logo]:
        """The logos with these rows, in this order."""
        logos: dict[int, Logo] = {}
        for segment, positions, local in self.rows.split(np.asarray(ids, np.int64)):
            fetched = self.segments[segment].fetch(local.tolist())
            rows = (ids[position] for position in positions.tolist())
            logos.update((row, logo._replace(id=row)) for row, logo in zip(rows, fetched, strict=True))
        return [logos[row] for row in ids]

    def find(self, logo_id: str) -> Logo | None:
        """The visible logo with this public id, or None."""
        for segment, start in zip(reversed(self.segments), reversed(self.rows.starts[:-1].tolist()), strict=True):
            logo = segment.find(logo_id)
            if logo is not None and self.visible[start + logo.id]:
                return logo._replace(id=start + logo.id)
        return None

    def newest(self) -> dt.date | None:
        """The latest date of application; None: no logo has one."""
        dates = (
            segment.newest(np.flatnonzero(~self.visible[rows]).tolist())
            for segment, rows in zip(self.segments, self.rows.slices, strict=True)
        )
        return max((date for date in dates if date is not None), default=None)

    def extra_columns(self) -> list[str]:
        """Names of the further columns of the sources, in order. Reads every row."""
        return sorted({column for segment in self.segments for column in segment.extra_columns()})

    def check_rows(self) -> None:
        """Read and check every row; see `Metadata.check_rows`."""
        for segment in self.segments:
            segment.check_rows()


@dataclass(frozen=True, slots=True, eq=False)
class JoinedPostings:
    """The posting lists of several segments; see `Postings`."""

    segments: tuple[Postings, ...]
    rows: Numbering

    def select(self, condition: Filter) -> Mask:
        """The logos that pass a filter, visible or not."""
        return np.concatenate([segment.select(condition) for segment in self.segments])

    def count_values(
        self, field: RegisterField[Any], passing: Mask | None, *, under: str | None = None, most: int
    ) -> list[tuple[Any, int]]:
        """The values of a field, and how many logos have each: the most frequent first, ties in the order of the values.

        The arguments are those of `Postings.count_values`.
        """
        masks = [None if passing is None else passing[rows] for rows in self.rows.slices]
        base, *others = (
            segment.count_keys(field, mask, under=under) for segment, mask in zip(self.segments, masks, strict=True)
        )
        further: dict[bytes, int] = {}
        for counted in others:
            for place in np.flatnonzero(counted.counts).tolist():
                key, count = counted.key(place), int(counted.counts[place])
                further[key] = further.get(key, 0) + count
        new: dict[bytes, int] = {}
        for key, count in further.items():
            known = base.place_of(key)
            if known is None:
                new[key] = count
            else:
                base.counts[known] += count
        frequent = [(base.key(place), int(base.counts[place])) for place in base.most_frequent(most).tolist()]
        best = sorted([*frequent, *new.items()], key=lambda each: (-each[1], each[0]))[:most]
        return [(field.kind.item_of(key), count) for key, count in best]
