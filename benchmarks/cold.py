"""How soon searches are fast after a reboot and after a swap, when no file of the catalog is in the page cache.

    python -m benchmarks.cold [LOGOS] [--precision float16]

A service with one worker per core searches a synthetic register (`benchmarks.make_register`), for one client that sends one
search after the other.

- Reboot: the files of the register are evicted from the page cache, and the service is started. Searches begin when
  `/readyz` answers 200. Python and its libraries stay in the page cache.
- Swap: a copy of the register, evicted in the same way, is made live while the client searches. `catalog activate` reads
  every file before it does that, so this is the case of a folder that another machine has written, or of files that the
  kernel has dropped since. The figures count from the first search that the new version answers.

A search must find its own logo first. Samples that the graph search of this register misses are left out, and counted,
before anything is timed. Each second is compared with the median of warm searches that follow in the same service. The
results have the worst of the rounds, except for the times until the service is ready and until the swap, which are medians.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import DATA, write_result
from benchmarks.make_register import SAMPLES, register_catalog
from benchmarks.page_cache import disk_speed, evict
from benchmarks.service import Client, Service, running
from logo_similarity.catalog.manifest import INDEX, read_manifest
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.precision import Precision

ROUNDS = 3
SECONDS = 10
QUERIES, WARM = 400, 300
REPEATS = 5
"""Warm searches with the image of the first one: their time depends on the image, too."""
LIMIT = 3.0
"""Times the warm median. Searches at most that slow are fast."""
PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Timed:
    """One search."""

    image: Path
    answered: float
    """By `time.perf_counter`."""
    milliseconds: float
    version: str


@dataclass(frozen=True, slots=True)
class Round:
    """The searches after one start or swap."""

    seconds_before: float
    """Until the service was ready, or the new version answered."""
    still_cached: float
    """The share of the files that could not be evicted."""
    read_bytes: int
    """What the workers read from the disk in these seconds."""
    warm_ms: float
    first_warm_ms: float
    """The median of warm searches with the image of the first search."""
    searches: tuple[tuple[float, float], ...]
    """Of each, in order: seconds until it was answered, and its milliseconds."""

    def seconds(self, percentile: float) -> list[float | None]:
        """A percentile of the searches answered in each second, relative to the warm median; None: no answer."""
        answered = [[ms for at, ms in self.searches if second <= at < second + 1] for second in range(SECONDS)]
        return [float(np.percentile(times, percentile)) / self.warm_ms if times else None for times in answered]

    def seconds_until_fast(self, percentile: float) -> int:
        """The end of the last second in which the percentile exceeds the limit; 0: it never does."""
        slow = [second for second, ratio in enumerate(self.seconds(percentile)) if ratio is not None and ratio > LIMIT]
        return slow[-1] + 1 if slow else 0


def measure(count: int, precision: Precision = Precision.FLOAT32) -> dict[str, object]:
    """Both cases for one register."""
    with two_versions(register_catalog(count, precision)) as catalog:
        version = catalog.current()
        images, missed = findable_images(catalog)
        figures = {
            "logos": count,
            "precision": precision,
            "bytes": read_manifest(version).size,
            "workers": usable_cores(),
            "rounds": ROUNDS,
            "queries": len(images),
            "queries_left_out": missed,
            "disk": disk_speed(version / INDEX),
            "reboot": measure_reboot(catalog, images),
            "swap": measure_swap(catalog, images),
        }
    suffix = "" if precision is Precision.FLOAT32 else f"_{precision}"
    return write_result(f"cold_{count}{suffix}", figures)


@contextmanager
def two_versions(register: Path) -> Iterator[Catalog]:
    """A catalog with the live version of a register and a copy of it, which shares no page of the page cache."""
    version = Catalog(register).current()
    with tempfile.TemporaryDirectory(dir=DATA, prefix="cold-") as folder:
        catalog = Catalog(Path(folder))
        copy = f"copy-{version.name}"  # the name ends with the digest of the manifest
        shutil.copytree(version, catalog.root / version.name, copy_function=os.link)
        shutil.copytree(version, catalog.root / copy)
        with catalog.locked():
            for name in (version.name, copy):
                catalog.admit(catalog.folder(name), Trial())
            catalog.flip(version.name)
        yield catalog


def measure_reboot(catalog: Catalog, images: Sequence[Path]) -> dict[str, object]:
    """Searches after starts of a service whose catalog is not in the page cache."""
    rounds = []
    for number in range(ROUNDS):
        still_cached = evict(_files(catalog.current()))
        started = time.perf_counter()
        with _service(catalog) as service:
            ready = time.perf_counter()
            client, read = Client(service), _read_bytes(service)
            searches = list(_until(_searches(client, _turned(images, number)), ready + SECONDS))
            read = _read_bytes(service) - read
            rounds.append(_round(client, ready - started, still_cached, read, ready, searches))
    return {"seconds_until_ready": _median_before(rounds), **summary(rounds)}


def measure_swap(catalog: Catalog, images: Sequence[Path]) -> dict[str, object]:
    """Searches after swaps to a version that is not in the page cache, and until then."""
    rounds, during = [], []
    (name,) = set(catalog.names()) - {(live := catalog.current()).name}
    for number in range(ROUNDS):
        still_cached = evict(_files(catalog.folder(name)))
        with _service(catalog) as service:  # a new one, because it keeps the pages of a version that it has mapped
            client = Client(service)
            endless = _searches(client, _turned(images, number))
            warm_ms = _median(itertools.islice(endless, WARM))
            with catalog.locked():
                catalog.flip(name)
            flipped = time.perf_counter()
            for search in _until(endless, flipped + PATIENCE):
                if search.version == name:
                    break
                during.append(search.milliseconds / warm_ms)
            else:
                raise TimeoutError(f"{name} is not live {PATIENCE:.0f} s after it was made live")
            swapped, read = search.answered - search.milliseconds / 1000, _read_bytes(service)
            searches = [search, *_until(endless, swapped + SECONDS)]
            read = _read_bytes(service) - read
            rounds.append(_round(client, swapped - flipped, still_cached, read, swapped, searches))
        with catalog.locked():
            catalog.flip(live.name)
    return {
        "seconds_until_swapped": _median_before(rounds),
        "until_swapped_p50_over_warm": round(statistics.median(during), 2),
        "until_swapped_p99_over_warm": round(float(np.percentile(during, 99)), 2),
        **summary(rounds),
    }


def summary(rounds: Sequence[Round]) -> dict[str, object]:
    """The worst of the rounds."""

    def worst(percentile: float) -> list[float | None]:
        seconds = zip(*(one.seconds(percentile) for one in rounds), strict=True)
        present = ([ratio for ratio in ratios if ratio is not None] for ratios in seconds)
        return [round(max(ratios), 2) if ratios else None for ratios in present]

    return {
        "still_cached": round(max(one.still_cached for one in rounds), 4),
        "megabytes_read_from_disk": round(max(one.read_bytes for one in rounds) / 1e6, 2),
        "warm_p50_ms": round(statistics.median(one.warm_ms for one in rounds), 2),
        "first_ms": [round(one.searches[0][1], 1) for one in rounds],
        "first_over_warm_p50": round(max(one.searches[0][1] / one.warm_ms for one in rounds), 2),
        "first_over_same_image_warm": round(max(one.searches[0][1] / one.first_warm_ms for one in rounds), 2),
        "p50_over_warm_each_second": worst(50),
        "p90_over_warm_each_second": worst(90),
        "seconds_until_p50_is_fast": max(one.seconds_until_fast(50) for one in rounds),
        "seconds_until_p90_is_fast": max(one.seconds_until_fast(90) for one in rounds),
    }


@contextmanager
def _service(catalog: Catalog) -> Iterator[Service]:
    with running(catalog.root, workers=usable_cores(), threads=1, cores=None, start_seconds=PATIENCE) as service:
        yield service


def _read_bytes(service: Service) -> int:
    """What the workers have read from the disk so far. Unlike milliseconds, it does not depend on other work of the machine."""
    return sum(worker.io_counters().read_bytes for worker in service.workers())


def _round(
    client: Client, before: float, still_cached: float, read_bytes: int, event: float, searches: Sequence[Timed]
) -> Round:
    """A round, with warm searches for comparison."""
    images = [search.image for search in searches]
    warm = _median(itertools.islice(_searches(client, itertools.cycle(images)), WARM))
    first = _median(_searches(client, images[:1] * REPEATS))
    times = tuple((search.answered - event, search.milliseconds) for search in searches)
    return Round(before, still_cached, read_bytes, warm, first, times)


def findable_images(catalog: Catalog) -> tuple[list[Path], int]:
    """Files of samples that find themselves first, and the number of those that do not: a graph search misses a few."""
    images = sorted((SAMPLES / "images").glob("*.jpg"))
    chosen = [images[place] for place in np.linspace(0, len(images) - 1, QUERIES).astype(int)]
    findable = []
    with _service(catalog) as service:
        client = Client(service)
        for image in chosen:
            with suppress(ValueError):
                client.search(image)
                findable.append(image)
    return findable, len(chosen) - len(findable)


def _turned(images: Sequence[Path], number: int) -> Iterator[Path]:
    """The images over and over, from another first one in each round."""
    first = number * len(images) // ROUNDS
    return itertools.cycle([*images[first:], *images[:first]])


def _searches(client: Client, images: Iterable[Path]) -> Iterator[Timed]:
    for image in images:
        milliseconds, answer = client.search(image)
        yield Timed(image, time.perf_counter(), milliseconds, answer["catalog"]["version"])


def _until(searches: Iterator[Timed], end: float) -> Iterator[Timed]:
    for search in searches:
        yield search
        if search.answered >= end:
            return


def _median(searches: Iterator[Timed]) -> float:
    return statistics.median(search.milliseconds for search in searches)


def _median_before(rounds: Sequence[Round]) -> float:
    return round(statistics.median(one.seconds_before for one in rounds), 2)


def _files(version: Path) -> list[Path]:
    return sorted(path for path in version.rglob("*") if path.is_file())


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "count", type=int, nargs="?", default=100_000, help="logos of the register (default: %(default)s)"
    )
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.FLOAT32)
    arguments = parser.parse_args()
    print(measure(arguments.count, arguments.precision))


if __name__ == "__main__":
    main()
