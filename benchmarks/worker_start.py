"""Seconds from the start of a worker's process until it is ready, and until its first answer, page cache warm.

It kills a worker of a running service. The time runs from the start of its successor, by the kernel, to the successor's log
line `ready`.

    python -m benchmarks.worker_start [LOGOS]
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import sys
import time

import psutil

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, register_catalog
from benchmarks.service import Client, running

ROUNDS = 5


def measure(logos: int = 770_000) -> dict[str, object]:
    """Kill the worker in each round."""
    image = min((SAMPLES / "images").glob("*.jpg"))
    ready, first = [], []
    with running(register_catalog(logos), workers=1, threads=1, cores=None) as service:
        Client(service).search(image)
        for _ in range(ROUNDS):
            (old,) = service.workers()
            lines = len(service.log_lines("ready"))
            old.kill()
            while len(service.log_lines("ready")) == lines:
                time.sleep(0.01)
            line = service.log_lines("ready")[-1]
            (new,) = service.workers()
            began = psutil.Process(new.pid).create_time()
            ready.append(dt.datetime.fromisoformat(line["timestamp"]).timestamp() - began)
            Client(service).search(image)
            first.append(time.time() - began)
    return write_result(
        "worker_start",
        {
            "logos": logos,
            "rounds": ROUNDS,
            "seconds_until_ready": round(statistics.median(ready), 2),
            "seconds_until_first_answer": round(statistics.median(first), 2),
        },
    )


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
