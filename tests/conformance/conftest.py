# ruff: noqa: ARG002 - an exact scan has no breadth
"""The same vectors in every kind of source of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from logo_similarity.config import load_settings
from logo_similarity.fields import Record
from logo_similarity.milvus.collections import Layout, find_collection
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.fields import filter_fields
from logo_similarity.milvus.load import load
from logo_similarity.milvus.source import MilvusIndex, MilvusSource, StoredField, logo_entity
from logo_similarity.numbering import Numbering
from logo_similarity.search.build import build_hnsw
from logo_similarity.search.hnsw import HnswSource, VectorIndex
from logo_similarity.search.joined import JoinedMap, JoinedSource
from logo_similarity.search.rows import GroupedMap
from tests.milvus import MilvusServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logo_similarity.embed.describe import Floats, Patches
    from logo_similarity.milvus.load import Entity
    from logo_similarity.search.candidates import Ids, IdSet
    from logo_similarity.search.sources import SearchIndex, SegmentSource, StoredRows

VECTORS, COPIES, DIMENSION, CELLS, CHANNELS = 2_500, 300, 32, 4, 8
FIRST = 1_700
"""Vectors of the first of the joined segments."""
FIELDS = ("status", "office", "nice_classes", "application_date")
SOURCES = (
    "mapped",
    "scanned",
    "joined",
    pytest.param("milvus", marks=pytest.mark.xdist_group("milvus")),
    pytest.param("lite", marks=pytest.mark.xdist_group("milvus")),
)


@dataclass(frozen=True, slots=True)
class Logos:
    """Logos with vectors in clusters; some share one."""

    vectors: Floats
    patches: Patches
    row_map: GroupedMap
    records: tuple[Record, ...]
    queries: Floats

    def nearest(self, query: Floats, k: int, ids: Ids | None = None) -> tuple[Ids, Floats]:
        """The exact `k` nearest of some vectors, and their cosines."""
        ids = np.arange(len(self.vectors)) if ids is None else ids
        cosines = self.vectors[ids] @ query
        order = np.lexsort((ids, -cosines))[:k]
        return ids[order], cosines[order]


@dataclass(frozen=True, slots=True)
class ScannedIndex:
    """A mapped index, of which every search compares all vectors."""

    mapped: VectorIndex

    @property
    def count(self) -> int:
        return self.mapped.count

    @property
    def dimension(self) -> int:
        return self.mapped.dimension

    @property
    def vectors(self) -> StoredRows:
        return self.mapped.vectors

    def search(self, query: Floats, k: int, *, ef_search: int) -> tuple[Ids, Floats]:
        return self.mapped.scan(query, np.arange(self.count), k)

    def search_allowed(
        self, query: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> tuple[Ids, Floats, bool]:
        return *self.mapped.scan(query, np.arange(self.count) if allowed is None else allowed.ids, k), True

    def search_each(
        self, queries: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> list[tuple[Ids, Floats, bool]]:
        return [self.search_allowed(query, k, allowed, ef_search=ef_search) for query in queries]

    def check(self, rows: object, *, ef_search: int) -> None:
        raise NotImplementedError


@pytest.fixture(scope="session")
def logos() -> Logos:
    random = np.random.default_rng(0)
    centres = random.normal(size=(60, DIMENSION))
    owners = random.integers(0, len(centres), VECTORS + 40)
    made = centres[owners] + 0.7 * random.normal(size=(VECTORS + 40, DIMENSION))
    unit = np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)
    rows = np.concatenate([np.arange(VECTORS), random.integers(0, VECTORS, COPIES)]).astype(np.int32)
    records = tuple(
        Record.from_json(
            {
                **Record(logo_id=f"{row}", filename="").metadata(),
                "logo_id": f"{row}",
                "filename": "",
                "status": ("registered", "ended", None)[row % 3],
                "office": ("EM", "US", "DE", None)[row % 7 % 4],
                "nice_classes": sorted({1 + row % 45, 1 + row % 11}),
                "application_date": None if row % 5 == 0 else f"20{row % 20:02}-0{1 + row % 9}-15",
            }
        )
        for row in range(len(rows))
    )
    patches = random.integers(-100, 100, (VECTORS, CELLS, CHANNELS)).astype(np.int8)
    return Logos(unit[:VECTORS], patches, GroupedMap.of(rows), records, unit[VECTORS:])


@pytest.fixture(scope="session")
def source(
    request: pytest.FixtureRequest, logos: Logos, tmp_path_factory: pytest.TempPathFactory
) -> SegmentSource | JoinedSource:
    """One of `SOURCES`."""
    folder = tmp_path_factory.mktemp("source")
    if request.param == "milvus":
        server: MilvusServer = request.getfixturevalue("milvus_server")
        settings = load_settings(**server.settings(server.new_database()))
        return milvus_source(IndexServer.of(settings), logos, folder)
    if request.param == "lite":
        return milvus_source(IndexServer(request.getfixturevalue("milvus_lite")), logos, folder)
    if request.param == "joined":
        return joined_source(logos, folder)
    index = mapped_index(logos.vectors, folder / "index.faiss")
    used: SearchIndex = index if request.param == "mapped" else ScannedIndex(index)
    return HnswSource(used, logos.patches, logos.row_map, 128)  # type: ignore[arg-type] # a double of the index


def mapped_index(vectors: Floats, path: Path) -> VectorIndex:
    build_hnsw(vectors, path, m=16, ef_construction=100, threads=2)
    return VectorIndex.open(path)


def joined_source(logos: Logos, folder: Path) -> JoinedSource:
    """The vectors in two segments."""
    maps, sources, own = [], [], logos.row_map.vectors
    for name, first, end in (("first", 0, FIRST), ("second", FIRST, VECTORS)):
        index = mapped_index(logos.vectors[first:end], folder / name)
        maps.append(GroupedMap.of(own[(own >= first) & (own < end)] - first))
        sources.append(HnswSource(index, logos.patches[first:end], maps[-1], 128))
    rows = Numbering.of(len(row_map.vectors) for row_map in maps)
    vectors = Numbering.of((FIRST, VECTORS - FIRST))
    row_map = JoinedMap.of(maps, rows, vectors, np.arange(FIRST, VECTORS))
    return JoinedSource(tuple(sources), vectors, row_map)


def milvus_source(server: IndexServer | None, logos: Logos, folder: Path, name: str = "logos") -> MilvusSource:
    """The vectors in a new collection."""
    assert server is not None
    layout = layout_of(name)
    load(server, layout, lambda start: entities(logos, start), folder / "progress.json", replicas=1)
    collection = find_collection(server, name)
    assert collection is not None
    index = MilvusIndex(server, name, layout.kind, VECTORS, DIMENSION, collection.fields)
    return MilvusSource(index, StoredField(index, "patches", logos.patches.shape), logos.row_map, 128)


def layout_of(name: str) -> Layout:
    return Layout(
        name=name,
        dimension=DIMENSION,
        count=VECTORS,
        is_parts=False,
        has_patches=True,
        filter_fields=FIELDS,
        encoder="0" * 64,
        inputs="1" * 64,
        kind="hnsw",
        m=16,
        ef_construction=100,
    )


def entities(logos: Logos, start: int) -> Iterator[Entity]:
    fields = filter_fields(FIELDS)
    first_rows, _ = logos.row_map.rows_of(np.arange(VECTORS), 1)
    copies = logos.row_map.copies_of(np.arange(VECTORS))
    for vector in range(start, VECTORS):
        record = logos.records[first_rows[vector]]
        yield logo_entity(vector, logos.vectors[vector], logos.patches[vector], record, 1 + int(copies[vector]), fields)
