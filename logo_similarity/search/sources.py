"""The interfaces to the vectors of a segment, which hide whether they are mapped files or a collection of a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.search.candidates import Candidates, CandidateSource, Ids, IdSet
from logo_similarity.search.rows import RowMap


class StoredRows(Protocol):
    """The rows of an array that may be stored elsewhere: a NumPy array, or what fetches rows from a server."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        ...

    def __getitem__(self, ids: Ids, /) -> Any:  # noqa: ANN401 - an array of these rows
        """The rows with these numbers, in this order."""
        ...


def all_rows(stored: StoredRows) -> NDArray[Any]:
    """All rows of an array; of one in memory or in a mapped file, the array itself."""
    return stored if isinstance(stored, np.ndarray) else np.asarray(stored[np.arange(stored.shape[0])])


class SearchIndex(Protocol):
    """Unit vectors that are searched by their cosines. Safe to search from many threads at once."""

    @property
    def count(self) -> int:
        """Number of vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Number of dimensions of each."""
        ...

    @property
    def vectors(self) -> StoredRows:
        """(count, dimension) float32."""
        ...

    def search(self, query: Floats, k: int, *, ef_search: int) -> tuple[Ids, Floats]:
        """The approximate `k` nearest vectors and their cosines, nearest first; see `hnsw.VectorIndex.search`."""
        ...

    def search_allowed(
        self, query: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> tuple[Ids, Floats, bool]:
        """The `k` nearest allowed vectors, their cosines, and whether they are exact; None: all are allowed."""
        ...

    def search_each(
        self, queries: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> list[tuple[Ids, Floats, bool]]:
        """The same as `search_allowed` for each of some queries, (n, dimension) float32."""
        ...

    def check(self, rows: Sequence[int], *, ef_search: int) -> None:
        """Search for stored vectors. Raises CatalogError if they are damaged or too few are found."""
        ...


class SegmentSource(CandidateSource, Protocol):
    """The images of a segment: finds candidates among them. An id is the number of a vector."""

    @property
    def index(self) -> SearchIndex:
        """Their embeddings."""
        ...

    @property
    def patches(self) -> StoredRows | None:
        """(count, cells, channels) int8; None: the segment cannot re-rank."""
        ...

    @property
    def row_map(self) -> RowMap:
        """The rows of the segment's metadata with each vector."""
        ...

    @property
    def ef_search(self) -> int:
        """Breadth of the graph search."""
        ...

    def compare(self, description: Description, vectors: Ids) -> Candidates:
        """Given vectors as candidates, with the exact cosines, in the given order."""
        ...

    def embeddings(self, vectors: Ids) -> Floats:
        """The embeddings of given vectors, (n, dimension) float32."""
        ...

    def stored(self, vectors: Ids) -> tuple[Floats, Patches | None]:
        """The embeddings and the patches of given vectors."""
        ...
