"""`logo-similarity doctor`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from logo_similarity.commands.options import AsJson, Catalogs
from logo_similarity.config import load_settings
from logo_similarity.terminal import print_json, print_table

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(
    catalogs: Catalogs = None,
    url: Annotated[
        str | None,
        typer.Option(help="Check the service at this address instead, with the first key of LOGO_API_KEYS."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this installation, or a running service.

    Every check is ok, a warning, or failed. The exit status is 1 if a check failed.
    """
    if url is None:
        from logo_similarity.doctor import examine

        findings = examine(catalogs)
    elif catalogs is not None:
        raise typer.BadParameter("cannot be combined with --url", param_hint="--catalogs")
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
