"""`logo-similarity catalog ...`: the versions in a folder, and on their way between machines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from logo_similarity.config import Settings, load_settings
from logo_similarity.errors import ConfigError, LogoSimilarityError, NotFoundError
from logo_similarity.terminal import adder, print_json, progress

out = Console()
err = Console(stderr=True)

catalog_app = typer.Typer(help="The catalog versions in a folder.", no_args_is_help=True)

Url = Annotated[
    str | None, typer.Argument(help="s3://bucket/prefix; endpoint and keys as LOGO_S3_* say.  [LOGO_CATALOG_URL]")
]
Catalogs = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@catalog_app.command("list")
def list_versions(catalogs: Catalogs = None, as_json: AsJson = False) -> None:
    """Show the versions, oldest first."""
    from logo_similarity.catalog.versions import Catalog

    folder = Catalog(load_settings(catalogs=catalogs).catalogs)
    if not folder.root.is_dir():
        raise NotFoundError(
            f"{folder.root}: there is no such folder; `logo-similarity build SOURCE --out {folder.root}` makes it"
        )
    versions = folder.versions()
    if as_json:
        print_json(
            [
                {"version": found.name, "live": found.live, "bytes": found.size, "problem": found.problem}
                | (
                    {
                        "logos": found.manifest.count,
                        "encoder": found.manifest.encoder.id,
                        "recall": found.manifest.recall.value,
                    }
                    if found.manifest
                    else {}
                )
                for found in versions
            ]
        )
        return
    table = Table(
        "",
        Column("version", min_width=25),
        "logos",
        "MB",
        Column("encoder", overflow="fold"),
        Column("recall", min_width=6),
        box=box.SIMPLE_HEAD,
    )
    for found in versions:
        live = "live" if found.live else ""
        if found.manifest is None:
            table.add_row(live, found.name, "", f"{found.size / 1e6:.1f}", f"[red]{found.problem}[/]", "")
        else:
            manifest = found.manifest
            table.add_row(
                live,
                found.name,
                f"{manifest.count:,}",
                f"{found.size / 1e6:.1f}",
                manifest.encoder.id,
                f"{manifest.recall.value:.4f}",
            )
    out.print(table)


VersionName = Annotated[str | None, typer.Argument(help="Name of the version. Default: the live one.")]


@catalog_app.command("verify")
def verify_catalog(name: VersionName = None, catalogs: Catalogs = None, as_json: AsJson = False) -> None:
    """Read every byte of a version and compare it with its manifest."""
    from logo_similarity.catalog.manifest import read_manifest, verify
    from logo_similarity.catalog.versions import Catalog

    folders = Catalog(load_settings(catalogs=catalogs).catalogs)
    folder = folders.current() if name is None else folders.folder(name)
    total = sum(entry.size for entry in read_manifest(folder).files.values())
    with progress(err) as report:
        manifest = verify(folder, adder(lambda done: report("bytes", done, total)))
    if as_json:
        print_json({"version": folder.name, "ok": True, "files": len(manifest.files), "bytes": total})
    else:
        out.print(f"{folder.name}: all {len(manifest.files)} files are as they were made", highlight=False)


@catalog_app.command("activate")
def activate(name: Annotated[str, typer.Argument(help="Name of the version.")], catalogs: Catalogs = None) -> None:
    """Make a version the live one, after reading every byte of it and searching it in a process of its own."""
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.catalog.versions import Catalog

    settings = load_settings(catalogs=catalogs)
    Catalog(settings.catalogs).activate(name, trial=Trial.of(settings))
    out.print(f"{name} is live", highlight=False)
    if settings.catalog_url is not None:
        err.print(
            f"a service here follows {settings.catalog_url} and will go back to what is live there: "
            f"`logo-similarity catalog publish --version {name}` changes that",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


@catalog_app.command("prune")
def prune(
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest versions stay.")] = 2,
    catalogs: Catalogs = None,
) -> None:
    """Delete old versions, never the live one or the one that a service opened last, and what broken-off builds left."""
    from logo_similarity.catalog.versions import Catalog

    gone = Catalog(load_settings(catalogs=catalogs).catalogs).prune(keep)
    out.print("\n".join(f"deleted {name}" for name in gone) or "nothing to delete", highlight=False)


@catalog_app.command("publish")
def publish(
    url: Url = None,
    version: Annotated[str | None, typer.Option("--version", help="Default: the live one.")] = None,
    catalogs: Catalogs = None,
    as_json: AsJson = False,
) -> None:
    """Send a catalog version to a bucket, and make it the live one there. Files that the bucket already has are not sent again.

    With LOGO_CATALOG_SIGNING_KEY it is signed.
    """
    from logo_similarity.catalog.manifest import read_manifest
    from logo_similarity.catalog.replica import publish_version
    from logo_similarity.catalog.signature import signing_key_of
    from logo_similarity.catalog.versions import Catalog
    from logo_similarity.storage.objects import ObjectFolder

    settings = load_settings(catalogs=catalogs, catalog_url=url)
    folders = Catalog(settings.catalogs)
    folder = folders.current() if version is None else folders.folder(version)
    files = read_manifest(folder).files
    total = sum(entry.size for entry in files.values())
    with progress(err) as report:
        add = adder(lambda done: report("bytes", done, total))
        sent = publish_version(
            folder, ObjectFolder(_place(settings), settings), add, signing_key=signing_key_of(settings)
        )
    if as_json:
        print_json({"version": folder.name, "files_sent": sent, "files": len(files), "bytes": total})
    else:
        out.print(
            f"{folder.name} is live at {_place(settings)}: {sent} of {len(files)} files were new", highlight=False
        )


@catalog_app.command("pull")
def pull(
    url: Url = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on: fetch each new version, and delete old ones.")
    ] = False,
    catalogs: Catalogs = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the live version from a bucket, checked while it comes and searched afterwards, and make it the live one here."""
    from logo_similarity.catalog.replica import pull_version
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.catalog.versions import Catalog
    from logo_similarity.storage.objects import ObjectFolder

    settings = load_settings(catalogs=catalogs, catalog_url=url)
    remote, folders = ObjectFolder(_place(settings), settings), Catalog(settings.catalogs)
    trial, keep = Trial.of(settings), settings.keep_versions if follow else None
    while True:
        with progress(err) as report:
            try:
                add = adder(lambda done: report("bytes", done, None))
                name = pull_version(remote, folders, add, keep=keep, trial=trial, refusals_hold=follow)
            except LogoSimilarityError as error:
                if not follow:
                    raise
                err.print(f"not pulled: {error}", highlight=False, soft_wrap=True)
                name = None
        if name is not None or not follow:
            live = folders.current().name
            if as_json:
                print_json({"version": live, "new": name is not None})
            else:
                out.print(f"{live} is live{'' if name else ': it was before'}", highlight=False)
        if not follow:
            return
        time.sleep(settings.pull_seconds)


@catalog_app.command("keygen")
def keygen(path: Annotated[Path, typer.Argument(help="File to write the private key to; it must not exist.")]) -> None:
    """Make a key that signs catalogs: the private key goes to a file, the public key is printed.

    Set LOGO_CATALOG_SIGNING_KEY to the file where catalogs are published, and LOGO_CATALOG_PUBLIC_KEY to the public key where
    they are served.
    """
    from logo_similarity.catalog.signature import make_key

    try:
        public_key = make_key(path)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; a key is not overwritten") from None
    print(public_key)  # noqa: T201 - alone on stdout


def _place(settings: Settings) -> str:
    if settings.catalog_url is None:
        raise ConfigError("say where: s3://bucket/prefix as an argument, or LOGO_CATALOG_URL")
    return settings.catalog_url
