"""`logo-similarity catalog publish` and `catalog pull`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from logo_similarity.config import Settings, load_settings
from logo_similarity.errors import ConfigError, LogoSimilarityError
from logo_similarity.terminal import progress

out = Console()
err = Console(stderr=True)

Url = Annotated[
    str | None, typer.Argument(help="s3://bucket/prefix; endpoint and keys as LOGO_S3_* say.  [LOGO_CATALOG_URL]")
]
Catalogs = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def publish(
    url: Url = None,
    version: Annotated[str | None, typer.Option("--version", help="Default: the live one.")] = None,
    catalogs: Catalogs = None,
    as_json: AsJson = False,
) -> None:
    """Send a catalog version to a bucket, and make it the live one there; what is there already is not sent again."""
    from logo_similarity.catalog.manifest import read_manifest
    from logo_similarity.catalog.replica import publish_version
    from logo_similarity.catalog.versions import CatalogFolder
    from logo_similarity.storage.objects import ObjectFolder

    settings = load_settings(catalogs=catalogs, catalog_url=url)
    folders = CatalogFolder(settings.catalogs)
    folder = folders.current() if version is None else folders.folder(version)
    files = read_manifest(folder).files
    done, total = 0, sum(entry.size for entry in files.values())
    with progress(err) as report:

        def add(count: int) -> None:
            nonlocal done
            done += count
            report("bytes", done, total)

        sent = publish_version(folder, ObjectFolder(_place(settings), settings), add)
    if as_json:
        print(json.dumps({"version": folder.name, "files_sent": sent, "files": len(files), "bytes": total}))  # noqa: T201
    else:
        out.print(
            f"{folder.name} is live at {_place(settings)}: {sent} of {len(files)} files were new", highlight=False
        )


def pull(
    url: Url = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on, and fetch each new version when it appears.")
    ] = False,
    catalogs: Catalogs = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the live version from a bucket, checked while it comes, and make it the live one here."""
    from logo_similarity.catalog.replica import pull_version
    from logo_similarity.catalog.versions import CatalogFolder
    from logo_similarity.storage.objects import ObjectFolder

    settings = load_settings(catalogs=catalogs, catalog_url=url)
    remote, folders = ObjectFolder(_place(settings), settings), CatalogFolder(settings.catalogs)
    while True:
        done = 0
        with progress(err) as report:

            def add(count: int) -> None:
                nonlocal done
                done += count
                report("bytes", done, None)

            try:
                name = pull_version(remote, folders, add)
            except LogoSimilarityError as error:
                if not follow:
                    raise
                err.print(f"not pulled: {error}", highlight=False, soft_wrap=True)
                name = None
        if name is not None or not follow:
            live = folders.current().name
            if as_json:
                print(json.dumps({"version": live, "new": name is not None, "bytes": done}), flush=True)  # noqa: T201
            else:
                out.print(f"{live} is live{'' if name else ': it was before'}", highlight=False)
        if not follow:
            return
        time.sleep(settings.pull_seconds)


def _place(settings: Settings) -> str:
    if settings.catalog_url is None:
        raise ConfigError("say where: s3://bucket/prefix as an argument, or LOGO_CATALOG_URL")
    return settings.catalog_url
