"""`logo-similarity plan`: what serving a catalog needs, or what a register of a given size would need."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from logo_similarity.capacity import Engine, Estimate, Machine, estimate, largest_files, local_bytes
from logo_similarity.commands.options import AsJson
from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import ConfigError
from logo_similarity.plan import MEGABYTE, SPARE, ServicePlan, plan_service
from logo_similarity.terminal import format_bytes, print_json, print_table
from logo_similarity.wording import counted

MOST_LOGOS = 10**11
MOST = 10**9
"""Of gigabytes, and of searches per second."""
RATE = 10.0


def plan(
    catalogs: Annotated[
        Path | None,
        typer.Argument(metavar="CATALOGS", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]"),
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Number of cores. Default: those of this machine; with --logos, 16.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MOST,
            help="Available memory, in GB. The exit status is 1 if it is too small. Default with --logos: 64.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes. Default: from the cores.")] = None,
    logos: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_LOGOS, help="Plan a register of so many logos instead; no catalog is needed."),
    ] = None,
    qps: Annotated[
        float | None, typer.Option(min=0, max=MOST, help="With --logos: searches per second to answer. Default: 10.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate workers, threads and memory for serving.

    The estimate is for the live catalog version, and includes the limits to set for a container. With --logos, it is for a
    register of that size, on machines of --cores and --memory (default: 16 and 64 GB): files, machines and hours of a build.
    """
    if logos is not None:
        if catalogs is not None:
            raise typer.BadParameter("cannot be combined with a folder of catalogs", param_hint="--logos")
        default = Machine()
        machine = Machine(cores or default.cores, default.memory if memory is None else round(1000 * MEGABYTE * memory))
        rate = RATE if qps is None else qps
        _print_estimate(estimate(logos, rate, machine, load_settings(workers=workers)), as_json=as_json)
        return
    if qps is not None:
        raise typer.BadParameter("needs --logos, the number of logos", param_hint="--qps")
    _plan_catalog(catalogs, cores, memory, workers, as_json=as_json)


def _plan_catalog(
    catalogs: Path | None, cores: int | None, memory: float | None, workers: int | None, *, as_json: bool
) -> None:
    from logo_similarity.catalog.manifest import read_manifest
    from logo_similarity.catalog.versions import Catalog

    settings = load_settings(catalogs=catalogs, workers=workers)
    manifest = read_manifest(Catalog(settings.catalogs).current())
    service = plan_service(manifest.size, manifest.model_size, cores or usable_cores(), settings)
    figures = service.figures()
    fits = memory is None or service.limit <= memory * 1000 * MEGABYTE
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
        raise ConfigError(_advice(service, memory or 0))


def _print_estimate(plan: Estimate, *, as_json: bool) -> None:
    if as_json:
        described = [{**asdict(form), "disk": form.disk, "hot": form.hot} for form in plan.forms]
        print_json({**asdict(plan), "forms": described, "form": plan.form.precision})
        return
    forms = Table("embeddings", "disk", "always in memory", "memory of a machine")
    for form in plan.forms:
        mark = " (chosen)" if form is plan.form and plan.engine is Engine.FILES else ""
        forms.add_row(
            f"{form.precision}{mark}", format_bytes(form.disk), format_bytes(form.hot), format_bytes(form.limit)
        )
    print_table(forms)
    table = Table("", "", show_header=False, box=box.SIMPLE)
    for row in estimate_rows(plan):
        table.add_row(*row)
    print_table(table)


def estimate_rows(plan: Estimate) -> tuple[tuple[str, str], ...]:
    """The estimate as names and values, for people."""
    command = "build --index milvus" if plan.engine is Engine.MILVUS else f"build --precision {plan.form.precision}"
    if plan.engine is Engine.FILES:
        disk = "most of the disk", ", ".join(f"{name} {share:.0%}" for name, share in largest_files(plan.form))
    else:
        disk = "disk of each machine that answers", format_bytes(local_bytes(plan.form))
    shards = "" if plan.shards == 1 else f", {plan.shards:,} of them with the vectors"
    kind = f"{counted(plan.machine.cores, 'core')} and {plan.machine.memory / 1e9:,.10g} GB"
    return (
        ("choose", f"{plan.engine}, {command}"),
        ("because", plan.reason),
        ("a search", f"{plan.search_ms:.1f} ms of a core"),
        (f"cores for {plan.rate:,.10g} searches per second", f"{plan.cores:,}"),
        (f"machines of {kind}", f"{plan.machines:,}{shards}"),
        ("embedding the images", f"{_hours(plan.embed_hours)} on {counted(plan.embed_machines, 'machine')}"),
        ("building the index", f"{_hours(plan.index_hours)} on one machine"),
        disk,
    )


def _hours(hours: float) -> str:
    minutes = round(60 * hours)
    if minutes >= 60:
        return f"{hours:,.1f} hours"
    return counted(minutes, "minute") if minutes else "less than a minute"


def _advice(service: ServicePlan, memory: float) -> str:
    shortage = f"{service.limit / 1e9:.1f} GB are needed and {memory:g} GB are available"
    room = memory * 1e9 - SPARE * service.shared - service.trial
    workers = math.floor(room / (SPARE * service.private + service.burst))
    if workers >= 1:
        return f"{shortage}: use --workers {min(workers, service.threads.workers - 1)}"
    return f"{shortage}: the catalog alone does not fit and searches would wait for the disk; add memory"
