"""Construction of an HNSW index, and measurement of its recall against exact search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from logo_similarity.embed.describe import Floats
from logo_similarity.errors import BuildError
from logo_similarity.precision import Precision
from logo_similarity.search.candidates import Ids
from logo_similarity.search.halves import Halves
from logo_similarity.search.hnsw import VectorIndex
from logo_similarity.search.sources import SearchIndex, all_rows

ADD_ROWS = 8_192
SEED = 0
"""Of the random vectors that a new index is checked with."""
TIE = 1e-6
"""Scores that differ by less are a tie: either row may be one of the `k` answers."""
EF_SEARCHES = (100, 128, 160, 192, 256, 320, 384, 512, 768, 1024, 1536)


@dataclass(frozen=True, slots=True)
class Probe:
    """How the recall of a new index is measured."""

    k: int = 100
    queries: int = 500
    """Number of held-out vectors, at most a tenth of all, and number of random vectors of the index, at most all."""
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


@dataclass(frozen=True, slots=True)
class IndexRecall(Recall):
    """The recall of a new index at one breadth."""

    self_found: float
    """Share of random vectors of the index that a search for them finds, 0 to 1."""


def build_hnsw(
    vectors: Floats,
    path: Path,
    *,
    m: int,
    ef_construction: int,
    threads: int,
    precision: Precision = Precision.FLOAT32,
    halves: Halves | None = None,
    probe: Probe | None = None,
    on_rows: Callable[[int], None] = lambda _: None,
) -> tuple[IndexRecall, ...]:
    """Write an HNSW index over `vectors` to `path` and measure its recall; row i of the index is row i of `vectors`.

    The recall is measured twice, and the lower one counts. The last rows serve as queries before they are added, like
    new filings that are compared with an older register: a row of the graph finds its neighbours more easily, because
    they have edges to it. Then random rows of the complete graph serve as queries, because the last ones may resemble
    each other. Each of them must also find itself.

    Args:
        vectors: (n, d) float32, unit length (checked), all different; as `halves.rounded` to the precision.
        path: file to write.
        m: edges per node (twice as many on the bottom layer).
        ef_construction: breadth of the graph search when a node is added.
        threads: OpenMP threads.
        precision: how the vectors are stored.
        halves: (n, d) float16: the vectors, if `precision` is `INT8`.
        probe: how the recall is measured.
        on_rows: called with the number of rows added so far.

    Returns:
        The recall at each breadth.

    Raises:
        BuildError: a vector is not of unit length, or the file cannot be written.
    """
    faiss.omp_set_num_threads(threads)
    index = _empty_index(vectors, m, precision)
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
    queries = np.ascontiguousarray(vectors[first_query:])
    check_unit_length(queries, first_query)
    held_out_curve = (
        tuple(
            recall
            for recall, _ in _measure(VectorIndex(index, path, halves), vectors[:first_query], queries, probe, threads)
        )
        if held_out
        else ()
    )
    add(first_query, len(vectors))
    try:
        # If FAISS opens the file itself, it does not report a disk that fills up with the last buffered bytes.
        with path.open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[-1]
        raise BuildError(f"{path}: cannot be written: {reason}; is the disk full?") from None
    complete = VectorIndex(index, path, halves)
    curve = tuple(measure_random_rows(complete, vectors, probe, threads))
    return tuple(
        replace(point, k=held_out_point.k, queries=held_out_point.queries, value=held_out_point.value)
        if held_out_point.value <= point.value
        else point
        for point, held_out_point in zip(curve, held_out_curve or curve, strict=True)
    )


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
    index: SearchIndex, queries: Floats, *, k: int, ef_searches: Sequence[int], threads: int
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
    probe = Probe(k, len(queries), tuple(ef_searches))
    points = _measure(index, all_rows(index.vectors), queries, probe, threads)
    return tuple(recall for recall, _ in points)


def _empty_index(vectors: Floats, m: int, precision: Precision) -> Any:  # noqa: ANN401 - faiss ships no types
    """An index without vectors, whose codes are trained for these."""
    dimension, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    if precision is Precision.FLOAT32:
        return faiss.IndexHNSWFlat(dimension, m, metric)
    kinds = {Precision.FLOAT16: faiss.ScalarQuantizer.QT_fp16, Precision.INT8: faiss.ScalarQuantizer.QT_8bit}
    index = faiss.IndexHNSWSQ(dimension, kinds[precision], m, metric)
    # The codes of 8 bits need the least and the largest number of each dimension: two vectors have them.
    index.train(np.stack((vectors.min(axis=0), vectors.max(axis=0))))
    return index


def measure_random_rows(index: SearchIndex, vectors: Floats, probe: Probe, threads: int) -> Iterator[IndexRecall]:
    """The recall of random rows of an index, and the share of them that find themselves, at one breadth after the other.

    Args:
        index: is searched.
        vectors: (n, d) float32: its vectors.
        probe: how the recall is measured.
        threads: OpenMP threads of the exact search.
    """
    random = np.random.default_rng(SEED)
    rows = np.sort(random.choice(index.count, min(probe.queries, index.count), replace=False))
    queries = np.ascontiguousarray(vectors[rows])
    for recall, answers in _measure(index, vectors, queries, probe, threads):
        self_found = float(np.mean(list(map(np.isin, rows, answers))))
        yield IndexRecall(recall.ef_search, recall.k, recall.queries, recall.value, self_found)


def _measure(
    index: SearchIndex, vectors: Floats, queries: Floats, probe: Probe, threads: int
) -> Iterator[tuple[Recall, list[Ids]]]:
    """For each breadth: the recall as of `measure_recall`, and the rows that each query finds."""
    k = min(probe.k, index.count)
    faiss.omp_set_num_threads(threads)
    exact_scores, _ = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    floors = exact_scores[:, -1] - TIE
    for ef_search in probe.ef_searches:
        answers = [index.search(query, k, ef_search=ef_search) for query in queries]
        hits = sum(int(np.count_nonzero(scores >= floor)) for (_, scores), floor in zip(answers, floors, strict=True))
        yield Recall(ef_search, k, len(queries), hits / (len(queries) * k)), [rows for rows, _ in answers]


def choose_ef_search(curve: Sequence[IndexRecall], target: float, self_floor: float) -> IndexRecall:
    """The smallest breadth that reaches the target and the floor of self-finding; if none does, the highest recall."""
    return next(
        (recall for recall in curve if recall.value >= target and recall.self_found >= self_floor),
        max(curve, key=lambda recall: (recall.value, recall.self_found)),
    )
