"""The project's index beside usearch, hnswlib, Milvus and pgvector: the same vectors, graph parameters and recall, in one run.

    python -m benchmarks.peers [VECTORS] [--only NAME]...

The vectors are the embeddings of a synthetic register, the queries synthetic logos that are in none. Each index has a process of
its own, and servers run on this machine. Each gets the smallest breadth of search that reaches a recall@100 of 0.99 against exact
search, ties allowed. Then the indexes take turns, so that other work on the machine hits all of them: rounds of all queries, one
at a time, and rounds of all queries from as many threads as keep all cores busy. The answers of all rounds are checked. Compare
the ratios: each is the median of those within a round.

Memory is proportional (PSS), of the whole process or of all processes of a server: anonymous memory, which no other process can
use, and mapped memory, which all processes share. The page cache of files that are read but not mapped is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exact import Exact, least_breadth
from benchmarks.index_choice import QUERIES, TARGET
from benchmarks.machine import proportional_memory, write_result
from benchmarks.make_register import grow, register_embeddings, sample_catalog
from benchmarks.peer_indexes import EF_CONSTRUCTION, K, M, Opened, hnswlib_index, milvus, ours, pgvector, usearch
from logo_similarity.catalog.manifest import INDEX
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids
from logo_similarity.search.hnsw import VectorIndex

ROUNDS = 5
MOST_BREADTH = 1_000
"""The largest `hnsw.ef_search` of pgvector."""
CALLERS_PER_CORE = 2
"""A server answers while its client works: with one caller for each core, cores would be idle."""
OURS = "logo-similarity"
PEERS: dict[str, Callable[[Path, Path], AbstractContextManager[Opened]]] = {
    OURS: ours,
    "usearch": usearch,
    "hnswlib": hnswlib_index,
    "Milvus": milvus,
    "pgvector": pgvector,
}
"""The file of the vectors and an empty folder in, an index out."""


class PeerProcess:
    """An index, built and searched in a process of its own."""

    def __init__(self, name: str, vectors: Path, folder: Path) -> None:
        self._stack = ExitStack()
        self._opened = self._stack.enter_context(PEERS[name](vectors, folder))
        callers = CALLERS_PER_CORE * usable_cores()
        self._callers = self._stack.enter_context(ThreadPoolExecutor(callers))

    def facts(self) -> dict[str, object]:
        """What the construction took."""
        return {
            "version": self._opened.version,
            "build_seconds": round(self._opened.build_seconds, 1),
            "disk_bytes": self._opened.disk_bytes,
        }

    def search_each(self, queries: Floats, breadth: int) -> tuple[list[Ids], list[float]]:
        """The rows of each query, one after the other, and the milliseconds that each took."""
        answers, times = [], []
        for query in queries:
            started = time.perf_counter()
            answers.append(self._opened.search(query, breadth))
            times.append(1000 * (time.perf_counter() - started))
        return answers, times

    def search_together(self, queries: Floats, breadth: int) -> tuple[list[Ids], float]:
        """The rows of each query, from all callers at once, and the searches per second."""
        started = time.perf_counter()
        answers = list(self._callers.map(lambda query: self._opened.search(query, breadth), queries))
        return answers, len(queries) / (time.perf_counter() - started)

    def memory(self) -> dict[str, int]:
        """Proportional memory of the processes of the index."""
        processes = [self._opened.process]
        if self._opened.process.pid != os.getpid():  # a server's
            processes += self._opened.process.children(recursive=True)
        return proportional_memory(processes)

    def close(self) -> None:
        """End the callers and the server."""
        self._stack.close()


class PeerManager(BaseManager):
    """Starts the process of an index. Calls of the object that `PeerProcess` returns run in that process."""


PeerManager.register("PeerProcess", PeerProcess)


@dataclass(slots=True)
class Run:
    """The figures of an index in the rounds so far."""

    process: Any
    """A `PeerProcess` behind a proxy."""
    breadth: int
    recalls: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    searches_per_second: list[float] = field(default_factory=list)


def measure(count: int = 770_000, only: Sequence[str] | None = None) -> dict[str, object]:
    """Build all indexes, one after the other, and search them in turns."""
    names = [name for name in PEERS if not only or name in only or name == OURS]
    samples = VectorIndex.open(Catalog(sample_catalog()).current() / INDEX).vectors
    queries, _ = grow(np.array(samples), QUERIES, np.random.default_rng((7, count)))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        np.save(folder / "vectors.npy", register_embeddings(count))
        exact = Exact.of(np.load(folder / "vectors.npy", mmap_mode="r"), queries, K)
        runs: dict[str, Run] = {}
        for name in names:
            (folder / name).mkdir()
            process = stack.enter_context(_running(name, folder / "vectors.npy", folder / name))
            runs[name] = Run(process, _breadth(process, exact))
            print(name, json.dumps({**process.facts(), "ef_search": runs[name].breadth}), flush=True)
        for _ in range(ROUNDS):
            _search_in_turns(list(runs.values()), exact)
        figures = {name: {**run.process.facts(), **_summary(run, runs[OURS])} for name, run in runs.items()}
    return write_result(
        f"peers_{count}",
        {
            "vectors": count,
            "dimension": int(queries.shape[1]),
            "k": K,
            "recall_target": TARGET,
            "m": M,
            "ef_construction": EF_CONSTRUCTION,
            "queries": QUERIES,
            "rounds": ROUNDS,
            "callers": CALLERS_PER_CORE * usable_cores(),
            "load": os.getloadavg()[2],
            "peers": figures,
        },
    )


@contextmanager
def _running(name: str, vectors: Path, folder: Path) -> Iterator[Any]:
    """A `PeerProcess` in its process."""
    with PeerManager(ctx=get_context("spawn")) as manager:
        process = manager.PeerProcess(name, vectors, folder)  # type: ignore[attr-defined] # registered by its name
        try:
            yield process
        finally:
            process.close()


def _breadth(process: Any, exact: Exact) -> int:  # noqa: ANN401 - a proxy
    def recall(breadth: int) -> float:
        answers, _ = process.search_each(exact.queries, breadth)
        return exact.recall(answers)

    return least_breadth(recall, TARGET, range(K, MOST_BREADTH + 1))


def _search_in_turns(runs: Sequence[Run], exact: Exact) -> None:
    """One round of each kind."""
    for run in runs:
        answers, times = run.process.search_each(exact.queries, run.breadth)
        p50, p99 = np.percentile(times, (50, 99))
        run.p50_ms.append(float(p50))
        run.p99_ms.append(float(p99))
        run.recalls.append(exact.recall(answers))
    for run in runs:
        answers, rate = run.process.search_together(exact.queries, run.breadth)
        run.searches_per_second.append(rate)
        run.recalls.append(exact.recall(answers))


def _summary(run: Run, own: Run) -> dict[str, object]:
    """Medians of the rounds, and of the ratios to the project's index in each round."""

    def over_ours(theirs: Sequence[float], ours: Sequence[float]) -> float:
        return round(float(np.median(np.divide(theirs, ours))), 3)

    return {
        "ef_search": run.breadth,
        "recall": round(min(run.recalls), 4),
        "p50_ms": round(float(np.median(run.p50_ms)), 3),
        "p99_ms": round(float(np.median(run.p99_ms)), 3),
        "searches_per_second": round(float(np.median(run.searches_per_second))),
        "p50_over_ours": over_ours(run.p50_ms, own.p50_ms),
        "p99_over_ours": over_ours(run.p99_ms, own.p99_ms),
        "searches_per_second_over_ours": over_ours(run.searches_per_second, own.searches_per_second),
        **run.process.memory(),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", nargs="?", type=int, default=770_000)
    parser.add_argument("--only", action="append", choices=list(PEERS), help=f"beside {OURS}, which is always measured")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.vectors, arguments.only), indent=2))


if __name__ == "__main__":
    main()
