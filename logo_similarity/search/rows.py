"""The rows of a catalog and the vectors of its index: logos with identical images share one vector.

A row is a logo. A vector is an entry of the index, with its embedding and its patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import CatalogError
from logo_similarity.search.candidates import Ids, Mask

Numbers = NDArray[np.int32]


class RowMap(Protocol):
    """Maps rows to vectors, and vectors to rows. All arrays of rows and vectors are int64."""

    def vector_of(self, rows: Ids) -> Ids:
        """The vector of each row."""
        ...

    def rows_of(self, vectors: Ids, most: int) -> tuple[Ids, Ids]:
        """The first rows of each vector, at most `most` of each, and for each row the position of its vector."""
        ...

    def copies_of(self, vectors: Ids) -> Ids:
        """The number of rows of each vector beyond the first."""
        ...

    def vectors_with(self, mask: Mask) -> Mask:
        """The vectors, (vectors,) bool, of the rows where `mask`, (rows,) bool, is true."""
        ...


class IdentityMap:
    """The map of a catalog without identical images: each row has the vector of the same number."""

    def vector_of(self, rows: Ids) -> Ids:
        """The rows."""
        return rows

    def rows_of(self, vectors: Ids, most: int) -> tuple[Ids, Ids]:  # noqa: ARG002 - a RowMap
        """The vectors, and their positions."""
        return vectors, np.arange(len(vectors))

    def copies_of(self, vectors: Ids) -> Ids:
        """Zeros."""
        return np.zeros(len(vectors), np.int64)

    def vectors_with(self, mask: Mask) -> Mask:
        """The same mask."""
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class GroupedMap:
    """The map of a catalog with identical images. The rows of vector v are `rows[offsets[v] : offsets[v + 1]]`."""

    offsets: Numbers
    """(vectors + 1,) int32, ascending from 0."""
    rows: Numbers
    """(rows,) int32: the rows of vector 0, of vector 1, and so on; those of each vector ascend."""
    vectors: Numbers
    """(rows,) int32: the vector of each row."""

    @classmethod
    def of(cls, vectors: Numbers) -> Self:
        """The map for the vector of each row, (rows,) int32. Every vector from 0 to the largest must occur."""
        rows = np.argsort(vectors, kind="stable").astype(np.int32)
        offsets = np.concatenate(([0], np.cumsum(np.bincount(vectors)))).astype(np.int32)
        return cls(offsets, rows, vectors)

    @classmethod
    def open(cls, offsets: Path, rows: Path, vectors: Path, *, row_count: int, vector_count: int) -> Self:
        """Map the three arrays into memory, and check all of them.

        Args:
            offsets: .npy file of the field `offsets`.
            rows: .npy file of the field `rows`.
            vectors: .npy file of the field `vectors`.
            row_count: number of rows of the catalog.
            vector_count: number of vectors of its index.

        Raises:
            CatalogError: a file cannot be read, or the arrays are not a map of all rows and all vectors.
        """
        row_map = cls(
            open_numbers(offsets, vector_count + 1), open_numbers(rows, row_count), open_numbers(vectors, row_count)
        )
        if row_map.offsets[0] != 0 or row_map.offsets[-1] != row_count:
            raise CatalogError(f"{offsets}: damaged: it does not span the rows 0 to {row_count}")
        if not (row_map.offsets[1:] > row_map.offsets[:-1]).all():
            raise CatalogError(f"{offsets}: damaged: the offsets do not ascend")
        if row_map.rows.min() < 0 or row_map.rows.max() >= row_count:
            raise CatalogError(f"{rows}: damaged: it names a row that does not exist")
        owners = np.repeat(np.arange(vector_count, dtype=np.int32), np.diff(row_map.offsets))
        # Ascending rows of one vector are different; rows of two vectors are, if `vectors` names the vector of each.
        if not ((row_map.rows[1:] > row_map.rows[:-1]) | (owners[1:] != owners[:-1])).all():
            raise CatalogError(f"{rows}: damaged: the rows of a vector do not ascend")
        if not (row_map.vectors[row_map.rows] == owners).all():
            raise CatalogError(f"{vectors}: damaged: it contradicts {rows.name}")
        return row_map

    def vector_of(self, rows: Ids) -> Ids:
        """The vector of each row."""
        return self.vectors[rows].astype(np.int64)

    def rows_of(self, vectors: Ids, most: int) -> tuple[Ids, Ids]:
        """The first rows of each vector, at most `most` of each, and for each row the position of its vector."""
        starts, sizes = self.offsets[vectors], np.minimum(self._sizes(vectors), most)
        positions = np.repeat(np.arange(len(vectors)), sizes)
        within = np.arange(len(positions)) - (np.cumsum(sizes) - sizes)[positions]
        return self.rows[starts[positions] + within].astype(np.int64), positions

    def copies_of(self, vectors: Ids) -> Ids:
        """The number of rows of each vector beyond the first."""
        return self._sizes(vectors) - 1

    def vectors_with(self, mask: Mask) -> Mask:
        """The vectors, (vectors,) bool, of the rows where `mask`, (rows,) bool, is true."""
        result = np.zeros(len(self.offsets) - 1, np.bool_)
        result[self.vectors[np.flatnonzero(mask)]] = True  # a random mask itself is a slow index
        return result

    def _sizes(self, vectors: Ids) -> Ids:
        return (self.offsets[vectors + 1] - self.offsets[vectors]).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class FilteredMap:
    """The part of a map with the rows that pass a filter."""

    row_map: RowMap
    mask: Mask
    """(rows,) bool: whether each row passes."""

    def vector_of(self, rows: Ids) -> Ids:
        """The vector of each row."""
        return self.row_map.vector_of(rows)

    def rows_of(self, vectors: Ids, most: int) -> tuple[Ids, Ids]:
        """The first rows of each vector that pass, at most `most` of each, and for each row the position of its vector."""
        rows, positions = self._passing(vectors)
        ranks = np.arange(len(rows)) - np.searchsorted(positions, positions)
        return rows[ranks < most], positions[ranks < most]

    def copies_of(self, vectors: Ids) -> Ids:
        """The number of rows of each vector that pass, beyond the first."""
        _, positions = self._passing(vectors)
        return np.bincount(positions, minlength=len(vectors)) - 1

    def vectors_with(self, mask: Mask) -> Mask:
        """The vectors, (vectors,) bool, of the rows that pass and where `mask`, (rows,) bool, is true."""
        return self.row_map.vectors_with(self.mask & mask)

    def _passing(self, vectors: Ids) -> tuple[Ids, Ids]:
        """All rows that pass, as `rows_of`."""
        rows, positions = self.row_map.rows_of(vectors, len(self.mask))
        passing = self.mask[rows]
        return rows[passing], positions[passing]


def open_numbers(path: Path, count: int) -> Numbers:
    """Map a .npy file of `count` int32 numbers.

    Raises:
        CatalogError: the file cannot be read, or has another shape or dtype.
    """
    numbers: Numbers = open_array(path)
    if numbers.dtype != np.int32 or numbers.shape != (count,):
        raise CatalogError(f"{path}: damaged: the array is {numbers.dtype} {numbers.shape}; expected int32 ({count},)")
    return numbers


def open_array(path: Path) -> NDArray[Any]:
    """Map a .npy file of any shape and dtype.

    Raises:
        CatalogError: the file cannot be read, or is not the file of an array.
    """
    try:
        # A plain array: indexing a `memmap` is slower.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise CatalogError(f"{path}: damaged: {error}") from None
