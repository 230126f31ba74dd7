"""The resources that a service needs for a catalog (workers, threads, memory), and the memory limit of this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logo_similarity.cpu import CGROUP_ROOT, SELF_CGROUP, ThreadPlan, cgroup_folders, thread_plan

if TYPE_CHECKING:
    from logo_similarity.config import Settings

MEGABYTE = 1_000_000
LIBRARY_BYTES = 75_000_000
"""Code of Python, FAISS, ONNX Runtime, OpenCV and other libraries: shared by all workers."""
WORKER_BYTES = 100_000_000
"""Private memory of one worker: Python objects, the encoder with its buffers, a small cache. Measured with the default
encoder by `benchmarks.worker_memory`."""
DECODER_BYTES = 41_000_000
"""Memory of a child process that decodes images, after small ones; each search thread may have one."""
DECODER_SLACK_BYTES = 48_000_000
"""Memory that such a child may use in addition to the file and its decoding: library state, and the decoded image."""
PICTURE_BYTES = 64_000_000
"""The decoded image in a worker, one for each thread: 27 MB at most, as much for a part cut from it, and smaller copies
in which its content is found."""
DEFAULT_MODEL_BYTES = 6_000_000
"""Size of the encoder with which `WORKER_BYTES` was measured; a larger encoder adds the difference to each worker."""
SPARE = 1.25
"""Memory limit over expected memory: room to open the next catalog version, and for differences between machines."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """The expected memory of a service, in bytes."""

    threads: ThreadPlan
    shared: int
    """Shared by all workers: the mapped files of the catalog, and the libraries."""
    private: int
    """Of each worker, including its decoders."""
    burst: int
    """Of each worker, for short times: request heads and bodies up to their limits, and per thread one image whose
    decoding takes as much memory as allowed, and one decoded image."""
    trial: int
    """Once, for a short time: the process that tries a new version. It shares the mapped files with the workers."""

    @property
    def total(self) -> int:
        """Memory of all workers together, without bursts."""
        return self.shared + self.threads.workers * self.private

    @property
    def limit(self) -> int:
        """Smallest memory limit for a container with this service."""
        return round(SPARE * self.total) + self.threads.workers * self.burst + self.trial

    def figures(self) -> dict[str, int]:
        """The plan for JSON and logs, memory in megabytes."""
        return {
            "workers": self.threads.workers,
            "threads": self.threads.threads,
            "shared_mb": self.shared // MEGABYTE,
            "private_mb": self.private // MEGABYTE,
            "burst_mb": self.burst // MEGABYTE,
            "trial_mb": self.trial // MEGABYTE,
            "total_mb": self.total // MEGABYTE,
            "limit_mb": self.limit // MEGABYTE,
        }


def plan_service(catalog_bytes: int, model_bytes: int, cores: int, settings: Settings) -> ServicePlan:
    """Plan a service.

    Args:
        catalog_bytes: size of all files of the catalog version.
        model_bytes: size of its encoder.
        cores: number of cores to use.
        settings: may fix the workers and threads, and set the limits on requests and images.
    """
    plan = thread_plan(cores, settings.workers, settings.threads)
    worker = WORKER_BYTES + max(0, model_bytes - DEFAULT_MODEL_BYTES)
    return ServicePlan(
        threads=plan,
        shared=catalog_bytes + LIBRARY_BYTES,
        private=worker + plan.threads * DECODER_BYTES,
        burst=max(settings.max_inflight_bytes, settings.max_upload_bytes)
        + settings.max_connections * settings.max_head_bytes
        + plan.threads * (decoder_limit(settings.decode_memory, settings.max_upload_bytes) + PICTURE_BYTES),
        trial=worker,
    )


def decoder_limit(decode_memory: int, max_upload_bytes: int) -> int:
    """Memory limit of a decoder child process in bytes: decoding, the file twice, and `DECODER_SLACK_BYTES`."""
    return decode_memory + 2 * max_upload_bytes + DECODER_SLACK_BYTES


def available_memory() -> int:
    """The memory that this process may use, in bytes."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(memory_limit() or installed, installed)


def memory_limit(*, cgroup_root: Path = CGROUP_ROOT, self_cgroup: Path = SELF_CGROUP) -> int | None:
    """The lowest memory limit of this process's cgroup and its parents (v1 or v2), in bytes; None: no limit."""
    limits = []
    for folder in cgroup_folders(cgroup_root, self_cgroup, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal() and int(text) < 1 << 60:  # v1 has a huge number for "no limit"
                limits.append(int(text))
    return min(limits, default=None)
