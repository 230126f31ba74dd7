"""A version in a Milvus server that stops, is slow, or loses data; and versions that come and go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog, TryVersion
from logo_similarity.config import Settings, load_settings
from logo_similarity.doctor import examine
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, ConfigError, IndexUnavailableError
from logo_similarity.milvus.collections import LIVE_LOGOS, check_collection, collections_of, drop_collection
from logo_similarity.milvus.connection import IndexServer, needed_server
from logo_similarity.milvus.verify import verify_collections
from tests.commands import run
from tests.milvus import MilvusServer
from tests.samples import SampleCatalog
from tests.seaweedfs import free_ports
from tests.service import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("milvus")]


@dataclass(frozen=True, slots=True)
class Place:
    """A catalog folder, and the settings with which it is used."""

    samples: SampleCatalog
    root: Path
    values: dict[str, str]

    @property
    def settings(self) -> Settings:
        return load_settings(
            **self.values,
            catalogs=self.root,
            images_dir=self.samples.images,
            threads=1,
            cache_hits=0,
            log_level="error",
        )

    @property
    def index(self) -> IndexServer:
        return needed_server(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        return {f"LOGO_{name.upper()}": value for name, value in self.values.items()} | {
            "LOGO_CATALOGS": str(self.root)
        }

    def build(self, count: int, trial: TryVersion | None = None) -> Path:
        """A version of the first samples, which becomes live."""
        rows = (self.samples.root.parent / "marks.jsonl").read_text().splitlines()[:count]
        table = self.root.parent / f"{count}.jsonl"
        table.write_text("\n".join(rows))
        options = BuildOptions(
            threads=2, trial=trial or Trial.of(self.settings), server=self.index, in_collections=True
        )
        return build_catalog(open_source(table, images=self.samples.images), self.root, options).folder


@pytest.fixture(scope="module")
def place(
    sample_catalog: SampleCatalog, milvus_server: MilvusServer, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    database = milvus_server.new_database()
    root = tmp_path_factory.mktemp("place") / "catalogs"
    made = Place(sample_catalog, root, milvus_server.settings(database) | {"index_seconds": "3"})
    made.build(40)
    return made


@pytest.fixture
def client(place: Place) -> Iterator[TestClient]:
    with TestClient(create_app(place.settings), raise_server_exceptions=False) as opened:
        yield opened


def search(client: TestClient, place: Place) -> Any:
    picture = (place.samples.images / place.samples.files[6]).read_bytes()
    return client.post("/v1/search?top_k=10", files={"file": ("query", picture)})


def test_a_server_that_is_slow_and_one_that_is_stopped(
    place: Place, client: TestClient, milvus_server: MilvusServer
) -> None:
    def refused() -> None:
        answer = search(client, place)
        assert (answer.status_code, answer.json()["code"]) == (503, "index_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert place.values["index_url"] not in answer.text

    before = search(client, place).json()["results"]
    assert len(before) == 10
    with milvus_server.paused():
        refused()
    until(lambda: search(client, place).status_code == 200)
    milvus_server.stop()
    try:
        refused()
        assert client.get("/readyz").status_code == 200  # all replicas would be restarted, and none could help
        finding = next(one for one in examine(**place.values, catalogs=place.root) if one.check == "index server")
        assert (finding.state, "is unavailable" in finding.detail) == ("failed", True)
        done = run("search", place.samples.images / place.samples.files[6], **place.environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert "the Milvus server is unavailable" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        milvus_server.start()

    def recovered() -> bool:
        answer = search(client, place)
        assert answer.status_code in (200, 503)
        return bool(answer.status_code == 200)

    until(recovered)
    assert [hit["id"] for hit in search(client, place).json()["results"]] == [hit["id"] for hit in before]


def test_the_collections_are_those_that_were_loaded(place: Place) -> None:
    version = Catalog(place.root).current()
    manifest = read_manifest(version)
    logos, parts = collections_of(manifest)
    assert verify_collections(version, manifest, place.index) == logos.count + parts.count
    done = run("catalog", "verify", **place.environment)
    assert f"{logos.count + parts.count} entities verified" in done.stdout, done.stderr
    finding = next(one for one in examine(**place.values, catalogs=place.root) if one.check == "index server")
    assert (finding.state, f"{logos.name} loaded" in finding.detail) == ("ok", True)
    with place.index.connected() as opened:
        (entity,) = opened.query(logos.name, filter="id == 7", output_fields=["*"], timeout=10)
        changed = dict(entity, embedding=np.roll(entity["embedding"], 1).tolist())
        opened.upsert(logos.name, [changed], timeout=10)
        with pytest.raises(CatalogError, match=r"1 of 40 embeddings differ, first that of 7; build the catalog again"):
            verify_collections(version, manifest, place.index)
        opened.delete(logos.name, ids=[7], timeout=10)
        with pytest.raises(CatalogError, match="it has 39 entities, the manifest says 40"):
            verify_collections(version, manifest, place.index)
        opened.insert(logos.name, [dict(entity, id=40)], timeout=10)
        with pytest.raises(CatalogError, match="it lacks 1 of the ids 0 to 39, first 7"):
            verify_collections(version, manifest, place.index)
        opened.delete(logos.name, ids=[40], timeout=10)
        opened.insert(logos.name, [entity], timeout=10)
    verify_collections(version, manifest, place.index)


def test_embeddings_of_another_encoder_are_refused(place: Place) -> None:
    manifest = read_manifest(Catalog(place.root).current())
    logos = collections_of(manifest)[0]
    with pytest.raises(CatalogError, match="another encoder"):
        check_collection(place.index, logos.name, encoder="f" * 64, inputs=manifest.inputs, dimension=logos.dimension)


def test_without_the_settings_of_the_server(place: Place) -> None:
    with pytest.raises(ConfigError, match="set LOGO_INDEX_URL to its address"):
        SearchEngine.open(place.root)
    folders = Catalog(place.root)
    name = folders.current().name
    with pytest.raises(ConfigError, match=f"version '{name}' cannot be tried: .* set LOGO_INDEX_URL to its address"):
        folders.activate(name)
    assert folders.refusal(name) is None  # it can be served as soon as the setting is there
    done = run("catalog", "verify", LOGO_CATALOGS=str(place.root))
    assert "the vectors of this catalog are on a Milvus server; set LOGO_INDEX_URL to its address" in done.stderr
    assert done.returncode == 1


def test_versions_are_activated_and_deleted_with_their_collections(place: Place, tmp_path: Path) -> None:
    other = replace(place, root=tmp_path / "catalogs")
    shutil.copytree(place.root, other.root, ignore=shutil.ignore_patterns(".opened-*"))  # a service's is not deleted
    first = Catalog(other.root).current()
    second = other.build(30)

    names = {version: collections_of(read_manifest(version))[0].name for version in (first, second)}

    def live() -> str:
        with other.index.connected() as opened:
            aliases = {name: opened.describe_collection(name, timeout=10)["aliases"] for name in names.values()}
        (name,) = (name for name, own in aliases.items() if LIVE_LOGOS in own)
        return name

    assert live() == names[second]
    done = run("catalog", "activate", first.name, **other.environment)
    assert done.returncode == 0, done.stderr
    assert live() == names[first]
    done = run("catalog", "activate", second.name, **other.environment)
    assert done.returncode == 0, done.stderr
    done = run("catalog", "prune", "--keep", "1", **other.environment, LOGO_CATALOG_URL="s3://bucket/catalogs")
    assert done.stdout == f"deleted {first.name}\n", done.stderr
    with other.index.connected() as opened:
        assert opened.has_collection(names[first], timeout=10)  # another machine may have the version
    shutil.copytree(place.root / first.name, other.root / first.name)
    down = {"LOGO_INDEX_URL": f"http://127.0.0.1:{free_ports(1)[0]}", "LOGO_CATALOGS": str(other.root)}
    assert run("catalog", "prune", "--keep", "1", **down).returncode == 1
    assert (other.root / first.name).exists()  # nothing else names its collections
    done = run("catalog", "prune", "--keep", "1", **other.environment)
    assert done.stdout == f"deleted {first.name}\n", done.stderr
    with other.index.connected() as opened:
        assert not opened.has_collection(names[first], timeout=10)
        assert opened.has_collection(names[second], timeout=10)
    for collection in collections_of(read_manifest(second)):
        drop_collection(other.index, collection.name)


def test_a_collection_that_was_deleted(place: Place, tmp_path: Path) -> None:
    own = replace(place, root=tmp_path / "catalogs")
    version = own.build(25)
    with TestClient(create_app(own.settings), raise_server_exceptions=False) as client:
        assert search(client, own).status_code == 200
        for collection in collections_of(read_manifest(version)):
            drop_collection(own.index, collection.name)
        answer = search(client, own)
        assert (answer.status_code, answer.json()["code"]) == (500, "catalog_invalid")
    with pytest.raises(CatalogError, match=r"no collection .*_logos; build the catalog again"):
        SearchEngine.open(own.root, server=own.index)


def test_collections_that_were_deleted_before_the_build_was_complete(place: Place, tmp_path: Path) -> None:
    own = replace(place, root=tmp_path / "catalogs")

    def stop(version: Path) -> None:
        for collection in collections_of(read_manifest(version)):
            drop_collection(own.index, collection.name)
        raise CatalogError("stopped")

    with pytest.raises(CatalogError, match="stopped"):
        own.build(20, trial=stop)
    version = own.build(20)
    assert verify_collections(version, read_manifest(version), own.index) > 20
    for collection in collections_of(read_manifest(version)):
        drop_collection(own.index, collection.name)


def test_a_server_that_is_down_is_no_fault_of_a_version(place: Place) -> None:
    (port,) = free_ports(1)
    folders = Catalog(place.root)
    name = folders.current().name
    down = load_settings(index_url=f"http://127.0.0.1:{port}")
    with pytest.raises(IndexUnavailableError, match=f"version '{name}' cannot be tried now: .* is unavailable"):
        folders.activate(name, trial=Trial.of(down))
    assert folders.refusal(name) is None
