"""`logo-similarity plan`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from logo_similarity.commands.options import AsJson
from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import ConfigError
from logo_similarity.plan import MEGABYTE, SPARE, ServicePlan, plan_service
from logo_similarity.terminal import print_json, print_table
from logo_similarity.wording import counted


def plan(
    catalogs: Annotated[
        Path | None,
        typer.Argument(metavar="CATALOGS", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]"),
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Number of cores. Default: those of this machine.")] = None,
    memory: Annotated[
        float | None, typer.Option(min=0, help="Available memory, in GB. The exit status is 1 if it is too small.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes. Default: from the cores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate workers, threads and memory for serving.

    The estimate is for the live catalog version, and includes the limits to set for a container.
    """
    from logo_similarity.catalog.manifest import read_manifest
    from logo_similarity.catalog.versions import Catalog

    settings = load_settings(catalogs=catalogs, workers=workers)
    manifest = read_manifest(Catalog(settings.catalogs).current())
    estimate = plan_service(manifest.size, manifest.model_size, cores or usable_cores(), settings)
    figures = estimate.figures()
    fits = memory is None or estimate.limit <= memory * 1000 * MEGABYTE
    if as_json:
        print_json(
            {
                "logos": manifest.count,
                "bytes_per_logo": round(manifest.size / manifest.count),
                "fits": fits,
                **figures,
            }
        )
    else:
        table = Table("", "", show_header=False, box=box.SIMPLE)
        table.add_row("logos", f"{manifest.count:,}")
        table.add_row("workers x threads", f"{figures['workers']} x {figures['threads']}")
        table.add_row("memory shared by all workers", f"{figures['shared_mb']:,} MB")
        table.add_row("memory of each worker", f"{figures['private_mb']:,} MB")
        table.add_row("memory of each worker for requests in progress, at most", f"{figures['burst_mb']:,} MB")
        table.add_row("memory of the process that tests a new version", f"{figures['trial_mb']:,} MB")
        table.add_row("memory in normal use", f"{figures['total_mb']:,} MB")
        table.add_row(
            "limits to set: the sum of all this, and a quarter more",
            f"{counted(figures['workers'] * figures['threads'], 'CPU')}, {figures['limit_mb']:,} MB",
        )
        print_table(table)
    if not fits:
        raise ConfigError(_advice(estimate, memory or 0))


def _advice(estimate: ServicePlan, memory: float) -> str:
    shortage = f"{estimate.limit / 1e9:.1f} GB are needed and {memory:g} GB are available"
    room = memory * 1e9 - SPARE * estimate.shared - estimate.trial
    workers = math.floor(room / (SPARE * estimate.private + estimate.burst))
    if workers >= 1:
        return f"{shortage}: use --workers {min(workers, estimate.threads.workers - 1)}"
    return f"{shortage}: the catalog alone does not fit and searches would wait for the disk; add memory"
