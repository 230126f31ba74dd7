from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from logo_similarity.build.catalog import BuildResult, build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import verify
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import BuildError, CatalogError
from tests.service import until

pytestmark = pytest.mark.slow
SAMPLES = Path(__file__).parents[2] / "samples"
LOGOS = 150


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 sample logos, one file that is no image, and one record without a file."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "images").mkdir()
    rows = json.loads((SAMPLES / "results.json").read_text())[:LOGOS]
    for row in rows:
        shutil.copy(SAMPLES / "images" / row["file"], folder / "images" / row["file"])
    (folder / "images" / "broken.jpg").write_bytes(b"no image")
    rows[70:70] = [{"file": "broken.jpg", "text": "broken"}, {"file": "missing.JPG", "text": "missing"}]
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


def build(source: Path, out: Path) -> BuildResult:
    return build_catalog(open_source(source), out, BuildOptions(threads=2))


def build_and_die(source: Path, out: Path, stage: str, number: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.build_and_die", str(source), str(out), stage, str(number)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def uninterrupted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return build(source, tmp_path_factory.mktemp("whole"))


def test_nothing_is_lost_without_a_reason(uninterrupted: BuildResult) -> None:
    counts = uninterrupted.manifest.source
    assert (counts.read, counts.indexed, counts.rejected) == (LOGOS + 2, LOGOS, 2)
    rejects = [json.loads(line) for line in (uninterrupted.folder / "rejected.jsonl").read_text().splitlines()]
    assert {reject["where"] for reject in rejects} == {"results.json[70]", "results.json[71]"}
    assert all(reject["reason"] for reject in rejects)


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("rows read", 2),
        ("logos embedded", 1),
        ("logos embedded", 3),
        ("images indexed", 1),
        ("checking recall", 1),
        ("computing digests", 1),
        ("flip", 1),
    ],
)
def test_killed_and_run_again_it_ends_with_the_same_content(
    source: Path, uninterrupted: BuildResult, tmp_path: Path, stage: str, number: int
) -> None:
    out = tmp_path / "catalogs"
    died = build_and_die(source, out, stage, number)
    assert died.returncode == -signal.SIGKILL, died.stderr
    with pytest.raises(CatalogError):
        Catalog(out).current()  # nobody sees a version that is not finished
    finished = build_and_die(source, out, "never", 1)
    assert finished.returncode == 0, finished.stderr
    live = Catalog(out).current()
    manifest = verify(live)
    assert manifest.files == uninterrupted.manifest.files
    assert manifest.logo_ids == uninterrupted.manifest.logo_ids
    assert {path.name for path in out.iterdir()} == {"CURRENT", ".lock", f".tried-{live.name}", live.name}


def test_finished_shards_are_not_made_again(source: Path, tmp_path: Path) -> None:
    build_and_die(source, tmp_path, "logos embedded", 3)
    (work,) = tmp_path.glob(".build-*")
    made = {path.name: path.stat().st_mtime_ns for path in (work / "shards").glob("??????.npy")}
    assert len(made) >= 2
    build_and_die(source, tmp_path, "computing digests", 1)
    again = {path.name: path.stat().st_mtime_ns for path in (work / "shards").glob("??????.npy")}
    assert made.items() <= again.items()
    assert len(again) == 5


def test_of_two_builds_at_once_one_is_told_that_the_other_is_at_work(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogs"
    command = [sys.executable, "-m", "logo_similarity.cli", "build", str(source), "--out", str(out)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: first.poll() is not None or list(out.glob(".build-*")))
        assert first.poll() is None
        first.send_signal(signal.SIGSTOP)  # at work, for as long as the other one asks
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "another build" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    assert verify(Catalog(out).current()).count == LOGOS
    assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert len(Catalog(out).names()) == 1


def test_same_inputs_are_not_built_twice_and_other_inputs_are(source: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(source, changed)
    first = build(changed, tmp_path / "out")
    assert build(changed, tmp_path / "out") == BuildResult(first.folder, first.manifest, reused=True, returned=False)
    picture = next((changed / "images").glob("*.jpg"))
    shutil.copy(picture, changed / "images" / "new.jpg")
    rows = json.loads((changed / "results.json").read_text())
    (changed / "results.json").write_text(json.dumps([*rows, {"file": "new.jpg", "vienna_codes": "1.1.1"}]))
    second = build(changed, tmp_path / "out")
    assert not second.reused
    assert second.manifest.count == LOGOS + 1
    with SearchEngine.open(tmp_path / "out") as engine:
        twins = engine.search(Query(image=picture.read_bytes(), top_k=2))
    assert {hit.logo.record.filename for hit in twins.hits} == {picture.name, "new.jpg"}


def test_an_index_under_the_floor_is_not_published(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path)
    live = Catalog(tmp_path).current()
    poor = BuildOptions(threads=2, m=4, ef_construction=4, ef_search=1, recall_floor=1.0, self_floor=0.0)
    with pytest.raises(BuildError, match="--ef-search"):
        build_catalog(open_source(source), tmp_path, poor)
    assert Catalog(tmp_path).current() == live


def test_a_version_under_the_floor_that_is_asked_for_is_not_reused(source: Path, tmp_path: Path) -> None:
    poor = BuildOptions(threads=2, m=4, ef_construction=4, ef_search=1, recall_floor=0.0, self_floor=0.0)
    first = build_catalog(open_source(source), tmp_path, poor)
    assert first.manifest.recall.value < 1
    assert build_catalog(open_source(source), tmp_path, poor).reused
    with pytest.raises(BuildError, match="--ef-search"):
        build_catalog(open_source(source), tmp_path, replace(poor, recall_floor=1.0))
    assert Catalog(tmp_path).current() == first.folder


def test_a_source_of_broken_images_says_why_they_were_rejected(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.jpg").write_bytes(b"no image")
    with pytest.raises(BuildError, match=r"1 row was rejected\n  1: the file is not an image.* \(one\.jpg\)"):
        build(tmp_path / "images", tmp_path / "out")
