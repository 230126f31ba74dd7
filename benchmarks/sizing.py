"""Disk, memory of one and of four workers, and searches per second on one core, for catalogs of several sizes.

The searches are those of four clients in a closed loop, on another core than the service's one thread; every answer is
checked. Memory is the sum of the workers' PSS after each has searched. The estimate of `logo-similarity plan` is given for the
same sizes, and for larger ones.

    python -m benchmarks.sizing
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, register_catalog, sample_catalog
from benchmarks.service import Client, running
from benchmarks.worker_memory import memory
from logo_similarity.catalog.manifest import Manifest, read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.plan import ServicePlan, plan_service

SIZES = (100_000, 770_000)
PLANNED = (1_500_000, 3_000_000, 10_000_000)
WORKERS = (1, 4)
CLIENTS = 4
SECONDS = 10.0


def searches_a_second(catalogs: Path) -> float:
    """Correct answers per second of one worker with one thread, on one core."""
    everywhere = os.sched_getaffinity(0)
    cores = sorted(everywhere)
    images = sorted((SAMPLES / "images").glob("*.jpg"))[:200]
    counts = [0] * CLIENTS
    with running(catalogs, workers=1, threads=1, cores={cores[0]}) as service:
        os.sched_setaffinity(0, {cores[-1]})
        try:
            warm = Client(service)
            for image in images:
                warm.search(image)
            end = time.monotonic() + SECONDS

            def search(number: int) -> None:
                client = Client(service)
                while time.monotonic() < end:
                    client.search(images[(number * 50 + counts[number]) % len(images)])
                    counts[number] += 1

            threads = [threading.Thread(target=search, args=(number,)) for number in range(CLIENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            os.sched_setaffinity(0, everywhere)
    return sum(counts) / SECONDS


def planned(size: int, model_size: int, workers: int) -> ServicePlan:
    """The estimate of `logo-similarity plan` for a catalog of `size` bytes and as many cores as workers."""
    return plan_service(size, model_size, workers, load_settings(workers=workers))


def measured(catalogs: Path) -> tuple[Manifest, dict[str, object]]:
    """The manifest and the figures of one catalog."""
    manifest = read_manifest(Catalog(catalogs).current())
    pss = {workers: memory(catalogs, workers).whole for workers in WORKERS}
    plans = {workers: planned(manifest.size, manifest.model_size, workers) for workers in WORKERS}
    return manifest, {
        "logos": manifest.count,
        "disk_mb": round(manifest.size / 1e6, 1),
        "memory_mb": {str(workers): round(pss[workers] / 1e6) for workers in WORKERS},
        "planned_mb": {str(workers): round(plans[workers].total / 1e6) for workers in WORKERS},
        "limit_mb": {str(workers): round(plans[workers].limit / 1e6) for workers in WORKERS},
        "searches_a_second_on_one_core": round(searches_a_second(catalogs), 1),
    }


def measure(sizes: tuple[int, ...] = SIZES) -> dict[str, object]:
    """Measure one size after another."""
    rows = []
    for catalogs in (sample_catalog(), *map(register_catalog, sizes)):
        manifest, row = measured(catalogs)
        rows.append(row)
    # Each catalog has one model; the rest grows with the number of logos.
    bytes_a_logo = (manifest.size - manifest.model_size) / manifest.count
    for logos in PLANNED:
        size = round(bytes_a_logo * logos) + manifest.model_size
        plans = {workers: planned(size, manifest.model_size, workers) for workers in WORKERS}
        rows.append(
            {
                "logos": logos,
                "disk_mb": round(size / 1e6, 1),
                "planned_mb": {str(workers): round(plan.total / 1e6) for workers, plan in plans.items()},
                "limit_mb": {str(workers): round(plan.limit / 1e6) for workers, plan in plans.items()},
            }
        )
    return write_result("sizing", {"bytes_a_logo": round(bytes_a_logo), "sizes": rows})


if __name__ == "__main__":
    print(measure())
