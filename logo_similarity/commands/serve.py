"""`logo-similarity serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from logo_similarity.commands.options import Catalogs, Device, Host, ImagesDir, Port, SearchThreads, Workers
from logo_similarity.config import load_settings


def serve(
    catalogs: Catalogs = None,
    images_dir: ImagesDir = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    threads: SearchThreads = None,
    device: Device = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.  [LOGO_LOG_FORMAT]")] = None,
) -> None:
    """Serve the live catalog over HTTP."""
    from logo_similarity.api import server

    server.serve(
        load_settings(
            catalogs=catalogs,
            images_dir=images_dir,
            host=host,
            port=port,
            workers=workers,
            threads=threads,
            device=device,
            log_format=log_format,
        )
    )
