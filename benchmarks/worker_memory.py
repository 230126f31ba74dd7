"""Proportional memory (PSS) of four workers on one catalog of 100,000 logos, over that of one.

Each process has a fixed cost (Python, the libraries, the encoder, its threads' buffers), which is measured on the catalog of the
samples and taken off; what remains is what the catalog costs.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.machine import write_result
from benchmarks.register import SAMPLES, register_catalog, sample_catalog
from benchmarks.service import Client, running

SEARCHES = 400


def memory(catalogs: Path, workers: int) -> list[int]:
    """PSS in bytes of each worker, after all of them have searched."""
    images = sorted((SAMPLES / "images").glob("*.jpg"))[:SEARCHES]
    with running(catalogs, workers=workers, threads=1, cores=os.sched_getaffinity(0)) as service:
        # Each client has a connection of its own, which one worker serves: several, so that all workers get some.
        clients = [Client(service) for _ in range(8 * workers)]
        for number, image in enumerate(images):
            clients[number % len(clients)].search(image)
        return [worker.memory_full_info().pss for worker in service.workers()]


def measure(logos: int = 100_000) -> dict[str, object]:
    """Run it."""
    small, large = sample_catalog(), register_catalog(logos)
    fixed = {workers: sum(memory(small, workers)) for workers in (1, 4)}
    used = {workers: sum(memory(large, workers)) for workers in (1, 4)}
    one, four = (used[workers] - fixed[workers] for workers in (1, 4))
    return write_result(
        "worker_memory",
        {
            "logos": logos,
            "pss_mb": {f"{workers}_workers": round(used[workers] / 1e6, 1) for workers in (1, 4)},
            "fixed_mb": {f"{workers}_workers": round(fixed[workers] / 1e6, 1) for workers in (1, 4)},
            "four_over_one_beyond_fixed": round(four / one, 3),
        },
    )


if __name__ == "__main__":
    print(measure())
