"""`logo-similarity serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logo_similarity.commands.options import Catalogs
from logo_similarity.config import load_settings


def serve(
    catalogs: Catalogs = None,
    images_dir: Annotated[
        Path | None, typer.Option("--images", help="Folder of the images (local store).  [LOGO_IMAGES_DIR]")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [LOGO_HOST, default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [LOGO_PORT, default: 8000]")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes.  [LOGO_WORKERS, default: from the cores]")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Search threads per worker.  [LOGO_THREADS]")] = None,
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
            log_format=log_format,
        )
    )
