"""Catalog versions in a bucket: published by the machine that builds, pulled by those that serve.

    <prefix>/CURRENT              name of the live version, written last
    <prefix>/versions/<name>      its manifest
    <prefix>/objects/<sha256>     the files of all versions, each once, by what is in it

An object is there whole or not at all, and never changes; so publishers can't disturb each other, and what a version has in
common with an earlier one (its model, for one) is neither sent nor fetched again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from logo_similarity.catalog.files import READ_BYTES, replacing, sync_file, sync_folder
from logo_similarity.catalog.manifest import MANIFEST, FileEntry, Manifest, check_sizes, read_manifest, verify
from logo_similarity.catalog.versions import CURRENT, CatalogFolder
from logo_similarity.errors import CatalogError, NotFoundError
from logo_similarity.storage.objects import ObjectFolder

PARALLEL = 4
PULL_PREFIX = ".pull-"


def publish_version(folder: Path, remote: ObjectFolder, on_bytes: Callable[[int], None] = lambda _: None) -> int:
    """Send a version, and make it the live one there. Killed and run again, it sends what is not there yet.

    Args:
        folder: the version's folder; every byte is compared with its manifest first.
        remote: where to.
        on_bytes: gets the number of bytes of each file that is there.

    Returns:
        How many files were sent.

    Raises:
        CatalogError: the version is damaged.
        StoreError: the bucket can't be written to.
    """
    manifest = verify(folder)

    def send(name: str) -> bool:
        entry = manifest.files[name]
        key = _object(entry)
        new = remote.size(key) != entry.size
        if new:
            remote.write_file(key, folder / name)
        on_bytes(entry.size)
        return new

    with ThreadPoolExecutor(PARALLEL) as pool:
        sent = sum(pool.map(send, manifest.files))
    remote.write(f"versions/{folder.name}", (folder / MANIFEST).read_bytes())
    remote.write(CURRENT, folder.name.encode() + b"\n")
    return sent


def published_version(remote: ObjectFolder) -> str:
    """Name of the version that is live in the bucket. Raises NotFoundError where none is."""
    try:
        return remote.read(CURRENT).decode(errors="replace").strip()
    except NotFoundError:
        raise NotFoundError(
            f"{remote.url}: nothing is published there; `logo-similarity catalog publish` does that"
        ) from None


def pull_version(
    remote: ObjectFolder,
    catalogs: CatalogFolder,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    keep: int | None = None,
) -> str | None:
    """Fetch the version that is live in the bucket, and make it the live one here. Killed and run again, it goes on.

    Args:
        remote: where from.
        catalogs: the folder of versions here.
        on_bytes: gets the number of bytes of each piece that is there.
        keep: how many of the newest versions stay here; None: all.

    Returns:
        The version's name; None where it is live here already.

    Raises:
        NotFoundError: nothing has been published there.
        CatalogError: what came is not what the manifest says, or another process works in the folder.
        StoreError: the bucket can't be read.
    """
    name = published_version(remote)
    if catalogs.root.is_dir() and name in catalogs.names() and catalogs.current_name() == name:
        return None
    with catalogs.locked():
        if name not in catalogs.names():
            _fetch(name, remote, catalogs, on_bytes)
        check_sizes(catalogs.folder(name), read_manifest(catalogs.folder(name)))
        catalogs.flip(name)
        if keep is not None:
            catalogs.drop(keep)
    return name


def _fetch(name: str, remote: ObjectFolder, catalogs: CatalogFolder, on_bytes: Callable[[int], None]) -> None:
    """Bring a version into the folder of versions, whole."""
    if not name or "/" in name or name.startswith("."):
        raise CatalogError(f"{remote.url}/{CURRENT}: names no version: {name!r}")
    # A folder of its own name inside, so that the manifest can be checked against that name before anything else comes.
    work = catalogs.root / f"{PULL_PREFIX}{name}" / name
    work.mkdir(parents=True, exist_ok=True)
    with replacing(work / MANIFEST) as file:
        file.write(remote.read(f"versions/{name}"))
    manifest = read_manifest(work)
    here = _files_here(catalogs)

    def bring(file: str) -> None:
        entry, path = manifest.files[file], work / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # whole: it had another name until it was
            on_bytes(entry.size)
        elif (same := here.get(entry.sha256)) is not None:
            _link(same, path, entry)
            on_bytes(entry.size)
        else:
            _download(remote, entry, path, on_bytes)

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(bring, manifest.files))
    check_sizes(work, manifest)
    sync_folder(work)
    work.rename(catalogs.root / name)
    sync_folder(catalogs.root)
    for leftover in catalogs.root.glob(f"{PULL_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _files_here(catalogs: CatalogFolder) -> dict[str, Path]:
    """Files of the versions that are here, by their sha256."""
    found: dict[str, Path] = {}
    for version in catalogs.versions():
        manifest: Manifest | None = version.manifest
        for file, entry in manifest.files.items() if manifest else ():
            found[entry.sha256] = catalogs.root / version.name / file
    return found


def _link(same: Path, path: Path, entry: FileEntry) -> None:
    """A second name for a file that is here already; it is read once more, since it may have suffered since it came."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(same, partial)
    except OSError:  # another file system, or one without links
        shutil.copyfile(same, partial)
    digest = hashlib.sha256()
    _digest_into(digest, partial)
    if digest.hexdigest() != entry.sha256:
        partial.unlink()
        raise CatalogError(
            f"{same}: damaged: its sha256 is not the one in its manifest; delete that version and pull again"
        )
    partial.replace(path)


def _download(remote: ObjectFolder, entry: FileEntry, path: Path, on_bytes: Callable[[int], None]) -> None:
    """Fetch an object into a file, behind what an earlier run left of it."""
    partial = path.with_name(path.name + ".partial")
    digest = hashlib.sha256()
    have = partial.stat().st_size if partial.exists() else 0
    if have > entry.size:
        partial.unlink()
        have = 0
    if have:
        _digest_into(digest, partial)
        on_bytes(have)
    try:
        with partial.open("ab") as file:
            for piece in remote.pieces(_object(entry), have, entry.size):
                file.write(piece)
                digest.update(piece)
                on_bytes(len(piece))
    except NotFoundError as error:
        raise CatalogError(f"{error}: the version that is published there is not whole") from None
    if digest.hexdigest() != entry.sha256:
        partial.unlink()
        raise CatalogError(
            f"{remote.url}/{_object(entry)}: damaged: what came is not what the manifest says; where "
            "that stays so, delete the object and publish again"
        )
    sync_file(partial)
    partial.replace(path)


def _digest_into(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)


def _object(entry: FileEntry) -> str:
    return f"objects/{entry.sha256}"
