"""Live changes in a bucket: published by the service that accepts them, applied by the services that follow it.

    <prefix>/live/<version>/live.json   state of the segments; a second line is its signature if catalogs are signed
    <prefix>/live/<version>/<sha256>    manifests and files of the segments, and the hidden rows, named by their content

Objects never change, and `live.json` is written after all that it names. It names the manifests of the segments with
their digests, and these name all other files, so a valid state verifies everything that is searched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from logo_similarity.catalog.files import read_small, sha256_file, sync_folder
from logo_similarity.catalog.live_folder import (
    LIVE,
    LIVE_JSON,
    LOCK,
    MOST_BYTES,
    PUBLISH_LOCK,
    PUBLISHING,
    LiveFolder,
    LiveState,
    Name,
    locked,
)
from logo_similarity.catalog.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    FileEntry,
    SegmentManifest,
    check_sizes,
    read_segment_manifest,
)
from logo_similarity.catalog.replica import PARALLEL, download, keep_reserve, publish_version, published_version
from logo_similarity.catalog.signature import check_changes_signature, sign_changes
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.errors import CatalogError, NotFoundError
from logo_similarity.storage.objects import ObjectFolder

MOST_SEGMENTS = 100
"""Merging leaves far fewer."""
GRACE = timedelta(seconds=60)
"""An object stays in the bucket for at least so long: a service may be fetching it."""
RETRY_SECONDS = 30.0
"""Time after which a state that was refused is tried again, unless another one has been published."""
HIDDEN_HEADER = 1_000
"""Maximum size of a file of hidden rows without its rows."""
CANDIDATE = "candidate.json"
"""The state of changes that are being tried."""
_PULL_PREFIX = ".pull-"
_REPAIR = f"delete everything below {LIVE}/ in the bucket: the service that publishes the changes sends it again"


class PublishedState(BaseModel):
    """The content of `live.json` in a bucket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: Annotated[str, Field(max_length=100)]
    """The version that the changes belong to."""
    state: LiveState
    hidden: FileEntry
    """The file of the hidden rows."""
    manifests: Annotated[dict[Name, FileEntry], Field(max_length=MOST_SEGMENTS)]
    """The manifests of the segments that have a folder."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.manifests.keys() != {segment.name for segment in self.state.segments if segment.logos}:
            raise ValueError("manifests lists other segments than the state")
        if any(entry.size > MANIFEST_BYTES for entry in self.manifests.values()):
            raise ValueError(f"a manifest is larger than {MANIFEST_BYTES:,} bytes")
        if self.hidden.size > HIDDEN_HEADER + 8 * sum(self.state.hidden_counts):
            raise ValueError("the file of the hidden rows is larger than its rows")
        return self


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A state that is being published."""

    published: PublishedState
    files: dict[str, Path]
    """By their sha256."""


class LivePublisher:
    """Publishes the live version of a catalog and its changes: the bucket has what the service shows."""

    def __init__(
        self, remote: ObjectFolder, catalogs: Catalog, signing_key: Ed25519PrivateKey | None, *, seconds: float
    ) -> None:
        """Configure publishing; makes no connection.

        Args:
            remote: the bucket.
            catalogs: the local catalog.
            signing_key: signs versions and changes; None: they are not signed.
            seconds: interval between checks that the bucket has the live version.
        """
        self._remote = remote
        self._catalogs = catalogs
        self._key = signing_key
        self._seconds = seconds
        self._published: tuple[str, tuple[int, int] | None] | None = None
        self._check_at = 0.0

    def publish(self, version: str) -> bool:
        """Publish the changes of a version if there are new ones, and the version if it is live and not published.

        The changes come first: a service that follows opens the version together with them.

        Returns:
            Whether anything was published.

        Raises:
            FolderBusyError: another process is publishing.
            CatalogError: the files here are damaged.
            StoreError: the bucket cannot be written to.
        """
        present = version, LiveFolder.of(self._catalogs.root, version).marker()
        if present == self._published and time.monotonic() < self._check_at:
            return False
        work = self._catalogs.root / LIVE / PUBLISHING
        with locked(self._catalogs.root, PUBLISH_LOCK):
            try:
                snapshot = self._snapshot(version, work)
                changed = snapshot is not None and self._upload(version, snapshot)
            finally:
                shutil.rmtree(work, ignore_errors=True)
            is_live = self._catalogs.current_name() == version
            if is_live:
                changed |= self._publish_version(version)
            if changed and snapshot is not None:
                self._sweep(version, snapshot, others=is_live)
        self._published, self._check_at = present, time.monotonic() + self._seconds
        return changed

    def _snapshot(self, version: str, work: Path) -> _Snapshot | None:
        """The present changes; their files are linked into a folder, so that they stay while they are uploaded."""
        folder = LiveFolder.of(self._catalogs.root, version)
        shutil.rmtree(work, ignore_errors=True)
        with locked(self._catalogs.root, LOCK, waiting=True):
            state = folder.read()
            if state is None:
                return None
            for segment in folder.segments(state):
                shutil.copytree(segment, work / segment.name, copy_function=_link)
            work.mkdir(exist_ok=True)
            _link(folder.path / state.hidden, work / state.hidden)
        files = {work / state.hidden: _entry(work / state.hidden)}
        manifests: dict[str, FileEntry] = {}
        for segment in LiveFolder(work).segments(state):
            manifests[segment.name] = files[segment / MANIFEST] = _entry(segment / MANIFEST)
            files |= {segment / name: entry for name, entry in read_segment_manifest(segment).files.items()}
        published = PublishedState(version=version, state=state, hidden=files[work / state.hidden], manifests=manifests)
        return _Snapshot(published, {entry.sha256: path for path, entry in files.items()})

    def _upload(self, version: str, snapshot: _Snapshot) -> bool:
        """Upload what the bucket lacks, the state last. Returns whether the bucket had another state."""
        content = self._signed(version, snapshot.published.model_dump_json().encode())
        if content == self._stored_state(version):
            return False
        stored = self._remote.list_folder(f"{LIVE}/{version}")

        def upload(digest: str) -> None:
            key, path = _key(version, digest), snapshot.files[digest]
            if key in stored and stored[key].size == path.stat().st_size:
                return
            if sha256_file(path) != digest:
                raise CatalogError(f"{path}: damaged: its sha256 does not match its manifest")
            self._remote.write_file(key, path)

        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(upload, snapshot.files))
        self._remote.write(_key(version, LIVE_JSON), content)
        return True

    def _sweep(self, version: str, snapshot: _Snapshot, *, others: bool) -> None:
        """Delete old objects that the state of a version does not need; those of other versions, too, if `others`."""
        needed = {_key(version, name) for name in (LIVE_JSON, *snapshot.files)}
        stored = self._remote.list_folder(LIVE if others else f"{LIVE}/{version}")
        newest = max(each.modified for each in stored.values())
        self._remote.delete(
            [key for key, each in stored.items() if key not in needed and newest - each.modified > GRACE]
        )

    def _signed(self, version: str, document: bytes) -> bytes:
        lines = [document] if self._key is None else [document, sign_changes(version, document, self._key)]
        return b"".join(line + b"\n" for line in lines)

    def _stored_state(self, version: str) -> bytes | None:
        """The published state; None: there is none."""
        try:
            return self._remote.read(_key(version, LIVE_JSON), MOST_BYTES)
        except NotFoundError:
            return None

    def _publish_version(self, version: str) -> bool:
        try:
            published: str | None = published_version(self._remote)
        except (NotFoundError, CatalogError):
            published = None
        if published == version:
            return False
        publish_version(self._catalogs.folder(version), self._remote, signing_key=self._key)
        return True


class LiveReplica:
    """Applies published changes to a local catalog: the segments appear beside the version that they belong to."""

    def __init__(self, remote: ObjectFolder, catalogs: Catalog, trial: Trial) -> None:
        """Configure; makes no connection.

        Args:
            remote: the bucket.
            catalogs: the local catalog.
            trial: has the key by which changes must be signed. Without one, they are tried before they are shown.
        """
        self._remote = remote
        self._catalogs = catalogs
        self._trial = trial
        self._applied: tuple[str, str | None] | None = None
        """The version whose changes were applied last, and the entity tag of their state."""
        self._refused: tuple[str | None, CatalogError, float] | None = None
        """The entity tag of a state that was refused, the reason, and when it is tried again."""

    def pull(self, version: str) -> bool:
        """Apply the published changes of a version, if they are new. An interrupted pull can be resumed.

        Returns:
            Whether they were new.

        Raises:
            FolderBusyError: another process is doing this.
            CatalogError: the changes are damaged, not signed as required, failed their trial, or do not fit on the disk.
            StoreError: the bucket cannot be read.
        """
        folder = LiveFolder.of(self._catalogs.root, version)
        applied, tag = self._applied or (None, None)
        known = tag if applied == version and folder.marker() is not None else None
        try:
            content, tag = self._remote.read_tagged(_key(version, LIVE_JSON), known, MOST_BYTES)
        except NotFoundError:
            return False
        if content is None:
            return False
        if self._refused is not None and self._refused[0] == tag and time.monotonic() < self._refused[2]:
            raise self._refused[1]
        with locked(self._catalogs.root, LOCK):
            try:
                changed = self._apply(folder, version, content)
            except CatalogError as error:
                self._refused = tag, error, time.monotonic() + RETRY_SECONDS
                raise
        self._applied = version, tag
        return changed

    def _apply(self, folder: LiveFolder, version: str, content: bytes) -> bool:
        published = self._read(version, content)
        state = published.state
        try:
            present = folder.read()
        except CatalogError:
            present = None
        if present == state:
            return False
        folder.path.mkdir(parents=True, exist_ok=True)
        shown = set() if present is None else {path.name for path in folder.segments(present)}
        fetched = [
            name
            for name, entry in published.manifests.items()
            if self._fetch_segment(folder.path / name, version, entry, shown=name in shown)
        ]
        self._fetch_hidden(folder.path / state.hidden, version, published.hidden)
        folder.read_hidden(state)
        sync_folder(folder.path)
        if fetched and self._trial.public_key is None:
            folder.write(state, CANDIDATE)
            self._trial.try_changes(self._catalogs.folder(version), folder.path / CANDIDATE)
        folder.write(state)
        folder.clean(state)
        return True

    def _read(self, version: str, content: bytes) -> PublishedState:
        """The published state, once its signature is verified."""
        where = f"{self._remote.url}/{_key(version, LIVE_JSON)}"
        document, _, signature = content.partition(b"\n")
        if (public_key := self._trial.public_key) is not None:
            check_changes_signature(version, document, signature.rstrip(b"\n"), public_key)
        try:
            published = PublishedState.model_validate_json(document)
        except (ValidationError, RecursionError):
            raise CatalogError(f"{where}: damaged, or written by an incompatible version of this software") from None
        if published.version != version:
            raise CatalogError(f"{where}: damaged: it belongs to the version {published.version!r}")
        return published

    def _fetch_segment(self, target: Path, version: str, entry: FileEntry, *, shown: bool) -> bool:
        """Download a segment, unless it is here. Returns whether it was not.

        Args:
            target: its folder.
            version: the version that it belongs to.
            entry: its manifest.
            shown: whether searches may be using the folder; else it may have been damaged.
        """
        if target.is_dir() and _matches(target, entry, completely=not shown):
            return False
        if shown:
            raise CatalogError(f"{target}: damaged, or another segment has been published under its name")
        shutil.rmtree(target, ignore_errors=True)
        # Named by its content: what an interrupted pull left is of the same segment.
        work = target.with_name(_PULL_PREFIX + entry.sha256)
        work.mkdir(exist_ok=True)
        if not (work / MANIFEST).exists():
            self._download(version, entry, work / MANIFEST)
        manifest = read_segment_manifest(work)
        keep_reserve(work, manifest.size)

        def fetch(name: str) -> None:
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():  # complete: an incomplete file has another name
                self._download(version, manifest.files[name], path)

        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(fetch, manifest.files))
        check_sizes(work, manifest)
        for path in work.rglob("*"):
            if path.is_dir():
                sync_folder(path)
        sync_folder(work)
        work.rename(target)
        return True

    def _fetch_hidden(self, target: Path, version: str, entry: FileEntry) -> None:
        if not target.is_file() or sha256_file(target) != entry.sha256:
            target.unlink(missing_ok=True)
            self._download(version, entry, target)

    def _download(self, version: str, entry: FileEntry, path: Path) -> None:
        download(self._remote, _key(version, entry.sha256), entry, path, repair=_REPAIR)


def _key(version: str, name: str) -> str:
    return f"{LIVE}/{version}/{name}"


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=sha256_file(path), size=path.stat().st_size)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _matches(folder: Path, entry: FileEntry, *, completely: bool) -> bool:
    """Whether a segment is the one with this manifest, with complete files, or also with intact ones."""
    try:
        content = read_small(folder / MANIFEST, MANIFEST_BYTES)
        manifest: SegmentManifest = read_segment_manifest(folder)
        check_sizes(folder, manifest)
        return hashlib.sha256(content).hexdigest() == entry.sha256 and (
            not completely or all(sha256_file(folder / name) == each.sha256 for name, each in manifest.files.items())
        )
    except (OSError, CatalogError):
        return False
