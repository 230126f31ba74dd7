"""What every benchmark relies on: the check of the answers, and the result of a clean commit only."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks import cold, machine, make_register, page_cache, read_ahead
from benchmarks.answers import TIE, check_hits
from benchmarks.exact import Exact, least_breadth
from benchmarks.identical import Scenario, measure_scenario, own_rank, write_images
from benchmarks.machine import INT8_INSTRUCTIONS, proportional_memory, write_result
from benchmarks.make_register import register_catalog, register_embeddings
from benchmarks.million import Build, estimate
from logo_similarity.catalog.manifest import INDEX, read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.engine import SearchEngine
from tests.samples import SampleCatalog


def test_a_million_records_are_estimated_from_two_builds() -> None:
    def made(records: int, indexing: float) -> Build:
        return Build(
            records, records * 1_000, records / 100, records / 10, indexing, records * 20 + 500, 500, records * 50 + 500
        )

    def n_log_n(records: int) -> float:
        return records * math.log(records)

    few, many = made(1_000, 5 + n_log_n(1_000) / 1_000), made(4_000, 5 + n_log_n(4_000) / 1_000)
    guess = estimate(few, many)
    assert guess["reading_hours"] == round(10_000 / 3600, 2)
    assert guess["embedding_hours"] == round(100_000 / 3600, 2)
    assert guess["indexing_hours"] == round((5 + n_log_n(1_000_000) / 1_000) / 3600, 2)
    assert guess["hours"] == pytest.approx(
        sum(guess[f"{stage}_hours"] for stage in ("reading", "embedding", "indexing")), abs=0.02
    )
    assert (guess["source_gb"], guess["version_gb"], guess["peak_gb"]) == (1.0, 0.02, 0.05)


def hits(*scores: tuple[str, float]) -> list[dict[str, object]]:
    return [{"id": name, "score": score} for name, score in scores]


def test_the_own_logo_may_tie_for_the_first_place() -> None:
    check_hits(hits(("own", 1.0), ("other", 0.7)), "own", 2)
    check_hits(hits(("copy", 1.0), ("own", 1.0)), "own", 2)
    check_hits(hits(("copy", 1.0), ("copy 2", 1.0), ("own", 1.0 - TIE / 2)), "own", 3)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "0 hits instead of 2"),
        ([("own", 1.0)], "1 hits instead of 2"),
        ([("other", 1.0), ("own", 0.9995)], "own: its score is 0.999500, and other has 1.000000"),
        ([("own", 0.9), ("other", 0.7)], "own: its score is 0.900000"),
        ([("other", 1.0), ("another", 1.0)], "own: its score is -inf"),
    ],
)
def test_a_wrong_answer_is_an_error(scores: list[tuple[str, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_hits(hits(*scores), "own", 2)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, which the benchmarks take for theirs."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("first")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "--message", "x")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "RESULTS", tmp_path / "results")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_a_result_has_its_commit_and_the_instructions_of_the_processor(repository: Path) -> None:
    assert write_result("speed", {"seconds": 1}) == {"seconds": 1}
    result = json.loads((repository / "results" / "speed.json").read_text())
    assert result["figures"] == {"seconds": 1}
    assert result["machine"]["commit"] == git(repository, "rev-parse", "--short", "HEAD")
    assert set(result["machine"]["int8_instructions"]) <= set(INT8_INSTRUCTIONS)
    assert {"processor", "usable_cores", "memory_gb", "libraries", "date"} <= set(result["machine"])


def test_one_result_does_not_hinder_the_next(repository: Path) -> None:
    for name in ("speed", "memory", "speed"):
        write_result(name, {})
    assert {path.name for path in (repository / "results").iterdir()} == {"speed.json", "memory.json"}


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_a_work_tree_with_changes_writes_no_result(
    repository: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (repository / name).write_text("second")
    assert write_result("speed", {"seconds": 1}) == {"seconds": 1}
    assert not (repository / "results").exists()
    assert "speed.json is not written: the work tree differs from its commit" in capsys.readouterr().err


def test_without_a_repository_there_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "RESULTS", tmp_path / "results")
    write_result("speed", {})
    assert not (tmp_path / "results").exists()


def test_images_find_themselves_among_copies_of_one(sample_catalog: SampleCatalog) -> None:
    samples = [sample_catalog.images / name for name in sample_catalog.files[:12]]
    placeholders = measure_scenario(Scenario(0, 30, ("!", "z")), samples)
    assert placeholders == {"images": 13, "first": 13, "among_100": 13, "recall_at_100": 1, "published": True}
    marks = measure_scenario(Scenario(2, 30, ("0",)), samples)
    assert (marks["images"], marks["first"], marks["among_100"]) == (12, 12, 12)


def test_copies_have_their_names_and_contents(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    samples = [sample_catalog.images / name for name in sample_catalog.files[:4]]
    images = write_images(Scenario(2, 3, ("!", "z")), samples, tmp_path)
    assert [len(names) for names in images] == [4, 1, 4, 1]
    assert sorted(name for names in images for name in names) == sorted(path.name for path in tmp_path.iterdir())
    assert {name[0] for name in images[0][1:]} == {"!", "z"}
    for names in images:
        assert len({(tmp_path / name).read_bytes() for name in names}) == 1


def test_an_image_that_does_not_find_itself_is_counted(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    first, second = sample_catalog.files[:2]
    (tmp_path / second).write_bytes((sample_catalog.images / first).read_bytes())
    (tmp_path / "other.jpg").write_bytes((sample_catalog.images / first).read_bytes())
    with SearchEngine.open(sample_catalog.root) as engine:
        assert own_rank(engine, sample_catalog.images, (first,)) == 1
        assert (own_rank(engine, tmp_path, (second,)) or 0) > 1
        assert own_rank(engine, tmp_path, ("other.jpg",)) is None


def test_recall_counts_each_exact_answer_once_and_accepts_ties() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0, 1]], np.float32)
    exact = Exact.of(vectors, np.array([[1, 0]], np.float32), 2)
    assert [exact.recall([np.array(rows)]) for rows in ([0, 1], [2, 0], [0, 0], [0, 3], [0])] == [1, 1, 0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="3 rows instead of 2"):
        exact.recall([np.array([0, 1, 2])])


def test_the_least_breadth_reaches_the_target_or_is_the_largest() -> None:
    breadths = range(100, 1_001)
    assert least_breadth(lambda breadth: breadth / 1_000, 0.4321, breadths) == 433
    assert least_breadth(lambda _: 1.0, 0.99, breadths) == 100
    assert least_breadth(lambda _: 0.5, 0.99, breadths) == 1_000


def test_memory_is_anonymous_or_mapped(tmp_path: Path) -> None:
    own = [psutil.Process()]
    before = proportional_memory(own)
    private = np.ones(40_000_000, np.uint8)
    with_private = proportional_memory(own)
    assert with_private["anonymous_bytes"] - before["anonymous_bytes"] > 0.9 * private.nbytes
    np.save(tmp_path / "file.npy", private)
    mapped = np.load(tmp_path / "file.npy", mmap_mode="r")
    assert mapped.sum() == len(private)
    assert proportional_memory(own)["mapped_bytes"] - with_private["mapped_bytes"] > 0.9 * private.nbytes


def test_the_embeddings_of_a_register_need_no_catalog(
    sample_catalog: SampleCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_register, "sample_catalog", lambda: sample_catalog.root)
    monkeypatch.setattr(make_register, "DATA", tmp_path)
    monkeypatch.setattr(make_register, "SHARD_ROWS", 64)
    monkeypatch.setattr("logo_similarity.build.shards.SHARD_ROWS", 64)
    count = len(sample_catalog.files) + 100
    with SearchEngine.open(register_catalog(count)) as register:
        stored = register.base.index.vectors[register.base.row_map.vector_of(np.arange(count))]
    assert np.array_equal(register_embeddings(count), stored)


def test_a_file_is_evicted_from_the_page_cache() -> None:
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:  # /tmp may be in memory
        path = Path(folder, "file")
        path.write_bytes(bytes(1 << 20))
        assert page_cache.evict([path]) == 0
        path.read_bytes()
        assert page_cache.cached_share([path]) == 1


def test_the_versions_to_swap_share_no_pages(sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "DATA", sample_catalog.root.parent)  # hard links need the same file system
    version = Catalog(sample_catalog.root).current()
    with cold.two_versions(sample_catalog.root) as catalog:
        first, second = sorted(map(catalog.folder, catalog.names()), key=lambda folder: folder != catalog.current())
        assert catalog.current() == first
        assert (first / INDEX).samefile(version / INDEX)
        assert not (first / INDEX).samefile(second / INDEX)
        assert (first / INDEX).read_bytes() == (second / INDEX).read_bytes()
    assert not catalog.root.exists()


def cold_round(*searches: tuple[float, float], still_cached: float = 0) -> cold.Round:
    return cold.Round(
        seconds_before=1,
        still_cached=still_cached,
        read_bytes=0,
        warm_ms=10,
        first_warm_ms=20,
        searches=searches,
    )


def test_searches_are_fast_from_the_second_after_the_last_slow_one() -> None:
    slow_first = cold_round((0.3, 300.0), (0.4, 10.0), (0.5, 20.0), (3.2, 2_700.0), (3.3, 30.0), (3.4, 10.0))
    assert slow_first.seconds(50) == [2.0, None, None, 3.0, *[None] * 6]
    assert (slow_first.seconds_until_fast(50), slow_first.seconds_until_fast(90)) == (0, 4)
    late = cold_round((0.1, 10.0), (2.5, 31.0))
    assert late.seconds_until_fast(50) == 3


def test_the_worst_round_counts() -> None:
    figures = cold.summary([cold_round((0.1, 25.0)), cold_round((0.2, 40.0), (1.5, 5.0), still_cached=0.25)])
    assert (figures["first_ms"], figures["still_cached"]) == ([25.0, 40.0], 0.25)
    assert (figures["first_over_warm_p50"], figures["first_over_same_image_warm"]) == (4.0, 2.0)
    assert figures["p50_over_warm_each_second"] == [4.0, 0.5, *[None] * 8]
    assert (figures["seconds_until_p50_is_fast"], figures["seconds_until_p90_is_fast"]) == (1, 1)


def test_every_order_of_reading_reads_each_file_at_most_once(sample_catalog: SampleCatalog) -> None:
    manifest = read_manifest(Catalog(sample_catalog.root).current())
    for name, order in read_ahead.ORDERS.items():
        files = [*order.before(manifest), *order.after(manifest)]
        assert len(files) == len(set(files)), name
        assert set(files) == (set() if name == "nothing" else set(manifest.files)), name
