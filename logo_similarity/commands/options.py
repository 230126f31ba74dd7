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
SourcePath = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="A table (CSV, JSON, Excel, Parquet), a folder of images with or without a table, a ZIP file of images, files "
        "of a register, or a folder in the L3D layout.",
    ),
]
SourceKind = Annotated[
    str | None, typer.Option("--kind", help="Kind of the source: table, folder or l3d. Default: detected.")
]
SourceImages = Annotated[
    Path | None,
    typer.Option(
        "--images",
        help="Folder or ZIP file of the images. Default: images/, images.zip or NAME-images.zip beside the source.",
    ),
]
MappingFile = Annotated[
    Path | None, typer.Option("--mapping", help="TOML file that states the columns and the format of a table.")
]
MappedColumns = Annotated[
    list[str],
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help='Column of a field of a table, as filename="Picture file"; repeatable. Default: recognised by its name.',
    ),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="Encoding of a text table, as cp1252. Default: recognised.")
]
Sheet = Annotated[str | None, typer.Option("--sheet", help="Sheet of a workbook. Default: the first with rows.")]


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
