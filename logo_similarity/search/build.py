"""Making the HNSW index, and measuring what it finds against exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from logo_similarity.errors import BuildError
from logo_similarity.search.index import FloatArray, VectorIndex

ADD_ROWS = 8_192
# Two scores closer than this are a tie: which of the two rows is among the k is then no loss.
TIE = 1e-6


def build_hnsw(
    vectors: FloatArray,
    path: Path,
    *,
    m: int,
    ef_construction: int,
    threads: int,
    on_rows: Callable[[int], None] = lambda _: None,
) -> None:
    """Write an HNSW index over `vectors` to `path`; row i of the index is row i of `vectors`.

    With one thread the file depends on the vectors alone; with more, the order in which they link the graph leaves its
    mark on the edges (never on the vectors).

    Args:
        vectors: (n, d) float32, unit length (checked).
        path: the file to write.
        m: edges per node (twice that on the ground layer).
        ef_construction: breadth of the search for them.
        threads: OpenMP threads.
        on_rows: gets the number of rows added so far.

    Raises:
        BuildError: a vector is not of unit length.
    """
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(vectors.shape[1], m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ef_construction
    for start in range(0, len(vectors), ADD_ROWS):
        rows = np.ascontiguousarray(vectors[start : start + ADD_ROWS])
        check_unit_length(rows, start)
        index.add(rows)
        on_rows(start + len(rows))
    faiss.write_index(index, str(path))


def check_unit_length(vectors: FloatArray, first_row: int = 0) -> None:
    """Raise BuildError, naming the row, where a vector is not finite and of length 1 (to 1e-3)."""
    off = ~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3)  # NaN compares false, so it counts as off
    if off.any():
        raise BuildError(f"embedding {first_row + int(np.argmax(off))} is not of unit length: the encoder is at fault")


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the exact answers that a search of a given breadth finds (0 to 1), over so many queries of k answers."""

    ef_search: int
    k: int
    queries: int
    value: float


def measure_recall(
    index: VectorIndex, *, k: int, queries: int, ef_searches: Sequence[int], target: float, threads: int
) -> Recall:
    """Recall at `k` against exact search: of the first breadth in `ef_searches` that reaches `target`, else of the last.

    Rows sampled with a fixed seed ask for their neighbours. A found row counts when its score reaches the k-th exact
    score, so that duplicates (which tie) may stand in for each other.
    """
    k = min(k, index.count)
    sample = np.sort(np.random.default_rng(0).choice(index.count, size=min(queries, index.count), replace=False))
    asked = np.ascontiguousarray(index.vectors[sample])
    faiss.omp_set_num_threads(threads)
    exact_scores, _ = faiss.knn(asked, index.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    floors = exact_scores[:, -1] - TIE
    for ef_search in ef_searches:
        found = sum(
            int(np.count_nonzero(index.search(query, k, ef_search=ef_search)[1] >= floor))
            for query, floor in zip(asked, floors, strict=True)
        )
        recall = Recall(ef_search, k, len(sample), found / (len(sample) * k))
        if recall.value >= target:
            break
    return recall
