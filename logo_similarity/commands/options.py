"""Options that several commands share, and the example in a command's help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logo_similarity.config import load_settings
from logo_similarity.errors import SourceError

Catalogs = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]")
]
Device = Annotated[
    str | None, typer.Option("--device", help="Device of the encoder: auto, cpu or cuda.  [LOGO_DEVICE, default: auto]")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Number of threads. Default: one per usable core.")
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Ask the service at this address, as https://logos.example. Needs the extra `client`."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="File with the API key for --url, on its first line. Default: the first key in LOGO_API_KEYS.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def example(arguments: str) -> str:
    """The epilog of a command's help: how it is called."""
    return f"\b\nExample:\n  logo-similarity {arguments}"


def read_key(path: Path | None) -> str | None:
    """The API key for a service: from a file, or the first one of LOGO_API_KEYS; None: there is none.

    Raises:
        SourceError: the file has no key.
        OSError: the file cannot be read.
    """
    if path is None:
        keys = load_settings().api_keys
        return keys[0].get_secret_value() if keys else None
    lines = path.read_text("utf-8", errors="replace").splitlines()
    if not lines or not lines[0].strip():
        raise SourceError(f"{path}: has no API key; write it on the first line")
    return lines[0].strip()
