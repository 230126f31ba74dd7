"""The parts of a catalog: their files, and searches in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.embed.describe import Floats
from logo_similarity.errors import CatalogError
from logo_similarity.search.build import build_hnsw
from logo_similarity.search.candidates import IdSet
from logo_similarity.search.hnsw import VectorIndex
from logo_similarity.search.part_index import BOX_STEPS, PartIndex, PartPool, WholePool
from logo_similarity.search.parts import WHOLE
from logo_similarity.search.rows import GroupedMap, IdentityMap, RowMap

VECTORS, ENTRIES, DIMENSION = 200, 300, 16
OFFSETS = np.concatenate([[0], np.cumsum(np.arange(VECTORS) % 4)]).astype(np.int32)
"""Vector v has v mod 4 parts: 300 in all."""


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


EMBEDDINGS = unit(np.random.default_rng(0).normal(size=(ENTRIES, DIMENSION)).astype(np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build_hnsw(EMBEDDINGS, tmp_path / "index.faiss", m=8, ef_construction=80, threads=1)
    np.save(tmp_path / "offsets.npy", OFFSETS)
    boxes = np.tile(np.array([0.25, 0, 0.5, 1]) * BOX_STEPS, (ENTRIES, 1))
    np.save(tmp_path / "boxes.npy", np.rint(boxes).astype(np.uint16))
    return tmp_path


def read(folder: Path, row_map: RowMap | None = None, count: int = ENTRIES) -> PartIndex:
    index, offsets, boxes = VectorIndex.open(folder / "index.faiss"), folder / "offsets.npy", folder / "boxes.npy"
    return PartIndex.open(index, offsets, boxes, row_map or IdentityMap(), count=count, vectors=VECTORS, ef_search=100)


def test_parts_belong_to_their_vectors(folder: Path) -> None:
    parts = read(folder)
    expected = np.repeat(np.arange(VECTORS), np.arange(VECTORS) % 4)
    np.testing.assert_array_equal(parts.owners(np.arange(ENTRIES)), expected)
    assert parts.box(3, 2) == pytest.approx((0.25, 0, 0.5, 1), abs=1e-4)


def test_a_part_finds_itself_with_its_owner_and_its_number(folder: Path) -> None:
    parts = read(folder)
    pool = PartPool.of(parts)
    for part in (0, 7, 155, 299):
        found = pool.nearest([EMBEDDINGS[part]], 10)[0]
        owner = int(parts.owners(np.array([part]))[0])
        assert (found.ids[0], found.parts[0]) == (owner, part - OFFSETS[owner])
        np.testing.assert_allclose(found.cosines[0], 1, atol=1e-5)
        assert len(found.ids) == len(found.parts) == len(found.cosines) == 10
        assert (np.diff(found.cosines) <= 0).all()


def test_identical_parts_are_all_found(folder: Path) -> None:
    entries = np.arange(ENTRIES, dtype=np.int32)
    entries[[10, 20, 30]] = 0  # and the later entries are renumbered
    entries = np.unique(entries, return_inverse=True)[1].astype(np.int32)
    row_map = GroupedMap.of(entries)
    build_hnsw(
        EMBEDDINGS[row_map.rows[row_map.offsets[:-1]]], folder / "index.faiss", m=8, ef_construction=80, threads=1
    )
    parts = read(folder, row_map)
    found = PartPool.of(parts).nearest([EMBEDDINGS[0]], 5)[0]
    owners = parts.owners(np.array([0, 10, 20, 30]))
    assert found.ids[:4].tolist() == owners.tolist()
    np.testing.assert_array_equal(found.cosines[:4], found.cosines[0])
    allowed = IdSet.of(np.isin(np.arange(VECTORS), owners[2:]))
    assert PartPool.of(parts, allowed).nearest([EMBEDDINGS[0]], 5)[0].ids[:2].tolist() == owners[2:].tolist()


def test_only_the_parts_of_allowed_vectors_are_found(folder: Path) -> None:
    parts = read(folder)
    allowed = IdSet.of(np.arange(VECTORS) % 10 == 3)
    found = PartPool.of(parts, allowed).nearest([EMBEDDINGS[0]], 20)[0]
    assert set(found.ids.tolist()) <= set(allowed.ids.tolist())
    owners = parts.owners(np.arange(ENTRIES))
    own = np.flatnonzero(allowed.mask[owners])
    exact = own[np.argsort(-(EMBEDDINGS[own] @ EMBEDDINGS[0]))][:20]
    assert (found.ids + 0).tolist() == owners[exact].tolist()
    nothing = PartPool.of(parts, IdSet.of(np.zeros(VECTORS, np.bool_))).nearest([EMBEDDINGS[0]], 20)[0]
    assert len(nothing.ids) == 0


def test_whole_images_are_regions_too(folder: Path) -> None:
    index = VectorIndex.open(folder / "index.faiss")
    found = WholePool(index).nearest([EMBEDDINGS[5]], 4)[0]
    assert found.ids[0] == 5
    assert found.parts.tolist() == [WHOLE] * 4
    mask = np.arange(ENTRIES) != 5
    assert 5 not in WholePool(index, IdSet.of(mask)).nearest([EMBEDDINGS[5]], 4)[0].ids


DAMAGES: dict[str, list[NDArray[Any]]] = {
    "offsets.npy": [
        OFFSETS[:-1],
        OFFSETS.astype(np.int64),
        OFFSETS + 1,
        np.where(np.arange(VECTORS + 1) == 50, ENTRIES, OFFSETS).astype(np.int32),
        np.where(np.arange(VECTORS + 1) == 50, -1, OFFSETS).astype(np.int32),
        np.minimum(OFFSETS, ENTRIES - 1),
    ],
    "boxes.npy": [
        np.zeros((ENTRIES - 1, 4), np.uint16),
        np.zeros((ENTRIES, 4), np.float32),
        np.zeros((ENTRIES, 5), np.uint16),
        np.zeros(ENTRIES, np.uint16),
    ],
}


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, arrays in DAMAGES.items() for number in range(len(arrays))]
)
def test_damaged_arrays_are_refused(folder: Path, name: str, number: int) -> None:
    np.save(folder / name, DAMAGES[name][number])
    with pytest.raises(CatalogError, match=f"{name}: damaged"):
        read(folder)


@pytest.mark.parametrize("name", ["offsets.npy", "boxes.npy", "index.faiss"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"])
def test_files_that_are_no_arrays_are_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CatalogError, match=name):
        read(folder)


def test_a_pickle_is_not_read(folder: Path) -> None:
    np.save(folder / "boxes.npy", np.array([{"a": 1}] * ENTRIES, object), allow_pickle=True)
    with pytest.raises(CatalogError, match=r"boxes\.npy: damaged"):
        read(folder)
