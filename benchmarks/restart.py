"""Seconds until the port is free after kill -9 of a service's master, and seconds of a trial of the sample catalog.

python -m benchmarks.restart
"""

from __future__ import annotations

import json
import socket
import statistics
import time

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, sample_catalog
from benchmarks.service import Client, running
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog

ROUNDS = 5
PATIENCE = 60.0


def measure(rounds: int = ROUNDS) -> dict[str, object]:
    """The medians of some rounds."""
    return write_result(
        "restart",
        {
            "rounds": rounds,
            "seconds_until_the_port_is_free": round(
                statistics.median(seconds_until_the_port_is_free() for _ in range(rounds)), 3
            ),
            "seconds_of_a_trial": round(statistics.median(seconds_of_a_trial() for _ in range(rounds)), 3),
        },
    )


def seconds_until_the_port_is_free() -> float:
    """From kill -9 of the master of a service with two workers.

    Raises:
        TimeoutError: the port is not free after `PATIENCE` seconds.
    """
    with running(sample_catalog(), workers=2, threads=1, cores=None) as service:
        Client(service).search(min((SAMPLES / "images").glob("*.jpg")))
        service.process.kill()
        killed = time.perf_counter()
        while not _is_free(service.port):
            if time.perf_counter() - killed > PATIENCE:
                raise TimeoutError(f"port {service.port} is not free {PATIENCE:.0f} s after kill -9 of the master")
            time.sleep(0.001)
        return time.perf_counter() - killed


def seconds_of_a_trial() -> float:
    """From the start of the trial's process to its end. A version that fails raises CatalogError."""
    folder = Catalog(sample_catalog()).current()
    trial = Trial()
    started = time.perf_counter()
    trial(folder)
    return time.perf_counter() - started


def _is_free(port: int) -> bool:
    """Whether another service could listen on the port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
