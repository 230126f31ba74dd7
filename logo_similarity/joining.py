"""The segments of a catalog as one: what `engine.SearchEngine` searches, be it a version alone or one with live segments."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from logo_similarity.catalog.joined import JoinedMetadata, JoinedPostings
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.postings import Postings
from logo_similarity.errors import CatalogError, InvalidRequestError
from logo_similarity.fields import FIELDS
from logo_similarity.filters import Filter
from logo_similarity.numbering import Numbering
from logo_similarity.search.candidates import Ids, IdSet, Mask
from logo_similarity.search.hnsw import HnswSource
from logo_similarity.search.joined import JoinedMap, JoinedPool, JoinedSource, find_images, first_of_each
from logo_similarity.search.joined_words import JoinedWords
from logo_similarity.search.part_index import PartPool, WholePool
from logo_similarity.search.parts import Pool
from logo_similarity.search.rows import FilteredMap, RowMap
from logo_similarity.search.words import WordIndex
from logo_similarity.segment import Segment

MARK_BYTES = 8


class Selection:
    """Some logos of a catalog: those that pass a filter, or all that are visible."""

    def __init__(self, row_map: RowMap, rows: Mask | None) -> None:
        self.rows = rows
        """(rows,) bool; None: all rows of the catalog."""
        self.row_map = row_map if rows is None else FilteredMap(row_map, rows)
        """Of these logos."""

    @functools.cached_property
    def vectors(self) -> IdSet | None:
        """The vectors of the logos; None: all vectors of the catalog."""
        return None if self.rows is None else IdSet.of(self.row_map.vectors_with(self.rows))


@dataclass(frozen=True, eq=False)
class JoinedSegments:
    """A catalog. Its rows and its vectors are those of the segments, numbered one segment after another.

    Of a single segment without hidden rows, all members are those of the segment itself.
    """

    segments: tuple[Segment, ...]
    vectors: Numbering
    source: HnswSource | JoinedSource
    metadata: Metadata | JoinedMetadata
    postings: Postings | JoinedPostings | None
    words: WordIndex | JoinedWords | None
    everything: Selection
    """All visible logos."""
    row_count: int
    """Number of rows, hidden ones included."""
    count: int
    """Number of visible logos."""
    fields: tuple[str, ...]
    """The register fields of the segments, in the order of `fields.FIELDS`."""
    marks: tuple[str, ...]
    """What the rows up to each segment are: of a catalog with the same mark, they are the same."""

    @classmethod
    def of(cls, segments: Sequence[Segment], hidden: Sequence[Ids]) -> Self:
        """Join segments.

        Args:
            segments: the version, then the live segments.
            hidden: of each, the rows that are not visible, int64, ascending.

        Raises:
            CatalogError: the rows are not those of the segments.
        """
        base, *live = segments
        _check_hidden(segments, hidden)
        rows = Numbering.of(segment.manifest.count for segment in segments)
        vectors = Numbering.of(segment.manifest.distinct_images for segment in segments)
        fields = {name for segment in segments for name in segment.manifest.fields}
        in_order = tuple(field.name for field in FIELDS if field.name in fields)
        marks = _marks(segments, hidden)
        if not live and not len(hidden[0]):
            everything = Selection(base.source.row_map, None)
            return cls(
                tuple(segments), vectors, base.source, base.metadata, base.postings, base.words, everything,
                rows.total, rows.total, base.manifest.fields, marks,
            )  # fmt: skip
        visible = np.ones(rows.total, np.bool_)
        for numbers, start in zip(hidden, rows.starts.tolist(), strict=False):  # `starts` has the end, too
            visible[numbers + start] = False
        source: HnswSource | JoinedSource = base.source
        twins = False
        if live:
            row_map = JoinedMap.of(
                [segment.source.row_map for segment in segments], rows, vectors, _originals(segments, vectors)
            )
            source = JoinedSource(tuple(segment.source for segment in segments), vectors, row_map)
            twins = len(row_map.twins) > 0
        postings = [segment.postings for segment in segments if segment.postings is not None]
        words = [segment.words for segment in segments if segment.words is not None]
        return cls(
            segments=tuple(segments),
            vectors=vectors,
            source=source,
            metadata=JoinedMetadata(tuple(segment.metadata for segment in segments), rows, visible),
            postings=None if base.postings is None else JoinedPostings(tuple(postings), rows),
            words=None if base.words is None else JoinedWords.of(words, rows, visible),
            everything=Selection(source.row_map, visible if twins or not visible.all() else None),
            row_count=rows.total,
            count=int(np.count_nonzero(visible)),
            fields=in_order,
            marks=marks,
        )

    def select(self, condition: Filter | None) -> Selection:
        """The visible logos that pass a filter; None: all.

        Raises:
            InvalidRequestError: the catalog does not have a field of the filter, or cannot filter.
        """
        if condition is None:
            return self.everything
        for part in condition.conditions():
            if part.field not in self.fields:
                fields = ", ".join(self.fields) or "no fields"
                raise InvalidRequestError(f"this catalog has no {part.field} to filter by; it has {fields}")
        passing = self.filtering().select(condition)
        if self.everything.rows is not None:
            passing &= self.everything.rows
        return Selection(self.source.row_map, passing)

    def filtering(self) -> Postings | JoinedPostings:
        """The posting lists. Raises InvalidRequestError if there are none."""
        if self.postings is None:
            raise InvalidRequestError(
                "this catalog cannot filter: it was built by an earlier version of this software; build it again"
            )
        return self.postings

    @functools.cached_property
    def pools(self) -> tuple[Pool, ...]:
        """The whole images and, if any has some, the parts of all visible logos."""
        return self.pools_of(self.everything)

    def pools_of(self, selection: Selection) -> tuple[Pool, ...]:
        """The whole images and, if any logo of the catalog has some, the parts of some logos."""
        wholes: list[tuple[Pool, int]] = []
        parts: list[tuple[Pool, int]] = []
        for segment, numbers in zip(self.segments, self.vectors.slices, strict=True):
            own = None if selection.vectors is None else selection.vectors.within(numbers)
            wholes.append((WholePool(segment.source.index, own), numbers.start))
            if segment.parts is not None:
                parts.append((PartPool.of(segment.parts, own), numbers.start))
        return tuple(_join(pools) for pools in (wholes, parts) if pools)

    def locate(self, vector: int) -> tuple[Segment, int]:
        """The segment of a vector, and the number of the vector in it."""
        segment, number = self.vectors.locate(vector)
        return self.segments[segment], number


def _join(pools: Sequence[tuple[Pool, int]]) -> Pool:
    return pools[0][0] if len(pools) == 1 and pools[0][1] == 0 else JoinedPool(tuple(pools))


def _check_hidden(segments: Sequence[Segment], hidden: Sequence[Ids]) -> None:
    if len(hidden) != len(segments):
        raise CatalogError(f"{len(segments)} segments, but the hidden rows of {len(hidden)}")
    for segment, rows in zip(segments, hidden, strict=True):
        if rows.dtype != np.int64 or rows.ndim != 1 or not (rows[1:] > rows[:-1]).all():
            raise CatalogError(f"{segment.folder.name}: the hidden rows are not an ascending array of int64")
        if len(rows) and not 0 <= rows[0] <= rows[-1] < segment.manifest.count:
            raise CatalogError(
                f"{segment.folder.name}: the row {rows[-1] if rows[0] >= 0 else rows[0]} cannot be hidden: the segment "
                f"has {segment.manifest.count:,} rows"
            )


def _marks(segments: Sequence[Segment], hidden: Sequence[Ids]) -> tuple[str, ...]:
    mark, marks = "", []
    for segment, rows in zip(segments, hidden, strict=True):
        if mark or len(rows):
            content = f"{mark}\n{segment.folder.name}\n{segment.manifest.logo_ids}\n".encode() + rows.tobytes()
            mark = f"{segments[0].folder.name}~{hashlib.sha256(content).hexdigest()[: 2 * MARK_BYTES]}"
        else:
            mark = segment.folder.name
        marks.append(mark)
    return tuple(marks)


def _originals(segments: Sequence[Segment], vectors: Numbering) -> Ids:
    """For each vector of the live segments, itself, or the oldest vector with the same image file."""
    base, *live = segments
    own = np.arange(int(vectors.starts[1]), vectors.total)
    digests = [
        segment.digests[segment.source.row_map.rows_of(np.arange(segment.manifest.distinct_images), 1)[0]]
        for segment in live
        if segment.digests is not None
    ]
    if base.digests is None or len(digests) < len(live) or not live:
        return own
    wanted = np.concatenate(digests)
    rows = find_images(base.digests, wanted)
    known = rows >= 0
    twins = own[first_of_each(wanted)]
    twins[known] = base.source.row_map.vector_of(rows[known])
    return twins
