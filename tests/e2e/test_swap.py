"""A change of the live catalog under a real gunicorn: nobody notices but by the version that answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from logo_similarity.api import live as live_module
from logo_similarity.api.changes import LiveChanges
from logo_similarity.api.live import LiveCatalog
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.domain import Query
from logo_similarity.embed.model import model_folder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError
from tests.logs import logs_of
from tests.samples import SampleCatalog
from tests.service import Server, serving, until

WORKERS, CLIENTS = 2, 20
SWAPS = int(os.environ.get("LOGO_TEST_SWAPS", "6"))
QUICK = {"LOGO_POLL_SECONDS": "0.1", "LOGO_WORKERS": str(WORKERS), "LOGO_API_KEYS": ""}


@dataclass(frozen=True, slots=True)
class Two:
    """A catalog folder with two versions of different encoders; the ids of each begin with its own letter."""

    root: Path
    prefixes: dict[str, str]
    """By version."""


@pytest.fixture
def two(sample_catalog: SampleCatalog, tmp_path: Path) -> Two:
    root, prefixes = tmp_path / "two", {}
    for letter, model in (("A", "default"), ("B", "fp32")):
        table = tmp_path / f"{letter}.jsonl"
        with table.open("w") as rows:
            for number, file in enumerate(sample_catalog.files[:60]):
                rows.write(json.dumps({"logo_id": f"{letter}{number}", "filename": file}) + "\n")
        source = open_source(table, images=sample_catalog.images)
        made = build_catalog(source, root, BuildOptions(model=model_folder(Path(model)), threads=2))
        prefixes[made.folder.name] = letter
    return Two(root, prefixes)


@dataclass(slots=True)
class Seen:
    """What the clients got."""

    wrong: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)


def ask_for_ever(server: Server, two: Two, pictures: list[bytes], seen: Seen, over: threading.Event) -> None:
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        while not over.is_set():
            for number, picture in enumerate(pictures):
                try:
                    answer = client.post("/v1/search?top_k=5", files={"file": picture})
                except httpx2.TransportError as error:
                    seen.wrong.append(repr(error))
                    continue
                if answer.status_code != 200:
                    seen.wrong.append(answer.text)
                    continue
                body = answer.json()
                version, best = body["catalog"]["version"], body["results"][0]
                seen.versions.append(version)
                expected = f"{two.prefixes[version]}{number}"
                if best["id"] != expected or best["score"] < 0.999:
                    seen.wrong.append(f"{version}: {best['id']} {best['score']} instead of {expected}")


@contextmanager
def all_serving(two: Two, images: Path, folder: Path, settings: dict[str, str] = QUICK) -> Iterator[Server]:
    """The service, every worker ready: one that starts later would find what the test has made of the catalog."""
    with serving(SampleCatalog(two.root, images, ()), folder, **settings) as server:
        until(lambda: len(server.events("ready")) == WORKERS)
        yield server


def versions_of_workers(server: Server) -> set[str]:
    """Which versions answer, over enough new connections to meet every worker."""
    return {server.get("/readyz").json()["catalog"]["version"] for _ in range(12)}


@pytest.mark.slow
def test_swaps_under_load_fail_nobody_and_mix_nothing(sample_catalog: SampleCatalog, two: Two, tmp_path: Path) -> None:
    pictures = [(sample_catalog.images / file).read_bytes() for file in sample_catalog.files[:10]]
    names, seen, over = list(two.prefixes), Seen(), threading.Event()
    with all_serving(two, sample_catalog.images, tmp_path) as server:
        clients = [
            threading.Thread(target=ask_for_ever, args=(server, two, pictures, seen, over)) for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for swap in range(SWAPS):
            Catalog(two.root).activate(names[swap % 2])
            until(lambda swaps=swap + 1: len(server.events("catalog_swapped")) == swaps * WORKERS)
            assert versions_of_workers(server) == {names[swap % 2]}
        over.set()
        for client in clients:
            client.join()
        metrics = server.get("/metrics").text
    assert seen.wrong == []
    assert set(seen.versions) == set(names)
    assert f'logo_catalog_swaps_total{{outcome="swapped"}} {WORKERS * SWAPS}.0' in metrics


def test_a_bad_version_is_refused_and_the_old_one_stays(
    sample_catalog: SampleCatalog, two: Two, tmp_path: Path
) -> None:
    good = Catalog(two.root).current().name
    (bad,) = set(two.prefixes) - {good}
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    with all_serving(two, sample_catalog.images, tmp_path) as server:
        index = two.root / bad / "index.faiss"
        index.write_bytes(index.read_bytes()[:-10])
        with Catalog(two.root).locked():
            Catalog(two.root).flip(bad)  # nobody who checks would do that
        until(lambda: len(server.events("catalog_refused")) == WORKERS)
        assert "index.faiss" in server.events("catalog_refused")[0]["error"]
        assert versions_of_workers(server) == {good}
        assert server.post("/v1/search", files={"file": picture}).json()["catalog"]["version"] == good
        assert f'logo_catalog_swaps_total{{outcome="refused"}} {WORKERS}.0' in server.get("/metrics").text


def test_a_version_that_is_deleted_while_it_is_open_goes_on_answering(
    sample_catalog: SampleCatalog, two: Two, tmp_path: Path
) -> None:
    live = Catalog(two.root).current()
    letter = two.prefixes[live.name]
    with all_serving(two, sample_catalog.images, tmp_path) as server:
        shutil.rmtree(live)
        for number, file in enumerate(sample_catalog.files[:20]):
            answer = server.post("/v1/search", files={"file": (sample_catalog.images / file).read_bytes()})
            assert answer.json()["results"][0]["id"] == f"{letter}{number}"


def test_a_rollback_is_seen_by_every_worker(sample_catalog: SampleCatalog, two: Two, tmp_path: Path) -> None:
    """With the default settings."""
    before = Catalog(two.root).current().name
    (after,) = set(two.prefixes) - {before}
    settings = {name: value for name, value in QUICK.items() if name != "LOGO_POLL_SECONDS"}
    with all_serving(two, sample_catalog.images, tmp_path, settings) as server:
        assert versions_of_workers(server) == {before}
        done = subprocess.run(
            [sys.executable, "-m", "logo_similarity.cli", "catalog", "activate", after],
            env={**os.environ, "LOGO_CATALOGS": str(two.root)},
            check=False,
        )
        assert done.returncode == 0
        until(lambda: len(server.events("catalog_swapped")) == WORKERS)
        assert versions_of_workers(server) == {after}


def no_changes(folder: Catalog) -> LiveChanges:
    return LiveChanges(folder, None, None, turns=1, waiting=1)


def test_going_back_from_a_refused_version_is_no_swap(sample_catalog: SampleCatalog, two: Two) -> None:
    """The version that answers was open all the time."""
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    folder = Catalog(two.root)
    good = folder.current().name
    (bad,) = set(two.prefixes) - {good}
    index = two.root / bad / "index.faiss"
    index.write_bytes(index.read_bytes()[:-10])

    async def scenario() -> None:
        live = LiveCatalog(folder, lambda name: SearchEngine.open(two.root, version=name), Trial(), no_changes(folder))
        live.open()
        before = live.current
        with folder.locked():
            folder.flip(bad)
        with pytest.raises(CatalogError, match=r"index\.faiss"):
            await live.look()
        folder.activate(good)
        await live.look()
        assert live.current is before
        assert before.engine.search(Query(image=picture)).hits[0].logo.filename == sample_catalog.files[0]

    with logs_of(live_module) as logs:
        asyncio.run(scenario())
    assert logs == []


def test_a_version_that_was_refused_is_tried_again_when_it_is_activated_again(two: Two) -> None:
    names = list(two.prefixes)
    opened: list[str] = []

    def open_version(name: str) -> SearchEngine:
        opened.append(name)
        if len(opened) == 2:
            raise ZeroDivisionError
        return SearchEngine.open(two.root, version=name)

    async def scenario() -> str:
        folder = Catalog(two.root)
        live = LiveCatalog(folder, open_version, Trial(), no_changes(folder))
        live.open()
        first = live.current.engine.version
        (other,) = set(names) - {first}
        folder.activate(other)
        with pytest.raises(ZeroDivisionError):
            await live.look()
        await live.look()  # not tried again until then
        assert live.current.engine.version == first
        folder.activate(other)
        await live.look()
        assert live.current.engine.version == other
        return other

    assert asyncio.run(scenario()) == opened[-1]
