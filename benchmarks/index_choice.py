"""Comparison of indexes: HNSW over float32, float16 and 8-bit codes, other graphs, usearch and hnswlib.

One thread on one core, k = 100, one query at a time. The queries are synthetic logos that are in no index, and recall is
measured against exact search, ties allowed. Each index is measured at rising breadths of search; the figure to compare is the
time at the first breadth that reaches a recall@100 of 0.99. `faiss hnsw32 float32` is the project's `VectorIndex` on the
catalog's mapped file, as the service searches it.

    python -m benchmarks.index_choice [LOGOS] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

import faiss
import numpy as np

from benchmarks.exact import Exact
from benchmarks.machine import write_result
from benchmarks.make_register import grow, register_catalog, sample_catalog
from benchmarks.peer_indexes import K, Search, build_hnswlib, build_usearch, hnswlib_search, usearch_search
from logo_similarity.catalog.manifest import INDEX
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids
from logo_similarity.search.hnsw import VectorIndex

QUERIES, TARGET = 500, 0.99
EF_SEARCHES = (64, 100, 128, 160, 192, 224, 256, 320, 384, 512, 768)
SHORT = ["faiss hnsw32 float32", "usearch float32", "hnswlib float32"]
"""The indexes that `make bench` compares."""


def measure(logos: int = 100_000, only: list[str] | None = None) -> dict[str, object]:
    """Build and measure the indexes one after the other."""
    mapped = VectorIndex.open(Catalog(register_catalog(logos)).current() / INDEX)
    vectors = mapped.vectors[:]
    samples = VectorIndex.open(Catalog(sample_catalog()).current() / INDEX).vectors
    queries, _ = grow(np.array(samples), QUERIES, np.random.default_rng((7, logos)))
    exact = Exact.of(vectors, queries, K)
    figures: dict[str, object] = {}
    for name, make in MAKERS.items():
        if only and name not in only:
            continue
        started = time.perf_counter()
        search, size = make(vectors, mapped)
        seconds = time.perf_counter() - started
        figures[name] = {
            "build_seconds": round(seconds, 1),
            "bytes_a_vector": round(size / logos),
            **_at_target(search, exact),
        }
        print(name, json.dumps(figures[name]), flush=True)
        del search
    return write_result(f"index_choice_{logos}", {"logos": logos, "k": K, "recall_target": TARGET, "indexes": figures})


def _at_target(search: Search, exact: Exact) -> dict[str, object]:
    """The curve of recall and time up to the target, and the times there."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(everywhere)})
    faiss.omp_set_num_threads(1)
    curve = []
    try:
        for breadth in EF_SEARCHES:
            times, answers = [], []
            for query in exact.queries:
                started = time.perf_counter()
                answers.append(search(query, breadth))
                times.append(1000 * (time.perf_counter() - started))
            p50, p99 = np.percentile(times, (50, 99))
            recall = exact.recall(answers)
            curve.append(
                {"ef_search": breadth, "recall": round(recall, 4), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3)}
            )
            if recall >= TARGET:
                break
    finally:
        os.sched_setaffinity(0, everywhere)
    reached = curve[-1] if curve[-1]["recall"] >= TARGET else None
    return {"at_target": reached, "curve": curve}


def _own(_vectors: Floats, mapped: VectorIndex) -> tuple[Search, int]:
    return lambda query, breadth: mapped.search(query, K, ef_search=breadth)[0], _file_bytes(mapped)


def _file_bytes(mapped: VectorIndex) -> int:
    return mapped.path.stat().st_size


def _with_codes(kind: int, code_bytes: int) -> Callable[[Floats, VectorIndex], tuple[Search, int]]:
    """The catalog's graph over other codes of the same vectors; the best 3 k are scored again with float32."""

    def make(vectors: Floats, mapped: VectorIndex) -> tuple[Search, int]:
        whole = faiss.read_index(str(mapped.path))  # a private copy: its graph is moved
        index = faiss.IndexHNSWSQ(vectors.shape[1], kind, 32, faiss.METRIC_INNER_PRODUCT)
        storage = faiss.downcast_index(index.storage)
        storage.train(vectors[:100_000])
        storage.add(vectors)
        index.hnsw = whole.hnsw
        index.ntotal, index.is_trained = whole.ntotal, True

        def search(query: Floats, breadth: int) -> Ids:
            parameters = faiss.SearchParametersHNSW(efSearch=breadth)
            _, candidates = index.search(query[np.newaxis], min(breadth, 3 * K), params=parameters)
            rows = candidates[0][candidates[0] >= 0]
            return np.asarray(rows[np.argsort(-(vectors[rows] @ query))[:K]])

        return search, _file_bytes(mapped) - len(vectors) * vectors.shape[1] * (4 - code_bytes)

    return make


def _graph(m: int, ef_construction: int) -> Callable[[Floats, VectorIndex], tuple[Search, int]]:
    """Another HNSW graph of faiss."""

    def make(vectors: Floats, _mapped: VectorIndex) -> tuple[Search, int]:
        faiss.omp_set_num_threads(usable_cores())
        index = faiss.IndexHNSWFlat(vectors.shape[1], m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = ef_construction
        index.add(vectors)

        def search(query: Floats, breadth: int) -> Ids:
            rows = index.search(query[np.newaxis], K, params=faiss.SearchParametersHNSW(efSearch=breadth))[1]
            return np.asarray(rows[0])

        return search, len(faiss.serialize_index(index))

    return make


def _usearch(vectors: Floats, _mapped: VectorIndex) -> tuple[Search, int]:
    # A copy: usearch refuses the mapped vectors, which are not aligned to four bytes.
    index = build_usearch(np.array(vectors))
    return usearch_search(index), int(index.memory_usage)


def _hnswlib(vectors: Floats, _mapped: VectorIndex) -> tuple[Search, int]:
    index = build_hnswlib(np.array(vectors))
    return hnswlib_search(index), index.index_file_size()


MAKERS: dict[str, Callable[[Floats, VectorIndex], tuple[Search, int]]] = {
    "faiss hnsw32 float32": _own,
    "faiss hnsw32 float16, rescored": _with_codes(faiss.ScalarQuantizer.QT_fp16, 2),
    "faiss hnsw32 8 bit, rescored": _with_codes(faiss.ScalarQuantizer.QT_8bit, 1),
    "faiss hnsw32, efConstruction 100": _graph(32, 100),
    "faiss hnsw16": _graph(16, 200),
    "faiss hnsw48": _graph(48, 200),
    "usearch float32": _usearch,
    "hnswlib float32": _hnswlib,
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logos", nargs="?", type=int, default=100_000)
    parser.add_argument("--only", action="append", metavar="NAME", help="; ".join(MAKERS))
    arguments = parser.parse_args()
    measure(arguments.logos, arguments.only)


if __name__ == "__main__":
    main()
