"""The parts of a catalog as shared memory maps, and the pools in which a search compares regions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.description import Box
from logo_similarity.embed.describe import Floats
from logo_similarity.errors import CatalogError
from logo_similarity.search.candidates import Ids, IdSet
from logo_similarity.search.hnsw import VectorIndex
from logo_similarity.search.parts import WHOLE, Regions, shorten
from logo_similarity.search.rows import FilteredMap, Numbers, RowMap, open_array, open_numbers

BOX_STEPS = 65_535
"""A box is stored in shares of the picture's sides, as uint16 in steps of 1 / 65535."""

BoxSteps = NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class PartIndex:
    """The parts of all vectors of a catalog. Those of vector v are the parts from `offsets[v]` up to `offsets[v + 1]`.

    Parts with the same embedding share one entry of the index, as logos with identical images do.
    """

    index: VectorIndex
    row_map: RowMap
    """The parts with each entry of the index."""
    offsets: Numbers
    """(vectors + 1,) int32, ascending from 0."""
    boxes: BoxSteps
    """(parts, 4) uint16."""
    ef_search: int
    """Breadth of the graph search."""

    @classmethod
    def open(
        cls,
        index: VectorIndex,
        offsets: Path,
        boxes: Path,
        row_map: RowMap,
        *,
        count: int,
        vectors: int,
        ef_search: int,
    ) -> Self:
        """Map the files into memory, and check all of the arrays.

        Args:
            index: of the different parts.
            offsets: .npy file of the field `offsets`.
            boxes: .npy file of the field `boxes`.
            row_map: the parts with each entry of the index.
            count: number of parts.
            vectors: number of vectors of the catalog.
            ef_search: breadth of the graph search.

        Raises:
            CatalogError: a file cannot be read, or the arrays are not those of this many parts and vectors.
        """
        numbers = open_numbers(offsets, vectors + 1)
        if numbers[0] != 0 or numbers[-1] != count or not (numbers[1:] >= numbers[:-1]).all():
            raise CatalogError(f"{offsets}: damaged: the offsets do not ascend from 0 to {count}")
        steps: BoxSteps = open_array(boxes)
        if steps.dtype != np.uint16 or steps.shape != (count, 4):
            raise CatalogError(
                f"{boxes}: damaged: the array is {steps.dtype} {steps.shape}; expected uint16 ({count}, 4)"
            )
        return cls(index, row_map, numbers, steps, ef_search)

    def box(self, vector: int, part: int) -> Box:
        """The box of a part, by its number among the parts of its vector."""
        left, top, right, bottom = (self.boxes[self.offsets[vector] + part] / BOX_STEPS).tolist()
        return left, top, right, bottom

    def owners(self, parts: Ids) -> Ids:
        """The vector of each part."""
        # Of another dtype, they would make NumPy convert all offsets.
        return np.searchsorted(self.offsets, parts.astype(self.offsets.dtype), side="right") - 1


@dataclass(frozen=True, slots=True)
class WholePool:
    """Whole images: the vectors of a catalog, or those of a set."""

    index: VectorIndex
    allowed: IdSet | None = None

    def nearest(self, embedding: Floats, k: int) -> Regions:
        """The approximate `k` nearest vectors; see `search.parts.Pool`."""
        vectors, cosines, _ = self.index.search_allowed(embedding, k, self.allowed, ef_search=k)
        return Regions(vectors, np.full(len(vectors), WHOLE), cosines)


@dataclass(frozen=True, slots=True)
class PartPool:
    """Parts: those of all vectors of a catalog, or of the vectors in a set."""

    parts: PartIndex
    row_map: RowMap
    allowed: IdSet | None
    """Entries of the part index; None: all."""

    @classmethod
    def of(cls, parts: PartIndex, vectors: IdSet | None = None) -> Self:
        """The parts of these vectors; None: of all."""
        if vectors is None:
            return cls(parts, parts.row_map, None)
        mask = np.repeat(vectors.mask, np.diff(parts.offsets))
        row_map = FilteredMap(parts.row_map, mask)
        return cls(parts, row_map, IdSet.of(parts.row_map.vectors_with(mask)))

    def nearest(self, embedding: Floats, k: int) -> Regions:
        """The approximate `k` nearest parts; see `search.parts.Pool`."""
        index = self.parts.index
        entries, cosines, _ = index.search_allowed(
            shorten(embedding), k, self.allowed, ef_search=max(k, self.parts.ef_search)
        )
        parts, positions = self.row_map.rows_of(entries, k)
        owners = self.parts.owners(parts[:k])
        return Regions(owners, parts[:k] - self.parts.offsets[owners], cosines[positions[:k]])
