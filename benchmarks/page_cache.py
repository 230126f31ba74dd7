"""The page cache of the kernel: files are evicted from it, and the disk behind it is timed. Needs `fincore` (util-linux)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logo_similarity.catalog.files import read_ahead, sync_file

PAGE = 4096
RANDOM_READS = 200


def evict(paths: Sequence[Path]) -> float:
    """Drop files from the page cache. The kernel keeps the pages that a process has mapped.

    Returns:
        The share of the bytes that is still in the page cache.
    """
    for path in paths:
        sync_file(path)  # the kernel does not drop pages that are not written yet
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return cached_share(paths)


def cached_share(paths: Sequence[Path]) -> float:
    """The share of the bytes of files that is in the page cache."""
    command = ["fincore", "--bytes", "--json", "--output", "res,size", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)["fincore"]
    return sum(int(row["res"]) for row in rows) / sum(int(row["size"]) for row in rows)


def disk_speed(path: Path) -> dict[str, float]:
    """The speed of the disk with a large file: MB/s of reading it from start to end, and ms of reading one page of it."""
    size = path.stat().st_size
    evict([path])
    started = time.perf_counter()
    read_ahead(path)
    sequential = size / (time.perf_counter() - started)
    evict([path])
    times = []
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # the kernel reads this page only
        for page in np.random.default_rng(0).choice(size // PAGE, RANDOM_READS, replace=False).tolist():
            started = time.perf_counter()
            os.pread(file.fileno(), PAGE, page * PAGE)
            times.append(time.perf_counter() - started)
    return {
        "sequential_mb_per_second": round(sequential / 1e6),
        "random_page_ms": round(1000 * statistics.median(times), 3),
    }
