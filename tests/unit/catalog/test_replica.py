"""Small versions, published to a real S3 server and pulled from it."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import obstore
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.catalog.manifest import SIGNATURE, read_manifest, verify
from logo_similarity.catalog.replica import publish_version, published_version, pull_version
from logo_similarity.catalog.signature import sign
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import CURRENT, Catalog
from logo_similarity.config import Settings
from logo_similarity.errors import CatalogError, NotFoundError
from logo_similarity.storage.objects import ObjectFolder
from tests.unit.catalog.test_versions import CONTENT, add_version, flip_byte

SIZE = sum(map(len, CONTENT.values()))
INDEX = CONTENT["index.faiss"]


class QuickTrial(Trial):
    """Checks the manifest, the signature and the sizes: the files here hold no real data, so nothing can open them."""

    def __init__(self, *bad: str, public_key: str | None = None) -> None:
        super().__init__(public_key=public_key)
        self.bad = bad
        self.tried: list[str] = []

    def __call__(self, folder: Path) -> None:
        self.tried.append(folder.name)
        self.check(folder)
        if folder.name in self.bad:
            raise CatalogError(f"{folder.name} is bad")


@pytest.fixture
def remote(settings: Settings) -> ObjectFolder:
    return ObjectFolder(str(settings.catalog_url), settings)


@pytest.fixture
def publisher(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "publisher")


@pytest.fixture
def replica(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "replica")


def publish(publisher: Catalog, remote: ObjectFolder, day: int) -> str:
    """Publish a new version. All versions have the same files."""
    name = add_version(publisher.root, day)
    publish_version(publisher.folder(name), remote)
    return name


def pull(remote: ObjectFolder, replica: Catalog, **options: Any) -> str | None:
    return pull_version(remote, replica, **{"trial": QuickTrial(), **options})


def object_of(publisher: Catalog, name: str) -> str:
    entry = read_manifest(publisher.folder(publisher.names()[0])).files[name]
    return f"objects/{entry.sha256}"


def partial_of(replica: Catalog, version: str, file: str, content: bytes) -> Path:
    """The file that an interrupted pull leaves."""
    path = replica.root / f".pull-{version}" / version / f"{file}.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_only_files_that_the_bucket_lacks_are_uploaded(publisher: Catalog, remote: ObjectFolder) -> None:
    first, second = add_version(publisher.root, 1), add_version(publisher.root, 2)
    with pytest.raises(NotFoundError, match="catalog publish"):
        published_version(remote)
    sizes: list[int] = []
    assert publish_version(publisher.folder(first), remote, sizes.append) == len(CONTENT)
    assert sorted(sizes) == sorted(map(len, CONTENT.values()))
    assert published_version(remote) == first
    remote.write(object_of(publisher, "index.faiss"), INDEX[:-1])  # as another program could leave it
    assert publish_version(publisher.folder(second), remote, sizes.append) == 1
    assert sum(sizes) == 2 * SIZE
    assert published_version(remote) == second


def test_a_damaged_version_is_not_published(publisher: Catalog, remote: ObjectFolder) -> None:
    name = add_version(publisher.root, 1)
    flip_byte(publisher.folder(name) / "index.faiss", 7)
    with pytest.raises(CatalogError, match=r"index\.faiss: damaged"):
        publish_version(publisher.folder(name), remote)
    assert remote.size(object_of(publisher, "metadata.db")) is None


@pytest.mark.parametrize("content", [b"", b"../x", b"\xff", b"a b"])
def test_an_invalid_name_in_the_bucket_is_refused(remote: ObjectFolder, content: bytes) -> None:
    remote.write(CURRENT, content)
    with pytest.raises(CatalogError, match="is not a valid version name"):
        published_version(remote)


def test_a_pull_downloads_each_file_once(publisher: Catalog, remote: ObjectFolder, replica: Catalog) -> None:
    first = publish(publisher, remote, 1)
    sizes: list[int] = []
    assert pull(remote, replica, on_bytes=sizes.append) == first
    assert sum(sizes) == SIZE
    verify(replica.current())
    assert pull(remote, replica, on_bytes=sizes.append) is None
    assert sum(sizes) == SIZE
    second = publish(publisher, remote, 2)
    for name in CONTENT:
        obstore.delete(remote._store, object_of(publisher, name))
    assert pull(remote, replica, on_bytes=sizes.append) == second  # all files are those of the first version
    assert sum(sizes) == 2 * SIZE
    verify(replica.current())
    inodes = {(replica.folder(name) / "index.faiss").stat().st_ino for name in (first, second)}
    assert len(inodes) == 1
    assert not list(replica.root.glob(".pull-*"))


def test_an_older_version_is_made_live_again_without_a_download(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog
) -> None:
    first = publish(publisher, remote, 1)
    pull(remote, replica)
    publish(publisher, remote, 2)
    pull(remote, replica)
    publish_version(publisher.folder(first), remote)
    trial, sizes = QuickTrial(), list[int]()
    assert pull(remote, replica, trial=trial, on_bytes=sizes.append) == first
    assert (replica.current().name, trial.tried, sizes) == (first, [first], [])


@pytest.mark.parametrize("size", [1, 1_000, len(INDEX)])
def test_an_interrupted_download_is_resumed(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog, size: int
) -> None:
    name = publish(publisher, remote, 1)
    partial_of(replica, name, "index.faiss", INDEX[:size])
    remote.write(object_of(publisher, "index.faiss"), bytes(size) + INDEX[size:])  # those bytes are not read again
    sizes: list[int] = []
    assert pull(remote, replica, on_bytes=sizes.append) == name
    assert sum(sizes) == SIZE
    verify(replica.current())


def test_a_partial_file_that_is_too_long_is_downloaded_again(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog
) -> None:
    name = publish(publisher, remote, 1)
    partial_of(replica, name, "index.faiss", INDEX + b"x")
    sizes: list[int] = []
    assert pull(remote, replica, on_bytes=sizes.append) == name
    assert sum(sizes) == SIZE
    verify(replica.current())


def test_a_file_that_an_interrupted_pull_completed_is_kept(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog
) -> None:
    name = publish(publisher, remote, 1)
    partial_of(replica, name, "index.faiss", INDEX).rename(replica.root / f".pull-{name}" / name / "index.faiss")
    other = partial_of(replica, "20200101T000000Z-00000000", "index.faiss", b"")
    obstore.delete(remote._store, object_of(publisher, "index.faiss"))
    sizes: list[int] = []
    assert pull(remote, replica, on_bytes=sizes.append) == name
    assert sum(sizes) == SIZE
    verify(replica.current())
    assert not other.exists()


def test_a_damaged_object_is_refused_and_downloaded_again(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog
) -> None:
    name = publish(publisher, remote, 1)
    key = object_of(publisher, "index.faiss")
    remote.write(key, INDEX[:-1] + b"?")
    with pytest.raises(CatalogError, match=f"{key}: damaged"):
        pull(remote, replica)
    assert replica.names() == []
    remote.write(key, INDEX)
    assert pull(remote, replica) == name
    verify(replica.current())


def test_a_missing_object_is_named(publisher: Catalog, remote: ObjectFolder, replica: Catalog) -> None:
    publish(publisher, remote, 1)
    key = object_of(publisher, "index.faiss")
    obstore.delete(remote._store, key)
    with pytest.raises(CatalogError, match=f"{key}.*what is published is incomplete"):
        pull(remote, replica)


@pytest.mark.parametrize("links", [True, False])
def test_a_local_file_that_is_damaged_is_not_used(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr("os.link", refuse)
    first = publish(publisher, remote, 1)
    pull(remote, replica)
    second = publish(publisher, remote, 2)
    flip_byte(replica.folder(first) / "index.faiss", 7)
    with pytest.raises(CatalogError, match=r"index\.faiss: damaged: .*delete that version"):
        pull(remote, replica)
    assert replica.current().name == first
    flip_byte(replica.folder(first) / "index.faiss", 7)
    assert pull(remote, replica) == second
    verify(replica.current())


def refuse(*_: object) -> None:
    raise OSError("this file system has no hard links")


@pytest.mark.parametrize(("total", "reserve"), [(20_000, 1_000), (10**12, 1_000_000_000)])
@pytest.mark.parametrize("resumed", [0, 1_000])
def test_a_pull_leaves_the_reserve_of_the_disk_free(
    publisher: Catalog,
    remote: ObjectFolder,
    replica: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    total: int,
    reserve: int,
    resumed: int,
) -> None:
    name = publish(publisher, remote, 1)
    if resumed:
        partial_of(replica, name, "index.faiss", INDEX[:resumed])
    free = reserve + SIZE - resumed - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=total, free=free))
    sizes: list[int] = []
    with pytest.raises(CatalogError, match=r"not enough disk space: .*catalog prune"):
        pull(remote, replica, on_bytes=sizes.append)
    assert sizes == []
    free += 1
    assert pull(remote, replica) == name


def test_files_that_are_on_the_disk_need_no_space(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(publisher, remote, 1)
    pull(remote, replica)
    name = publish(publisher, remote, 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=20_000, free=1_000))
    assert pull(remote, replica) == name


def test_a_disk_that_others_fill_meanwhile_ends_the_download(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(publisher, remote, 1)
    free = [10_000]
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(total=20_000, free=free.pop() if free else 1_000)
    )
    with pytest.raises(CatalogError, match="not enough disk space"):
        pull(remote, replica)


def test_a_version_that_fails_its_trial_is_not_made_live(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog
) -> None:
    first = publish(publisher, remote, 1)
    pull(remote, replica)
    second = publish(publisher, remote, 2)
    trial = QuickTrial(second)
    for refusals_hold in (False, True, False):
        with pytest.raises(CatalogError, match=f"{second} is bad"):
            pull(remote, replica, trial=trial, refusals_hold=refusals_hold)
    assert trial.tried == [second, second]  # the refusal held once
    assert replica.names() == [first]
    assert replica.current().name == first
    assert pull(remote, replica) == second


@pytest.mark.parametrize(("keep", "kept"), [(None, 3), (2, 2), (1, 1)])
def test_the_newest_versions_are_kept(
    publisher: Catalog, remote: ObjectFolder, replica: Catalog, keep: int | None, kept: int
) -> None:
    names = []
    for day in (1, 2, 3):
        names.append(publish(publisher, remote, day))
        pull(remote, replica, keep=keep)
    assert replica.names() == names[-kept:]


def test_a_required_signature_is_downloaded(publisher: Catalog, remote: ObjectFolder, replica: Catalog) -> None:
    key = Ed25519PrivateKey.generate()
    public_key = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    trial = QuickTrial(public_key=public_key)
    name = publish(publisher, remote, 1)
    with pytest.raises(CatalogError, match="is not signed"):
        pull(remote, replica, trial=trial)
    assert pull(remote, replica) == name  # without the requirement
    with pytest.raises(CatalogError, match="is not signed"):
        pull(remote, replica, trial=trial)
    publish_version(publisher.folder(name), remote, signing_key=key)
    assert pull(remote, replica, trial=trial) == name
    assert (replica.current() / SIGNATURE).read_bytes() == (publisher.folder(name) / SIGNATURE).read_bytes()
    assert pull(remote, replica, trial=trial) is None
    second = add_version(publisher.root, 2)
    sign(publisher.folder(second), second, key)
    publish_version(publisher.folder(second), remote)  # with the signature that it has
    assert pull(remote, replica, trial=trial) == second
