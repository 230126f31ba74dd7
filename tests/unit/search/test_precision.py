"""Indexes that store embeddings in less space."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.build.halves import write_halves
from logo_similarity.embed.describe import Floats
from logo_similarity.errors import CatalogError
from logo_similarity.precision import Precision
from logo_similarity.search.build import IndexRecall, Probe, build_hnsw
from logo_similarity.search.candidates import IdSet
from logo_similarity.search.halves import SCANNED_ROWS, HalfRows, rounded
from logo_similarity.search.hnsw import VectorIndex
from tests.unit.search.test_hnsw import unit_vectors

SMALLER = (Precision.FLOAT16, Precision.INT8)
COUNT, DIMENSION = 4_000, 64
QUERIES = unit_vectors(50, DIMENSION, seed=0)
NUMBER_BYTES = {Precision.FLOAT32: 4, Precision.FLOAT16: 2, Precision.INT8: 1}


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return unit_vectors(COUNT, DIMENSION)


def write(vectors: Floats, folder: Path, precision: Precision) -> tuple[IndexRecall, ...]:
    stored = rounded(vectors, precision)
    halves = write_halves(stored, folder / "embeddings.npy") if precision is Precision.INT8 else None
    return build_hnsw(
        stored, folder / "index.faiss", m=16, ef_construction=80, threads=2, precision=precision, halves=halves,
        probe=Probe(10, 100, (20, 200)),
    )  # fmt: skip


def read(folder: Path) -> VectorIndex:
    embeddings = folder / "embeddings.npy"
    return VectorIndex.open(folder / "index.faiss", embeddings if embeddings.exists() else None)


@pytest.fixture(scope="module", params=SMALLER)
def folder(request: pytest.FixtureRequest, vectors: Floats, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    write(vectors, path, request.param)
    return path


@pytest.fixture(scope="module")
def index(folder: Path) -> VectorIndex:
    return read(folder)


def test_cosines_are_those_of_the_embeddings(index: VectorIndex, vectors: Floats) -> None:
    """Not those of the codes: these differ by up to a hundredth for 8 bits."""
    found = 0
    for query in QUERIES:
        rows, cosines = index.search(query, 20, ef_search=100)
        np.testing.assert_allclose(cosines, index.vectors[rows] @ query, atol=1e-6)
        np.testing.assert_allclose(cosines, vectors[rows] @ query, atol=2e-4)
        assert (np.diff(cosines) <= 0).all()
        found += len(set(rows.tolist()) & set(np.argsort(-(vectors @ query))[:20].tolist()))
    assert found >= 0.97 * 20 * len(QUERIES)


def test_an_embedding_finds_itself_with_a_cosine_of_nearly_one(index: VectorIndex, vectors: Floats) -> None:
    for row in (0, 1_234, COUNT - 1):
        rows, cosines = index.search(vectors[row], 1, ef_search=100)
        assert rows.tolist() == [row]
        assert cosines[0] == pytest.approx(1, abs=2e-4)
    index.check((0, 1_234, COUNT - 1), ef_search=100)


@pytest.mark.parametrize("count", [0, 1, 150, COUNT])
def test_a_scan_finds_exactly_the_nearest_of_some_rows(index: VectorIndex, count: int) -> None:
    rows = np.sort(np.random.default_rng(1).choice(COUNT, count, replace=False))
    found, cosines = index.scan(QUERIES[0], rows, 100)
    exact = index.vectors[rows] @ QUERIES[0]
    order = np.lexsort((rows, -exact))[:100]
    np.testing.assert_array_equal(found, rows[order])
    np.testing.assert_allclose(cosines, exact[order], atol=1e-6)


def test_a_scan_of_many_rows_is_made_in_blocks() -> None:
    halves = HalfRows(unit_vectors(2 * SCANNED_ROWS + 5, 8).astype(np.float16))
    nearest, products = halves.scan(QUERIES[0, :8], np.arange(len(halves)), 300)
    np.testing.assert_array_equal(nearest, np.argsort(-(halves[:] @ QUERIES[0, :8]), kind="stable")[:300])
    np.testing.assert_allclose(products, halves[nearest] @ QUERIES[0, :8], atol=1e-6)


@pytest.mark.parametrize("share", [0.005, 0.5, 0.98])
def test_rows_that_pass_a_filter(index: VectorIndex, share: float) -> None:
    allowed = IdSet.of(np.random.default_rng(2).random(COUNT) < share)
    hits = 0
    for query in QUERIES:
        rows, cosines, exact = index.search_allowed(query, 10, allowed, ef_search=100)
        assert allowed.mask[rows].all()
        assert exact == (share < 0.01) or share == 0.5
        np.testing.assert_allclose(cosines, index.vectors[rows] @ query, atol=1e-6)
        hits += len(set(rows.tolist()) & set(allowed.ids[np.argsort(-(index.vectors[allowed.ids] @ query))[:10]]))
    assert hits >= 0.97 * 10 * len(QUERIES)


def test_everything_is_mapped_and_nothing_copied(folder: Path) -> None:
    def private() -> int:
        fields = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
        return 1024 * int(fields["Anonymous"].split()[0])

    before = private()
    copies = [read(folder) for _ in range(20)]
    for copy in copies:
        copy.search(QUERIES[0], 10, ef_search=50)
    assert private() - before < 10 * (folder / "index.faiss").stat().st_size


def test_the_files_are_as_small_as_their_codes(folder: Path, index: VectorIndex) -> None:
    graph_bytes = 500
    size = (folder / "index.faiss").stat().st_size / COUNT
    codes = NUMBER_BYTES[index.precision] * DIMENSION
    assert codes < size < codes + graph_bytes


@pytest.mark.parametrize("precision", SMALLER)
def test_rounding_again_changes_nothing(vectors: Floats, precision: Precision) -> None:
    once = rounded(vectors, precision)
    np.testing.assert_array_equal(rounded(once, precision), once)
    np.testing.assert_array_equal(HalfRows(once.astype(np.float16))[:], once)
    np.testing.assert_array_equal(HalfRows(once.astype(np.float16))[5], once[5])
    np.testing.assert_allclose(np.linalg.norm(once, axis=1), 1, atol=2e-4)
    assert rounded(vectors, Precision.FLOAT32) is vectors


@pytest.mark.parametrize("precision", SMALLER)
def test_a_build_measures_the_recall_of_the_smaller_index(
    vectors: Floats, tmp_path: Path, precision: Precision
) -> None:
    narrow, wide = write(vectors[:1_000], tmp_path, precision)
    assert narrow.value < wide.value
    assert wide.value > 0.99
    assert wide.self_found == 1


def test_codes_of_8_bits_need_embeddings_of_their_size(vectors: Floats, tmp_path: Path) -> None:
    write(vectors[:300], tmp_path, Precision.INT8)
    with pytest.raises(CatalogError, match="needs embeddings beside them"):
        VectorIndex.open(tmp_path / "index.faiss")
    np.save(tmp_path / "embeddings.npy", np.zeros((299, DIMENSION), np.float16))
    with pytest.raises(CatalogError, match=r"float16 \(299, 64\); expected float16 \(300, 64\)"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("skipped", "layout", "value"),
    [(0, "<i", 2), (12, "<Q", DIMENSION + 1), (20, "<Q", DIMENSION + 1), (28, "<Q", 4_000_000_000)],
    ids=["type", "dimension", "size of a code", "trained values"],
)
def test_codes_that_faiss_would_misread_are_refused(
    folder: Path, tmp_path: Path, skipped: int, layout: str, value: int
) -> None:
    content = bytearray((folder / "index.faiss").read_bytes())
    quantizer = content.index(b"IxSQ") + 4 + struct.calcsize("<i3q?i")
    struct.pack_into(layout, content, quantizer + skipped, value)
    (tmp_path / "index.faiss").write_bytes(content)
    with pytest.raises(CatalogError, match=r"damaged: .* numbers for 4000 embeddings of 64 dimensions"):
        VectorIndex.open(tmp_path / "index.faiss", folder / "embeddings.npy")


def test_a_cut_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index.faiss").write_bytes((folder / "index.faiss").read_bytes()[:-10])
    with pytest.raises(CatalogError, match=r"index\.faiss: damaged"):
        VectorIndex.open(tmp_path / "index.faiss")


@pytest.mark.filterwarnings("error")
def test_damage_in_the_embeddings_is_seen_by_the_trial_search(vectors: Floats, tmp_path: Path) -> None:
    write(vectors[:300], tmp_path, Precision.INT8)
    halves = np.load(tmp_path / "embeddings.npy", mmap_mode="r+")
    halves[250] = 0
    halves.flush()
    with pytest.raises(CatalogError, match="embedding 250 is not of unit length"):
        read(tmp_path).check([250], ef_search=100)
