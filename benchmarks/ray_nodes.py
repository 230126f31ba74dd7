"""A real Ray cluster on the loopback address: a head without CPUs for tasks, and nodes with one each."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = 80_000_000
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # the cores are not those of others
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all addresses of Ray are 127.0.0.1
}


class RayNodes:
    """A running cluster."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        Path(tempfile.gettempdir(), "ray").mkdir(exist_ok=True)  # Ray writes the address there, and does not create it
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY, "temp_dir": folder}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self._cluster.address
        self.nodes: list[Any] = []

    def add(self, count: int) -> None:
        """Start nodes with one CPU."""
        self.nodes += [self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY, wait=False) for _ in range(count)]
        self._cluster.wait_for_nodes()

    def kill(self) -> None:
        """Kill all processes of a node at once."""
        self._cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@contextlib.contextmanager
def run_ray(count: int) -> Iterator[RayNodes]:
    """A cluster with `count` nodes beside its head."""
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        cluster = RayNodes(folder)
        try:
            cluster.add(count)
            yield cluster
        finally:
            cluster.close()
