"""What a service on a catalog needs: workers, threads, memory; and whether it will have that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logo_similarity.cpu import CGROUP_ROOT, SELF_CGROUP, ThreadPlan, cgroup_folders, thread_plan

if TYPE_CHECKING:
    from logo_similarity.config import Settings

MEGABYTE = 1_000_000
LIBRARY_BYTES = 75_000_000
"""Code of Python, FAISS, ONNX Runtime, OpenCV and the others: mapped by all workers, in memory once."""
WORKER_BYTES = 100_000_000
"""Of one worker's own: objects of Python and the libraries, the encoder with its buffers, a small cache. Measured with the
default encoder (`benchmarks.worker_memory` compares this plan with what is used)."""
DECODER_BYTES = 22_000_000
"""Of one child process that decodes images; each search thread may have one."""
DECODER_SLACK_BYTES = 48_000_000
"""What such a child may take beyond the file and its decoding: the libraries' own state, the picture that goes out."""
DEFAULT_MODEL_BYTES = 6_000_000
"""Size of the encoder that WORKER_BYTES was measured with; a larger one takes as much more in each worker."""
SPARE = 1.25
"""Limit over expectation: the next version that is opened beside this one, and what differs between machines."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What to expect of a service, in bytes."""

    threads: ThreadPlan
    shared: int
    """Once, whatever the number of workers: the catalog's files, mapped, and the libraries."""
    private: int
    """In each worker, its decoders included."""
    burst: int
    """In each worker for moments: as many heads and bodies of requests as it may hold, and in every thread an image whose
    decoding takes as much as it may."""
    trial: int
    """Once, for moments: the process that tries a new version. It maps the version's files, as the workers will."""

    @property
    def total(self) -> int:
        """Of all workers together, without bursts."""
        return self.shared + self.threads.workers * self.private

    @property
    def limit(self) -> int:
        """What to give a container at least."""
        return round(SPARE * self.total) + self.threads.workers * self.burst + self.trial

    def figures(self) -> dict[str, int]:
        """For JSON and logs; memory in megabytes."""
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
    """The plan for a catalog whose files and whose encoder have these sizes, on so many cores."""
    plan = thread_plan(cores, settings.workers, settings.threads)
    worker = WORKER_BYTES + max(0, model_bytes - DEFAULT_MODEL_BYTES)
    return ServicePlan(
        threads=plan,
        shared=catalog_bytes + LIBRARY_BYTES,
        private=worker + plan.threads * DECODER_BYTES,
        burst=max(settings.max_inflight_bytes, settings.max_upload_bytes)
        + settings.max_connections * settings.max_head_bytes
        + plan.threads * decoder_limit(settings.decode_memory, settings.max_upload_bytes),
        trial=worker,
    )


def decoder_limit(decode_memory: int, max_upload_bytes: int) -> int:
    """Bytes that a child may take for one image: decoding, the file and a copy of it, and some more."""
    return decode_memory + 2 * max_upload_bytes + DECODER_SLACK_BYTES


def memory_limit(*, cgroup_root: Path = CGROUP_ROOT, self_cgroup: Path = SELF_CGROUP) -> int | None:
    """The tightest memory limit in bytes over this process's cgroup and its parents (v2 or v1); None where none is set."""
    limits = []
    for folder in cgroup_folders(cgroup_root, self_cgroup, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal() and int(text) < 1 << 60:  # v1 writes a number without meaning for "none"
                limits.append(int(text))
    return min(limits, default=None)
