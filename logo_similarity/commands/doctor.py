"""`logo-similarity doctor`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from logo_similarity.commands.options import (
    AsJson,
    Catalogs,
    Device,
    Host,
    ImagesDir,
    Port,
    SearchThreads,
    Workers,
    name_options,
)
from logo_similarity.config import load_settings
from logo_similarity.terminal import print_json, print_table

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(
    context: typer.Context,
    catalogs: Catalogs = None,
    images_dir: ImagesDir = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    threads: SearchThreads = None,
    device: Device = None,
    url: Annotated[
        str | None,
        typer.Option(help="Check the service at this address instead, with the first key of LOGO_API_KEYS."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this installation, or a running service.

    The options are those of serve: give the same ones to check what it would find. Every check is ok, a warning, or
    failed. The exit status is 1 if a check failed.
    """
    of_serve = {
        "catalogs": catalogs, "images_dir": images_dir, "host": host, "port": port, "workers": workers,
        "threads": threads, "device": device,
    }  # fmt: skip
    if url is None:
        from logo_similarity.doctor import examine

        findings = [
            replace(finding, detail=name_options(finding.detail, context.command, sys.argv[1:]))
            for finding in examine(**of_serve)
        ]
    elif any(value is not None for value in of_serve.values()):
        raise typer.BadParameter("cannot be combined with the options of serve", param_hint="--url")
    else:
        from logo_similarity.probe import examine_service

        findings = examine_service(url, load_settings())
    if as_json:
        print_json(
            [
                {"what": finding.check, "state": finding.state, "ok": finding.ok, "detail": finding.detail}
                for finding in findings
            ]
        )
    else:
        table = Table("state", "check", "detail", box=box.SIMPLE_HEAD)
        for finding in findings:
            table.add_row(Text(finding.state, STYLES[finding.state]), finding.check, finding.detail)
        print_table(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
