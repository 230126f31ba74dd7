"""Builds a catalog and kills its own process at a given point, as a power cut would.

python -m tests.faults.build_and_die SOURCE OUT STAGE NUMBER [RAY]: dies at the NUMBER-th report of STAGE; the stage "flip" is the
moment before CURRENT is pointed at the new version, "never" lets it end. RAY is the address of a cluster that embeds.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from logo_similarity.build import catalog, embeddings, options, ray_cluster, records, shards
from logo_similarity.catalog import versions
from logo_similarity.catalog.sources import open_source


def main(source: Path, out: Path, fatal_stage: str, fatal_number: int, ray: str | None = None) -> None:
    # Small steps, so that a small source has many of them; they do not show in the result.
    for module in (catalog, embeddings, shards):
        setattr(module, "SHARD_ROWS", 32)  # noqa: B010 - a constant, as mypy knows
    records.REPORT_ROWS = 40
    seen = 0

    def report(stage: str, _done: int, _total: int | None) -> None:
        nonlocal seen
        seen += stage == fatal_stage
        if seen == fatal_number:
            os.kill(os.getpid(), signal.SIGKILL)

    def die(*_: object) -> None:
        report("flip", 0, None)

    if fatal_stage == "flip":
        setattr(versions.Catalog, "flip", die)  # noqa: B010 - a method, as mypy knows
    with ray_cluster.connected(ray, "auto") as cluster:
        catalog.build_catalog(open_source(source), out, options.BuildOptions(threads=2, cluster=cluster), report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
