"""Catalog versions in a bucket: published by the machine that builds, pulled by those that serve.

    <prefix>/CURRENT              name of the live version, written last
    <prefix>/versions/<name>      its manifest
    <prefix>/versions/<name>.sig  the manifest's signature, where it is signed
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
"""A pull leaves this part of the disk free, and needs to leave no more than so many bytes."""


def publish_version(
    folder: Path,
    remote: ObjectFolder,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    signing_key: Ed25519PrivateKey | None = None,
) -> int:
    """Send a version, and make it the live one there. Killed and run again, it sends what is not there yet.

    Args:
        folder: the version's folder; every byte is compared with its manifest first.
        remote: where to.
        on_bytes: gets the number of bytes of each file that is there.
        signing_key: signs the version; None: a signature that it has already is sent.

    Returns:
        How many files were sent.

    Raises:
        CatalogError: the version is damaged.
        StoreError: the bucket can't be written to.
    """
    manifest = verify(folder)
    if signing_key is not None:
        sign(folder, folder.name, signing_key)

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
    if (folder / SIGNATURE).exists():
        remote.write(_signature(folder.name), read_small(folder / SIGNATURE, SIGNATURE_BYTES))
    remote.write(f"versions/{folder.name}", (folder / MANIFEST).read_bytes())
    remote.write(CURRENT, folder.name.encode() + b"\n")
    return sent


def published_version(remote: ObjectFolder) -> str:
    """Name of the version that is live in the bucket.

    Raises:
        NotFoundError: nothing is published there.
        CatalogError: what CURRENT holds cannot be the name of a version.
        StoreError: the bucket cannot be read, or CURRENT is too large.
    """
    try:
        name = remote.read(CURRENT, CURRENT_BYTES).decode(errors="replace").strip()
    except NotFoundError:
        raise NotFoundError(
            f"{remote.url}: nothing is published there; `logo-similarity catalog publish` does that"
        ) from None
    if not is_version_name(name):
        raise CatalogError(f"{remote.url}/{CURRENT}: {name[:100]!r} is not the name of a version; publish one again")
    return name


def pull_version(
    remote: ObjectFolder,
    catalogs: Catalog,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    keep: int | None = None,
    trial: Trial | None = None,
    refusals_hold: bool = False,
) -> str | None:
    """Fetch the version that is live in the bucket, try it, and make it the live one here. Killed and run again, it goes on.

    Args:
        remote: where from.
        catalogs: the folder of versions here.
        on_bytes: gets the number of bytes of each piece that is there.
        keep: how many of the newest versions stay here; None: all.
        trial: what the version must pass; None: a trial with the default conditions.
        refusals_hold: a version that failed its trial not long ago is not tried again.

    Returns:
        The version's name; None where it is live here already.

    Raises:
        NotFoundError: nothing has been published there.
        CatalogError: what came is not what the manifest says, failed its trial, or does not fit on the disk, or another process
            works in the folder.
        StoreError: the bucket can't be read.
    """
    trial = trial or Trial()
    name = published_version(remote)
    if _is_live(name, catalogs, trial):
        return None
    if refusals_hold and (reason := catalogs.refusal(name)) is not None:
        raise CatalogError(reason)
    with catalogs.locked():
        if name in catalogs.names():
            _fetch_signature(name, remote, catalogs.folder(name))  # it may have been signed since it came
            catalogs.admit(catalogs.folder(name), trial)
        else:
            work = _fetch(name, remote, catalogs, trial, on_bytes)
            catalogs.admit(work, trial)  # out of sight: a version that fails takes no good one's place
            work.rename(catalogs.root / name)
            sync_folder(catalogs.root)
            shutil.rmtree(work.parent, ignore_errors=True)
        catalogs.flip(name)
        if keep is not None:
            catalogs.drop(keep)
    return name


def _is_live(name: str, catalogs: Catalog, trial: Trial) -> bool:
    """Whether the version is live here, and signed as it should be."""
    try:
        live = catalogs.current_name() == name and name in catalogs.names()
        if live:
            trial.check_manifest(catalogs.root / name)
    except CatalogError:  # an unreadable CURRENT is replaced, a missing signature fetched
        return False
    return live


def _fetch(name: str, remote: ObjectFolder, catalogs: Catalog, trial: Trial, on_bytes: Callable[[int], None]) -> Path:
    """Bring a version into a folder of its own name beside the versions, whole. Returns that folder."""
    # The manifest can be checked against that name before anything else comes.
    work = catalogs.root / f"{PULL_PREFIX}{name}" / name
    for leftover in catalogs.root.glob(f"{PULL_PREFIX}*"):
        if leftover != work.parent:
            shutil.rmtree(leftover, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    with replacing(work / MANIFEST) as file:
        file.write(remote.read(f"versions/{name}", MANIFEST_BYTES))
    _fetch_signature(name, remote, work)
    manifest = trial.check_manifest(work)
    here = _files_here(catalogs)
    _check_room(work, manifest, here)

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
    return work


def _fetch_signature(name: str, remote: ObjectFolder, folder: Path) -> None:
    """Bring the signature of a version, where it has one."""
    try:
        signature = remote.read(_signature(name), SIGNATURE_BYTES)
    except NotFoundError:
        return
    with replacing(folder / SIGNATURE) as file:
        file.write(signature)


def _check_room(work: Path, manifest: Manifest, here: dict[str, Path]) -> None:
    """Raise CatalogError where what is to come does not fit on the disk."""
    coming = 0
    for name, entry in manifest.files.items():
        path = work / name
        partial = path.with_name(path.name + ".partial")
        if not path.exists() and entry.sha256 not in here:
            coming += entry.size - min(entry.size, partial.stat().st_size if partial.exists() else 0)
    _keep_reserve(work, coming)


def _keep_reserve(folder: Path, coming: int) -> None:
    """Raise CatalogError where so many more bytes would leave less than the reserve on the disk."""
    disk = shutil.disk_usage(folder)
    reserve = min(disk.total // RESERVED_PART, RESERVED_BYTES)
    if disk.free - coming < reserve:
        raise CatalogError(
            f"{folder}: {coming / 1e6:,.1f} MB are to come, and {disk.free / 1e6:,.1f} MB are free, of which "
            f"{reserve / 1e6:,.1f} MB stay free: `logo-similarity catalog prune` deletes old versions"
        )


def _files_here(catalogs: Catalog) -> dict[str, Path]:
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
                _keep_reserve(path.parent, len(piece))  # others write to this disk, too
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


def _signature(name: str) -> str:
    return f"versions/{name}.sig"


def _object(entry: FileEntry) -> str:
    return f"objects/{entry.sha256}"
