"""A register in a Milvus server, from the command that builds it to the answers of the service, and back to files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from logo_similarity.catalog.manifest import Manifest, read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.keys.store import open_key_store
from logo_similarity.milvus.collections import count_entities, find_collection
from logo_similarity.milvus.connection import IndexServer
from tests.keys import make_key
from tests.samples import SAMPLES, SampleCatalog
from tests.service import Server, command, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.milvus import MilvusServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("milvus")]
NEW = sorted((SAMPLES / "images").iterdir())[400]


@dataclass(frozen=True, slots=True)
class Register:
    """The sample logos in files and in a Milvus server, both served."""

    table: Path
    catalog: SampleCatalog
    index: IndexServer
    settings: dict[str, str]
    key: str
    local: Server
    remote: Server

    def run(self, *words: str) -> str:
        """What a command prints."""
        return run(self.settings | {"LOGO_CATALOGS": str(self.catalog.root)}, *words)

    def manifest(self) -> Manifest:
        """That of the live version."""
        return read_manifest(Catalog(self.catalog.root).current())

    def both(self, path: str, **options: Any) -> list[dict[str, Any]]:
        """The answers of both services."""
        answers = []
        for server in (self.local, self.remote):
            answer = server.post(path, headers={"X-API-Key": self.key}, timeout=60, **options)
            assert answer.status_code == 200, answer.text
            answers.append(answer.json())
        return answers

    def picture(self, number: int) -> dict[str, bytes]:
        return {"file": (self.catalog.images / self.catalog.files[number]).read_bytes()}


def run(settings: dict[str, str], *words: str) -> str:
    done = subprocess.run(command(*words), env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def register(
    sample_catalog: SampleCatalog, milvus_server: MilvusServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Register]:
    folder = tmp_path_factory.mktemp("register")
    values = milvus_server.settings(milvus_server.new_database())
    settings = {f"LOGO_{name.upper()}": value for name, value in values.items()} | {"LOGO_KEYS": str(folder / "keys")}
    index = IndexServer.of(load_settings(**values))
    assert index is not None
    catalog = replace(sample_catalog, root=folder / "catalogs", images=folder / "images")
    shutil.copytree(sample_catalog.images, catalog.images)  # new images will be stored there
    table = sample_catalog.root.parent / "marks.jsonl"
    built = json.loads(run(settings, "build", str(table), "--out", str(catalog.root), "--index", "milvus", "--json"))
    assert built["index"]["kind"] == "milvus-flat"
    key = make_key(open_key_store(load_settings(keys=settings["LOGO_KEYS"])), "loader", role="write")
    for name in ("local", "remote"):
        (folder / name).mkdir()
    with (
        serving(sample_catalog, folder / "local", LOGO_KEYS=settings["LOGO_KEYS"]) as local,
        serving(catalog, folder / "remote", **settings, LOGO_WORKERS="1") as remote,  # which shows each change at once
    ):
        yield Register(table, catalog, index, settings, key, local, remote)


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Hits are the same, and in the same order unless their scores are."""
    assert [hit["score"] for hit in ours] == pytest.approx([hit["score"] for hit in theirs], abs=1e-4)
    last = ours[-1]["score"] if ours else 0
    by_id = {hit["id"]: hit for hit in theirs}
    for hit in ours:
        other = by_id.get(hit["id"])
        assert other is not None or hit["score"] == pytest.approx(last, abs=1e-4)
        if other is not None:
            assert hit["score"] == pytest.approx(other["score"], abs=1e-4)
            assert hit["metadata"] == other["metadata"]


@pytest.mark.parametrize(
    "query",
    [
        "top_k=20",
        "top_k=150",
        "top_k=20&status=ended",
        "top_k=20&nice=5",
        "top_k=20&status=-ended&vienna=26",
        "top_k=20&company=Company",
        "top_k=20&parts=off",
        "top_k=20&rerank=false",
        "top_k=20&group=picture",
        "top_k=20&words=dapr",
    ],
)
def test_searches(register: Register, query: str) -> None:
    for number in (0, 77, 150):
        local, remote = register.both(f"/v1/search?{query}", files=register.picture(number))
        same(local["results"], remote["results"])
        assert local["results"]


def test_words_alone(register: Register) -> None:
    local, remote = register.both("/v1/search?words=dapr&top_k=5")
    same(local["results"], remote["results"])


def test_further_pages(register: Register) -> None:
    pages = register.both("/v1/search?top_k=30", files=register.picture(3))
    for _ in range(2):
        cursors = [page["next"] for page in pages]
        pages = [
            server.post("/v1/search", headers={"X-API-Key": register.key}, files={"cursor": (None, cursor)}).json()
            for server, cursor in zip((register.local, register.remote), cursors, strict=True)
        ]
        same(pages[0]["results"], pages[1]["results"])


def test_more_like_a_logo_and_why(register: Register) -> None:
    local, remote = register.both("/v1/search?top_k=10&logo_id=EM/000007")
    same(local["results"], remote["results"])
    path = f"/v1/explain?hit_id={local['results'][0]['id']}"
    ours, theirs = register.both(path, files=register.picture(7))
    assert ours["cells"] == theirs["cells"]
    assert [region["cosine"] for region in ours["regions"]] == pytest.approx(
        [region["cosine"] for region in theirs["regions"]], abs=1e-4
    )


def test_a_change_is_found_and_compacted_into_new_collections(register: Register) -> None:
    key, before = {"X-API-Key": register.key}, register.manifest()
    image = {"image": NEW.read_bytes()}
    record = {"record": json.dumps({"logo_id": "US-1", "status": "pending"})}
    assert register.remote.post("/v1/logos", headers=key, files=image, data=record).status_code == 201

    def best(parameters: str = "") -> dict[str, Any]:
        path = f"/v1/search?top_k=1{parameters}"
        answer = register.remote.post(path, headers=key, files={"file": NEW.read_bytes()}, timeout=60)
        assert answer.status_code == 200, answer.text
        hit: dict[str, Any] = answer.json()["results"][0]
        return hit

    until(lambda: best()["id"] == "US-1")
    assert best("&status=pending")["id"] == "US-1"
    assert best("&status=-pending")["id"] != "US-1"
    register.run("compact")
    after = register.manifest()
    assert (after.count, after.index.kind) == (before.count + 1, "milvus-flat")
    for manifest in (before, after):
        assert manifest.index.collection is not None
        assert count_entities(register.index, manifest.index.collection) == manifest.distinct_images
    assert before.index.collection != after.index.collection
    edition = Catalog(register.catalog.root).current().name
    until(lambda: register.remote.get("/v1/catalog", headers=key).json()["version"] == edition)
    assert best()["score"] == pytest.approx(1, abs=1e-3)


def test_a_version_of_the_same_inputs_is_not_loaded_again(register: Register) -> None:
    name = Catalog(register.catalog.root).names()[0]
    manifest = read_manifest(register.catalog.root / name)
    assert manifest.index.collection is not None
    before = find_collection(register.index, manifest.index.collection)
    built = json.loads(register.run("build", str(register.table), "--index", "milvus", "--json"))
    assert (built["reused"], built["version"]) == (True, name)
    assert find_collection(register.index, manifest.index.collection) == before


def test_the_index_moves_back_into_files_without_embedding_anything(register: Register, tmp_path: Path) -> None:
    root = tmp_path / "catalogs"
    shutil.copytree(register.catalog.root, root)
    built = json.loads(register.run("build", str(register.table), "--out", str(root), "--json"))
    assert (built["index"]["kind"], built["reused"]) == ("hnsw-flat", False)
