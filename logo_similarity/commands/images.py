"""`logo-similarity images ...`: the S3 image store."""

from __future__ import annotations

import asyncio
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from logo_similarity.commands.options import AsJson, example
from logo_similarity.config import load_settings
from logo_similarity.terminal import err, out, print_json, progress

images_app = typer.Typer(help="Upload images to the S3 image store.", no_args_is_help=True)


@images_app.command("upload", epilog=example("images upload /data/register/images"))
def upload(
    images: Annotated[
        Path,
        typer.Argument(metavar="IMAGES", help="Folder or ZIP file of images. Their paths in it become their keys."),
    ],
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Number of parallel uploads.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Upload images from a folder or from ZIP files to the S3 image store.

    Files that are in the store with the same name and size are skipped.
    """
    from logo_similarity.image.files import open_images
    from logo_similarity.storage import S3Service, UploadProgress, UploadSummary, upload_images

    service = S3Service(load_settings())
    opened = open_images(images)
    with progress(err) as report:

        def show(state: UploadProgress) -> None:
            report("files uploaded", state.uploaded + state.skipped + state.failed, state.total)

        async def run() -> UploadSummary:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(concurrency))
            return await upload_images(service, opened, concurrency=concurrency, on_progress=show)

        summary = asyncio.run(run())
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        out.print(
            f"{summary.uploaded:,} uploaded ({summary.bytes_sent / 1e6:.1f} MB), "
            f"{summary.skipped:,} already in the store, {summary.failed:,} failed"
        )
        for failure in summary.failures:
            err.print(f"{failure.filename}: {failure.reason}")
    if summary.failed:
        raise typer.Exit(1)
