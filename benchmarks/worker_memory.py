"""Proportional memory (PSS) of two and four workers on one catalog, over that of one.

Each process has a fixed cost (Python, the libraries, the encoder, its threads' buffers). It is measured on the catalog of the
samples with the same number of workers and subtracted; the rest is the cost of the catalog. Mapped libraries are left out of
the ratio: they are fixed cost, and their PSS falls whenever another program on the machine maps them too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, register_catalog, sample_catalog
from benchmarks.service import Client, Service, running
from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.plan import plan_service

SEARCHES = 300
WORKERS = (1, 2, 4)
MAX_CONNECTIONS = 200


@dataclass(frozen=True, slots=True)
class Memory:
    """PSS in bytes, summed over the workers."""

    whole: int
    without_libraries: int


def memory(catalogs: Path, workers: int) -> Memory:
    """PSS of the workers after each has answered `SEARCHES` searches."""
    images = sorted((SAMPLES / "images").glob("*.jpg"))[:SEARCHES]
    catalogs = catalogs.resolve()  # the kernel names mapped files by their resolved path
    with running(catalogs, workers=workers, threads=1, cores=os.sched_getaffinity(0)) as service:
        clients = client_of_each_worker(service, images[0])
        for image in images:
            for client in clients:
                client.search(image)
        maps = [part for worker in service.workers() for part in worker.memory_maps(grouped=False)]
    # Anonymous memory has a name in brackets; a mapped file outside the catalog is a library.
    own = [part.pss for part in maps if part.path.startswith("[") or Path(part.path).is_relative_to(catalogs)]
    return Memory(sum(part.pss for part in maps), sum(own))


def planned(catalogs: Path, workers: int) -> int:
    """Bytes by the estimate of `logo-similarity plan`."""
    manifest = read_manifest(Catalog(catalogs).current())
    return plan_service(manifest.size, manifest.model_size, workers, load_settings(workers=workers)).total


def client_of_each_worker(service: Service, image: Path) -> list[Client]:
    """A client for each worker. The kernel chooses the worker of a connection: clients are opened until all have one."""
    by_worker: dict[int, Client] = {}
    opened: list[Client] = []  # kept open: a connection that ends meanwhile would falsify the count
    before = connections(service)
    while len(by_worker) < len(before):
        if len(opened) == MAX_CONNECTIONS:
            raise RuntimeError(f"only {len(by_worker)} of {len(before)} workers took a connection")
        client = Client(service)
        client.search(image)
        opened.append(client)
        after = connections(service)
        for process in (process for process in after if after[process] > before[process]):
            by_worker.setdefault(process, client)
        before = after
    return list(by_worker.values())


def connections(service: Service) -> dict[int, int]:
    """Number of open connections of each worker, by process id."""
    return {
        worker.pid: sum(one.status == psutil.CONN_ESTABLISHED for one in worker.net_connections("tcp"))
        for worker in service.workers()
    }


def measure(logos: int = 770_000) -> dict[str, object]:
    """Measure the small and the large catalog with each number of workers."""
    small, large = sample_catalog(), register_catalog(logos)
    fixed = {workers: memory(small, workers) for workers in WORKERS}
    used = {workers: memory(large, workers) for workers in WORKERS}
    beyond = {workers: used[workers].without_libraries - fixed[workers].without_libraries for workers in WORKERS}
    return write_result(
        "worker_memory",
        {
            "logos": logos,
            "pss_mb": {str(workers): round(used[workers].whole / 1e6, 1) for workers in WORKERS},
            "fixed_mb": {str(workers): round(fixed[workers].whole / 1e6, 1) for workers in WORKERS},
            "beyond_fixed_mb": {str(workers): round(beyond[workers] / 1e6, 1) for workers in WORKERS},
            "four_over_one_beyond_fixed": round(beyond[4] / beyond[1], 3),
            "plan_over_used": {
                str(workers): round(planned(large, workers) / used[workers].whole, 3) for workers in WORKERS
            },
            "four_over_one_whole": round(used[4].whole / used[1].whole, 3),
        },
    )


if __name__ == "__main__":
    print(measure())
