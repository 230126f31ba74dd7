"""How many cores this process may really use, and how a service divides them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
SELF_CGROUP = Path("/proc/self/cgroup")


def usable_cores(*, cgroup_root: Path = CGROUP_ROOT, self_cgroup: Path = SELF_CGROUP) -> int:
    """Cores this process may use: the smaller of its CPU affinity and its cgroup quota (rounded up), at least 1.

    `os.cpu_count()` tells what the host has, which in a container is a different number.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = cgroup_quota(cgroup_root=cgroup_root, self_cgroup=self_cgroup)
    return max(1, affinity if quota is None else min(affinity, math.ceil(quota)))


def cgroup_quota(*, cgroup_root: Path, self_cgroup: Path) -> float | None:
    """The tightest CPU quota in cores over this process's cgroup and its parents (v2 or v1); None where none is set."""
    quotas = [
        quota
        for folder in cgroup_folders(cgroup_root, self_cgroup, "cpu")
        for quota in (_quota_v2(folder), _quota_v1(folder))
        if quota is not None
    ]
    return min(quotas, default=None)


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """Worker processes, and threads in each that decode, encode and search. Their product never exceeds the cores."""

    workers: int
    threads: int


def thread_plan(cores: int, workers: int | None = None, threads: int | None = None) -> ThreadPlan:
    """Divide `cores`: about one worker per four cores, two at least where there are two cores, nothing left idle.

    One process is one queue, which has the better tail; a second one goes on serving when the first crashes. Either
    number can be fixed by the caller; the other then follows from the cores.
    """
    if workers is None and threads is None:
        target = max(min(2, cores), round(cores / 4))
        divisors = [n for n in range(1, cores + 1) if cores % n == 0]
        workers = min(divisors, key=lambda n: (abs(n - target), n))
    if workers is None:
        workers = max(1, cores // (threads or 1))
    return ThreadPlan(workers, threads or max(1, cores // workers))


def cgroup_folders(cgroup_root: Path, self_cgroup: Path, controller: str) -> list[Path]:
    """Folders that may hold a limit of a controller: each of this process's cgroups and every parent of it, up to the root."""
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
    """A quota of -1 means none."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None
