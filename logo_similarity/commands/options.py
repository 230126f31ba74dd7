"""Options that several commands share, and the example in a command's help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Catalogs = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]")
]
Device = Annotated[
    str | None, typer.Option("--device", help="Device of the encoder: auto, cpu or cuda.  [LOGO_DEVICE, default: auto]")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Number of threads. Default: one per usable core.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def example(arguments: str) -> str:
    """The epilog of a command's help: how it is called."""
    return f"\b\nExample:\n  logo-similarity {arguments}"
