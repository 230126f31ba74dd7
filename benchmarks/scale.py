"""A register of millions of logos on one machine: time of its build, disk, memory, time and recall of its searches.

    python -m benchmarks.scale 3000000 --precision float16

Builds the synthetic register of that size (`benchmarks.make_register`) unless it exists, and searches it for the sample
images on one thread, with their parts and without. A build that is interrupted resumes at its last complete stage
when the command is run again; `data/benchmarks/scale-SIZE-PRECISION.log` has its progress, and the time of each stage so far.

Times of searches are CPU time of their thread. On a busy machine they are longer, too, by up to three times; `load` is the load
average of the last 15 minutes. Recall is that of the index of whole images, against exact search, for synthetic logos that are
not in it. Memory is that of the process after the searches: pages of mapped files that the searches have touched, and the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.machine import DATA, write_result
from benchmarks.make_register import RECIPE, SAMPLES, grow, register_catalog, sample_catalog
from logo_similarity.build.shards import SHARD_ROWS
from logo_similarity.catalog.manifest import PART_EMBEDDINGS, PART_INDEX
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.domain import PartsMode, Query
from logo_similarity.embed.describe import Floats
from logo_similarity.engine import SearchEngine
from logo_similarity.opening import open_index
from logo_similarity.precision import Precision
from logo_similarity.search.build import TIE
from logo_similarity.search.hnsw import VectorIndex
from logo_similarity.search.sources import all_rows

_T = TypeVar("_T")
SEARCHES, WARM, QUERIES, KS = 300, 30, 300, (10, 100)
BLOCK_ROWS = 100_000
REPORT_SECONDS = 10.0
INDEX_STAGES = {"images indexed": "index_s", "parts indexed": "parts_index_s"}
OTHER_STAGES = "other_stages_s"


class Log:
    """The progress of a build, and the seconds that each of its stages took, in all runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        """Of all threads of the process."""
        for line in lines:
            entry = json.loads(line)
            self._add(entry["stage"], entry["seconds"], entry["cpu_seconds"])
        self._stage = ""
        self._last = self._shown = time.monotonic()
        self._last_cpu = time.process_time()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """See `build.catalog.Progress`."""
        now, cpu = time.monotonic(), time.process_time()
        seconds, cpu_seconds = now - self._last, cpu - self._last_cpu
        self._last, self._last_cpu = now, cpu
        # Time before the first report of a stage belongs to other work.
        name = INDEX_STAGES.get(stage, OTHER_STAGES) if stage == self._stage else OTHER_STAGES
        self._stage = stage
        self._add(name, seconds, cpu_seconds)
        with self._path.open("a") as file:
            entry = {"stage": name, "seconds": seconds, "cpu_seconds": cpu_seconds, "at": f"{stage} {done}/{total}"}
            file.write(json.dumps(entry) + "\n")
        if now - self._shown > REPORT_SECONDS or done == total:
            self._shown = now
            print(f"{time.strftime('%H:%M:%S')} {stage}: {done:,} of {total or 0:,}", flush=True)

    def _add(self, name: str, seconds: float, cpu_seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0) + seconds
        self.cpu_seconds[name] = self.cpu_seconds.get(name, 0) + cpu_seconds


def measure(count: int, precision: Precision) -> dict[str, object]:
    """Build the register if it does not exist, and search it."""
    log = Log(DATA / f"scale-{count}-{precision}.log")
    started = time.monotonic()
    root = register_catalog(count, precision, log)
    print(f"{root}: {time.monotonic() - started:.0f} s", flush=True)
    # In a process of its own, whose memory is that of the searches.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        figures = pool.submit(search, root, count).result()
    return write_result(
        f"scale_{count}_{precision}",
        {
            "logos": count,
            "precision": precision.value,
            "patch_bits": precision.patch_bits,
            "cores": usable_cores(),
            "load": os.getloadavg()[2],
            "build": {name: round(seconds, 1) for name, seconds in log.seconds.items()},
            "build_cpu": {name: round(seconds, 1) for name, seconds in log.cpu_seconds.items()},
            **figures,
        },
    )


def search(root: Path, count: int) -> dict[str, object]:
    """Search the register."""
    folder = Catalog(root).current()
    with SearchEngine.open(root, device="cpu") as engine:
        manifest = engine.manifest
        if manifest.parts is None:
            raise ValueError("the register has no parts")
        times = {mode: _search_times(engine, mode) for mode in (PartsMode.OFF, PartsMode.AUTO)}
        touched, private = _memory(folder)
        index = open_index(folder, manifest)
        queries = _queries(count)
        index_times = _times(lambda query: index.search(query, max(KS), ef_search=manifest.index.ef_search), queries)
        recalls = _recall(index, queries, manifest.index.ef_search)
        return {
            "parts": manifest.parts.count,
            "ef_search": manifest.index.ef_search,
            "parts_ef_search": manifest.parts.index.ef_search,
            "recall_of_the_build": manifest.recall.value,
            "recall": {str(k): round(recall, 4) for k, recall in zip(KS, recalls, strict=True)},
            "cosine_error": _cosine_error(engine, queries),
            "index_ms": _quantiles(index_times),
            "search_ms": _quantiles(times[PartsMode.OFF]),
            "search_with_parts_ms": _quantiles(times[PartsMode.AUTO]),
            "disk_bytes": _grouped({name: entry.size for name, entry in manifest.files.items()}),
            "touched_bytes": _grouped(touched),
            "private_bytes": private,
        }


def _search_times(engine: SearchEngine, mode: PartsMode) -> NDArray[np.float64]:
    """Milliseconds of complete searches, each of which must find its own logo."""
    paths = sorted((SAMPLES / "images").glob("*.jpg"))
    chosen = [paths[place] for place in np.linspace(0, len(paths) - 1, SEARCHES + WARM).astype(int)]

    def search_for(path: Path) -> None:
        result = engine.search(Query(image=path.read_bytes(), parts=mode))
        if path.stem not in {hit.logo.logo_id for hit in result.hits[:2]}:
            raise ValueError(f"{path.name} does not find itself")

    return _times(search_for, chosen)[WARM:]


def _times(work: Callable[[_T], object], items: Sequence[_T]) -> NDArray[np.float64]:
    times = []
    for item in items:
        started = time.thread_time()
        work(item)
        times.append(1000 * (time.thread_time() - started))
    return np.array(times)


def _quantiles(times: NDArray[np.float64]) -> dict[str, float]:
    figures = {"mean": times.mean(), "p50": np.quantile(times, 0.5), "p99": np.quantile(times, 0.99)}
    return {name: round(float(value), 3) for name, value in figures.items()}


def _queries(count: int) -> list[Floats]:
    """Synthetic logos that are not in the register."""
    with SearchEngine.open(sample_catalog()) as samples:
        real = all_rows(samples.base.index.vectors)
        return list(grow(real, QUERIES, np.random.default_rng((7, count)))[0])


def _recall(index: VectorIndex, queries: list[Floats], ef_search: int) -> list[float]:
    """Shares of the exact nearest vectors that are found, for each of `KS`; ties are allowed."""
    faiss.omp_set_num_threads(usable_cores())
    best = np.full((len(queries), max(KS)), -1, np.float32)
    for start in range(0, index.count, BLOCK_ROWS):
        block = index.vectors[start : start + BLOCK_ROWS]
        scores, _ = faiss.knn(np.array(queries), block, min(max(KS), len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        best = -np.sort(-np.concatenate((best, scores), axis=1), axis=1)[:, : max(KS)]
    faiss.omp_set_num_threads(1)
    found = [index.search(query, max(KS), ef_search=ef_search)[1] for query in queries]
    return [
        float(np.mean([(cosines[:k] >= row[k - 1] - TIE).mean() for cosines, row in zip(found, best, strict=True)]))
        for k in KS
    ]


def _cosine_error(engine: SearchEngine, queries: list[Floats]) -> float:
    """The largest difference between the cosines of stored embeddings and those of the embeddings that were drawn."""
    number = 2  # the first shard without samples
    rows = np.arange(number * SHARD_ROWS, min((number + 1) * SHARD_ROWS, engine.manifest.count))
    with SearchEngine.open(sample_catalog()) as samples:
        vectors = samples.base.row_map.vector_of(np.arange(samples.manifest.count))
        drawn, _ = grow(samples.base.index.vectors[vectors], len(rows), np.random.default_rng((RECIPE, number)))
    stored = engine.base.index.vectors[engine.base.row_map.vector_of(rows)]
    return float(np.abs(np.array(queries) @ (stored - drawn).T).max())


def _memory(folder: Path) -> tuple[dict[str, int], int]:
    """Resident memory of this process, in bytes: of the mapped files of a version, and private."""
    maps = psutil.Process().memory_maps(grouped=False)
    resident: dict[str, int] = {}
    for part in maps:
        path = Path(part.path)
        if path.is_relative_to(folder.resolve()):
            name = str(path.relative_to(folder.resolve()))
            # SQLite maps a file once for each connection.
            resident[name] = min(resident.get(name, 0) + part.rss, path.stat().st_size)
    return resident, sum(part.anonymous for part in maps)


def _grouped(files: dict[str, int]) -> dict[str, int]:
    """Sizes of the files, small ones of a folder together."""
    sizes: dict[str, int] = {}
    for name, size in files.items():
        group = name if name in {PART_INDEX, PART_EMBEDDINGS} else name.split("/")[0]
        sizes[group] = sizes.get(group, 0) + size
    return dict(sorted(sizes.items()))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="logos of the register")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.FLOAT32)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.count, arguments.precision), indent=2))


if __name__ == "__main__":
    main()
