"""The time and recall of a graph search past hidden vectors, and of the search that a filter takes.

    python -m benchmarks.hidden

Prints milliseconds of one core and the recall of the 100 nearest visible vectors. "past" is `VectorIndex.search_allowed`
as it is, "careful" without its way for nearly all vectors, "scan" the comparison of all visible vectors.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import faiss
import numpy as np

from logo_similarity.embed.describe import Floats
from logo_similarity.search import hnsw
from logo_similarity.search.build import Probe, build_hnsw
from logo_similarity.search.candidates import Ids, IdSet
from logo_similarity.search.hnsw import VectorIndex

VECTORS, DIMENSIONS, CLUSTERS, QUERIES = 20_000, 128, 400, 200
K, EF_SEARCH = 100, 100
SHARES = (0.001, 0.01, 0.05, 0.1, 0.3)


def main() -> None:
    """Run the program."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLUSTERS, DIMENSIONS))
    vectors = centres[random.integers(0, CLUSTERS, VECTORS)] + 0.9 * random.normal(size=(VECTORS, DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = vectors[random.choice(VECTORS, QUERIES, replace=False)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.faiss"
        build_hnsw(
            vectors, path, m=32, ef_construction=100, threads=2, probe=Probe(queries=10, ef_searches=(EF_SEARCH,))
        )
        index = VectorIndex.open(path)
        faiss.omp_set_num_threads(1)
        for share in SHARES:
            allowed = IdSet.of(random.random(VECTORS) >= share)

            def scan(query: Floats, allowed: IdSet = allowed) -> Ids:
                return index.scan(query, allowed.ids, K)[0]

            def search(query: Floats, allowed: IdSet = allowed) -> Ids:
                return index.search_allowed(query, K, allowed, ef_search=EF_SEARCH)[0]

            exact, scan_ms = _measure(queries, scan)
            past, past_ms = _measure(queries, search)
            with patch.object(hnsw, "NEARLY_ALL", 2):
                careful, careful_ms = _measure(queries, search)
            print(
                f"{share:.1%} hidden: past {past_ms:.2f} ms, {_recall(past, exact):.4f}; careful {careful_ms:.2f} ms, "
                f"{_recall(careful, exact):.4f}; scan {scan_ms:.2f} ms"
            )


def _measure(queries: Floats, search: Callable[[Floats], Ids]) -> tuple[list[Ids], float]:
    started = time.thread_time()
    answers = [search(query) for query in queries]
    return answers, 1000 * (time.thread_time() - started) / len(queries)


def _recall(answers: list[Ids], exact: list[Ids]) -> float:
    return float(np.mean([len(np.intersect1d(*pair)) / K for pair in zip(answers, exact, strict=True)]))


if __name__ == "__main__":
    main()
