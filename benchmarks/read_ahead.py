"""Orders in which a version can be read into the page cache before it is searched, side by side.

    python -m benchmarks.read_ahead [LOGOS] [--precision float16]

For each order, the files of a synthetic register (`benchmarks.make_register`) are evicted from the page cache, and a new
process reads them in that order, opens the version, and searches for samples, one after the other. The hits must be those
of warm searches. Each order is measured in turn, some rounds; the results are medians. `catalog/warming.py` has the order
that a service uses.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import faiss

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, register_catalog
from benchmarks.page_cache import disk_speed, evict
from logo_similarity.catalog.files import read_ahead
from logo_similarity.catalog.manifest import INDEX, METADATA, MODEL_FOLDER, PART_INDEX, PATCHES, Manifest, read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.catalog.warming import SPARSE
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.precision import Precision

ROUNDS = 3
SEARCHES = 60


@dataclass(frozen=True, slots=True)
class Order:
    """Files that are read before the version is opened, and files that are read while it is searched."""

    before: Callable[[Manifest], Sequence[str]]
    after: Callable[[Manifest], Sequence[str]] = lambda _: ()


@dataclass(frozen=True, slots=True)
class _Timed:
    answered: float
    """By `time.perf_counter`."""
    milliseconds: float
    major_faults: int
    """Page faults that read from the disk. Unlike milliseconds, they do not depend on other work of the machine."""
    hits: tuple[str, ...]


def _nothing(_: Manifest) -> list[str]:
    return []


def _sparse(manifest: Manifest) -> list[str]:
    return sorted(name for name in manifest.files if name in SPARSE)


def _dense(manifest: Manifest) -> list[str]:
    return sorted(name for name in manifest.files if name not in SPARSE)


def _as_searched(manifest: Manifest) -> list[str]:
    """The encoder, the indexes, then what a search reads of its candidates and hits."""
    first = (INDEX, PART_INDEX, PATCHES, METADATA)

    def place(name: str) -> tuple[int, str]:
        return (0 if name.startswith(f"{MODEL_FOLDER}/") else 1 + first.index(name) if name in first else 9), name

    return sorted(manifest.files, key=place)


ORDERS = {
    "files of candidates, then indexes": Order(lambda manifest: [*_sparse(manifest), *_dense(manifest)]),
    "indexes, then files of candidates": Order(lambda manifest: [*_dense(manifest), *_sparse(manifest)]),
    "as a search uses them": Order(_as_searched),
    "indexes; files of candidates while it is searched": Order(_dense, _sparse),
    "files of candidates; indexes while it is searched": Order(_sparse, _dense),
    "everything while it is searched": Order(_nothing, _as_searched),
    "nothing": Order(_nothing),
}


def measure(count: int, precision: Precision = Precision.FLOAT32) -> dict[str, object]:
    """Every order for one register."""
    version = Catalog(register_catalog(count, precision)).current()
    files = sorted(path for path in version.rglob("*") if path.is_file())
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ORDERS}
    disk = disk_speed(version / INDEX)
    for number in range(ROUNDS):
        for name in ORDERS:
            still_cached = evict(files)
            rounds[name].append({**_run(version, name, number), "still_cached": still_cached})
    orders = {
        name: {figure: round(statistics.median(one[figure] for one in runs), 3) for figure in runs[0]}
        for name, runs in rounds.items()
    }
    suffix = "" if precision is Precision.FLOAT32 else f"_{precision}"
    return write_result(
        f"read_ahead_{count}{suffix}",
        {
            "logos": count,
            "precision": precision,
            "bytes": read_manifest(version).size,
            "rounds": ROUNDS,
            "searches": SEARCHES,
            "disk": disk,
            "orders": orders,
        },
    )


def _run(version: Path, order: str, number: int) -> dict[str, float]:
    """One order, in a process of its own: a process that has mapped the files would keep them in the page cache."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_search, args=(sender, version, order, number))
    child.start()
    sender.close()
    figures: dict[str, float] = receiver.recv()
    child.join()
    return figures


def _search(sender: Connection, version: Path, order: str, number: int) -> None:
    faiss.omp_set_num_threads(1)
    manifest = read_manifest(version)
    images = sorted((SAMPLES / "images").glob("*.jpg"))
    chosen = images[number :: len(images) // SEARCHES][:SEARCHES]
    started = time.perf_counter()
    _read(version, ORDERS[order].before(manifest))
    reader = threading.Thread(target=_read, args=(version, ORDERS[order].after(manifest)))
    reader.start()
    with SearchEngine.open(version.parent, version=version.name, device="cpu") as engine:
        opened = time.perf_counter()
        cold = [_timed(engine, path) for path in chosen]
        reader.join()
        warm = [_timed(engine, path) for path in chosen]
    if [search.hits for search in cold] != [search.hits for search in warm]:
        raise ValueError(f"{order}: the hits differ from those of warm searches")
    late = [search.answered for search in cold if search.major_faults]
    sender.send(
        {
            "seconds_until_open": opened - started,
            "first_ms": cold[0].milliseconds,
            "first_warm_ms": warm[0].milliseconds,
            "first_major_faults": cold[0].major_faults,
            "searches_with_major_faults": len(late),
            "seconds_until_last_major_fault": (late[-1] if late else opened) - started,
        }
    )


def _read(version: Path, names: Sequence[str]) -> None:
    for name in names:
        read_ahead(version / name)


def _timed(engine: SearchEngine, path: Path) -> _Timed:
    query = Query(image=path.read_bytes())
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    started = time.perf_counter()
    result = engine.search(query)
    answered = time.perf_counter()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults
    return _Timed(answered, 1000 * (answered - started), faults, tuple(hit.logo.logo_id for hit in result.hits))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "count", type=int, nargs="?", default=100_000, help="logos of the register (default: %(default)s)"
    )
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.FLOAT32)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.count, arguments.precision), indent=2))


if __name__ == "__main__":
    main()
