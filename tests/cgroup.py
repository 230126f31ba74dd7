"""A control group for the processes of a test, which limits their memory. Versions 1 and 2. Needs root."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Group:
    """The folders of one group."""

    memory: Path
    cpu: Path
    unified: bool

    def enter(self, command: list[str]) -> list[str]:
        """The command that runs `command` inside the group."""
        folders = {self.memory / "cgroup.procs", self.cpu / "cgroup.procs"}
        moves = "; ".join(f"echo $$ > {folder}" for folder in sorted(folders))
        return ["/bin/sh", "-c", f'{moves}; exec "$@"', "sh", *command]

    def cpu_seconds(self) -> float:
        """CPU time of all its processes, the ended ones included."""
        if self.unified:
            return int(_field(self.cpu / "cpu.stat", "usage_usec")) / 1e6
        return int((self.cpu / "cpuacct.usage").read_text()) / 1e9

    def peak_memory(self) -> int:
        """The most bytes in use at once, the page cache included."""
        return int((self.memory / ("memory.peak" if self.unified else "memory.max_usage_in_bytes")).read_text())

    def forget_peak(self) -> None:
        """Reset the peak (version 1 only: older kernels cannot reset that of version 2)."""
        if not self.unified:
            (self.memory / "memory.max_usage_in_bytes").write_text("0")

    def kills(self) -> int:
        """Number of processes that were killed for exceeding the limit."""
        return int(_field(self.memory / ("memory.events" if self.unified else "memory.oom_control"), "oom_kill"))


@contextmanager
def memory_group(limit: int) -> Iterator[Group]:
    """A group whose processes together may use `limit` bytes."""
    name = f"logo-similarity-test-{secrets.token_hex(4)}"
    unified = (ROOT / "cgroup.controllers").exists()
    if unified:
        (ROOT / "cgroup.subtree_control").write_text("+memory +cpu")
    group = Group(
        ROOT / name if unified else ROOT / "memory" / name, ROOT / name if unified else ROOT / "cpuacct" / name, unified
    )
    folders = {group.memory, group.cpu}
    for folder in folders:
        folder.mkdir()
    try:
        (group.memory / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(limit))
        yield group
    finally:
        for folder in folders:
            folder.rmdir()


def _field(file: Path, name: str) -> str:
    return next(line.split()[1] for line in file.read_text().splitlines() if line.split()[0] == name)
