"""The search stage alone on registers of several sizes: one thread, k = 100, the breadth chosen by the build, page cache warm.

The queries are synthetic logos that are in no register, the same for all sizes. It checks recall@100 against exact search,
ties allowed.

    python -m benchmarks.search_stage [LOGOS ...]
"""

from __future__ import annotations

import json
import os
import sys
import time

import faiss
import numpy as np

from benchmarks.machine import write_result
from benchmarks.make_register import grow, register_catalog, sample_catalog
from logo_similarity.catalog.files import read_ahead
from logo_similarity.catalog.manifest import INDEX, read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.search.build import measure_recall
from logo_similarity.search.hnsw import VectorIndex

QUERIES, ROUNDS, K = 500, 3, 100
LEAST_RECALL = 0.98
SIZES = (100_000, 770_000)


def measure(sizes: tuple[int, ...] = SIZES) -> dict[str, object]:
    """Measure one size after another."""
    samples = VectorIndex.open(Catalog(sample_catalog()).current() / INDEX).vectors
    queries, _ = grow(np.array(samples), QUERIES, np.random.default_rng(7))
    figures: dict[str, dict[str, float]] = {}
    everywhere = os.sched_getaffinity(0)
    for size in sizes:
        folder = Catalog(register_catalog(size)).current()
        ef_search = read_manifest(folder).index.ef_search
        read_ahead(folder / INDEX)
        index = VectorIndex.open(folder / INDEX)
        (recall,) = measure_recall(index, queries, k=K, ef_searches=(ef_search,), threads=usable_cores())
        if recall.value < LEAST_RECALL:
            raise ValueError(f"{size} logos: recall@100 is {recall.value}")
        faiss.omp_set_num_threads(1)
        os.sched_setaffinity(0, {max(everywhere)})
        times = []
        for _ in range(ROUNDS):
            for query in queries:
                started = time.perf_counter()
                index.search(query, K, ef_search=ef_search)
                times.append(1000 * (time.perf_counter() - started))
        os.sched_setaffinity(0, everywhere)
        p50, p99 = np.percentile(times[QUERIES:], (50, 99))  # the first round warms the processor's caches
        figures[str(size)] = {
            "ef_search": ef_search,
            "recall_at_100": round(recall.value, 4),
            "p50_ms": round(float(p50), 3),
            "p99_ms": round(float(p99), 3),
        }
    first, last = figures[str(sizes[0])], figures[str(sizes[-1])]
    growth = {"p50_last_over_first": round(last["p50_ms"] / first["p50_ms"], 3)}
    return write_result("search_stage", {"k": K, "sizes": figures, **growth})


if __name__ == "__main__":
    print(json.dumps(measure(tuple(map(int, sys.argv[1:])) or SIZES), indent=2))
