"""Limits that a process sets on itself before it opens files from elsewhere, and how it ends with its parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

DESCRIPTORS_PER_CONNECTION = 2
"""The socket, and the file that its request is sent from or received into."""
DESCRIPTORS_BESIDE_CONNECTIONS = 256
"""Catalog, metrics, logs, connections to a bucket, and connections accepted while others are being closed."""
_PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""


def limit_memory(extra_bytes: int) -> None:
    """Let this process map at most `extra_bytes` more than it has mapped now (RLIMIT_AS). Allocations past that fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def limit_cpu(seconds: int) -> None:
    """Let the kernel kill this process after `seconds` more of CPU time, over all its threads (RLIMIT_CPU)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    most = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))


def raise_descriptors(wanted: int) -> int:
    """Raise this process's limit of open files (RLIMIT_NOFILE) to `wanted`, as far as its hard limit allows.

    Returns:
        The limit now. It is larger than `wanted` where it was before.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def die_with_parent(parent: int, sign: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when the thread that started it ends, or now if `parent` has ended already.

    Args:
        parent: process id of the parent, taken before the start.
        sign: the signal; the last call counts.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os.kill(os.getpid(), sign)
