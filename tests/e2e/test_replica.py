"""Publishing to a real S3 server, and pulling from it."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from logo_similarity.catalog.manifest import FileEntry, read_manifest, verify
from logo_similarity.catalog.replica import publish_version, pull_version
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings, load_settings
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, ConfigError, FolderBusyError, NotFoundError, StoreError
from logo_similarity.keys.store import open_key_store
from logo_similarity.storage.objects import ObjectFolder
from tests.keys import make_key
from tests.samples import SampleCatalog
from tests.service import serving, until


@pytest.fixture
def remote(settings: Settings) -> ObjectFolder:
    return ObjectFolder(str(settings.catalog_url), settings)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    return {
        "LOGO_S3_ENDPOINT": str(settings.s3_endpoint),
        "LOGO_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "LOGO_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "LOGO_CATALOG_URL": str(settings.catalog_url),
        **more,
    }


def test_what_is_pulled_is_what_was_published(built: Catalog, remote: ObjectFolder, tmp_path: Path) -> None:
    there = Catalog(tmp_path / "replica")
    first, second = sorted(built.names(), key=lambda name: read_manifest(built.folder(name)).count)

    def contents(version: str) -> set[str]:
        """Of the files: each is sent once, as `rejected.jsonl` and `damaged.jsonl` if both are empty."""
        return {entry.sha256 for entry in read_manifest(built.folder(version)).files.values()}

    assert publish_version(built.folder(first), remote) == len(contents(first))
    assert pull_version(remote, there) == first
    verify(there.current())
    assert pull_version(remote, there) is None
    # The model is the same: neither sent nor fetched again.
    assert len(contents(first) & contents(second)) >= 3
    assert publish_version(built.folder(second), remote) == len(contents(second) - contents(first))
    assert publish_version(built.folder(second), remote) == 0
    assert pull_version(remote, there) == second
    assert there.current().name == second
    verify(there.current())
    model = Path("model") / "model.onnx"
    assert (there.folder(first) / model).stat().st_ino == (there.folder(second) / model).stat().st_ino
    # Back again: nothing comes, and the old one is live.
    publish_version(built.folder(first), remote)
    assert pull_version(remote, there) == first
    with SearchEngine.open(there.root) as engine:
        assert engine.manifest.count == 30
    assert not list(there.root.glob(".pull-*"))


def test_nothing_is_there_yet(remote: ObjectFolder, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="catalog publish"):
        pull_version(remote, Catalog(tmp_path))


def entry_of(built: Catalog, name: str) -> tuple[str, FileEntry]:
    entry = read_manifest(built.current()).files[name]
    return f"objects/{entry.sha256}", entry


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone", "manifest"])
def test_what_was_altered_in_the_bucket_is_refused_and_the_live_version_stays(
    built: Catalog, remote: ObjectFolder, tmp_path: Path, damage: str
) -> None:
    there = Catalog(tmp_path / "replica")
    first, second = sorted(built.names(), key=lambda name: read_manifest(built.folder(name)).count)
    publish_version(built.folder(first), remote)
    pull_version(remote, there)
    publish_version(built.folder(second), remote)
    key, _ = entry_of(built, "metadata.db")
    data = bytearray(remote.read(key))
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[-100:]
    elif damage == "longer":
        data[:0] = b"x"
    if damage == "manifest":
        manifest = remote.read(f"versions/{second}")
        remote.write(f"versions/{second}", manifest.replace(b'"count": 40', b'"count": 41'))
    elif damage == "gone":
        import obstore

        obstore.delete(remote._store, key)
    else:
        remote.write(key, bytes(data))
    with pytest.raises((CatalogError, StoreError)):
        pull_version(remote, there)
    assert there.current().name == first
    assert there.names() == [first]
    # Mended, it comes: what was whole is not fetched again.
    remote.write_file(key, built.folder(second) / "metadata.db")
    remote.write(f"versions/{second}", (built.folder(second) / "manifest.json").read_bytes())
    assert pull_version(remote, there) == second
    verify(there.current())


def test_a_damaged_version_is_not_published(built: Catalog, remote: ObjectFolder) -> None:
    index = built.current() / "index.faiss"
    content = bytearray(index.read_bytes())
    content[1_000] ^= 1
    index.write_bytes(content)
    with pytest.raises(CatalogError, match=r"index\.faiss"):
        publish_version(built.current(), remote)
    with pytest.raises(NotFoundError):
        remote.read("CURRENT")


@pytest.mark.parametrize("kept", [0, 1, 70_000, 10_000_000])
def test_a_pull_goes_on_behind_what_is_there(built: Catalog, remote: ObjectFolder, tmp_path: Path, kept: int) -> None:
    """A pull that was killed leaves a part of a file; a good one is gone on with, a bad one fetched anew the next time."""
    there = Catalog(tmp_path / "replica")
    version = built.current()
    publish_version(version, remote)
    index = (version / "index.faiss").read_bytes()
    work = there.root / f".pull-{version.name}" / version.name
    work.mkdir(parents=True)
    part = (index * (1 + kept // len(index)))[:kept]
    (work / "index.faiss.partial").write_bytes(part)
    fetched = 0

    def count(size: int) -> None:
        nonlocal fetched
        fetched += size

    assert pull_version(remote, there, count) == version.name
    verify(there.current())


def test_a_part_that_is_not_what_it_should_be_is_fetched_anew(
    built: Catalog, remote: ObjectFolder, tmp_path: Path
) -> None:
    there = Catalog(tmp_path / "replica")
    version = built.current()
    publish_version(version, remote)
    work = there.root / f".pull-{version.name}" / version.name
    work.mkdir(parents=True)
    (work / "index.faiss.partial").write_bytes(b"something else")
    with pytest.raises(CatalogError, match="damaged"):
        pull_version(remote, there)
    assert pull_version(remote, there) == version.name
    verify(there.current())


def test_a_follower_keeps_as_many_versions_as_it_is_told(built: Catalog, remote: ObjectFolder, tmp_path: Path) -> None:
    there = Catalog(tmp_path / "replica")
    older, newer = built.names()
    for name in (older, newer):
        publish_version(built.folder(name), remote)
        pull_version(remote, there, keep=1)
        assert there.names() == [name]
    publish_version(built.folder(older), remote)  # a step back: the live one stays, too
    pull_version(remote, there, keep=1)
    assert there.names() == [older, newer]
    assert there.current().name == older


def test_two_publishers_at_once_end_with_one_of_the_two(
    built: Catalog, settings: Settings, remote: ObjectFolder, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "logo_similarity.cli", "catalog", "publish", "--catalogs", str(built.root)]
    both = [
        subprocess.Popen(
            [*words, "--version", name], env={**os.environ, **environment(settings)}, stdout=subprocess.DEVNULL
        )
        for name in built.names()
    ]
    assert [one.wait(60) for one in both] == [0, 0]
    assert pull_version(remote, Catalog(tmp_path / "replica")) in built.names()
    verify(Catalog(tmp_path / "replica").current())


@pytest.mark.parametrize("killed_after", [0.05, 0.3, 0.6, 0.9, 1.2])
def test_a_publisher_and_a_puller_that_are_killed(
    built: Catalog, settings: Settings, remote: ObjectFolder, tmp_path: Path, killed_after: float
) -> None:
    """Killed at any time and run again; nobody ever sees half a version."""
    first, second = sorted(built.names(), key=lambda name: read_manifest(built.folder(name)).count)
    publish_version(built.folder(first), remote)
    there = Catalog(tmp_path / "replica")
    for words in (["publish", "--catalogs", str(built.root)], ["pull", "--catalogs", str(there.root)]):
        command = [sys.executable, "-m", "logo_similarity.cli", "catalog", *words]
        process = subprocess.Popen(
            command, env={**os.environ, **environment(settings)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(killed_after)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        assert remote.read("CURRENT").decode().strip() in (first, second)
        for name in there.names():
            verify(there.folder(name))
    publish_version(built.folder(second), remote)
    pull_version(remote, there)
    assert there.current().name == second
    verify(there.current())


def test_two_pulls_at_once_do_not_disturb_each_other(built: Catalog, remote: ObjectFolder, tmp_path: Path) -> None:
    there = Catalog(tmp_path / "replica")
    publish_version(built.current(), remote)
    with there.locked(), pytest.raises(FolderBusyError):
        pull_version(remote, there)
    assert pull_version(remote, there) == built.current().name


@pytest.mark.parametrize("url", ["", "catalogs", "http://host/catalogs", "s3://bucket", "s3://bucket/", "s3:///x"])
def test_a_place_that_is_none_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        ObjectFolder(url, settings)


def test_a_wrong_secret_is_said(built: Catalog, settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "logo_similarity.cli", "catalog", "publish", "--catalogs", str(built.root)],
        env={**os.environ, **environment(settings, LOGO_S3_SECRET_KEY="wrong")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "LOGO_S3_SECRET_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_looks_at_the_bucket_the_keys_and_the_traces(
    built: Catalog, settings: Settings, remote: ObjectFolder, tmp_path: Path
) -> None:
    def findings(**more: str) -> dict[str, tuple[bool, str]]:
        own = environment(settings, LOGO_CATALOGS=str(built.root), LOGO_KEYS=str(tmp_path / "keys.json"), **more)
        done = subprocess.run(
            [sys.executable, "-m", "logo_similarity.cli", "doctor", "--json"],
            env={**os.environ, **own}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return {line["what"]: (line["ok"], line["detail"]) for line in json.loads(done.stdout)}

    with socket.create_server(("127.0.0.1", 0)) as collector:
        told = findings(LOGO_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.getsockname()[1]}")
    assert not told["published catalog"][0]
    assert "catalog publish" in told["published catalog"][1]
    assert not told["API keys"][0]
    assert "keys create" in told["API keys"][1]
    assert told["memory"][0]
    assert told["disk"][0]
    assert told["traces"][0]
    older, newer = built.names()
    publish_version(built.folder(older), remote)
    built.activate(newer)
    place = open_key_store(load_settings(keys=str(tmp_path / "keys.json")))
    make_key(place, "team")
    make_key(place, "guest", lives=dt.timedelta(days=3))
    make_key(place, "past", lives=dt.timedelta(days=-3))
    told = findings(LOGO_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert not told["traces"][0]
    assert told["published catalog"] == (True, f"{settings.catalog_url}: {older}; the live version here is {newer}")
    assert told["API keys"] == (True, "2 active; 1 expired; 1 expiring within 14 days")
    assert "environment" not in told
    told = findings(LOGO_PROT="8")
    assert told["environment"] == (True, "LOGO_PROT is not a setting; did you mean LOGO_PORT?")
    told = findings(LOGO_S3_SECRET_KEY="wrong")
    assert "LOGO_S3_SECRET_KEY" in told["published catalog"][1]


def test_replicas_follow_what_is_published_and_survive_a_store_that_is_down(
    built: Catalog, settings: Settings, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    first, second = sorted(built.names(), key=lambda name: read_manifest(built.folder(name)).count)
    remote = ObjectFolder(str(settings.catalog_url), settings)
    publish_version(built.folder(first), remote)
    replica = SampleCatalog(tmp_path / "replica", sample_catalog.images, ())
    own = environment(settings, LOGO_PULL_SECONDS="0.3", LOGO_POLL_SECONDS="0.1", LOGO_API_KEYS="")
    picture = (sample_catalog.images / sample_catalog.files[5]).read_bytes()

    def answer(url: str) -> dict[str, object]:
        body: dict[str, object] = httpx2.post(url + "/v1/search", files={"file": picture}).json()
        return body

    with serving(replica, tmp_path, **own) as server:
        until(
            lambda: server.log.read_text().count('"event": "ready"') == 2
        )  # both, before there is something else to open
        assert json.dumps(answer(server.url)["catalog"]).find(first) > 0
        publish_version(built.folder(second), remote)
        until(lambda: server.log.read_text().count('"catalog_swapped"') == 2)
        assert answer(server.url)["catalog"] == {
            "version": second, "logos": 40, "fields": read_manifest(built.folder(second)).model_dump(mode="json")["fields"]
        }  # fmt: skip
    # Started again with a store that does not answer: what is here is served.
    with serving(replica, tmp_path, **{**own, "LOGO_S3_ENDPOINT": "http://127.0.0.1:9"}) as server:
        assert json.dumps(answer(server.url)["catalog"]).find(second) > 0
        until(lambda: '"catalog_not_pulled"' in server.log.read_text())
