"""A process that is killed at any step loses no change that was acknowledged, and makes none twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.catalog.live import LiveFiles
from logo_similarity.catalog.live_folder import LiveFolder
from logo_similarity.catalog.manifest import verify
from logo_similarity.catalog.overlay import Overlay
from logo_similarity.catalog.versions import Catalog
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from tests.changing import Office
from tests.importing import FILES, Desk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A catalog of three logos and some changes: one logo is changed, one is new, and one is deleted."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.build(*(desk.record(f"US-{number}", 1, number, text="old") for number in range(3)))
    office = Office(desk)
    office.change("update", "US-0", text="changed")
    office.change("create", "US-9", 9, text="new")
    office.change("delete", "US-2")
    office.overlay.close()
    return desk


CHANGED = {"US-0": "changed", "US-1": "old", "US-9": "new"}


def run(folder: Path, job: str, step: str = "never") -> tuple[int, str]:
    words = [sys.executable, "-m", "tests.faults.change_and_die", str(folder), job, step]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout.strip()


def copied(desk: Desk, folder: Path) -> Path:
    return Path(shutil.copytree(desk.root.parent, folder / "copy"))


def logos(folder: Path) -> dict[str, str | None]:
    """What a search finds, by id."""
    root = folder / "catalogs"
    with SearchEngine.open(root) as base:
        live = LiveFolder.of(root, base.version)
        state = live.read()
        assert state is not None
        engine = base.with_live(LiveFiles(state.generation, live.segments(state), live.read_hidden(state)))
        hits = engine.search(Query(image=FILES[1].read_bytes())).hits
        assert len({hit.logo.logo_id for hit in hits}) == len(hits)
        return {hit.logo.logo_id: hit.logo.record.text for hit in hits}


@pytest.mark.parametrize("step", ["store", "append", "after append", "keep image", "acknowledged"])
def test_a_change_is_there_if_it_was_acknowledged(desk: Desk, tmp_path: Path, step: str) -> None:
    folder = copied(desk, tmp_path)
    status, answer = run(folder, "change", step)
    assert status == -signal.SIGKILL
    assert answer == ("acknowledged" if step == "acknowledged" else "")
    run(folder, "flush")
    assert logos(folder) == {**CHANGED, **({"US-1": "new"} if answer else {})}
    if not answer:  # the client sends it again
        assert run(folder, "change") == (0, "acknowledged")
        run(folder, "flush")
        assert logos(folder) == {**CHANGED, "US-1": "new"}


@pytest.mark.parametrize("step", ["segment", "files of the segment", "hidden rows", "live.json", "clean"])
@pytest.mark.parametrize("first", [True, False])
def test_segments_are_written_again(desk: Desk, tmp_path: Path, step: str, *, first: bool) -> None:
    folder = copied(desk, tmp_path)
    expected = dict(CHANGED)
    if not first:
        run(folder, "flush")
        run(folder, "change")
        expected["US-1"] = "new"
    assert run(folder, "flush", step)[0] == -signal.SIGKILL
    if not first:
        assert logos(folder) in (CHANGED, expected)
    run(folder, "flush")
    assert logos(folder) == expected
    (live,) = [path for path in (folder / "catalogs" / "live").iterdir() if path.is_dir()]
    assert len(list(live.iterdir())) == 4  # live.json, the hidden rows, the segment and its ids


@pytest.mark.parametrize("step", ["segment", "hidden rows", "live.json", "clean", "never"])
def test_segments_are_whole_after_a_killed_merge(desk: Desk, tmp_path: Path, step: str) -> None:
    folder = copied(desk, tmp_path)
    assert run(folder, "merge", step)[0] == (0 if step == "never" else -signal.SIGKILL)
    assert logos(folder) == {**CHANGED, "US-1": "new"}
    run(folder, "flush")
    assert logos(folder) == {**CHANGED, "US-1": "new"}


@pytest.mark.parametrize(
    "step",
    ["merging changes", "logos embedded", "images indexed", "computing digests", "record of the fold", "flip", "drop"],
)
def test_a_compaction_is_complete_or_has_no_effect(desk: Desk, tmp_path: Path, step: str) -> None:
    folder = copied(desk, tmp_path)
    before = Catalog(folder / "catalogs").current()
    assert run(folder, "compact", step)[0] == -signal.SIGKILL
    assert (Catalog(folder / "catalogs").current() == before) == (step != "drop")
    run(folder, "flush")
    if step != "drop":
        assert logos(folder) == CHANGED
    run(folder, "change")
    run(folder, "compact")
    expected = {**CHANGED, "US-1": "new"}
    live = Catalog(folder / "catalogs").current()
    verify(live)
    assert {record.logo_id: record.text for record in Desk(folder).logos()} == expected
    overlay = Overlay(folder / "catalogs")
    assert overlay.count() == 0
    overlay.close()
    assert list((folder / "catalogs").glob(".build*")) == []
    run(folder, "flush")
    assert logos(folder) == expected
