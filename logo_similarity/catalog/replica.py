"""Catalog versions in a bucket: published by the machine that builds them, pulled by the machines that serve them.

    <prefix>/CURRENT              name of the live version, written last
    <prefix>/versions/<name>      manifest of a version
    <prefix>/versions/<name>.sig  signature of the manifest, if the version is signed
    <prefix>/objects/<sha256>     files of all versions, each once, named by their content

An object is written atomically and never changes. Publishers therefore cannot interfere with each other, and files that
a version shares with an earlier one (such as the encoder) are not transferred again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.catalog.files import READ_BYTES, read_small, replacing, sync_file, sync_folder
from logo_similarity.catalog.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    SIGNATURE,
    FileEntry,
    Manifest,
    check_sizes,
    verify,
)
from logo_similarity.catalog.signature import SIGNATURE_BYTES, sign
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import CURRENT, CURRENT_BYTES, PULL_PREFIX, Catalog, is_version_name
from logo_similarity.errors import CatalogError, NotFoundError
from logo_similarity.storage.objects import ObjectFolder

PARALLEL = 4
RESERVED_PART, RESERVED_BYTES = 20, 1_000_000_000
"""A pull keeps 1 / `RESERVED_PART` of the disk free, but at most `RESERVED_BYTES`."""


def publish_version(
    folder: Path,
    remote: ObjectFolder,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    signing_key: Ed25519PrivateKey | None = None,
) -> int:
    """Upload a version to a bucket and make it live there. An interrupted upload can be resumed.

    Args:
        folder: the version's folder; every byte is verified with its manifest first.
        remote: the bucket.
        on_bytes: called with the size of each file that is in the bucket.
        signing_key: signs the version; None: an existing signature is uploaded.

    Returns:
        The number of files uploaded.

    Raises:
        CatalogError: the version is damaged.
        StoreError: the bucket cannot be written to.
    """
    manifest = verify(folder)
    if signing_key is not None:
        sign(folder, folder.name, signing_key)

    def upload(name: str) -> bool:
        entry = manifest.files[name]
        key = _object_key(entry)
        missing = remote.size(key) != entry.size
        if missing:
            remote.write_file(key, folder / name)
        on_bytes(entry.size)
        return missing

    with ThreadPoolExecutor(PARALLEL) as pool:
        uploads = sum(pool.map(upload, manifest.files))
    if (folder / SIGNATURE).exists():
        remote.write(_signature_key(folder.name), read_small(folder / SIGNATURE, SIGNATURE_BYTES))
    remote.write(f"versions/{folder.name}", (folder / MANIFEST).read_bytes())
    remote.write(CURRENT, folder.name.encode() + b"\n")
    return uploads


def published_version(remote: ObjectFolder) -> str:
    """Name of the live version in a bucket.

    Raises:
        NotFoundError: nothing is published in the bucket.
        CatalogError: CURRENT does not contain a valid version name.
        StoreError: the bucket cannot be read, or CURRENT is too large.
    """
    try:
        name = remote.read(CURRENT, CURRENT_BYTES).decode(errors="replace").strip()
    except NotFoundError:
        raise NotFoundError(
            f"{remote.url}: no catalog is published there; publish one with `logo-similarity catalog publish`"
        ) from None
    if not is_version_name(name):
        raise CatalogError(
            f"{remote.url}/{CURRENT}: {name[:100]!r} is not a valid version name; publish a version again"
        )
    return name


def pull_version(
    remote: ObjectFolder,
    catalogs: Catalog,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    keep: int | None = None,
    trial: Trial | None = None,
    refusals_hold: bool = False,
    before_live: Callable[[str], object] = lambda _: None,
) -> str | None:
    """Download the live version of a bucket, try it, and make it live here. An interrupted pull can be resumed.

    Args:
        remote: the bucket.
        catalogs: the local catalog.
        on_bytes: called with the size of each piece that is on the local disk.
        keep: number of newest local versions to keep; None: all.
        trial: the trial that the version must pass; None: a trial with the default conditions.
        refusals_hold: refuse a version that failed its trial less than `RETRY_SECONDS` ago without trying it again.
        before_live: called with the name of the version, when it is here and before it becomes live; if this raises an
            error, the version does not become live.

    Returns:
        The name of the version; None if it was live already.

    Raises:
        NotFoundError: nothing is published in the bucket.
        CatalogError: the version is damaged, failed its trial, or does not fit on the disk; or another process is
            writing to the local catalog.
        StoreError: the bucket cannot be read.
    """
    trial = trial or Trial()
    name = published_version(remote)
    if _is_live(name, catalogs, trial):
        return None
    if refusals_hold and (reason := catalogs.refusal(name)) is not None:
        raise CatalogError(reason)
    with catalogs.locked():
        if name in catalogs.names():
            _fetch_signature(name, remote, catalogs.folder(name))  # it may have been signed since it was pulled
            before_live(name)  # first: this may fail many times, and a trial is expensive
            catalogs.admit(catalogs.folder(name), trial)
        else:
            work = _fetch(name, remote, catalogs, trial, on_bytes)
            catalogs.admit(work, trial)  # before it is moved: a bad version must not become one of the versions
            work.rename(catalogs.root / name)
            sync_folder(catalogs.root)
            shutil.rmtree(work.parent, ignore_errors=True)
            before_live(name)
        catalogs.flip(name)
        if keep is not None:
            catalogs.drop(keep)
    return name


def _is_live(name: str, catalogs: Catalog, trial: Trial) -> bool:
    """Whether the version is live here, with a valid signature if one is required."""
    try:
        live = catalogs.current_name() == name and name in catalogs.names()
        if live:
            trial.check_manifest(catalogs.root / name)
    except CatalogError:  # the pull replaces an unreadable CURRENT and fetches a missing signature
        return False
    return live


def _fetch(name: str, remote: ObjectFolder, catalogs: Catalog, trial: Trial, on_bytes: Callable[[int], None]) -> Path:
    """Download a complete version into a working folder. Returns that folder, which has the name of the version."""
    # The name verifies the manifest, before any other file is downloaded.
    work = catalogs.root / f"{PULL_PREFIX}{name}" / name
    for leftover in catalogs.root.glob(f"{PULL_PREFIX}*"):
        if leftover != work.parent:
            shutil.rmtree(leftover, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    with replacing(work / MANIFEST) as file:
        file.write(remote.read(f"versions/{name}", MANIFEST_BYTES))
    _fetch_signature(name, remote, work)
    manifest = trial.check_manifest(work)
    local_files = _local_files(catalogs)
    _check_space(work, manifest, local_files)

    def fetch(file: str) -> None:
        entry, path = manifest.files[file], work / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # complete: an incomplete file has another name
            on_bytes(entry.size)
        elif (copy := local_files.get(entry.sha256)) is not None:
            _link(copy, path, entry)
            on_bytes(entry.size)
        else:
            download(remote, _object_key(entry), entry, path, on_bytes)

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(fetch, manifest.files))
    check_sizes(work, manifest)
    sync_folder(work)
    return work


def _fetch_signature(name: str, remote: ObjectFolder, folder: Path) -> None:
    """Download the signature of a version if it is signed."""
    try:
        signature = remote.read(_signature_key(name), SIGNATURE_BYTES)
    except NotFoundError:
        return
    with replacing(folder / SIGNATURE) as file:
        file.write(signature)


def _check_space(work: Path, manifest: Manifest, local_files: dict[str, Path]) -> None:
    """Raise CatalogError if the files to download do not fit on the disk."""
    download_bytes = 0
    for name, entry in manifest.files.items():
        path = work / name
        partial = path.with_name(path.name + ".partial")
        if not path.exists() and entry.sha256 not in local_files:
            download_bytes += entry.size - min(entry.size, partial.stat().st_size if partial.exists() else 0)
    keep_reserve(work, download_bytes)


def keep_reserve(folder: Path, size: int) -> None:
    """Raise CatalogError if writing `size` more bytes would leave less free disk space than the reserve."""
    disk = shutil.disk_usage(folder)
    reserve = min(disk.total // RESERVED_PART, RESERVED_BYTES)
    if disk.free - size < reserve:
        raise CatalogError(
            f"{folder}: not enough disk space: {size / 1e6:,.1f} MB are needed, {disk.free / 1e6:,.1f} MB are free, of "
            f"which {reserve / 1e6:,.1f} MB must stay free; delete old versions with `logo-similarity catalog prune`"
        )


def _local_files(catalogs: Catalog) -> dict[str, Path]:
    """The files of all local versions, by their sha256."""
    paths: dict[str, Path] = {}
    for version in catalogs.versions():
        manifest: Manifest | None = version.manifest
        for file, entry in manifest.files.items() if manifest else ():
            paths[entry.sha256] = catalogs.root / version.name / file
    return paths


def _link(source: Path, path: Path, entry: FileEntry) -> None:
    """Create a hard link to a file of another version, after verifying its sha256: it may have been damaged on disk."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, partial)
    digest = hashlib.sha256()
    _digest_into(digest, partial)
    if digest.hexdigest() != entry.sha256:
        partial.unlink()
        raise CatalogError(
            f"{source}: damaged: its sha256 does not match its manifest; delete that version and pull again"
        )
    partial.replace(path)


def download(
    remote: ObjectFolder,
    key: str,
    entry: FileEntry,
    path: Path,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    repair: str = "delete the object and publish the version again",
) -> None:
    """Download an object into a file, resuming an earlier download.

    Args:
        remote: the bucket.
        key: the object.
        entry: its size and its sha256.
        path: the file.
        on_bytes: called with the size of each piece that is on the local disk.
        repair: what to do if the object is damaged, for the message of the error.

    Raises:
        CatalogError: the object is missing, is not what `entry` says, or does not fit on the disk.
        StoreError: the bucket cannot be read.
    """
    partial = path.with_name(path.name + ".partial")
    digest = hashlib.sha256()
    offset = partial.stat().st_size if partial.exists() else 0
    if offset > entry.size:
        partial.unlink()
        offset = 0
    if offset:
        _digest_into(digest, partial)
        on_bytes(offset)
    try:
        with partial.open("ab") as file:
            for piece in remote.pieces(key, offset, entry.size):
                keep_reserve(path.parent, len(piece))  # other processes may fill the disk meanwhile
                file.write(piece)
                digest.update(piece)
                on_bytes(len(piece))
    except NotFoundError as error:
        raise CatalogError(f"{error}: what is published is incomplete; publish it again") from None
    if digest.hexdigest() != entry.sha256:
        partial.unlink()
        raise CatalogError(
            f"{remote.url}/{key}: damaged: its sha256 does not match the manifest; pull again, and if "
            f"that fails too, {repair}"
        )
    sync_file(partial)
    partial.replace(path)


def _digest_into(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)


def _signature_key(name: str) -> str:
    return f"versions/{name}.sig"


def _object_key(entry: FileEntry) -> str:
    return f"objects/{entry.sha256}"
