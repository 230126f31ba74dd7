"""Construction of an HNSW index, and measurement of its recall against exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from logo_similarity.embed.describe import Floats
from logo_similarity.errors import BuildError
from logo_similarity.search.hnsw import VectorIndex

ADD_ROWS = 8_192
TIE = 1e-6
"""Scores that differ by less are a tie: either row may be one of the `k` answers."""
EF_SEARCHES = (100, 128, 160, 192, 256, 320, 384, 512, 768)


@dataclass(frozen=True, slots=True)
class Probe:
    """How the recall of a new index is measured."""

    k: int = 100
    queries: int = 500
    """Number of rows used as queries, at most a tenth of all rows; with fewer than ten rows, all rows are queries."""
    ef_searches: tuple[int, ...] = EF_SEARCHES
    """Breadths of the graph search, ascending."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall at `k` of a graph search of a given breadth."""

    ef_search: int
    k: int
    queries: int
    """Number of queries."""
    value: float
    """Share of the exact answers that are found, 0 to 1."""


def build_hnsw(
    vectors: Floats,
    path: Path,
    *,
    m: int,
    ef_construction: int,
    threads: int,
    probe: Probe | None = None,
    on_rows: Callable[[int], None] = lambda _: None,
) -> tuple[Recall, ...]:
    """Write an HNSW index over `vectors` to `path` and measure its recall; row i of the index is row i of `vectors`.

    The last rows serve as queries before they are added, like new filings that are compared with an older register. A
    row of the graph would find its neighbours more easily, because they have edges to it.

    Args:
        vectors: (n, d) float32, unit length (checked).
        path: file to write.
        m: edges per node (twice as many on the bottom layer).
        ef_construction: breadth of the graph search when a node is added.
        threads: OpenMP threads.
        probe: how the recall is measured.
        on_rows: called with the number of rows added so far.

    Returns:
        The recall at each breadth.

    Raises:
        BuildError: a vector is not of unit length, or the file cannot be written.
    """
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(vectors.shape[1], m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ef_construction

    def add(first: int, last: int) -> None:
        for start in range(first, last, ADD_ROWS):
            rows = np.ascontiguousarray(vectors[start : min(start + ADD_ROWS, last)])
            check_unit_length(rows, start)
            index.add(rows)
            on_rows(start + len(rows))

    probe = probe or Probe()
    held_out = min(probe.queries, len(vectors) // 10)
    first_query = len(vectors) - held_out
    add(0, first_query)
    queries = np.ascontiguousarray(vectors[first_query:] if held_out else vectors)
    check_unit_length(queries, first_query if held_out else 0)
    curve = measure_recall(VectorIndex(index, path), queries, k=probe.k, ef_searches=probe.ef_searches, threads=threads)
    add(first_query, len(vectors))
    try:
        # If FAISS opens the file itself, it does not report a disk that fills up with the last buffered bytes.
        with path.open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[-1]
        raise BuildError(f"{path}: cannot be written: {reason}; is the disk full?") from None
    return curve


def check_unit_length(vectors: Floats, first_row: int = 0) -> None:
    """Raise BuildError, naming the row, if a vector is not finite or its length differs from 1 by 1e-3 or more.

    Args:
        vectors: (n, d) float32.
        first_row: number of the first row, for the message.
    """
    invalid = ~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3)  # NaN compares false
    if invalid.any():
        raise BuildError(
            f"embedding {first_row + int(np.argmax(invalid))} is not of unit length; check the encoder that computed it"
        )


def measure_recall(
    index: VectorIndex, queries: Floats, *, k: int, ef_searches: Sequence[int], threads: int
) -> tuple[Recall, ...]:
    """Recall at `k` against exact search, for each breadth.

    A row counts as an answer if its score reaches the k-th exact score, so that tied duplicates may replace each other.

    Args:
        index: searched one query at a time, as a service does.
        queries: (n, d) float32, unit length.
        k: number of answers; all rows if the index has fewer.
        ef_searches: breadths of the graph search.
        threads: OpenMP threads of the exact search.
    """
    k = min(k, index.count)
    faiss.omp_set_num_threads(threads)
    exact_scores, _ = faiss.knn(queries, index.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    floors = exact_scores[:, -1] - TIE

    def share(ef_search: int) -> float:
        hits = sum(
            int(np.count_nonzero(index.search(query, k, ef_search=ef_search)[1] >= floor))
            for query, floor in zip(queries, floors, strict=True)
        )
        return hits / (len(queries) * k)

    return tuple(Recall(ef_search, k, len(queries), share(ef_search)) for ef_search in ef_searches)


def choose_ef_search(curve: Sequence[Recall], target: float) -> Recall:
    """The recall at the smallest breadth that reaches the target; if none does, the highest recall."""
    return next((recall for recall in curve if recall.value >= target), max(curve, key=lambda recall: recall.value))
