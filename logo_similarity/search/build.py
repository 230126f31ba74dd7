"""Making the HNSW index, and measuring what it finds against exact search."""

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
# Two scores closer than this are a tie: which of the two rows is among the k is then no loss.
TIE = 1e-6
EF_SEARCHES = (100, 128, 160, 192, 256, 320, 384, 512, 768)


@dataclass(frozen=True, slots=True)
class Probe:
    """How the recall of a new index is measured."""

    k: int = 100
    queries: int = 500
    """How many rows ask; a tenth of all at most, and where that is none, all of them, after they were added."""
    ef_searches: tuple[int, ...] = EF_SEARCHES
    """Breadths of search, rising."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the exact answers that a search of a given breadth finds (0 to 1), over so many queries of k answers."""

    ef_search: int
    k: int
    queries: int
    value: float


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
    """Write an HNSW index over `vectors` to `path`, and measure what it finds; row i of the index is row i of `vectors`.

    The last rows ask for their neighbours before they are added, as new filings ask an older register: a row that is in the
    graph would stand where its neighbours' edges lead, and find them more easily than a stranger does.

    Args:
        vectors: (n, d) float32, unit length (checked).
        path: the file to write.
        m: edges per node (twice that on the ground layer).
        ef_construction: breadth of the search for them.
        threads: OpenMP threads.
        probe: how recall is measured.
        on_rows: gets the number of rows added so far.

    Returns:
        The recall at each breadth.

    Raises:
        BuildError: a vector is not of unit length, or the file can't be written.
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
    held = min(probe.queries, len(vectors) // 10)
    known = len(vectors) - held
    add(0, known)
    asked = np.ascontiguousarray(vectors[known:] if held else vectors)
    check_unit_length(asked, known if held else 0)
    found = measure_recall(VectorIndex(index, path), asked, k=probe.k, ef_searches=probe.ef_searches, threads=threads)
    add(known, len(vectors))
    try:
        # Given the path, FAISS would not notice on a full disk that its last few kilobytes were not written.
        with path.open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[-1]
        raise BuildError(f"{path}: cannot be written: {reason}; is the disk full?") from None
    return found


def check_unit_length(vectors: Floats, first_row: int = 0) -> None:
    """Raise BuildError, naming the row, where a vector is not finite and of length 1 (to 1e-3)."""
    off = ~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3)  # NaN compares false, so it counts as off
    if off.any():
        raise BuildError(f"embedding {first_row + int(np.argmax(off))} is not of unit length: the encoder is at fault")


def measure_recall(
    index: VectorIndex, asked: Floats, *, k: int, ef_searches: Sequence[int], threads: int
) -> tuple[Recall, ...]:
    """Recall at `k` against exact search, for each breadth.

    A found row counts when its score reaches the k-th exact score, so that duplicates (which tie) may stand in for each
    other.

    Args:
        index: searched one query at a time, as it is when it serves.
        asked: (queries, d) float32, unit length.
        k: how many answers, all rows at most.
        ef_searches: the breadths.
        threads: of the exact search.
    """
    k = min(k, index.count)
    faiss.omp_set_num_threads(threads)
    exact_scores, _ = faiss.knn(asked, index.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    floors = exact_scores[:, -1] - TIE

    def share(ef_search: int) -> float:
        found = sum(
            int(np.count_nonzero(index.search(query, k, ef_search=ef_search)[1] >= floor))
            for query, floor in zip(asked, floors, strict=True)
        )
        return found / (len(asked) * k)

    return tuple(Recall(ef_search, k, len(asked), share(ef_search)) for ef_search in ef_searches)


def choose_ef_search(curve: Sequence[Recall], target: float) -> Recall:
    """The smallest breadth that reaches the target; the one that finds most where none does."""
    return next((recall for recall in curve if recall.value >= target), max(curve, key=lambda recall: recall.value))
