"""The bulk load of a collection: resumed where it stopped, and without effect if all is there."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from itertools import count as numbers_from
from typing import TYPE_CHECKING

import numpy as np
import pytest

from logo_similarity.config import load_settings
from logo_similarity.errors import BuildError, ConfigError, IndexUnavailableError
from logo_similarity.milvus import collections as collections_module
from logo_similarity.milvus import load as loading
from logo_similarity.milvus.collections import Layout, count_entities, drop_collection, find_collection, wait_for_index
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.load import Entity, load
from logo_similarity.milvus.source import MilvusIndex, part_entity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.milvus import MilvusServer

COUNT, BATCH = 250, 100
VECTORS = np.random.default_rng(0).normal(size=(COUNT, 8)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
LAYOUT = Layout(
    name="parts",
    dimension=8,
    count=COUNT,
    is_parts=True,
    has_patches=False,
    filter_fields=(),
    encoder="0" * 64,
    inputs="1" * 64,
    kind="flat",
    m=16,
    ef_construction=100,
)


class KilledError(Exception):
    """Stands for the end of the process."""


class Entities:
    """Yields the entities, and remembers where it was asked to begin; ends as if killed before one of them."""

    def __init__(self, killed_before: int = COUNT + 1) -> None:
        self.starts: list[int] = []
        self.killed_before = killed_before

    def __call__(self, start: int) -> Iterator[Entity]:
        self.starts.append(start)
        for number in range(start, COUNT):
            if number == self.killed_before:
                raise KilledError
            yield part_entity(number, VECTORS[number])


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "BATCH", BATCH)


@pytest.fixture
def server(milvus_server: MilvusServer) -> IndexServer:
    server = IndexServer.of(load_settings(**milvus_server.settings(milvus_server.new_database())))
    assert server is not None
    return server


def check(server: IndexServer) -> None:
    """All entities are there, each once, with their embeddings."""
    assert count_entities(server, "parts") == COUNT
    index = MilvusIndex(server, "parts", "flat", COUNT, 8)
    np.testing.assert_allclose(index.vectors[np.arange(COUNT)], VECTORS, atol=1e-6)


def test_a_load_that_was_killed_goes_on(server: IndexServer, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    with pytest.raises(KilledError):
        load(server, LAYOUT, Entities(killed_before=150), progress, replicas=1)
    first = find_collection(server, "parts")
    with server.connected() as client:  # the next batch had arrived in part, and was not acknowledged
        client.insert("parts", [part_entity(number, VECTORS[0]) for number in range(BATCH, 130)], timeout=10)
    entities, done = Entities(), list[int]()
    load(server, LAYOUT, entities, progress, replicas=1, on_rows=done.append)
    assert (entities.starts, done) == ([BATCH], [2 * BATCH, COUNT])
    assert find_collection(server, "parts") == first
    check(server)
    again, done = Entities(), list[int]()
    progress.unlink()
    load(server, LAYOUT, again, progress, replicas=1, on_rows=done.append)
    assert (again.starts, done) == ([], [COUNT])
    assert find_collection(server, "parts") == first


def test_another_collection_of_the_same_name_is_replaced(server: IndexServer, tmp_path: Path) -> None:
    load(server, LAYOUT, Entities(), tmp_path / "progress", replicas=1)
    for other in (replace(LAYOUT, encoder="2" * 64), replace(LAYOUT, inputs="3" * 64)):
        entities = Entities()
        load(server, other, entities, tmp_path / f"progress-{other.inputs[0]}{other.encoder[0]}", replicas=1)
        assert entities.starts == [0]
        found = find_collection(server, "parts")
        assert found is not None
        assert (found.encoder, found.inputs) == (other.encoder, other.inputs)
        check(server)


def test_a_collection_that_vanished_is_loaded_from_the_beginning(server: IndexServer, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    with pytest.raises(KilledError):
        load(server, LAYOUT, Entities(killed_before=150), progress, replicas=1)
    drop_collection(server, "parts")
    entities = Entities()
    load(server, LAYOUT, entities, progress, replicas=1)
    assert entities.starts == [0]
    check(server)


def test_more_replicas_than_query_nodes(server: IndexServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fewer query nodes than LOGO_INDEX_REPLICAS \(2\); lower it"):
        load(replace(server, replicas=2), LAYOUT, Entities(), tmp_path / "progress", replicas=2)


def test_another_number_of_entities_is_an_error(server: IndexServer, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="had 250 entities after 251 were loaded, and was dropped"):
        load(server, replace(LAYOUT, count=COUNT + 1), Entities(), tmp_path / "progress", replicas=1)
    assert find_collection(server, "parts") is None


class Indexing:
    """A server whose index has one more entity each time it is asked, up to a limit, out of 10."""

    def __init__(self, limit: int) -> None:
        self._limit, self._asked = limit, numbers_from(1)

    def describe_index(self, *_: object, **__: object) -> dict[str, object]:
        indexed = min(next(self._asked), self._limit)
        return {"state": "InProgress", "indexed_rows": indexed, "total_rows": 10, "pending_index_rows": 10 - indexed}


@pytest.mark.parametrize("limit", [7, 10])
def test_the_wait_for_an_index_ends_when_it_does_not_grow(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    @contextmanager
    def connected(_: IndexServer) -> Iterator[Indexing]:
        yield Indexing(limit)

    monkeypatch.setattr(IndexServer, "connected", connected)
    monkeypatch.setattr(collections_module, "POLL_SECONDS", 0.03)
    if limit == 10:
        wait_for_index(IndexServer("http://host"), "parts", 0.2)  # which the whole takes longer than
    else:
        with pytest.raises(IndexUnavailableError, match="index of parts does not grow: 7 entities of 10 are in it"):
            wait_for_index(IndexServer("http://host"), "parts", 0.2)
