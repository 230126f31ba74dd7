from __future__ import annotations

import hashlib
import struct
from contextlib import nullcontext
from pathlib import Path

import faiss
import numpy as np
import pytest

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats
from logo_similarity.errors import BuildError, CatalogError
from logo_similarity.search.build import (
    IndexRecall,
    Probe,
    Recall,
    build_hnsw,
    check_unit_length,
    choose_ef_search,
    measure_recall,
)
from logo_similarity.search.candidates import IdSet
from logo_similarity.search.hnsw import HnswSource, VectorIndex
from logo_similarity.search.rows import IdentityMap


def unit_vectors(count: int, dimension: int = 64, seed: int = 0) -> Floats:
    """Clustered, so that neighbours mean something."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, count // 50), dimension))
    vectors = centres[random.integers(len(centres), size=count)] + 0.5 * random.normal(size=(count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def make(vectors: Floats, path: Path, m: int = 16, ef_construction: int = 80) -> VectorIndex:
    build_hnsw(vectors, path, m=m, ef_construction=ef_construction, threads=2)
    return VectorIndex.open(path)


def graph(vectors: Floats, m: int, ef_construction: int) -> VectorIndex:
    """An index in memory."""
    index = faiss.IndexHNSWFlat(vectors.shape[1], m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ef_construction
    index.add(vectors)
    return VectorIndex(index, Path("memory"))


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return unit_vectors(5_000)


@pytest.fixture(scope="module")
def index(vectors: Floats, tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    return make(vectors, tmp_path_factory.mktemp("index") / "index.faiss")


def test_rows_and_scores_agree_with_exact_search(index: VectorIndex, vectors: Floats) -> None:
    for query in unit_vectors(20, seed=1):
        rows, scores = index.search(query, 10, ef_search=500)
        exact = np.argsort(-(vectors @ query), kind="stable")[:10]
        assert set(rows) == set(exact)
        np.testing.assert_allclose(scores, (vectors @ query)[rows], atol=1e-6)
        assert (np.diff(scores) <= 0).all()


def exact(vectors: Floats, query: Floats, rows: IdSet, k: int) -> list[int]:
    """The nearest rows of a set by definition."""
    cosines = np.where(rows.mask, vectors @ query, -2)
    return [int(row) for row in np.argsort(-cosines, kind="stable")[: min(k, rows.count)]]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 700])
def test_a_scan_finds_exactly_the_nearest_of_some_rows(index: VectorIndex, vectors: Floats, count: int) -> None:
    rows = IdSet.of(np.isin(np.arange(5_000), np.random.default_rng(count).permutation(5_000)[:count]))
    for query in unit_vectors(5, seed=1):
        nearest, cosines = index.scan(query, rows.ids, 10)
        assert nearest.tolist() == exact(vectors, query, rows, 10)
        np.testing.assert_allclose(cosines, (vectors @ query)[nearest], atol=1e-6)


def test_cosines_of_a_scan_and_of_a_search_are_the_same(index: VectorIndex) -> None:
    query = unit_vectors(1, seed=1)[0]
    rows, cosines = index.search(query, 50, ef_search=500)
    others, other_cosines = index.scan(query, np.sort(rows), 50)
    assert others.tolist() == rows.tolist()
    np.testing.assert_allclose(other_cosines, cosines, rtol=0, atol=3e-7)  # processors may sum in another order


def test_several_queries_get_what_each_gets_alone(index: VectorIndex) -> None:
    queries = unit_vectors(5, seed=1)
    together = index.search_each(queries, 10, None, ef_search=100)
    assert len(together) == len(queries)
    for query, (rows, cosines, exact) in zip(queries, together, strict=True):
        alone, own_cosines = index.search(query, 10, ef_search=100)
        assert rows.tolist() == alone.tolist()
        assert cosines.tolist() == own_cosines.tolist()
        assert not exact


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> HnswSource:
    """So many rows that a graph search pays even among half of them."""
    path = tmp_path_factory.mktemp("large") / "index.faiss"
    return HnswSource(make(unit_vectors(20_000, dimension=16, seed=7), path), None, IdentityMap(), ef_search=100)


def test_many_rows_that_pass_are_searched_by_the_graph(large: HnswSource) -> None:
    rows = IdSet.of(np.random.default_rng(0).random(20_000) < 0.5)
    hits = 0
    for query in unit_vectors(20, dimension=16, seed=1):
        candidates = large.candidates(Description(query, None), 10, rows)
        assert not candidates.exact
        assert rows.mask[candidates.ids].all()
        np.testing.assert_allclose(candidates.cosines, (large.index.vectors @ query)[candidates.ids], atol=1e-6)
        hits += len(set(candidates.ids.tolist()) & set(exact(large.index.vectors[:], query, rows, 10)))
    assert hits >= 0.98 * 20 * 10


def test_many_rows_far_from_the_query_are_found_too(large: HnswSource) -> None:
    """None of the neighbours of the query passes, so a graph search finds nothing."""
    for query in unit_vectors(20, dimension=16, seed=1):
        cosines = large.index.vectors @ query
        rows = IdSet.of(cosines < np.median(cosines))
        candidates = large.candidates(Description(query, None), 10, rows)
        assert candidates.exact
        assert candidates.ids.tolist() == exact(large.index.vectors[:], query, rows, 10)


def test_a_graph_search_is_widened_until_enough_pass(large: HnswSource) -> None:
    """Of the neighbourhood of the query one row in four passes, elsewhere all."""
    hits = 0
    for query in unit_vectors(20, dimension=16, seed=1):
        near = np.argsort(-(large.index.vectors @ query))[:1_000]
        mask = np.ones(20_000, np.bool_)
        mask[near[np.arange(1_000) % 4 > 0]] = False
        candidates = large.candidates(Description(query, None), 20, IdSet.of(mask))
        assert not candidates.exact
        assert len(candidates.ids) == 20
        hits += len(set(candidates.ids.tolist()) & set(near[::4][:20].tolist()))
    assert hits >= 0.98 * 20 * 20


def test_a_graph_search_is_no_wider_than_the_neighbourhood_needs(large: HnswSource) -> None:
    """All neighbours of the query pass. If as few passed there as elsewhere, comparing all would take less time."""
    query = unit_vectors(1, dimension=16, seed=1)[0]
    cosines = large.index.vectors @ query
    near = IdSet.of(cosines >= np.partition(cosines, -9_000)[-9_000])
    candidates = large.candidates(Description(query, None), 100, near)
    assert not candidates.exact
    assert len(set(candidates.ids.tolist()) & set(exact(large.index.vectors[:], query, near, 100))) >= 98
    elsewhere = IdSet.of(np.random.default_rng(0).random(20_000) < 0.45)
    assert large.candidates(Description(query, None), 100, elsewhere).exact


def test_few_rows_that_pass_are_compared_one_by_one(index: VectorIndex, vectors: Floats) -> None:
    rows = IdSet.of(np.random.default_rng(0).random(5_000) < 0.1)
    source = HnswSource(index, None, IdentityMap(), 100)
    for query in unit_vectors(20, seed=1):
        candidates = source.candidates(Description(query, None), 5, rows)
        assert candidates.exact
        assert candidates.ids.tolist() == exact(vectors, query, rows, 5)


def test_more_than_pass_gives_all_that_pass(index: VectorIndex) -> None:
    rows = IdSet.of(np.arange(5_000) < 3)
    candidates = HnswSource(index, None, IdentityMap(), 100).candidates(Description(unit_vectors(1)[0], None), 10, rows)
    assert sorted(candidates.ids.tolist()) == [0, 1, 2]


def test_more_than_there_are_gives_all(tmp_path: Path) -> None:
    few = make(unit_vectors(7), tmp_path / "few.faiss")
    rows, _ = few.search(unit_vectors(1, seed=3)[0], 100, ef_search=10)
    assert sorted(rows) == list(range(7))


def test_rows_that_a_poor_graph_does_not_reach_are_left_out(tmp_path: Path) -> None:
    vectors = unit_vectors(500)
    poor = make(vectors, tmp_path / "poor.faiss", m=2, ef_construction=2)
    rows, scores = poor.search(vectors[0], 500, ef_search=10)
    assert 0 < len(rows) == len(set(rows.tolist())) < 500
    assert rows.min() >= 0
    np.testing.assert_allclose(scores, (vectors @ vectors[0])[rows], atol=1e-6)


def test_the_opposite_of_a_query_has_a_score_of_minus_one(tmp_path: Path) -> None:
    pair = unit_vectors(1).repeat(2, axis=0) * np.array([[1], [-1]], np.float32)
    rows, scores = make(pair, tmp_path / "pair.faiss").search(pair[0], 2, ef_search=10)
    assert rows.tolist() == [0, 1]
    np.testing.assert_allclose(scores, [1, -1], atol=1e-6)


def test_breadth_is_raised_to_k(index: VectorIndex) -> None:
    rows, _ = index.search(unit_vectors(1, seed=2)[0], 300, ef_search=1)
    assert len(set(rows.tolist())) == 300


def test_equal_scores_come_in_row_order(tmp_path: Path) -> None:
    twins = np.repeat(unit_vectors(3), 4, axis=0)
    rows, scores = make(twins, tmp_path / "twins.faiss").search(twins[5], 4, ef_search=50)
    assert rows.tolist() == [4, 5, 6, 7]
    assert (scores <= 1).all()


def test_vectors_are_the_stored_ones_and_read_only(index: VectorIndex, vectors: Floats) -> None:
    np.testing.assert_array_equal(index.vectors, vectors)
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[:][0] = 0


def test_vectors_outlive_their_index(tmp_path: Path, vectors: Floats) -> None:
    view = make(vectors[:700], tmp_path / "short.faiss").vectors
    (tmp_path / "short.faiss").unlink()
    np.testing.assert_array_equal(view, vectors[:700])


def test_file_is_mapped_and_not_copied(index: VectorIndex) -> None:
    address = index.vectors[:].ctypes.data
    spans = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    inside = [span for span in spans if int(span[0].split("-")[0], 16) <= address < int(span[0].split("-")[1], 16)]
    assert inside[0][-1].endswith("index.faiss")


def test_same_vectors_make_the_same_file(tmp_path: Path, vectors: Floats) -> None:
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


def test_a_vector_among_those_that_ask_is_named_by_its_row(tmp_path: Path) -> None:
    bad = unit_vectors(30)
    bad[28] *= 2
    with pytest.raises(BuildError, match="embedding 28 "):
        build_hnsw(bad, tmp_path / "bad.faiss", m=8, ef_construction=40, threads=1)


@pytest.mark.parametrize(("length", "refused"), [(0.9985, True), (0.9995, False), (1.0005, False), (1.0015, True)])
def test_lengths_may_be_off_by_a_thousandth(length: float, refused: bool) -> None:
    vectors = unit_vectors(3)
    vectors[2] *= length
    with pytest.raises(BuildError, match="embedding 2 ") if refused else nullcontext():
        check_unit_length(vectors)


def test_the_progress_of_a_build_ends_with_all_rows(tmp_path: Path) -> None:
    steps: list[int] = []
    build_hnsw(unit_vectors(9_500), tmp_path / "i", m=4, ef_construction=8, threads=2, on_rows=steps.append)
    assert steps == [8_192, 9_000, 9_500]


def test_an_index_that_cannot_be_written_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"missing/i\.faiss: cannot be written: .*is the disk full"):
        build_hnsw(unit_vectors(20), tmp_path / "missing" / "i.faiss", m=4, ef_construction=8, threads=1)


def test_recall_is_high_with_breadth_and_lower_without(index: VectorIndex) -> None:
    asked = unit_vectors(100, seed=5)
    narrow, wide = measure_recall(index, asked, k=50, ef_searches=(50, 500), threads=2)
    assert (wide.queries, wide.k, wide.ef_search) == (100, 50, 500)
    assert 0.5 < narrow.value < wide.value <= 1
    assert wide.value > 0.99


def test_recall_takes_duplicates_for_each_other(tmp_path: Path) -> None:
    same = np.repeat(unit_vectors(1), 200, axis=0)
    index = make(same, tmp_path / "same.faiss")
    assert measure_recall(index, same[:20], k=10, ef_searches=(50,), threads=1)[0].value == 1


def test_the_smallest_breadth_that_reaches_target_and_floor_is_chosen() -> None:
    points = ((10, 0.5, 0.5), (20, 0.9, 0.98), (30, 0.95, 0.99), (40, 0.95, 1.0), (50, 0.94, 1.0))
    curve = [IndexRecall(ef_search, 10, 10, value, self_found) for ef_search, value, self_found in points]
    assert choose_ef_search(curve, 0.9, 0.98).ef_search == 20
    assert choose_ef_search(curve, 0.91, 0.98).ef_search == 30
    assert choose_ef_search(curve, 0.9, 0.99).ef_search == 30
    assert choose_ef_search(curve, 0.9, 0.991).ef_search == 40
    assert choose_ef_search(curve, 0.99, 0.5).ef_search == 40


def test_a_build_measures_what_rows_find_that_are_not_in_the_graph_yet(tmp_path: Path) -> None:
    vectors = unit_vectors(2_000)
    vectors[-100:] = unit_vectors(100, seed=9)  # strangers
    probe = Probe(10, 100, (10, 200))
    measured = build_hnsw(vectors, tmp_path / "i", m=4, ef_construction=20, threads=1, probe=probe)
    curve = tuple(Recall(point.ef_search, point.k, point.queries, point.value) for point in measured)
    known = graph(vectors[:-100], m=4, ef_construction=20)
    assert curve == measure_recall(known, vectors[-100:], k=10, ef_searches=(10, 200), threads=1)
    assert VectorIndex.open(tmp_path / "i").count == 2_000
    in_the_graph = measure_recall(VectorIndex.open(tmp_path / "i"), vectors[-100:], k=10, ef_searches=(10,), threads=1)
    assert in_the_graph[0].value > curve[0].value


def test_a_build_measures_random_rows_if_the_last_ones_are_easy(tmp_path: Path) -> None:
    """The last rows are a cluster of its own, which is searched almost exactly; the others are in a poor graph."""
    vectors = unit_vectors(2_000)
    vectors[-300:] = vectors[-1] + 0.02 * unit_vectors(300, seed=9)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (point,) = build_hnsw(vectors, tmp_path / "i", m=2, ef_construction=4, threads=1, probe=Probe(10, 200, (10,)))
    known = graph(vectors[:-200], m=2, ef_construction=4)
    (last,) = measure_recall(known, np.ascontiguousarray(vectors[-200:]), k=10, ef_searches=(10,), threads=1)
    assert point.value < last.value - 0.1
    assert (point.k, point.queries) == (10, 200)


def test_a_build_measures_how_many_rows_find_themselves(tmp_path: Path) -> None:
    vectors = unit_vectors(400)
    curve = build_hnsw(vectors, tmp_path / "i", m=2, ef_construction=2, threads=1, probe=Probe(10, 400, (10, 40)))
    index = VectorIndex.open(tmp_path / "i")
    for point in curve:
        answers = [index.search(vector, 10, ef_search=point.ef_search)[0] for vector in vectors]
        assert point.self_found == np.mean([row in rows for row, rows in enumerate(answers)])
    assert 0 < curve[0].self_found < curve[1].self_found < 1


def test_the_random_rows_are_from_the_whole_index(tmp_path: Path) -> None:
    """A row that many copies cut off from the others does not find itself, wherever it is."""
    vectors = unit_vectors(1_000)
    vectors[100:700] = vectors[100]
    (point,) = build_hnsw(vectors, tmp_path / "i", m=8, ef_construction=40, threads=1, probe=Probe(10, 100, (10,)))
    assert point.self_found < 0.6  # of the copies, which are more than half, a search returns ten


@pytest.mark.parametrize("count", [1, 9, 10])
def test_few_rows_can_be_measured_too(tmp_path: Path, count: int) -> None:
    curve = build_hnsw(unit_vectors(count), tmp_path / "few", m=4, ef_construction=20, threads=1)
    assert [recall.value for recall in curve] == [1.0] * len(curve)
    assert curve[0].queries == (count if count < 10 else 1)


def test_a_build_measures_the_first_100_results_of_500_rows_or_a_tenth(tmp_path: Path) -> None:
    for count, queries in ((4_990, 499), (5_100, 500)):
        vectors = unit_vectors(count)
        vectors[-500:] = unit_vectors(500, seed=9)  # strangers, which find less than the rows of the graph
        probe = build_hnsw(vectors, tmp_path / "i", m=4, ef_construction=8, threads=2)[0]
        assert (probe.k, probe.queries) == (100, queries)


def test_edges_of_a_node(index: VectorIndex) -> None:
    assert index.edges == 16


def test_another_kind_of_index_is_refused(tmp_path: Path, vectors: Floats) -> None:
    flat = faiss.IndexFlatIP(64)
    flat.add(vectors[:10])
    euclidean = faiss.IndexHNSWFlat(64, 8)
    euclidean.add(vectors[:10])
    for number, other in enumerate((flat, euclidean)):
        path = tmp_path / f"{number}.faiss"
        faiss.write_index(other, str(path))
        with pytest.raises(CatalogError, match="not an HNSW index"):
            VectorIndex.open(path)


def test_a_cut_file_is_refused(tmp_path: Path, vectors: Floats) -> None:
    path = tmp_path / "cut.faiss"
    build_hnsw(vectors[:500], path, m=8, ef_construction=40, threads=1)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CatalogError, match=r"cut\.faiss"):
        VectorIndex.open(path)


def test_damage_in_the_vectors_is_seen_by_the_trial_search(tmp_path: Path, vectors: Floats) -> None:
    path = tmp_path / "zero.faiss"
    build_hnsw(vectors[:500], path, m=8, ef_construction=40, threads=1)
    VectorIndex.open(path).check((250,), ef_search=100)
    content = path.read_bytes()
    row = vectors[250].tobytes()
    assert content.count(row) == 1
    path.write_bytes(content.replace(row, bytes(len(row))))
    with pytest.raises(CatalogError, match="not of unit length"):
        VectorIndex.open(path).check([250], ef_search=100)


@pytest.mark.parametrize(
    ("position", "layout", "value", "named"),
    [
        (37, "<Q", 200_000_000, "200000000 assign_probas"),  # FAISS would reserve 1.6 GB, and then read
        (8, "<q", 501, "500 levels for 501 rows"),
        (4, "<i", 65, "different sizes"),
    ],
)
def test_lengths_that_the_file_cannot_hold_are_refused_before_faiss_reads_it(
    tmp_path: Path, vectors: Floats, position: int, layout: str, value: int, named: str
) -> None:
    path = tmp_path / "lengths.faiss"
    build_hnsw(vectors[:500], path, m=8, ef_construction=40, threads=1)
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, position, value)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=named):
        VectorIndex.open(path)


def test_an_index_of_no_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.faiss"
    faiss.write_index(faiss.IndexHNSWFlat(64, 8, faiss.METRIC_INNER_PRODUCT), str(path))
    with pytest.raises(CatalogError, match="0 numbers for 0 embeddings"):
        VectorIndex.open(path)


def test_another_kind_of_storage_is_refused(tmp_path: Path, vectors: Floats) -> None:
    path = tmp_path / "storage.faiss"
    build_hnsw(vectors[:500], path, m=8, ef_construction=40, threads=1)
    content = path.read_bytes()
    assert content.count(b"IxFI") == 1
    path.write_bytes(content.replace(b"IxFI", b"IxF2"))
    with pytest.raises(
        CatalogError, match=r"storage\.faiss: its embeddings are stored as FAISS type 'IxF2'; only 'IxFI'"
    ):
        VectorIndex.open(path)


def test_a_graph_that_faiss_rejects_is_refused(tmp_path: Path, vectors: Floats) -> None:
    """The last neighbour is a row that does not exist."""
    path = tmp_path / "graph.faiss"
    build_hnsw(vectors[:500], path, m=8, ef_construction=40, threads=1)
    content = bytearray(path.read_bytes())
    search_bytes = struct.calcsize("<5i")
    struct.pack_into("<i", content, content.index(b"IxFI") - search_bytes - 4, 500)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"graph\.faiss: damaged: .*500 out of range"):
        VectorIndex.open(path)
