"""Resource limits that a process sets on itself, and termination with its parent process."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

DESCRIPTORS_PER_CONNECTION = 2
"""The socket, and a file for the body of the request or the response."""
DESCRIPTORS_BESIDE_CONNECTIONS = 256
"""For the catalog, metrics, logs, connections to a bucket, and connections accepted while others are closing."""
_PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""


def limit_memory(extra_bytes: int) -> None:
    """Limit the address space to the currently mapped size plus `extra_bytes` (RLIMIT_AS); larger allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def limit_cpu(seconds: int) -> None:
    """Have the kernel kill this process after `seconds` more of CPU time, summed over its threads (RLIMIT_CPU)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))


def raise_descriptors(count: int) -> int:
    """Raise the limit on open files (RLIMIT_NOFILE) to `count`, or to the hard limit if that is lower.

    Returns:
        The limit now in force; a limit that is already higher is not changed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count if soft == resource.RLIM_INFINITY else soft
    limit = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def die_with_parent(parent: int, sign: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent thread ends; signal it now if the parent has already ended.

    Args:
        parent: process id of the parent, obtained before this process was started.
        sign: the signal; a later call replaces it.

    Raises:
        OSError: the kernel refuses the request.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os.kill(os.getpid(), sign)
