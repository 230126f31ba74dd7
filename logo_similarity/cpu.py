"""The cores that this process may use, and their division among workers and threads."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
SELF_CGROUP = Path("/proc/self/cgroup")


def usable_cores(*, cgroup_root: Path = CGROUP_ROOT, self_cgroup: Path = SELF_CGROUP) -> int:
    """The cores that this process may use: the smaller of CPU affinity and cgroup quota (rounded up), at least 1.

    `os.cpu_count()` counts the cores of the host, even in a container with fewer.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = cgroup_quota(cgroup_root=cgroup_root, self_cgroup=self_cgroup)
    return max(1, affinity if quota is None else min(affinity, math.ceil(quota)))


def cgroup_quota(*, cgroup_root: Path, self_cgroup: Path) -> float | None:
    """The lowest CPU quota of this process's cgroup and its parents (v1 or v2), in cores; None: no quota."""
    quotas = [
        quota
        for folder in cgroup_folders(cgroup_root, self_cgroup, "cpu")
        for quota in (_quota_v2(folder), _quota_v1(folder))
        if quota is not None
    ]
    return min(quotas, default=None)


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """Numbers of worker processes and of search threads in each."""

    workers: int
    threads: int
    """Each thread decodes, encodes and searches, and uses one core."""


def thread_plan(cores: int, workers: int | None = None, threads: int | None = None) -> ThreadPlan:
    """Divide cores: about one worker per four cores, at least two workers if possible, and no core left unused.

    Few workers mean few queues and so lower tail latency; a second worker keeps serving if the first one crashes.

    Args:
        cores: number of cores.
        workers: fixes the number of workers.
        threads: fixes the number of threads per worker.
    """
    if workers is None and threads is None:
        target = max(min(2, cores), round(cores / 4))
        divisors = [n for n in range(1, cores + 1) if cores % n == 0]
        workers = min(divisors, key=lambda n: (abs(n - target), n))
    if workers is None:
        workers = max(1, cores // (threads or 1))
    return ThreadPlan(workers, threads or max(1, cores // workers))


def cgroup_folders(cgroup_root: Path, self_cgroup: Path, controller: str) -> list[Path]:
    """Folders that may contain limits of a controller: this process's cgroups and all their parents, up to the root."""
    try:
        lines = self_cgroup.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroup_root / controller if controllers else cgroup_root
        current = root / path.lstrip("/")
        while True:
            folders.append(current)
            if current == root or root not in current.parents:
                break
            current = current.parent
    return folders


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` holds "<quota> <period>" in microseconds, or "max <period>"."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    """Two files, in microseconds; a quota of -1 means no quota."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None
