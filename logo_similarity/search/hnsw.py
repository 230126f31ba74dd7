"""The HNSW index of a catalog as a shared memory map, and the source of candidates on it."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.errors import CatalogError
from logo_similarity.precision import Precision
from logo_similarity.search.candidates import Candidates, Ids, IdSet, gather
from logo_similarity.search.halves import HalfRows, Halves, open_halves
from logo_similarity.search.nibbles import PackedPatches
from logo_similarity.search.rows import RowMap

_FLAT, _CODES = b"IxFI", b"IxSQ"
_STORAGE = {b"IHNf": _FLAT, b"IHNs": _CODES}
"""Kinds of HNSW indexes, and how their vectors are stored."""
_HEADER = "<i3q?i"
"""Header of an index: d, ntotal, two unused, is_trained, metric (`write_index_header` in FAISS)."""
_GRAPH = (("assign_probas", 8), ("cum_nneighbor_per_level", 4), ("levels", 4), ("offsets", 8), ("neighbors", 4))
"""Arrays of a graph in file order, with their item sizes in bytes; a length precedes each array (`write_HNSW`)."""
_SEARCH = "<5i"
"""Parameters of a graph: entry_point, max_level, efConstruction, efSearch, one unused."""
_QUANTIZER = "<2if3Q"
"""A scalar quantizer: its type, two unused, d, bytes of a code, the number of trained values (`write_ScalarQuantizer`)."""
_QUANTIZED = {
    faiss.ScalarQuantizer.QT_fp16: (Precision.FLOAT16, 2, 0),
    faiss.ScalarQuantizer.QT_8bit: (Precision.INT8, 1, 2),
}
"""The precision of each type that can be read, and its bytes and trained values for each dimension."""


# Measured by `benchmarks.filters`.
BREADTH, LEAST_BREADTH = 2.2, 1.6
"""Breadth of a graph search for each vector that is needed from it: to begin with, and the least that finds nearly all."""
NEARLY_ALL, SPARE = 0.9, 1.1
"""If at least this share of the vectors is allowed, as with a few deleted logos, a graph search finds this many times the
vectors that are needed, and is no more careful than one without a filter. Measured by `benchmarks.hidden`."""
SCANNED = 30
"""Vectors that are compared one by one in the time of a graph search, for each unit of its breadth."""
RESCORED = 2
"""Vectors that a graph search by codes of 8 bits finds for each one that is needed; the best by their embeddings remain.
Measured by `benchmarks.scale`."""


class VectorIndex:
    """A read-only HNSW graph over unit vectors. Safe to search from many threads at once."""

    def __init__(self, index: Any, path: Path, halves: Halves | None = None) -> None:  # noqa: ANN401 - faiss ships no types
        self._index = index
        self._storage = faiss.downcast_index(index.storage)
        self.path = path
        self.count = int(index.ntotal)
        self.dimension = int(index.d)
        self.precision = Precision.FLOAT32
        if isinstance(index, faiss.IndexHNSWSQ):
            self.precision = _QUANTIZED[self._storage.sq.qtype][0]
        if self.precision is Precision.FLOAT16:
            halves = stored_halves(index)
        elif self.precision is Precision.INT8 and halves is None:
            raise CatalogError(
                f"{path}: has codes of 8 bits, and a search needs embeddings beside them; build it again"
            )
        self._halves = None if halves is None else HalfRows(halves)
        self.vectors: Floats | HalfRows = stored_vectors(index) if self._halves is None else self._halves
        """(count, dimension) float32, read-only: the embeddings."""

    @classmethod
    def open(cls, path: Path, embeddings: Path | None = None) -> VectorIndex:
        """Map an index file into memory. All processes share its pages; nothing is copied.

        Args:
            path: the index file.
            embeddings: .npy file of the embeddings, float16, if the index has codes of 8 bits; None: they are in the index.

        Raises:
            CatalogError: a file cannot be read, is damaged, or is not an HNSW index over inner products.
        """
        _check_layout(path)
        try:
            # IO_FLAG_MMAP would silently read an HNSW index into private memory; only MMAP_IFC maps it.
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as error:
            raise CatalogError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
        if (
            not isinstance(index, faiss.IndexHNSWFlat | faiss.IndexHNSWSQ)
            or index.metric_type != faiss.METRIC_INNER_PRODUCT
        ):
            raise CatalogError(f"{path}: not an HNSW index over inner products")
        halves = None if embeddings is None else open_halves(embeddings, int(index.ntotal), int(index.d))
        return cls(index, path, halves)

    def search(self, query: Floats, k: int, *, ef_search: int) -> tuple[Ids, Floats]:
        """The approximate `k` nearest rows of one query, nearest first.

        Args:
            query: (dimension,) float32, unit length.
            k: maximum number of rows.
            ef_search: breadth of the graph search; at least `k` is used, since a smaller breadth misses rows.

        Returns:
            Rows, (m,) int64, and the exact cosines of their embeddings and the query, (m,) float32.
        """
        return self._rescored(query, *self._search(query, self._needed(k, ef_search), ef_search), k)

    def scan(self, query: Floats, rows: Ids, k: int) -> tuple[Ids, Floats]:
        """The exact `k` nearest of some rows, which are compared one by one. Otherwise as `search`.

        Args:
            query: (dimension,) float32, unit length.
            rows: (m,) int64.
            k: maximum number of rows.
        """
        if not len(rows):  # FAISS refuses to search for no rows
            return rows, np.empty(0, np.float32)
        if self._halves is not None:
            rows, cosines = self._halves.scan(query, rows, k)
            return rows, np.clip(cosines, -1, 1)
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorArray(rows))
        scores, ids = self._storage.search(query[np.newaxis], min(k, len(rows)), params=parameters)
        return _ordered(scores[0], ids[0])

    def search_allowed(
        self, query: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> tuple[Ids, Floats, bool]:
        """The `k` nearest allowed rows: approximate ones by a graph search, or the exact ones if they are few.

        Args:
            query: (dimension,) float32, unit length.
            k: maximum number of rows.
            allowed: the rows that may be found; None: all.
            ef_search: breadth of the graph search without a filter.

        Returns:
            Rows and cosines as of `search`, and whether they are exact.
        """
        if allowed is None:
            return *self.search(query, k, ef_search=ef_search), False
        if (nearest := self._search_graph(query, self._needed(k, ef_search), allowed, ef_search)) is not None:
            return *self._rescored(query, *nearest, k), False
        return *self.scan(query, allowed.ids, k), True

    def search_each(
        self, queries: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> list[tuple[Ids, Floats, bool]]:
        """The same as `search_allowed` for each of some queries, (n, dimension) float32."""
        if allowed is not None:
            return [self.search_allowed(query, k, allowed, ef_search=ef_search) for query in queries]
        found = self._search_each(queries, self._needed(k, ef_search), ef_search)
        return [(*self._rescored(query, *one, k), False) for query, one in zip(queries, found, strict=True)]

    def _needed(self, k: int, ef_search: int) -> int:
        """Vectors that a graph search has to find for `k` nearest ones, among those that it sees anyway."""
        return max(k, min(ef_search, RESCORED * k)) if self.precision is Precision.INT8 else k

    def _search(self, query: Floats, k: int, ef_search: int) -> tuple[Ids, Floats]:
        """The approximate `k` nearest rows by the stored codes; see `search`."""
        (found,) = self._search_each(query[np.newaxis], k, ef_search)
        return found

    def _search_each(self, queries: Floats, k: int, ef_search: int) -> list[tuple[Ids, Floats]]:
        """The same for each of some queries: in one call, FAISS clears its list of visited nodes once."""
        k = min(k, self.count)
        parameters = faiss.SearchParametersHNSW(efSearch=max(ef_search, k))
        return [_ordered(*found) for found in zip(*self._index.search(queries, k, params=parameters), strict=True)]

    def _rescored(self, query: Floats, rows: Ids, cosines: Floats, k: int) -> tuple[Ids, Floats]:
        """The `k` nearest of some rows, by the cosines of their embeddings if those of their codes of 8 bits are given."""
        if self.precision is Precision.INT8:
            # The sum of a row is the same in any selection of rows, unlike that of a product of matrices.
            rows, cosines = _ordered(np.vecdot(self.vectors[rows], query), rows)
        return rows[:k], cosines[:k]

    def _search_graph(self, query: Floats, k: int, allowed: IdSet, ef_search: int) -> tuple[Ids, Floats] | None:
        """The `k` nearest allowed rows, by graph searches; None: comparing all allowed rows takes less time.

        A search of the breadth b yields the b nearest rows. If k of them are allowed, they are the k nearest that are
        allowed. If few are allowed, a narrow search comes first, because their share near the query may differ.
        """
        if allowed.count >= NEARLY_ALL * self.count:
            needed = math.ceil(SPARE * k * self.count / max(allowed.count, 1))
            breadth = max(ef_search, needed)
            if breadth * SCANNED < allowed.count:
                rows, cosines = self._search(query, breadth, breadth)
                ranks = np.flatnonzero(allowed.mask[rows[:needed]])[:k]
                if len(ranks) == k:  # no fewer are allowed near the query than elsewhere
                    return rows[ranks], cosines[ranks]
        breadth = max(ef_search, math.ceil(BREADTH * k * self.count / max(allowed.count, 1)))
        if breadth > 2 * ef_search:
            breadth = ef_search
        while breadth * SCANNED < allowed.count:
            rows, cosines = self._search(query, breadth, breadth)
            ranks = np.flatnonzero(allowed.mask[rows])
            if len(ranks) >= k and LEAST_BREADTH * ranks[k - 1] < breadth:
                return rows[ranks[:k]], cosines[ranks[:k]]
            breadth = max(2 * breadth, math.ceil(BREADTH * k * breadth / max(len(ranks), 1)))
        return None

    @property
    def edges(self) -> int:
        """Edges per node (M)."""
        return int(self._index.hnsw.nb_neighbors(1))

    def check(self, rows: Sequence[int], *, ef_search: int) -> None:
        """Search for stored embeddings. At least half of them must be found: a graph search is approximate.

        Raises:
            CatalogError: a stored embedding is not of unit length, or too few of them are found.
        """
        hits = 0
        for row in rows:
            vector = np.array(self.vectors[row])
            if not abs(float(np.linalg.norm(vector)) - 1) < 1e-3:  # NaN compares false
                raise CatalogError(f"{self.path}: damaged: the stored embedding {row} is not of unit length")
            _, scores = self.search(vector, 1, ef_search=ef_search)
            hits += bool(len(scores)) and bool(scores[0] > 0.999)  # another row with the same vector counts, too
        if hits < len(rows) // 2:
            raise CatalogError(f"{self.path}: damaged: a search finds only {hits} of {len(rows)} stored embeddings")


@dataclass(frozen=True, slots=True)
class HnswSource:
    """Finds candidates in a mapped index. An id is the number of a vector, in the index and in the patches."""

    index: VectorIndex
    patches: Patches | PackedPatches | None
    """(count, cells, channels) int8, mapped; None: the catalog cannot re-rank."""
    row_map: RowMap
    """The rows of the catalog's metadata with each vector."""
    ef_search: int
    """Breadth of the graph search."""

    def candidates(self, description: Description, k: int, allowed: IdSet | None = None) -> Candidates:
        """The approximate `k` nearest vectors of the index; of the allowed ones, the exact `k` nearest if they are few."""
        patches = None if description.patches is None else self.patches
        vectors, cosines, exact = self.index.search_allowed(description.embedding, k, allowed, ef_search=self.ef_search)
        return gather(vectors, cosines, self.index.vectors, patches, exact=exact)

    def compare(self, description: Description, vectors: Ids) -> Candidates:
        """Given vectors as candidates, with the exact cosines, in the given order."""
        patches = None if description.patches is None else self.patches
        cosines = np.clip(self.index.vectors[vectors] @ description.embedding, -1, 1)
        return gather(vectors, cosines, self.index.vectors, patches)

    def embeddings(self, vectors: Ids) -> Floats:
        """The embeddings of given vectors, (n, dimension) float32."""
        return self.index.vectors[vectors]

    def stored(self, vectors: Ids) -> tuple[Floats, Patches | None]:
        """The embeddings and the patches of given vectors."""
        return self.embeddings(vectors), None if self.patches is None else self.patches[vectors]


def _ordered(scores: Floats, ids: Ids) -> tuple[Ids, Floats]:
    """The rows of one FAISS search and their cosines, nearest first. Ties are ordered by row, the same in all workers."""
    valid = ids >= 0  # FAISS pads with -1 if it finds fewer rows
    rows, cosines = ids[valid], np.clip(scores[valid], -1.0, 1.0)
    order = np.lexsort((rows, -cosines))
    return rows[order], cosines[order]


def _check_layout(path: Path) -> None:
    """Check the array lengths in an index file, because FAISS allocates memory for some arrays before it reads them.

    FAISS itself checks the content of the arrays (neighbours, offsets, levels).

    Raises:
        CatalogError: a length contradicts the size of the file, or the file is not an HNSW index over inner products.
    """
    try:
        with path.open("rb") as file:
            reason = _layout_fault(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror})") from None
    except struct.error:
        reason = "damaged: truncated header"
    if reason is not None:
        raise CatalogError(f"{path}: {reason}")


def _layout_fault(file: BinaryIO, size: int) -> str | None:
    """The reason why the layout of an index file is not valid; None if it is valid."""
    magic = file.read(4)
    dimension, count, *_, metric = _take(file, _HEADER)
    if magic not in _STORAGE or metric != faiss.METRIC_INNER_PRODUCT:
        return "not an HNSW index over inner products"
    for name, item_bytes in _GRAPH:
        (length,) = _take(file, "<Q")
        if length * item_bytes > size - file.tell() or (name == "levels" and length != count):
            return f"damaged: {length} {name} for {count} rows in a file of {size} bytes"
        file.seek(length * item_bytes, os.SEEK_CUR)
    _take(file, _SEARCH)
    (storage,) = _take(file, "<4s")
    if storage != _STORAGE[magic]:
        return (
            f"its embeddings are stored as FAISS type {storage.decode('latin-1')!r}; only {_STORAGE[magic].decode()!r} "
            "can be read; build the catalog again"
        )
    stored_dimension, stored_count, *_ = _take(file, _HEADER)
    numbers, number_bytes = (dimension, 4) if storage == _FLAT else (_code_bytes(file, dimension), 1)
    (length,) = _take(file, "<Q")
    if (stored_dimension, stored_count) != (dimension, count):
        return "damaged: its graph and its embeddings have different sizes"
    if not numbers * count == length > 0 or file.tell() + number_bytes * length != size:
        return f"damaged: {length} numbers for {count} embeddings of {dimension} dimensions in a file of {size} bytes"
    return None


def _code_bytes(file: BinaryIO, dimension: int) -> int:
    """The size of a code, after the description of all codes is read; 0: it is not one of codes that can be read."""
    kind, _, _, code_dimension, code_bytes, trained = _take(file, _QUANTIZER)
    _, bytes_each, trained_each = _QUANTIZED.get(kind, (None, 0, 0))
    if (code_dimension, code_bytes, trained) != (dimension, bytes_each * dimension, trained_each * dimension):
        return 0
    file.seek(4 * trained, os.SEEK_CUR)
    return int(code_bytes)


def _take(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


class _Stored:
    """Array interface to the vectors of an index. The array holds a reference to it, and it keeps the index alive."""

    def __init__(self, index: Any, address: int, dtype: type[np.generic]) -> None:  # noqa: ANN401 - faiss ships no types
        self._index = index
        self.__array_interface__ = {
            "version": 3,
            "data": (address, True),
            "shape": (int(index.ntotal), int(index.d)),
            "typestr": np.dtype(dtype).str,
        }


def stored_vectors(index: Any) -> Floats:  # noqa: ANN401 - faiss ships no types
    """The vectors in an `IndexHNSWFlat`, (ntotal, d) float32, as a read-only view. Adding vectors invalidates it."""
    return np.asarray(_Stored(index, int(faiss.downcast_index(index.storage).get_xb()), np.float32))


def stored_halves(index: Any) -> Halves:  # noqa: ANN401 - faiss ships no types
    """The codes in an `IndexHNSWSQ` of float16, (ntotal, d); otherwise as `stored_vectors`."""
    return np.asarray(_Stored(index, int(faiss.downcast_index(index.storage).codes.data()), np.float16))
