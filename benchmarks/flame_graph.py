"""Where a worker spends its time under load, as a flame graph: `benchmarks/results/flame_graph.svg`.

    python -m benchmarks.flame_graph [LOGOS]

py-spy samples the worker of a service on one core while users search without pause, each search with its default parameters.
Only threads that run are sampled. Needs the right to trace processes: run it as root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.load import run_load
from benchmarks.machine import RESULTS
from benchmarks.make_register import register_catalog
from benchmarks.service import running

SECONDS, SAMPLES_PER_SECOND, USERS = 30, 200, 10
PICTURE = RESULTS / "flame_graph.svg"


def main(logos: int) -> None:
    """Draw it."""
    cores = sorted(os.sched_getaffinity(0))
    with running(register_catalog(logos), workers=1, threads=1, cores={cores[0]}) as service:
        (worker,) = service.workers()
        command = [
            str(Path(sysconfig.get_path("scripts")) / "py-spy"), "record", "--pid", str(worker.pid), "--nonblocking",
            "--rate", str(SAMPLES_PER_SECOND), "--duration", str(SECONDS), "--format", "flamegraph", "--output", str(PICTURE),
        ]  # fmt: skip
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(run_load, service, cores[-1], rate=None, seconds=SECONDS + 2, users=USERS)
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            load.result()  # checks the answers
    print(PICTURE)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 770_000)
