"""CPU time of a search: one worker with one thread on the sample catalog, no cache, two clients in a closed loop.

The time is that of all processes of the service, user and system, so other work on the machine changes it little. Every answer
is checked. With `--against`, the rounds alternate with those of another checkout on the same catalog, and the median of the
ratios (this checkout over the other one) is printed.

    python -m benchmarks.search_cost [--searches N] [--rounds N]
    python -m benchmarks.search_cost --against CHECKOUT [--python CHECKOUT/.venv/bin/python]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, sample_catalog
from benchmarks.service import Client, Service, Software, running

CLIENTS, WARM = 2, 100
SEARCHES, ROUNDS = 1_000, 5


def measure(searches: int = SEARCHES, rounds: int = ROUNDS) -> dict[str, object]:
    """CPU milliseconds per search of this checkout."""
    costs = [cost_of_search(Software.own(), searches) for _ in range(rounds)]
    return write_result(
        "search_cost",
        {"searches": searches, "rounds": rounds, "cpu_ms_a_search": round(statistics.median(costs), 3)},
    )


def compare(other: Software, searches: int = SEARCHES, rounds: int = ROUNDS) -> dict[str, object]:
    """CPU milliseconds per search of this checkout and of another one, in alternating rounds."""
    pairs = [(cost_of_search(other, searches), cost_of_search(Software.own(), searches)) for _ in range(rounds)]
    ratios = [own / others for others, own in pairs]
    return {
        "cpu_ms_a_search": round(statistics.median(own for _, own in pairs), 3),
        "cpu_ms_a_search_of_the_other": round(statistics.median(others for others, _ in pairs), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "median_ratio": round(statistics.median(ratios), 3),
    }


def cost_of_search(software: Software, searches: int) -> float:
    """CPU milliseconds per search, after `WARM` searches."""
    with running(sample_catalog(), workers=1, threads=1, cores=None, software=software) as service:
        _search(service, WARM)
        before = service.cpu_seconds()
        _search(service, searches)
        return 1000 * (service.cpu_seconds() - before) / searches


def _search(service: Service, searches: int) -> None:
    images = sorted((SAMPLES / "images").glob("*.jpg"))

    def search(first: int) -> None:
        client = Client(service)
        for number in range(first, searches, CLIENTS):
            client.search(images[number % len(images)])

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(search, range(CLIENTS)))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=SEARCHES, help="per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="runs the other checkout (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.against is None:
        figures = measure(options.searches, options.rounds)
    else:
        other = Software(options.against.resolve(), options.python.absolute())
        figures = compare(other, options.searches, options.rounds)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
