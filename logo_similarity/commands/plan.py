"""`logo-similarity plan`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import ConfigError
from logo_similarity.plan import MEGABYTE, SPARE, ServicePlan, plan_service
from logo_similarity.terminal import print_json

out = Console()


def plan(
    catalogs: Annotated[
        Path | None, typer.Argument(help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores to serve on. Default: those of this machine.")] = None,
    memory: Annotated[
        float | None, typer.Option(min=0, help="Memory there is, in GB: says whether it is enough.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes. Default: from the cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what serving the live catalog takes: workers, threads, memory, and the limits to set. Status 1 where it won't fit."""
    from logo_similarity.catalog.manifest import read_manifest
    from logo_similarity.catalog.versions import Catalog

    settings = load_settings(catalogs=catalogs, workers=workers)
    manifest = read_manifest(Catalog(settings.catalogs).current())
    made = plan_service(manifest.size, manifest.model_size, cores or usable_cores(), settings)
    fits = memory is None or made.limit <= memory * 1000 * MEGABYTE
    if as_json:
        print_json(
            {
                "logos": manifest.count,
                "bytes_per_logo": round(manifest.size / manifest.count),
                "fits": fits,
                **made.figures(),
            }
        )
    else:
        table = Table("", "", title=f"{manifest.count:,} logos", show_header=False)
        found = made.figures()
        table.add_row("workers x threads", f"{found['workers']} x {found['threads']}")
        table.add_row("memory shared by all workers", f"{found['shared_mb']:,} MB")
        table.add_row("memory of each worker's own", f"{found['private_mb']:,} MB")
        table.add_row("memory of each worker for requests in progress, at most", f"{found['burst_mb']:,} MB")
        table.add_row("memory of the process that tries a new version", f"{found['trial_mb']:,} MB")
        table.add_row("memory in normal use", f"{found['total_mb']:,} MB")
        table.add_row(
            "limits to set, with all of this at once and a quarter to spare",
            f"{found['workers'] * found['threads']} CPUs, {found['limit_mb']:,} MB",
        )
        out.print(table)
    if not fits:
        raise ConfigError(_advice(made, memory or 0))


def _advice(made: ServicePlan, memory: float) -> str:
    needed = f"needs {made.limit / 1e9:.1f} GB, but only {memory:g} GB is available"
    room = memory * 1e9 - SPARE * made.shared - made.trial
    possible = math.floor(room / (SPARE * made.private + made.burst))
    if possible >= 1:
        return f"{needed}; it fits with --workers {min(possible, made.threads.workers - 1)}"
    return f"{needed}: the catalog alone does not fit; searches would wait for the disk. Give the machine more memory"
