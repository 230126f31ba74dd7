"""The vectors, rows and regions of several segments as those of one catalog.

Logos with the same image file in two segments share the vector of the older one, as those of one segment do; the other
vector, its twin, stands for no row. Other identical images, such as the same pixels in another file format, are two vectors:
they count neither in `max_identical` nor in `copies` of each other until a build joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats
from logo_similarity.numbering import Numbering
from logo_similarity.search.candidates import Candidates, Ids, IdSet, Mask, concatenate, merge
from logo_similarity.search.parts import Pool, Regions
from logo_similarity.search.rows import RowMap
from logo_similarity.search.sources import SegmentSource

_KEY = np.dtype("<u8")
BLOCK = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class JoinedSource:
    """The nearest vectors of all segments together; see `search.sources.SegmentSource`."""

    segments: tuple[SegmentSource, ...]
    vectors: Numbering
    row_map: RowMap

    def candidates(self, description: Description, k: int, allowed: IdSet | None = None) -> Candidates:
        """The approximate `k` nearest vectors of all segments."""
        found = []
        for segment, numbers in zip(self.segments, self.vectors.slices, strict=True):
            near = segment.candidates(description, k, None if allowed is None else allowed.within(numbers))
            found.append(replace(near, ids=near.ids + numbers.start))
        return merge(found, k)

    def compare(self, description: Description, vectors: Ids) -> Candidates:
        """Given vectors as candidates, in the given order."""
        compared, places = [], [np.empty(0, np.int64)]
        for segment, positions, local in self.vectors.split(vectors):
            compared.append(replace(self.segments[segment].compare(description, local), ids=vectors[positions]))
            places.append(positions)
        if not compared:
            return self.segments[0].compare(description, vectors)
        return concatenate(compared, np.argsort(np.concatenate(places)))

    def embeddings(self, vectors: Ids) -> Floats:
        """The embeddings of given vectors, (n, dimension) float32."""
        result = np.empty((len(vectors), self.segments[0].index.dimension), np.float32)
        for segment, positions, local in self.vectors.split(vectors):
            result[positions] = self.segments[segment].embeddings(local)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class JoinedMap:
    """The rows and vectors of all segments; see `search.rows.RowMap`."""

    segments: tuple[RowMap, ...]
    rows: Numbering
    vectors: Numbering
    of_live: Ids
    """(m,) int64: for each vector of all segments but the first, itself, or the older one whose twin it is."""
    twins: Ids
    """(t,) int64: the vectors that are twins, ordered by the vector of which they are, then by number."""

    @classmethod
    def of(cls, segments: Sequence[RowMap], rows: Numbering, vectors: Numbering, of_live: Ids) -> Self:
        """The map for the field `of_live`."""
        live = np.arange(int(vectors.starts[1]), vectors.total)
        twins = live[of_live != live]
        return cls(
            tuple(segments),
            rows,
            vectors,
            of_live,
            twins[np.argsort(cls._owner(vectors, of_live, twins), kind="stable")],
        )

    @staticmethod
    def _owner(vectors: Numbering, of_live: Ids, numbers: Ids) -> Ids:
        first_live = int(vectors.starts[1])
        owners = numbers.copy()
        live = numbers >= first_live
        owners[live] = of_live[numbers[live] - first_live]
        return owners

    @property
    def shared(self) -> Ids:
        """The vectors that have twins: they stand for rows of several segments. Ascending."""
        return np.unique(self._owner(self.vectors, self.of_live, self.twins))

    def vector_of(self, rows: Ids) -> Ids:
        """The vector of each row."""
        result = np.empty(len(rows), np.int64)
        for segment, positions, local in self.rows.split(rows):
            result[positions] = self.segments[segment].vector_of(local) + self.vectors.starts[segment]
        return self._owner(self.vectors, self.of_live, result)

    def rows_of(self, vectors: Ids, most: int) -> tuple[Ids, Ids]:
        """The first rows of each vector, at most `most` of each, and for each row the position of its vector."""
        own, owner_positions = self._with_twins(vectors)
        found, found_positions = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for segment, positions, local in self.vectors.split(own):
            rows, places = self.segments[segment].rows_of(local, most)
            found.append(rows + self.rows.starts[segment])
            found_positions.append(owner_positions[positions[places]])
        rows, row_positions = np.concatenate(found), np.concatenate(found_positions)
        order = np.lexsort((rows, row_positions))
        rows, row_positions = rows[order], row_positions[order]
        ranks = np.arange(len(rows)) - np.searchsorted(row_positions, row_positions)
        return rows[ranks < most], row_positions[ranks < most]

    def copies_of(self, vectors: Ids) -> Ids:
        """The number of rows of each vector beyond the first."""
        own, owner_positions = self._with_twins(vectors)
        sizes = np.zeros(len(vectors), np.int64)
        for segment, positions, local in self.vectors.split(own):
            np.add.at(sizes, owner_positions[positions], self.segments[segment].copies_of(local) + 1)
        return sizes - 1

    def vectors_with(self, mask: Mask) -> Mask:
        """The vectors, (vectors,) bool, of the rows where `mask`, (rows,) bool, is true. Twins are none of them."""
        result = np.concatenate(
            [segment.vectors_with(mask[rows]) for segment, rows in zip(self.segments, self.rows.slices, strict=True)]
        )
        owners = self._owner(self.vectors, self.of_live, self.twins)
        np.logical_or.at(result, owners, result[self.twins])
        result[self.twins] = False
        return result

    def _with_twins(self, vectors: Ids) -> tuple[Ids, Ids]:
        """The vectors and their twins, and for each the position of the vector."""
        owners = self._owner(self.vectors, self.of_live, self.twins)
        first, end = np.searchsorted(owners, vectors, "left"), np.searchsorted(owners, vectors, "right")
        sizes = end - first
        positions = np.repeat(np.arange(len(vectors)), sizes)
        within = np.arange(len(positions)) - (np.cumsum(sizes) - sizes)[positions]
        twins = self.twins[first[positions] + within]
        return np.concatenate((vectors, twins)), np.concatenate((np.arange(len(vectors)), positions))


@dataclass(frozen=True, slots=True)
class JoinedPool:
    """The regions of several segments; see `search.parts.Pool`."""

    pools: tuple[tuple[Pool, int], ...]
    """The pool of each segment, and the number of its first vector."""

    def nearest(self, embeddings: Sequence[Floats], k: int) -> list[Regions]:
        """The approximate `k` nearest regions to each embedding."""
        starts = [start for _, start in self.pools]
        found = zip(*(pool.nearest(embeddings, k) for pool, _ in self.pools), strict=True)
        return [_nearest_of(regions, starts, k) for regions in found]


def _nearest_of(found: Sequence[Regions], starts: Sequence[int], k: int) -> Regions:
    """The `k` nearest regions of several segments, given the number of the first vector of each."""
    cosines = np.concatenate([regions.cosines for regions in found])
    best = np.argsort(-cosines, kind="stable")[:k]
    return Regions(
        np.concatenate([regions.ids + start for regions, start in zip(found, starts, strict=True)])[best],
        np.concatenate([regions.parts for regions in found])[best],
        cosines[best],
    )


def find_images(digests: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> Ids:
    """The first row of `digests` with each of the wanted ones, (m,) int64; -1 if there is none.

    Args:
        digests: (n, 32) uint8; read once, in blocks.
        wanted: (m, 32) uint8.
    """
    result = np.full(len(wanted), -1)
    keys = _keys(wanted)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    for start in range(0, len(digests), BLOCK):
        block = _keys(digests[start : start + BLOCK])
        for row in np.flatnonzero(np.isin(block, ordered)).tolist():
            first, end = (int(np.searchsorted(ordered, block[row], side)) for side in ("left", "right"))
            for place in order[first:end].tolist():
                if result[place] < 0 and np.array_equal(digests[start + row], wanted[place]):
                    result[place] = start + row
    return result


def first_of_each(digests: NDArray[np.uint8]) -> Ids:
    """The first place with the same digest as each, (n,) int64."""
    _, first, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)], np.int64)


def _keys(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 bytes of each digest."""
    return np.ascontiguousarray(digests[:, : _KEY.itemsize]).view(_KEY)[:, 0]
