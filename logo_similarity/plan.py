"""What a service on a catalog needs: workers, threads, memory; and whether it will have that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from logo_similarity.cpu import CGROUP_ROOT, SELF_CGROUP, ThreadPlan, cgroup_folders, thread_plan

MEGABYTE = 1_000_000
LIBRARY_BYTES = 75_000_000
"""Code of Python, FAISS, ONNX Runtime, OpenCV and the others: mapped by all workers, in memory once."""
WORKER_BYTES = 100_000_000
"""Of one worker's own: objects of Python and the libraries, the encoder with its buffers, a small cache. Measured with the
default encoder (`benchmarks.worker_memory` compares this plan with what is used)."""
DEFAULT_MODEL_BYTES = 6_000_000
"""Size of the encoder that WORKER_BYTES was measured with; a larger one takes as much more in each worker."""
SPARE = 1.25
"""Limit over expectation: uploads that are under way, and the next version that is opened beside this one."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What to expect of a service, in bytes."""

    threads: ThreadPlan
    shared: int
    """Once, whatever the number of workers: the catalog's files, mapped, and the libraries."""
    private: int
    """In each worker."""

    @property
    def total(self) -> int:
        """Of all workers together."""
        return self.shared + self.threads.workers * self.private

    @property
    def limit(self) -> int:
        """What to give a container at least."""
        return round(SPARE * self.total)

    def figures(self) -> dict[str, int]:
        """For JSON and logs; memory in megabytes."""
        return {
            "workers": self.threads.workers,
            "threads": self.threads.threads,
            "shared_mb": self.shared // MEGABYTE,
            "private_mb": self.private // MEGABYTE,
            "total_mb": self.total // MEGABYTE,
            "limit_mb": self.limit // MEGABYTE,
        }


def plan_service(
    catalog_bytes: int, model_bytes: int, cores: int, workers: int | None = None, threads: int | None = None
) -> ServicePlan:
    """The plan for a catalog whose files and whose encoder have these sizes, on so many cores."""
    return ServicePlan(
        threads=thread_plan(cores, workers, threads),
        shared=catalog_bytes + LIBRARY_BYTES,
        private=WORKER_BYTES + max(0, model_bytes - DEFAULT_MODEL_BYTES),
    )


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
