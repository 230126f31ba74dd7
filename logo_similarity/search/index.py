"""The HNSW index of a catalog: opened as a shared memory map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import CatalogError

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]


class VectorIndex:
    """A read-only HNSW graph over unit vectors. Safe to search from many threads at once."""

    def __init__(self, index: Any, path: Path) -> None:  # noqa: ANN401 - faiss ships no types
        self._index = index
        self.path = path
        self.count = int(index.ntotal)
        self.dimension = int(index.d)
        self.vectors: FloatArray = stored_vectors(index)
        """(count, dimension) float32, a read-only view of the vectors inside the (mapped) index."""

    @classmethod
    def open(cls, path: Path) -> VectorIndex:
        """Map an index file. The pages are shared by every process that maps it; nothing is copied.

        Raises:
            CatalogError: it is no HNSW index over inner products, or can't be read.
        """
        try:
            # IO_FLAG_MMAP would silently read an HNSW index into private memory; only MMAP_IFC maps it.
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise CatalogError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
        if not isinstance(index, faiss.IndexHNSWFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise CatalogError(f"{path}: not an HNSW index over inner products")
        return cls(index, path)

    def search(self, query: FloatArray, k: int, *, ef_search: int) -> tuple[IdArray, FloatArray]:
        """The (about) `k` nearest rows of one query, best first.

        Args:
            query: (dimension,) float32, unit length.
            k: at most this many rows; all rows where the index has fewer.
            ef_search: breadth of the graph search; raised to `k`, since a smaller one loses hits.

        Returns:
            (m,) int64 rows and (m,) float32 scores. A score is the cosine of the two embeddings, exact as the graph's storage is
            float32.
        """
        k = min(k, self.count)
        parameters = faiss.SearchParametersHNSW(efSearch=max(ef_search, k))
        cosines, found = self._index.search(query[np.newaxis], k, params=parameters)
        there = found[0] >= 0
        rows, scores = found[0][there], np.clip(cosines[0][there], -1.0, 1.0)
        # Best first; equal scores by row, so that the same request has the same answer in every worker.
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]

    def check(self, *, ef_search: int) -> None:
        """Search for a stored row. Raises CatalogError where the index doesn't find it again."""
        row = self.count // 2
        _, scores = self.search(np.array(self.vectors[row]), 1, ef_search=ef_search)
        if not (len(scores) and scores[0] > 0.999):
            raise CatalogError(f"{self.path}: damaged: a stored embedding does not find itself")


class _StoredVectors:
    """Where an index keeps its vectors, in the form that NumPy takes for an array; it keeps the index alive as long as that."""

    def __init__(self, index: Any) -> None:  # noqa: ANN401 - faiss ships no types
        self._index = index
        address = int(faiss.downcast_index(index.storage).get_xb())
        self.__array_interface__ = {
            "version": 3,
            "data": (address, True),
            "shape": (int(index.ntotal), int(index.d)),
            "typestr": np.dtype(np.float32).str,
        }


def stored_vectors(index: Any) -> FloatArray:  # noqa: ANN401 - faiss ships no types
    """(ntotal, d) float32 read-only view of the vectors that an `IndexHNSWFlat` holds. Nothing may be added while it is used."""
    return np.asarray(_StoredVectors(index))
