"""The HNSW index of a catalog, opened as a shared memory map, and the candidates that it finds."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np

from logo_similarity.embed.describe import Description, Floats, Patches
from logo_similarity.errors import CatalogError
from logo_similarity.search.candidates import Candidates, Ids, gather

_HNSW_FLAT = b"IHNf"
_FLAT = b"IxFI"
_HEADER = "<i3q?i"
"""Of an index: d, ntotal, two unused, is_trained, metric (`write_index_header` in FAISS)."""
_GRAPH = (("assign_probas", 8), ("cum_nneighbor_per_level", 4), ("levels", 4), ("offsets", 8), ("neighbors", 4))
"""Vectors of a graph in the file's order (`write_HNSW`), and the bytes of an item; each is preceded by its length."""
_SEARCH = "<5i"
"""entry_point, max_level, efConstruction, efSearch, one unused."""


class VectorIndex:
    """A read-only HNSW graph over unit vectors. Safe to search from many threads at once."""

    def __init__(self, index: Any, path: Path) -> None:  # noqa: ANN401 - faiss ships no types
        self._index = index
        self.path = path
        self.count = int(index.ntotal)
        self.dimension = int(index.d)
        self.vectors: Floats = stored_vectors(index)
        """(count, dimension) float32, a read-only view of the vectors inside the (mapped) index."""

    @classmethod
    def open(cls, path: Path) -> VectorIndex:
        """Map an index file. The pages are shared by every process that maps it; nothing is copied.

        Raises:
            CatalogError: it is not an HNSW index over inner products, is damaged, or cannot be read.
        """
        _check_layout(path)
        try:
            # IO_FLAG_MMAP would silently read an HNSW index into private memory; only MMAP_IFC maps it.
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as error:
            raise CatalogError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
        if not isinstance(index, faiss.IndexHNSWFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise CatalogError(f"{path}: not an HNSW index over inner products")
        return cls(index, path)

    def search(self, query: Floats, k: int, *, ef_search: int) -> tuple[Ids, Floats]:
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
        cosines, ids = self._index.search(query[np.newaxis], k, params=parameters)
        filled = ids[0] >= 0  # FAISS pads the rows that it does not reach with -1
        rows, scores = ids[0][filled], np.clip(cosines[0][filled], -1.0, 1.0)
        # Best first; equal scores by row, so that the same request has the same answer in every worker.
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]

    @property
    def edges(self) -> int:
        """Edges per node, M."""
        return int(self._index.hnsw.nb_neighbors(1))

    def check(self, rows: Sequence[int], *, ef_search: int) -> None:
        """Search for stored rows.

        A graph search is approximate, and many copies of one picture can hide others: half of the rows must find themselves.

        Raises:
            CatalogError: a stored embedding is not of unit length, or too few of them are found again.
        """
        hits = 0
        for row in rows:
            vector = np.array(self.vectors[row])
            if not abs(float(np.linalg.norm(vector)) - 1) < 1e-3:  # NaN compares false
                raise CatalogError(f"{self.path}: damaged: the stored embedding {row} is not of unit length")
            _, scores = self.search(vector, 1, ef_search=ef_search)
            hits += bool(len(scores)) and bool(scores[0] > 0.999)  # a copy of the same vector may stand in for the row
        if hits < len(rows) // 2:
            raise CatalogError(f"{self.path}: damaged: {hits} of {len(rows)} stored embeddings find themselves")


@dataclass(frozen=True, slots=True)
class HnswSource:
    """The candidates of a mapped index. An id is a row of the index, of the patches and of the catalog's metadata."""

    index: VectorIndex
    patches: Patches | None
    """(count, cells, channels) int8, mapped; None: the catalog cannot re-rank."""
    ef_search: int
    """Breadth of the graph search."""

    def candidates(self, description: Description, k: int) -> Candidates:
        """The (about) `k` nearest rows of the index."""
        rows, cosines = self.index.search(description.embedding, k, ef_search=self.ef_search)
        patches = None if description.patches is None else self.patches
        return gather(rows, cosines, self.index.vectors, patches)

    def description(self, row: int) -> Description:
        """What the index stores of one logo."""
        return Description(np.array(self.index.vectors[row]), None if self.patches is None else self.patches[row])


def _check_layout(path: Path) -> None:
    """Compare the lengths that an index file states with its size: FAISS reserves memory by some of them before it reads.

    What they hold (neighbours, offsets, levels) FAISS checks itself.

    Raises:
        CatalogError: they disagree, or it is not an HNSW index over inner products.
    """
    try:
        with path.open("rb") as file:
            reason = _layout_fault(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror})") from None
    except struct.error:
        reason = "damaged: cut off in its header"
    if reason is not None:
        raise CatalogError(f"{path}: {reason}")


def _layout_fault(file: BinaryIO, size: int) -> str | None:
    magic = file.read(4)
    dimension, count, *_, metric = _take(file, _HEADER)
    if magic != _HNSW_FLAT or metric != faiss.METRIC_INNER_PRODUCT:
        return "not an HNSW index over inner products"
    for name, item_bytes in _GRAPH:
        (length,) = _take(file, "<Q")
        if length * item_bytes > size - file.tell() or (name == "levels" and length != count):
            return f"damaged: {length} {name} for {count} rows in {size} bytes"
        file.seek(length * item_bytes, os.SEEK_CUR)
    _take(file, _SEARCH)
    magic = file.read(4)
    stored_dimension, stored_count, *_ = _take(file, _HEADER)
    (length,) = _take(file, "<Q")
    if magic != _FLAT or (stored_dimension, stored_count) != (dimension, count):
        return "damaged: its graph and its embeddings disagree"
    if not dimension * count == length > 0 or file.tell() + 4 * length != size:
        return f"damaged: {length} numbers for {count} embeddings of {dimension} dimensions in {size} bytes"
    return None


def _take(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


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


def stored_vectors(index: Any) -> Floats:  # noqa: ANN401 - faiss ships no types
    """(ntotal, d) float32 read-only view of the vectors that an `IndexHNSWFlat` holds. Nothing may be added while it is used."""
    return np.asarray(_StoredVectors(index))
