"""`logo-similarity catalog ...`: catalog versions in a folder and in a bucket."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table
from rich.text import Text

from logo_similarity.commands.options import AsJson, Catalogs, example
from logo_similarity.config import Settings, load_settings
from logo_similarity.errors import ConfigError, LogoSimilarityError, NotFoundError
from logo_similarity.terminal import adder, err, format_bytes, out, print_json, print_table, progress
from logo_similarity.wording import counted

catalog_app = typer.Typer(help="List, verify, activate and publish catalog versions.", no_args_is_help=True)

Url = Annotated[
    str | None,
    typer.Argument(metavar="URL", help="s3://bucket/prefix, accessed with the LOGO_S3_* settings.  [LOGO_CATALOG_URL]"),
]


@catalog_app.command("list", epilog=example("catalog list"))
def list_versions(catalogs: Catalogs = None, as_json: AsJson = False) -> None:
    """List the versions, oldest first."""
    from logo_similarity.catalog.versions import Catalog

    folder = Catalog(load_settings(catalogs=catalogs).catalogs)
    if not folder.root.is_dir():
        raise NotFoundError(
            f"{folder.root} does not exist; build a catalog with `logo-similarity build SOURCE --out {folder.root}`"
        )
    versions = folder.versions()
    if as_json:
        print_json(
            [
                {"version": version.name, "live": version.live, "bytes": version.size, "problem": version.problem}
                | (
                    {
                        "logos": version.manifest.count,
                        "encoder": version.manifest.encoder.id,
                        "index": version.manifest.index.kind,
                        "precision": version.manifest.index.precision if version.manifest.index.is_file else None,
                        "recall": version.manifest.recall.value,
                    }
                    if version.manifest
                    else {}
                )
                for version in versions
            ]
        )
        return
    table = Table(
        "",
        Column("version", min_width=25),
        "logos",
        "MB",
        Column("encoder", overflow="fold"),
        "index",
        Column("recall", min_width=6),
        box=box.SIMPLE_HEAD,
    )
    for version in versions:
        live, megabytes = "live" if version.live else "", f"{version.size / 1e6:.1f}"
        if version.manifest is None:
            table.add_row(live, version.name, "", megabytes, Text(str(version.problem), "red"), "", "")
        else:
            manifest = version.manifest
            index = manifest.index.precision if manifest.index.is_file else manifest.index.kind
            recall = f"{manifest.recall.value:.4f}"
            table.add_row(live, version.name, f"{manifest.count:,}", megabytes, manifest.encoder.id, index, recall)
    print_table(table)


VersionName = Annotated[str | None, typer.Argument(metavar="NAME", help="Name of the version. Default: the live one.")]


@catalog_app.command("verify", epilog=example("catalog verify"))
def verify_catalog(name: VersionName = None, catalogs: Catalogs = None, as_json: AsJson = False) -> None:
    """Read every byte of a version and compare it with its manifest.

    Of an index on a Milvus server, the number of entities, their ids and a sample of the embeddings are compared.
    """
    from logo_similarity.catalog.manifest import read_manifest, verify
    from logo_similarity.catalog.versions import Catalog
    from logo_similarity.milvus.connection import needed_server
    from logo_similarity.milvus.verify import verify_collections

    settings = load_settings(catalogs=catalogs)
    folders = Catalog(settings.catalogs)
    folder = folders.current() if name is None else folders.folder(name)
    total = sum(entry.size for entry in read_manifest(folder).files.values())
    with progress(err, format_bytes) as report:
        manifest = verify(folder, adder(lambda done: report("verified", done, total)))
    files, entities = len(manifest.files), 0
    if not manifest.index.is_file:
        with progress(err) as report:
            entities = verify_collections(
                folder, manifest, needed_server(settings), adder(lambda done: report("entities verified", done, None))
            )
    if as_json:
        print_json({"version": folder.name, "ok": True, "files": files, "bytes": total, "entities": entities})
    else:
        also = "" if manifest.index.is_file else f" and {counted(entities, 'entity', 'entities')}"
        out.print(f"{folder.name}: {counted(files, 'file')}{also} verified")


@catalog_app.command("activate", epilog=example("catalog activate 20260131T120000Z-0123abcd"))
def activate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the version.")], catalogs: Catalogs = None
) -> None:
    """Make a version live, after verifying and searching it.

    Every byte of the version is compared with its manifest. The searches run in a separate process.
    """
    from logo_similarity.catalog.manifest import read_manifest
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.catalog.versions import Catalog
    from logo_similarity.milvus.collections import point_aliases
    from logo_similarity.milvus.connection import needed_server

    settings = load_settings(catalogs=catalogs)
    folders = Catalog(settings.catalogs)
    folders.activate(name, trial=Trial.of(settings))
    out.print(f"{name} is live")
    manifest = read_manifest(folders.folder(name))
    if not manifest.index.is_file:
        point_aliases(needed_server(settings), manifest)
    if settings.catalog_url is not None:
        err.print(
            f"services on this machine follow {settings.catalog_url} and will return to the live version there; "
            f"to change it, run `logo-similarity catalog publish --version {name}`"
        )


@catalog_app.command("prune", epilog=example("catalog prune --keep 3"))
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Number of newest versions to keep.")] = 2,
    catalogs: Catalogs = None,
) -> None:
    """Delete old versions and the remains of interrupted builds.

    The live version and the version that a service opened last are always kept. The collections of deleted versions are
    deleted from the Milvus server, unless this machine follows LOGO_CATALOG_URL: others may have these versions.
    """
    from logo_similarity.catalog.versions import Catalog
    from logo_similarity.milvus.collections import collections_of, drop_collection
    from logo_similarity.milvus.connection import needed_server

    settings = load_settings(catalogs=catalogs)
    folders = Catalog(settings.catalogs)
    needed = {version.name: collections_of(version.manifest) for version in folders.versions() if version.manifest}
    server = needed_server(settings) if settings.catalog_url is None and any(needed.values()) else None
    if server is not None:
        server.version()  # nothing would ever delete the collections of a version that is deleted while it is down
    deleted = folders.prune(keep)
    kept = {collection.name for name in folders.names() for collection in needed.get(name, ())}
    orphans = {collection.name for name in deleted for collection in needed.get(name, ())} - kept
    if server is not None:
        for orphan in sorted(orphans):
            drop_collection(server, orphan)
    out.print("\n".join(f"deleted {name}" for name in deleted) or "nothing to delete")


@catalog_app.command("publish", epilog=example("catalog publish s3://bucket/catalogs"))
def publish(
    url: Url = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Name of the version. Default: the live one.")
    ] = None,
    catalogs: Catalogs = None,
    as_json: AsJson = False,
) -> None:
    """Send a version to a bucket and make it live there.

    Files that are already in the bucket are not sent again. The version is signed if LOGO_CATALOG_SIGNING_KEY is set.
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
    with progress(err, format_bytes) as report:
        add = adder(lambda done: report("sent", done, total))
        sent = publish_version(
            folder, ObjectFolder(_catalog_url(settings), settings), add, signing_key=signing_key_of(settings)
        )
    if as_json:
        print_json({"version": folder.name, "files_sent": sent, "files": len(files), "bytes": total})
    else:
        out.print(f"{folder.name} is live at {_catalog_url(settings)}: {sent} of {counted(len(files), 'file')} sent")


@catalog_app.command("pull", epilog=example("catalog pull s3://bucket/catalogs"))
def pull(
    url: Url = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep running: fetch every new version and delete old ones.")
    ] = False,
    catalogs: Catalogs = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the live version from a bucket and make it live here.

    The version is verified while it is fetched, and searched before it becomes live.
    """
    from logo_similarity.catalog.replica import pull_version
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.catalog.versions import Catalog
    from logo_similarity.storage.objects import ObjectFolder

    settings = load_settings(catalogs=catalogs, catalog_url=url)
    remote, folders = ObjectFolder(_catalog_url(settings), settings), Catalog(settings.catalogs)
    trial, keep = Trial.of(settings), settings.keep_versions if follow else None
    while True:
        with progress(err, format_bytes) as report:
            try:
                add = adder(lambda done: report("fetched", done, None))
                name = pull_version(remote, folders, add, keep=keep, trial=trial, refusals_hold=follow)
            except LogoSimilarityError as error:
                if not follow:
                    raise
                err.print(f"not fetched: {error}")
                name = None
        if name is not None or not follow:
            live = folders.current().name
            if as_json:
                print_json({"version": live, "new": name is not None})
            else:
                out.print(f"{live} is {'live' if name else 'already up to date'}")
        if not follow:
            return
        time.sleep(settings.pull_seconds)


@catalog_app.command("keygen", epilog=example("catalog keygen signing-key.pem"))
def keygen(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File for the private key. It must not exist.")],
) -> None:
    """Create a key pair for signing catalogs.

    The private key is written to a file, the public key is printed. Set LOGO_CATALOG_SIGNING_KEY to that file on the
    machine that publishes catalogs, and LOGO_CATALOG_PUBLIC_KEY to the public key on the machines that serve them.
    """
    from logo_similarity.catalog.signature import make_key

    try:
        public_key = make_key(path)
    except FileExistsError:
        raise ConfigError(f"{path} already exists; choose another file, keys are not overwritten") from None
    print(public_key)  # noqa: T201 - alone on stdout


def _catalog_url(settings: Settings) -> str:
    if settings.catalog_url is None:
        raise ConfigError("no bucket is given: pass s3://bucket/prefix as an argument, or set LOGO_CATALOG_URL")
    return settings.catalog_url
