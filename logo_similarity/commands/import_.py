"""`logo-similarity import`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logo_similarity.commands.options import AsJson, Catalogs, Device, Ray, SourceOptions, Threads, with_source
from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import ConfigError
from logo_similarity.terminal import err, out, print_json, printable, progress
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from logo_similarity.build.importing import ImportResult

OUTCOMES = {
    "added": "added", "changed": "changed", "ended": "no longer in force", "unchanged": "unchanged",
    "removed": "removed", "images_missing": "left out, without an image", "unknown": "not in the catalog", "rejected": "rejected",
}  # fmt: skip


@with_source
def import_(
    source: SourceOptions,
    catalogs: Catalogs = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Folder that the service reads images from, to add new ones.  [LOGO_IMAGES_DIR]"),
    ] = None,
    enrich: Annotated[
        bool,
        typer.Option(
            "--enrich", help="Only add metadata to logos of the catalog, by their ids; the source needs no images."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    threads: Threads = None,
    ray: Ray = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Apply files of a register to the live catalog.

    Later records of a logo update earlier ones, by the dates of the office, so the files may come in any order and more
    than once. The images of the live catalog are neither needed nor embedded again. Images that are new go into the image
    store, and the result becomes live as a new version. An import that is interrupted continues when it is run again.
    """
    from logo_similarity.build.importing import import_source
    from logo_similarity.build.options import BuildOptions
    from logo_similarity.build.ray_cluster import connected
    from logo_similarity.catalog.signature import required_signing_key
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.image.decode import ImageLimits
    from logo_similarity.image.files import unread_notes
    from logo_similarity.milvus.connection import IndexServer
    from logo_similarity.storage import open_store

    settings = load_settings(catalogs=catalogs, images_dir=store, device=device)
    image_store = open_store(settings)
    if image_store is None and not enrich:
        raise ConfigError(
            "no image store for new images: name the folder with --store, or set LOGO_IMAGES_DIR or LOGO_S3_BUCKET"
        )
    options = BuildOptions(
        threads=threads or usable_cores(),
        device=settings.device if ray is None else "cpu",
        limits=ImageLimits.of(settings),
        trial=Trial.of(settings),
        server=IndexServer.of(settings),
        signing_key=required_signing_key(settings),
    )
    opened = source.open(needs_images=not enrich)
    keep = None if image_store is None else image_store.write
    with connected(ray, settings.device) as cluster, progress(err) as report:
        result = import_source(
            opened,
            settings.catalogs,
            replace(options, cluster=cluster),
            keep,
            enrich=enrich,
            dry_run=dry_run,
            progress=report,
        )
    if not enrich:
        for note in unread_notes(opened.images):
            err.print(f"note: {printable(note)}")
    if as_json:
        print_json({"version": result.folder.name, "published": result.published, **asdict(result.summary)})
    else:
        _print(result, dry_run=dry_run)


def _print(result: ImportResult, *, dry_run: bool) -> None:
    summary = result.summary
    for name, words in OUTCOMES.items():
        if count := getattr(summary, name):
            examples = ", ".join(summary.examples.get(name, ()))
            out.print(
                f"{count:>11,} {words}"
                + (f" ({printable(examples)}{', ...' if count > 5 else ''})" if examples else "")
            )
    for reason in summary.reasons:
        err.print(f"rejected: {printable(reason)}")
    if result.published:
        out.print(f"{result.folder.name} is live: {counted(result.manifest.count, 'logo')}")
    elif dry_run:
        out.print(f"dry run: {result.folder.name} stays live")
    else:
        out.print(f"nothing to change: {result.folder.name} stays live")
