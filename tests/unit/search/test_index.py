from __future__ import annotations

import hashlib
from pathlib import Path

import faiss
import numpy as np
import pytest

from logo_similarity.errors import BuildError, CatalogError
from logo_similarity.search.build import Recall, build_hnsw, measure_recall
from logo_similarity.search.index import FloatArray, VectorIndex


def unit_vectors(count: int, dimension: int = 64, seed: int = 0) -> FloatArray:
    """Clustered, so that neighbours mean something."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, count // 50), dimension))
    vectors = centres[random.integers(len(centres), size=count)] + 0.5 * random.normal(size=(count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def make(vectors: FloatArray, path: Path, threads: int = 2) -> VectorIndex:
    build_hnsw(vectors, path, m=16, ef_construction=80, threads=threads)
    return VectorIndex.open(path)


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    return unit_vectors(5_000)


@pytest.fixture(scope="module")
def index(vectors: FloatArray, tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    return make(vectors, tmp_path_factory.mktemp("index") / "index.faiss")


def test_rows_and_scores_agree_with_exact_search(index: VectorIndex, vectors: FloatArray) -> None:
    for query in unit_vectors(20, seed=1):
        rows, scores = index.search(query, 10, ef_search=500)
        exact = np.argsort(-(vectors @ query), kind="stable")[:10]
        assert set(rows) == set(exact)
        np.testing.assert_allclose(scores, (vectors @ query)[rows], atol=1e-6)
        assert (np.diff(scores) <= 0).all()


def test_more_than_there_are_gives_all(tmp_path: Path) -> None:
    few = make(unit_vectors(7), tmp_path / "few.faiss")
    rows, _ = few.search(unit_vectors(1, seed=3)[0], 100, ef_search=10)
    assert sorted(rows) == list(range(7))


def test_breadth_is_raised_to_k(index: VectorIndex) -> None:
    rows, _ = index.search(unit_vectors(1, seed=2)[0], 300, ef_search=1)
    assert len(set(rows.tolist())) == 300


def test_equal_scores_come_in_row_order(tmp_path: Path) -> None:
    twins = np.repeat(unit_vectors(3), 4, axis=0)
    rows, scores = make(twins, tmp_path / "twins.faiss").search(twins[5], 4, ef_search=50)
    assert rows.tolist() == [4, 5, 6, 7]
    assert (scores <= 1).all()


def test_vectors_are_the_stored_ones_and_read_only(index: VectorIndex, vectors: FloatArray) -> None:
    np.testing.assert_array_equal(index.vectors, vectors)
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0] = 0


def test_file_is_mapped_and_not_copied(index: VectorIndex) -> None:
    address = index.vectors.ctypes.data
    spans = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    inside = [span for span in spans if int(span[0].split("-")[0], 16) <= address < int(span[0].split("-")[1], 16)]
    assert inside[0][-1].endswith("index.faiss")


def test_same_vectors_make_the_same_file(tmp_path: Path, vectors: FloatArray) -> None:
    digests = set()
    for number, threads in enumerate((1, 1, 2)):
        path = tmp_path / f"{number}.faiss"
        build_hnsw(vectors, path, m=16, ef_construction=80, threads=threads)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0, 2.0])
def test_a_vector_that_is_not_of_unit_length_is_refused(tmp_path: Path, wrong: float) -> None:
    bad = unit_vectors(30)
    bad[17] *= wrong
    with pytest.raises(BuildError, match="embedding 17 "):
        build_hnsw(bad, tmp_path / "bad.faiss", m=8, ef_construction=40, threads=1)


def test_recall_is_high_with_breadth_and_lower_without(index: VectorIndex) -> None:
    def recall(*ef_searches: int, target: float = 1.1) -> Recall:
        return measure_recall(index, k=50, queries=100, ef_searches=ef_searches, target=target, threads=2)

    wide, narrow = recall(500), recall(50)
    assert wide.queries == 100
    assert 0.5 < narrow.value < wide.value <= 1
    assert wide.value > 0.99
    assert recall(50, 500, 1_000, target=wide.value) == wide  # the first that is enough
    assert recall(50, 60).ef_search == 60  # none is


def test_recall_takes_duplicates_for_each_other(tmp_path: Path) -> None:
    same = np.repeat(unit_vectors(1), 200, axis=0)
    index = make(same, tmp_path / "same.faiss")
    assert measure_recall(index, k=10, queries=20, ef_searches=(50,), target=1, threads=1).value == 1


def test_another_kind_of_index_is_refused(tmp_path: Path, vectors: FloatArray) -> None:
    flat = faiss.IndexFlatIP(64)
    flat.add(vectors[:10])
    euclidean = faiss.IndexHNSWFlat(64, 8)
    euclidean.add(vectors[:10])
    for number, other in enumerate((flat, euclidean)):
        path = tmp_path / f"{number}.faiss"
        faiss.write_index(other, str(path))
        with pytest.raises(CatalogError, match="not an HNSW index"):
            VectorIndex.open(path)


def test_a_cut_file_is_refused(tmp_path: Path, vectors: FloatArray) -> None:
    path = tmp_path / "cut.faiss"
    build_hnsw(vectors[:500], path, m=8, ef_construction=40, threads=1)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CatalogError, match=r"cut\.faiss"):
        VectorIndex.open(path)


def test_damage_in_the_vectors_is_seen_by_the_trial_search(tmp_path: Path, vectors: FloatArray) -> None:
    path = tmp_path / "zero.faiss"
    build_hnsw(vectors[:500], path, m=8, ef_construction=40, threads=1)
    content = path.read_bytes()
    row = vectors[250].tobytes()
    assert content.count(row) == 1
    path.write_bytes(content.replace(row, bytes(len(row))))
    with pytest.raises(CatalogError, match="does not find itself"):
        VectorIndex.open(path).check(ef_search=100)
