"""Changes that are folded into a new version."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logo_similarity.build import embeddings
from logo_similarity.build.base import BaseVersion
from logo_similarity.build.compacting import CompactResult, compact
from logo_similarity.build.flushing import Flusher
from logo_similarity.catalog.live_folder import LiveFolder
from logo_similarity.catalog.manifest import MODEL_FOLDER, verify
from logo_similarity.catalog.overlay import Overlay
from logo_similarity.catalog.updates import UPDATES, read_updates
from logo_similarity.domain import Query
from logo_similarity.embed.encoder import Encoder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import BuildError, FolderBusyError
from tests.changing import Office
from tests.importing import FILES, OPTIONS, Desk


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    desk = Desk(tmp_path)
    desk.build(*(desk.record(f"US-{n}", 2, n, text=f"text {n}", company="Old") for n in range(4)))
    office = Office(desk)
    yield office
    office.overlay.close()


def run(office: Office, **options: Any) -> CompactResult:
    return compact(office.desk.root, OPTIONS, options.pop("read", None), **options)


def change(office: Office) -> None:
    office.change("create", "US-9", 9, text="nine")
    office.change("update", "US-1", text="one", date=5)
    office.change("replace", "US-2", 12, text="two")
    office.change("delete", "US-3", date=6)


TEXTS = {"US-0": "text 0", "US-1": "one", "US-2": "two", "US-9": "nine"}


def test_the_new_version_has_all_changes_and_nothing_was_embedded(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(office)
    shutil.rmtree(office.desk.store)
    monkeypatch.setattr(embeddings, "describe_image", None)
    before = office.catalog.current()
    result = run(office)
    assert (result.changes, result.manifest.count) == (4, 4)
    assert office.catalog.current() == result.folder != before
    assert verify(result.folder).source.kind == verify(before).source.kind
    assert office.desk.texts() == TEXTS
    assert [record.company for record in office.desk.logos()] == ["Old", "Old", None, None]
    assert (office.overlay.count(), office.overlay.dropped(), office.overlay.folded(result.folder.name)) == (0, 4, 4)
    with SearchEngine.open(office.desk.root) as engine:
        for logo_id, image in (("US-9", 9), ("US-2", 12), ("US-1", 1)):
            best = engine.search(Query(image=FILES[image].read_bytes())).hits[0]
            assert best.logo.logo_id == logo_id
            assert best.score == pytest.approx(1, abs=1e-3)
    assert run(office) == CompactResult(result.folder, result.manifest, 0)


def test_a_catalog_without_changes_stays_as_it_is(office: Office) -> None:
    live = office.catalog.current()
    assert run(office).folder == live
    office.overlay.close()
    for path in office.desk.root.glob("overlay.db*"):
        path.unlink()
    assert (run(office).folder, run(office).changes) == (live, 0)
    assert not (office.desk.root / "overlay.db").exists()
    office.overlay = Office(office.desk).overlay


def test_what_is_known_of_deleted_logos_is_kept(office: Office) -> None:
    change(office)
    live = run(office).folder
    kept = {row.logo_id: row.day for row in read_updates(live / UPDATES)}
    assert kept["US-3"] == "2024-01-06"
    office.open_base()
    office.change("update", "US-1", text="older", date=4)
    assert run(office).folder
    assert office.desk.texts() == TEXTS


def test_changes_after_it_began_stay_in_the_overlay(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    change(office)

    def progress(stage: str, _done: int, _total: int | None) -> None:
        if stage == "computing digests":
            office.change("update", "US-0", text="meanwhile")

    result = run(office, progress=progress)
    assert (result.changes, office.overlay.count()) == (4, 1)
    assert office.desk.texts() == TEXTS
    office.open_base()
    writer = Flusher(office.desk.root, office.overlay, office.base)
    assert writer.flush().state.start == 4
    assert LiveFolder.of(office.desk.root, result.folder.name).read() == writer.flush().state


def test_it_comes_to_an_end_after_it_was_stopped_anywhere(office: Office) -> None:
    change(office)

    class StoppedError(Exception):
        pass

    live = office.catalog.current()
    for stop in ("merging changes", "logos embedded", "images indexed", "computing digests"):

        def progress(stage: str, _done: int, _total: int | None, stop: str = stop) -> None:
            if stage == stop:
                raise StoppedError

        with pytest.raises(StoppedError) as stopped:
            run(office, progress=progress)
        (work,) = office.desk.root.glob(".build-*")
        assert f"kept in {work}: the same command resumes there unless more changes" in stopped.value.__notes__[0]
        assert (office.catalog.current(), office.overlay.count()) == (live, 4)
    assert run(office).changes == 4
    assert office.desk.texts() == TEXTS
    assert list(office.desk.root.glob(".build-*")) == []


def test_changes_that_a_killed_compaction_did_not_drop_are_dropped(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(office)
    monkeypatch.setattr(Overlay, "drop", lambda *_: 0)
    live = run(office).folder
    monkeypatch.undo()
    assert office.overlay.count() == 4
    assert run(office).folder == live
    assert office.overlay.count() == 0


def test_an_import_after_it_keeps_the_changes(office: Office) -> None:
    change(office)
    office.desk.add(office.desk.record("US-0", 9, text="imported"))
    run(office)
    office.desk.add(office.desk.record("US-1", 4, text="old news"))
    assert office.desk.texts() == {**TEXTS, "US-0": "imported"}


def test_images_that_another_encoder_described_are_read_from_the_store(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.change("create", "US-9", 9, text="nine")
    monkeypatch.setattr("logo_similarity.build.overlay_images.encoder_key", lambda _: "another")
    assert run(office, read=office.store.read).manifest.count == 5
    assert office.desk.texts()["US-9"] == "nine"


def test_it_needs_the_folder_for_itself_and_a_logo(office: Office) -> None:
    change(office)
    with office.catalog.locked(), pytest.raises(FolderBusyError):
        run(office)
    for logo_id in TEXTS:
        office.change("delete", logo_id)
    with pytest.raises(BuildError, match="no logo"):
        run(office)
    assert office.overlay.count() == 8


def test_the_base_of_changes_is_opened_without_reading_it(office: Office) -> None:
    folder = office.catalog.current()
    base = BaseVersion.open(folder, Encoder.open(folder / MODEL_FOLDER, device="cpu", threads=1))
    assert base.images.of_row(2).digest == base.images.digest(2)
    base.metadata.close()
