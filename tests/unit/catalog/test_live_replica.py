"""Changes published to a real S3 server, and applied by another catalog."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.build import flushing
from logo_similarity.build.compacting import compact
from logo_similarity.build.flushing import Flusher, drop_segments
from logo_similarity.catalog import live_replica
from logo_similarity.catalog.files import sha256_file
from logo_similarity.catalog.live_folder import (
    LIVE,
    LIVE_JSON,
    LOCK,
    PUBLISH_LOCK,
    PUBLISHING,
    LiveFolder,
    LiveState,
    locked,
)
from logo_similarity.catalog.live_replica import CANDIDATE, LivePublisher, LiveReplica
from logo_similarity.catalog.manifest import MANIFEST, FileEntry
from logo_similarity.catalog.replica import download, published_version, pull_version
from logo_similarity.catalog.signature import sign_changes
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, FolderBusyError, StoreError
from logo_similarity.storage.objects import ObjectFolder
from tests.changing import Office
from tests.importing import OPTIONS, Desk

KEY = Ed25519PrivateKey.generate()
PUBLIC_KEY = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()


class NoTrial(Trial):
    """Counts the trials of changes."""

    def __init__(self, public_key: str | None = PUBLIC_KEY) -> None:
        super().__init__(public_key=public_key)
        self.states: list[Path] = []

    def __call__(self, folder: Path) -> None:
        self.check(folder)

    def try_changes(self, _folder: Path, state: Path) -> None:
        self.states.append(state)


class Pair:
    """A catalog whose changes are published, and one that applies them."""

    def __init__(self, folder: Path, settings: Settings, *, signed: bool = True) -> None:
        desk = Desk(folder)
        desk.build(*(desk.record(f"US-{n}", 2, n, text=f"text {n}") for n in range(4)))
        self.office = Office(desk)
        self.remote = ObjectFolder(str(settings.catalog_url), settings)
        self.here, self.there = Catalog(desk.root), Catalog(folder / "replica")
        self.key = KEY if signed else None
        self.trial = NoTrial(PUBLIC_KEY if signed else None)
        self.publisher = LivePublisher(self.remote, self.here, self.key, seconds=0)
        self.replica = LiveReplica(self.remote, self.there, self.trial)
        self.publish()
        self.pull_version()

    @property
    def version(self) -> str:
        return self.here.current().name

    def change(self, *arguments: Any, **values: Any) -> None:
        self.office.change(*arguments, **values)
        self.flush()

    def flush(self) -> None:
        Flusher(self.here.root, self.office.overlay, self.office.base).flush()

    def publish(self) -> bool:
        return self.publisher.publish(self.version)

    def pull(self) -> bool:
        return self.replica.pull(self.there.current().name)

    def pull_version(self) -> str | None:
        return pull_version(self.remote, self.there, trial=self.trial, before_live=self.replica.pull)

    def published(self) -> set[str]:
        return {key.rpartition("/")[2] for key in self.remote.list_folder(f"{LIVE}/{self.version}")}

    def state(self) -> LiveState:
        """The state of the publisher's changes."""
        state = LiveFolder.of(self.here.root, self.version).read()
        assert state is not None
        return state

    def shown(self) -> dict[str, str | None]:
        """The texts of the visible logos of the replica; each logo is listed once."""
        with SearchEngine.open(self.there.root) as engine:
            changed = engine.with_changes(self.there.root)
            rows = range(changed.logos.rows.total)
            visible = changed.logos.everything.rows
            logos = changed.metadata.fetch([row for row in rows if visible is None or visible[row]])
            ids = [logo.logo_id for logo in logos]
            assert len(ids) == len(set(ids)) == changed.logos.count
            return {logo.logo_id: logo.record.text for logo in logos}


@pytest.fixture
def pair(tmp_path: Path, settings: Settings) -> Iterator[Pair]:
    pair = Pair(tmp_path, settings)
    yield pair
    pair.office.overlay.close()


SAMPLE = {f"US-{n}": f"text {n}" for n in range(4)}


def test_changes_arrive_and_what_is_deleted_goes(pair: Pair) -> None:
    assert pair.shown() == SAMPLE
    assert not pair.pull()
    pair.change("create", "US-9", 9, text="new")
    pair.change("update", "US-1", text="other")
    assert pair.publish()
    assert not pair.publish()
    assert pair.pull()
    assert not pair.pull()
    assert pair.shown() == {**SAMPLE, "US-9": "new", "US-1": "other"}
    pair.change("delete", "US-9")
    pair.change("delete", "US-0")
    pair.publish()
    assert pair.pull()
    assert pair.shown() == {"US-1": "other", "US-2": "text 2", "US-3": "text 3"}
    folder = LiveFolder.of(pair.there.root, pair.version)
    state = folder.read()
    assert state is not None
    named = {LIVE_JSON, state.hidden, *(path.name for path in folder.segments(state))}
    assert {path.name for path in folder.path.iterdir()} == named
    assert not (pair.here.root / LIVE / PUBLISHING).exists()
    assert not pair.trial.states  # a signature is enough


def test_segments_that_are_here_are_not_fetched_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "SEALED_ROWS", 1)
    pair.change("create", "US-8", 8, text="eight")
    pair.publish()
    pair.pull()
    (first,) = (path.name for path in LiveFolder.of(pair.here.root, pair.version).path.glob("*/"))
    for key in pair.published() - {LIVE_JSON}:
        pair.remote.delete([f"{LIVE}/{pair.version}/{key}"])
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()  # sends again what the bucket lacks
    for path in (pair.here.root / LIVE / pair.version / first).rglob("*.faiss"):
        pair.remote.write(f"{LIVE}/{pair.version}/{sha256_file(path)}", b"not read")
    assert pair.pull()
    assert pair.shown() == {**SAMPLE, "US-8": "eight", "US-9": "nine"}


def test_a_new_version_becomes_live_together_with_its_changes(pair: Pair) -> None:
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    pair.pull()
    old = pair.version
    compact(pair.here.root, replace(OPTIONS, signing_key=KEY), None)
    pair.office.open_base()
    pair.change("create", "US-10", 10, text="ten")
    pair.publisher.publish(old)  # by a worker that has not opened the new version yet
    assert published_version(pair.remote) == old
    assert not pair.pull()
    assert pair.shown() == {**SAMPLE, "US-9": "nine"}
    assert pair.publish()
    assert published_version(pair.remote) == pair.version != old
    assert not pair.pull()  # the changes of the new version are not those of the old one
    assert pair.shown() == {**SAMPLE, "US-9": "nine"}
    assert pair.pull_version() == pair.version
    assert pair.shown() == {**SAMPLE, "US-9": "nine", "US-10": "ten"}


def test_a_version_whose_changes_cannot_be_fetched_does_not_become_live(pair: Pair) -> None:
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    pair.pull()
    old = pair.version
    compact(pair.here.root, replace(OPTIONS, signing_key=KEY), None)
    pair.office.open_base()
    pair.change("create", "US-10", 10, text="ten")
    pair.publish()
    content = pair.remote.read(f"{LIVE}/{pair.version}/{LIVE_JSON}")
    pair.remote.write(f"{LIVE}/{pair.version}/{LIVE_JSON}", content.replace(b"generation", b"generatiom"))
    for _ in range(2):
        with pytest.raises(CatalogError, match="signature"):
            pair.pull_version()
        assert pair.there.current().name == old
    pair.remote.write(f"{LIVE}/{pair.version}/{LIVE_JSON}", content)
    assert pair.pull_version() == pair.version
    assert pair.shown() == {**SAMPLE, "US-9": "nine", "US-10": "ten"}


@pytest.mark.parametrize(
    "damage", ["document", "signature", "unsigned", "version", "segment", "manifest", "gone", "cut"]
)
def test_what_was_altered_in_the_bucket_is_refused(pair: Pair, damage: str) -> None:
    pair.change("create", "US-8", 8, text="eight")
    pair.publish()
    pair.pull()
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    key = f"{LIVE}/{pair.version}/{LIVE_JSON}"
    content = pair.remote.read(key)
    document, signature, _ = content.split(b"\n")
    segment = max(LiveFolder.of(pair.here.root, pair.version).path.glob("*/manifest.json")).parent
    name = f"{LIVE}/{pair.version}/" + sha256_file(segment / (MANIFEST if damage == "manifest" else "metadata.db"))
    data = pair.remote.read(name)
    if damage == "document":
        pair.remote.write(key, content.replace(b'"logos":2', b'"logos":3'))
    elif damage == "signature":
        pair.remote.write(key, document + b"\n" + signature[:-4] + b"AA==\n")
    elif damage == "unsigned":
        pair.remote.write(key, document + b"\n")
    elif damage == "version":
        other = json.dumps({**json.loads(document), "version": "20261126T000000Z-00000000"}).encode()
        pair.remote.write(key, other + b"\n" + sign_changes(pair.version, other, KEY) + b"\n")
    elif damage == "gone":
        pair.remote.delete([name])
    elif damage == "cut":
        pair.remote.write(name, data[:-1])
    else:
        pair.remote.write(name, data[:50] + bytes([data[50] ^ 1]) + data[51:])
    for _ in range(2):
        with pytest.raises((CatalogError, StoreError)):
            pair.pull()
        assert pair.shown() == {**SAMPLE, "US-8": "eight"}
    pair.remote.delete(list(pair.remote.list_folder(LIVE)))
    assert pair.publish()
    pair.replica = LiveReplica(pair.remote, pair.there, pair.trial)  # does not wait before it tries again
    assert pair.pull()
    assert pair.shown() == {**SAMPLE, "US-8": "eight", "US-9": "nine"}


def test_a_refused_state_is_not_fetched_again_at_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    good = {key: pair.remote.read(key) for key in pair.remote.list_folder(LIVE)}
    for key, content in good.items():
        if not key.endswith(LIVE_JSON):
            pair.remote.write(key, b"x" * len(content))
    with pytest.raises(CatalogError, match="damaged"):
        pair.pull()
    for key, content in good.items():
        pair.remote.write(key, content)
    with pytest.raises(CatalogError, match="damaged"):
        pair.pull()
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    assert pair.pull()
    assert pair.shown() == {**SAMPLE, "US-9": "nine"}


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", ".lock", "x" * 200, "live.json"])
def test_names_lead_to_no_other_folder(pair: Pair, name: str) -> None:
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    key = f"{LIVE}/{pair.version}/{LIVE_JSON}"
    document = json.loads(pair.remote.read(key).split(b"\n")[0])
    ((own, entry),) = document["manifests"].items()
    document["manifests"] = {name: entry}
    document["state"]["segments"][0]["name"] = name
    for changed in (json.dumps(document), json.dumps(document).replace(own, name)):
        content = changed.encode()
        pair.remote.write(key, content + b"\n" + sign_changes(pair.version, content, KEY) + b"\n")
        with pytest.raises(CatalogError, match="damaged"):
            pair.pull()
    assert pair.shown() == SAMPLE


@pytest.mark.parametrize("what", ["hidden", "manifest", "segments"])
def test_sizes_are_bounded_before_anything_is_fetched(pair: Pair, what: str) -> None:
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    key = f"{LIVE}/{pair.version}/{LIVE_JSON}"
    document = json.loads(pair.remote.read(key).split(b"\n")[0])
    ((own, entry),) = document["manifests"].items()
    if what == "hidden":
        document["hidden"]["size"] = 10_000
    elif what == "manifest":
        entry["size"] = 10**9
    else:
        (segment,) = document["state"]["segments"]
        document["state"]["segments"] = [{**segment, "name": f"{own}-{n}"} for n in range(101)]
        document["manifests"] = {f"{own}-{n}": entry for n in range(101)}
    content = json.dumps(document).encode()
    pair.remote.write(key, content + b"\n" + sign_changes(pair.version, content, KEY) + b"\n")
    with pytest.raises(CatalogError, match=r"live\.json: damaged"):
        pair.pull()


def test_an_interrupted_pull_is_resumed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    fetched: list[Path] = []
    most = 5

    def counting(remote: ObjectFolder, key: str, entry: FileEntry, path: Path, **options: Any) -> None:
        if len(fetched) == most:
            raise StoreError("the bucket does not answer")
        fetched.append(path)
        download(remote, key, entry, path, **options)

    monkeypatch.setattr(live_replica, "PARALLEL", 1)
    monkeypatch.setattr(live_replica, "download", counting)
    with pytest.raises(StoreError):
        pair.pull()
    assert pair.shown() == SAMPLE
    most = 1_000
    assert pair.pull()
    assert len(fetched) == len(set(fetched)) > 5
    assert pair.shown() == {**SAMPLE, "US-9": "nine"}


def test_a_publisher_that_stops_anywhere_leaves_the_bucket_consistent(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.change("create", "US-8", 8, text="eight")
    pair.publish()
    pair.pull()
    pair.change("create", "US-9", 9, text="nine")
    monkeypatch.setattr(live_replica, "PARALLEL", 1)
    writes = 0

    def stopping(real: Callable[..., None]) -> Callable[..., None]:
        def write(*arguments: Any) -> None:
            nonlocal writes
            writes += 1
            if writes == 2:
                raise StoreError("the publisher was killed")
            real(*arguments)

        return write

    for name in ("write", "write_file"):
        monkeypatch.setattr(ObjectFolder, name, stopping(getattr(ObjectFolder, name)))
    stops = 0
    while True:
        writes = 0
        try:
            pair.publish()
            break
        except StoreError:
            stops += 1
            LiveReplica(pair.remote, pair.there, pair.trial).pull(pair.version)
            assert LiveFolder.of(pair.there.root, pair.version).read() != pair.state()
    assert stops > 5
    assert pair.pull()
    assert pair.shown() == {**SAMPLE, "US-8": "eight", "US-9": "nine"}


def test_damage_on_the_disk_of_a_replica_is_repaired(pair: Pair) -> None:
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    pair.pull()
    folder = LiveFolder.of(pair.there.root, pair.version)
    state = folder.read()
    assert state is not None
    (segment,) = folder.segments(state)
    content = (segment / "metadata.db").read_bytes()
    (segment / "metadata.db").write_bytes(bytes(len(content)))
    assert not pair.pull()
    folder.discard()  # as a service does that cannot open it
    assert pair.pull()
    assert (segment / "metadata.db").read_bytes() == content


def test_unsigned_changes_are_tried_first(tmp_path: Path, settings: Settings) -> None:
    pair = Pair(tmp_path, settings, signed=False)
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    assert pair.pull()
    candidate = LiveFolder.of(pair.there.root, pair.version).path / CANDIDATE
    assert pair.trial.states == [candidate]
    assert not candidate.exists()
    pair.change("delete", "US-9")
    pair.publish()
    assert pair.pull()
    assert pair.trial.states == [candidate]  # nothing new is opened
    pair.office.overlay.close()


def test_hostile_segments_fail_their_trial(tmp_path: Path, settings: Settings) -> None:
    pair = Pair(tmp_path, settings, signed=False)
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    replica = LiveReplica(pair.remote, pair.there, Trial())
    assert replica.pull(pair.version)
    pair.change("create", "US-10", 10, text="ten")
    (segment,) = LiveFolder.of(pair.here.root, pair.version).path.glob("*/manifest.json")
    index = segment.with_name("index.faiss")
    index.write_bytes(index.read_bytes()[:-100] + bytes(100))  # not of unit length
    manifest = json.loads(segment.read_bytes())
    manifest["files"]["index.faiss"]["sha256"] = sha256_file(index)
    segment.write_text(json.dumps(manifest))
    pair.publish()
    with pytest.raises(CatalogError, match="failed its trial"):
        replica.pull(pair.version)
    assert pair.shown() == {**SAMPLE, "US-9": "nine"}
    pair.office.overlay.close()


def test_old_objects_are_deleted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.change("create", "US-8", 8, text="eight")
    pair.publish()
    before = pair.published()
    pair.change("create", "US-9", 9, text="nine")
    pair.publish()
    assert pair.published() > before  # somebody may be fetching them
    monkeypatch.setattr(live_replica, "GRACE", timedelta(seconds=-1))
    old = pair.version
    pair.change("create", "US-10", 10, text="ten")
    pair.publish()
    assert not pair.published() & (before - {LIVE_JSON}) - _needed(pair)
    assert pair.published() == _needed(pair)
    compact(pair.here.root, replace(OPTIONS, signing_key=KEY), None)
    pair.office.open_base()
    pair.flush()
    pair.publish()
    assert pair.published() == _needed(pair)
    assert not pair.remote.list_folder(f"{LIVE}/{old}")


def _needed(pair: Pair) -> set[str]:
    folder = LiveFolder.of(pair.here.root, pair.version)
    state = folder.read()
    assert state is not None
    paths = [path for segment in folder.segments(state) for path in segment.rglob("*") if path.is_file()]
    return {LIVE_JSON, *(sha256_file(path) for path in (*paths, folder.path / state.hidden))}


def test_a_damaged_segment_is_not_published(pair: Pair) -> None:
    pair.change("create", "US-9", 9, text="nine")
    (segment,) = LiveFolder.of(pair.here.root, pair.version).path.glob("*/manifest.json")
    metadata = segment.with_name("metadata.db")
    metadata.write_bytes(bytes(metadata.stat().st_size))
    with pytest.raises(CatalogError, match="damaged"):
        pair.publish()
    assert LIVE_JSON not in pair.published()


def test_one_process_publishes_and_one_pulls(pair: Pair) -> None:
    pair.change("create", "US-9", 9, text="nine")
    with locked(pair.here.root, PUBLISH_LOCK), pytest.raises(FolderBusyError):
        pair.publish()
    pair.publish()
    with locked(pair.there.root, LOCK), pytest.raises(FolderBusyError):
        pair.pull()
    assert pair.pull()


def test_another_published_version_is_replaced_by_the_live_one(pair: Pair) -> None:
    pair.remote.write("CURRENT", b"20200101T000000Z-00000000\n")
    assert pair.publish()
    assert published_version(pair.remote) == pair.version
    obstore.delete(pair.remote._store, "CURRENT")
    assert pair.publish()
    assert published_version(pair.remote) == pair.version


def test_a_slow_bucket_delays_nothing_here(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, over = threading.Event(), threading.Event()
    real = ObjectFolder.write_file

    def slow(*arguments: Any) -> None:
        begun.set()
        assert over.wait(60)
        real(*arguments)

    pair.change("create", "US-8", 8, text="eight")
    monkeypatch.setattr(ObjectFolder, "write_file", slow)
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(pair.publish)
        assert begun.wait(60)
        before = pair.state()
        pair.change("create", "US-9", 9, text="nine")  # replaces the segment that is being published
        drop_segments(pair.here, pair.version)
        assert pair.state().generation == before.generation + 1
        over.set()
        assert publishing.result()
    assert pair.pull()
    assert pair.shown() == {**SAMPLE, "US-8": "eight"}
    assert pair.publish()
    assert pair.pull()
    assert pair.shown() == {**SAMPLE, "US-8": "eight", "US-9": "nine"}
