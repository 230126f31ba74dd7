"""The segments of a catalog as one: what `engine.SearchEngine` searches, be it a version alone or one with live segments."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from logo_similarity.catalog.joined import JoinedMetadata, JoinedPostings
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.postings import Postings
from logo_similarity.domain import Logo
from logo_similarity.errors import CatalogError, InvalidRequestError
from logo_similarity.facets import EXTRA
from logo_similarity.fields import FIELDS
from logo_similarity.filters import Filter
from logo_similarity.numbering import Numbering
from logo_similarity.search.candidates import NO_IDS, Ids, IdSet, Mask
from logo_similarity.search.joined import JoinedMap, JoinedPool, JoinedSource, first_of_each
from logo_similarity.search.joined_words import JoinedWords
from logo_similarity.search.part_index import PartPool, WholePool
from logo_similarity.search.parts import Pool
from logo_similarity.search.rows import FilteredMap, RowMap
from logo_similarity.search.sources import SegmentSource
from logo_similarity.search.words import WordIndex
from logo_similarity.segment import LiveSegment, Segment

MARK_BYTES = 8


class Selection:
    """Some logos of a catalog: those that pass a filter, or all that are visible."""

    def __init__(self, row_map: RowMap, rows: Mask | None, condition: Filter | None = None) -> None:
        self.rows = rows
        """(rows,) bool; None: all rows of the catalog."""
        self.condition = condition
        """A filter that these rows pass; others may pass it, too."""
        self._shared = row_map.shared if isinstance(row_map, JoinedMap) else NO_IDS
        self.row_map = row_map if rows is None else FilteredMap(row_map, rows)
        """Of these logos."""

    @functools.cached_property
    def vectors(self) -> IdSet | None:
        """The vectors of the logos; None: all vectors of the catalog."""
        return (
            None if self.rows is None else IdSet.of(self.row_map.vectors_with(self.rows), self.condition, self._shared)
        )


@dataclass(frozen=True, eq=False)
class JoinedSegments:
    """A catalog. Its rows and its vectors are those of the segments, numbered one segment after another.

    Of a single segment without hidden rows, all members are those of the segment itself.
    """

    segments: tuple[Segment, ...]
    rows: Numbering
    """Hidden rows included."""
    vectors: Numbering
    source: SegmentSource | JoinedSource
    metadata: Metadata | JoinedMetadata
    postings: Postings | JoinedPostings | None
    words: WordIndex | JoinedWords | None
    everything: Selection
    """All visible logos."""
    count: int
    """Number of visible logos."""
    fields: tuple[str, ...]
    """The register fields of the segments, in the order of `fields.FIELDS`."""
    filter_fields: tuple[str, ...]
    """These, and the facets of the segments: see `Manifest.filter_fields`."""
    marks: tuple[str, ...]
    """What the rows up to each segment are: of a catalog with the same mark, they are the same."""

    @classmethod
    def of(cls, base: Segment, live: Sequence[LiveSegment], hidden: Sequence[Ids]) -> Self:
        """Join segments.

        Args:
            base: the version.
            live: its live segments, oldest first.
            hidden: of the version and of each segment, the rows that are not visible, int64, ascending.

        Raises:
            CatalogError: the rows are not those of the segments.
        """
        segments = (base, *live)
        _check_hidden(segments, hidden)
        rows = Numbering.of(segment.manifest.count for segment in segments)
        vectors = Numbering.of(segment.manifest.distinct_images for segment in segments)
        names = {name for segment in segments for name in segment.manifest.fields}
        register_fields = tuple(field.name for field in FIELDS if field.name in names)
        facets = dict.fromkeys(EXTRA + name for segment in segments for name in segment.manifest.facets)
        source: SegmentSource | JoinedSource = base.source
        metadata: Metadata | JoinedMetadata = base.metadata
        postings: Postings | JoinedPostings | None = base.postings
        words: WordIndex | JoinedWords | None = base.words
        visible: Mask | None = None
        if live or len(hidden[0]):
            visible = np.ones(rows.total, np.bool_)
            visible[np.concatenate([own + start for own, start in zip(hidden, rows.starts[:-1], strict=True)])] = False
            metadata = JoinedMetadata(tuple(segment.metadata for segment in segments), rows, visible)
            if base.words is not None:
                own_words = [segment.live_words for segment in live if segment.live_words is not None]
                words = JoinedWords.of(base.words, own_words, rows, visible)
            if base.postings is not None:
                own_postings = [segment.postings for segment in segments if segment.postings is not None]
                postings = JoinedPostings(tuple(own_postings), rows)
        if live:
            maps = tuple(segment.source.row_map for segment in segments)
            row_map = JoinedMap.of(maps, rows, vectors, _originals(live, vectors))
            source = JoinedSource(tuple(segment.source for segment in segments), vectors, row_map)
        count = rows.total if visible is None else int(np.count_nonzero(visible))
        if count == rows.total and not (isinstance(source.row_map, JoinedMap) and len(source.row_map.twins)):
            visible = None
        return cls(
            segments=segments,
            rows=rows,
            vectors=vectors,
            source=source,
            metadata=metadata,
            postings=postings,
            words=words,
            everything=Selection(source.row_map, visible),
            count=count,
            fields=register_fields,
            filter_fields=(*register_fields, *facets),
            marks=_marks(segments, hidden),
        )

    def select(self, condition: Filter | None, among: Collection[int] | None = None) -> Selection:
        """The visible logos that pass a filter; None: all.

        Args:
            condition: the filter.
            among: the rows that are selected from; None: all.

        Raises:
            InvalidRequestError: the catalog does not have a field of the filter, or cannot filter.
        """
        selection = self._select(condition)
        if among is None:
            return selection
        rows = np.zeros(self.rows.total, np.bool_)
        rows[np.fromiter(among, np.int64)] = True
        passing = rows if selection.rows is None else rows & selection.rows
        return Selection(self.source.row_map, passing, condition)

    def _select(self, condition: Filter | None) -> Selection:
        if condition is None:
            return self.everything
        for part in condition.conditions():
            if part.field not in self.filter_fields:
                fields = ", ".join(self.filter_fields) or "no fields"
                raise InvalidRequestError(f"this catalog has no {part.field} to filter by; it has {fields}")
        passing = self.filtering().select(condition)
        if self.everything.rows is not None:
            passing &= self.everything.rows
        return Selection(self.source.row_map, passing, condition)

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

    def image_digest(self, row: int) -> bytes | None:
        """Sha256 of the image file of a row; None: not known."""
        segment, number = self.rows.locate(row)
        digests = self.segments[segment].digests
        return None if digests is None else digests[number].tobytes()

    def locate(self, vector: int) -> tuple[Segment, int]:
        """The segment of a vector, and the number of the vector in it."""
        segment, number = self.vectors.locate(vector)
        return self.segments[segment], number

    @property
    def has_damage(self) -> bool:
        """Whether the image of any logo is known to be damaged."""
        return any(segment.damage for segment in self.segments)

    def damage_of(self, logo: Logo) -> str | None:
        """What is wrong with the image file of a logo; None: nothing is known to be."""
        segment, _ = self.rows.locate(logo.id)
        return self.segments[segment].damage.get(logo.logo_id)


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


def _originals(live: Sequence[LiveSegment], vectors: Numbering) -> Ids:
    """For each vector of the live segments, itself, or the oldest vector with the same image file."""
    originals = np.arange(int(vectors.starts[1]), vectors.total)
    digests = [segment.digests_of_vectors() for segment in live]
    if known := [own for own in digests if own is not None]:
        has_digest = np.concatenate(
            [np.full(len(segment.in_base), own is not None) for segment, own in zip(live, digests, strict=True)]
        )
        originals[has_digest] = originals[has_digest][first_of_each(np.concatenate(known))]
    in_base = np.concatenate([segment.in_base for segment in live])
    return np.where(in_base >= 0, in_base, originals)
