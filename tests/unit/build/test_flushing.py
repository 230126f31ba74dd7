"""The changes of an overlay as segments."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logo_similarity.build import flushing, overlay_images
from logo_similarity.build.changing import describe_stored
from logo_similarity.build.flushing import Flusher, drop_segments
from logo_similarity.build.segment import write_segment
from logo_similarity.catalog.live_folder import LIVE_JSON, LOCK, LiveFolder, LiveState, SegmentRange, locked
from logo_similarity.catalog.manifest import METADATA
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.overlay import OVERLAY, Overlay, OverlayImage
from logo_similarity.errors import FolderBusyError
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from tests.changing import Office
from tests.importing import Desk


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    desk = Desk(tmp_path)
    desk.build(*(desk.record(f"US-{n}", 2, n, text=f"text {n}") for n in range(4)))
    office = Office(desk)
    yield office
    office.overlay.close()


def flusher(office: Office) -> Flusher:
    return Flusher(office.desk.root, office.overlay, office.base)


def folder(office: Office) -> LiveFolder:
    return LiveFolder.of(office.desk.root, office.base.name)


def state(office: Office) -> LiveState:
    found = folder(office).read()
    assert found is not None
    return found


def visible(office: Office) -> dict[str, str | None]:
    """The texts of all logos that searches see, by their ids."""
    live, texts = state(office), dict[str, str | None]()
    parts = [office.base.folder, *folder(office).segments(live)]
    for part, hidden in zip(parts, folder(office).read_hidden(live), strict=True):
        metadata = Metadata(part / METADATA)
        for logo in metadata.fetch([row for row in range(metadata.count()) if row not in hidden.tolist()]):
            assert logo.logo_id not in texts, "a logo is visible twice"
            texts[logo.logo_id] = logo.record.text
        metadata.close()
    return texts


def names(office: Office) -> set[str]:
    return {path.name for path in folder(office).path.iterdir()}


def test_searches_see_every_change(office: Office) -> None:
    writer = flusher(office)
    assert writer.flush().written
    assert visible(office) == {"US-0": "text 0", "US-1": "text 1", "US-2": "text 2", "US-3": "text 3"}
    office.change("create", "US-9", 9, text="nine")
    office.change("update", "US-1", text="new")
    office.change("delete", "US-2")
    assert writer.is_due()
    assert writer.flush().written
    expected = {"US-0": "text 0", "US-1": "new", "US-3": "text 3", "US-9": "nine"}
    assert visible(office) == expected
    assert not writer.is_due()
    assert not writer.flush().written
    assert not flusher(office).is_due()
    office.change("delete", "US-9")
    writer.flush()
    office.change("create", "US-2", 2, text="again")
    flusher(office).flush()  # another process
    writer.flush()
    assert visible(office) == {"US-0": "text 0", "US-1": "new", "US-3": "text 3", "US-2": "again"}


def test_a_catalog_of_which_every_changed_logo_is_deleted_has_no_segment(office: Office) -> None:
    office.change("delete", "US-2")
    flusher(office).flush()
    assert folder(office).segments(state(office)) == ()
    assert set(visible(office)) == {"US-0", "US-1", "US-3"}


def test_segments_are_sealed_and_merged(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "SEALED_ROWS", 2)
    writer = flusher(office)
    expected: dict[str, str | None] = {f"US-{n}": f"text {n}" for n in range(4)}
    most = merged = 0
    for number in range(24):
        logo_id = f"US-{number * 7 % 13}"
        if number % 5 == 4 and logo_id in expected:
            office.change("delete", logo_id)
            del expected[logo_id]
        else:
            office.change("replace", logo_id, 4 + number, text=f"text {number}")
            expected[logo_id] = f"text {number}"
        (writer if number % 3 else flusher(office)).flush()
        assert visible(office) == expected
        merged += flusher(office).merge()
        assert visible(office) == expected
        most = max(most, len(state(office).segments))
        assert len(names(office)) == 2 + sum(1 + bool(one.logos) for one in state(office).segments)
    assert merged > 1
    assert 3 <= most <= 5


def test_few_segments_remain_and_no_logo_is_written_often() -> None:
    """As the constant `LARGER` says, of 200 sealed segments."""
    segments: list[SegmentRange] = []
    numbers: list[int] = []
    written = 0
    for last in range(1, 201):
        segments.append(SegmentRange(name=f"{last}", first=last - 1, last=last, logos=500, changed=500))
        if merged := flushing._choose(segments):
            size = sum(one.changed for one in merged)
            whole = SegmentRange(name=f"{last}-m", first=merged[0].first, last=last, logos=size, changed=size)
            segments[-len(merged) :] = [whole]
            written += size
        numbers.append(len(segments))
    assert (round(sum(numbers) / len(numbers)), max(numbers)) == (3, 5)
    assert 1 + written / (200 * 500) == pytest.approx(6, abs=0.5)


def test_segments_may_be_written_while_others_are_merged(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "SEALED_ROWS", 1)
    expected: dict[str, str | None] = {f"US-{n}": f"text {n}" for n in range(4)}
    for number in range(4):
        office.change("replace", f"US-{number}", 4 + number, text="new")
        flusher(office).flush()
        expected[f"US-{number}"] = "new"
    write = write_segment

    def write_slowly(*arguments: Any) -> object:
        made = write(*arguments)
        monkeypatch.setattr(flushing, "write_segment", write)
        office.change("delete", "US-1")
        office.change("update", "US-2", text="newer")
        flusher(office).flush()
        return made

    monkeypatch.setattr(flushing, "write_segment", write_slowly)
    assert flusher(office).merge()
    del expected["US-1"]
    assert visible(office) == {**expected, "US-2": "newer"}
    assert [one.changed for one in state(office).segments] == [4, 2]
    assert not flusher(office).merge()


@pytest.mark.parametrize("damage", ["live.json", "hidden", "ids", "segment", "all", "another overlay"])
def test_a_damaged_folder_is_written_again(office: Office, damage: str) -> None:
    office.change("create", "US-9", 9, text="nine")
    office.change("delete", "US-2")
    flusher(office).flush()
    (segment,) = state(office).segments
    path = folder(office).path
    match damage:
        case "live.json":
            (path / LIVE_JSON).write_bytes(b"{")
        case "hidden":
            (path / state(office).hidden).unlink()
        case "ids":
            (path / f"{segment.name}.ids.json").write_text(json.dumps({"rows": [], "gone": []}))
        case "segment":
            shutil.rmtree(path / segment.name)
        case "all":
            shutil.rmtree(path)
        case _:
            office.overlay.close()
            for ending in ("", "-wal", "-shm"):
                (office.desk.root / (OVERLAY + ending)).unlink(missing_ok=True)
            office.overlay = Overlay(office.desk.root)
    office.change("create", "US-8", 8, text="eight")
    assert flusher(office).is_due()
    flusher(office).flush()
    expected = {"US-0", "US-1", "US-2", "US-3", "US-8"} if damage == "another overlay" else {
        "US-0", "US-1", "US-3", "US-8", "US-9"
    }  # fmt: skip
    assert set(visible(office)) == expected


def test_the_changes_are_applied_to_a_new_version(office: Office) -> None:
    office.change("update", "US-1", text="one", date=5)
    office.change("update", "US-2", text="two", date=5)
    office.change("create", "US-9", 9, text="nine")
    flusher(office).flush()
    office.desk.add(
        office.desk.record("US-1", 8, text="later"), office.desk.record("US-2", 4, text="earlier", goods="hats"),
        office.desk.record("US-0", 8, 20),
    )  # fmt: skip
    before = office.base.name
    office.open_base()
    flusher(office).flush()
    assert visible(office) == {"US-0": "text 0", "US-1": "later", "US-2": "two", "US-3": "text 3", "US-9": "nine"}
    shutil.rmtree(office.desk.root / before)
    drop_segments(office.catalog, office.base.name)
    assert not LiveFolder.of(office.desk.root, before).path.exists()
    assert visible(office)["US-9"] == "nine"


def test_a_version_that_contains_changes_does_not_get_them_again(office: Office) -> None:
    office.change("update", "US-1", text="one")
    office.change("update", "US-2", text="two")
    office.overlay.record_fold(office.base.name, 1)
    flusher(office).flush()
    assert visible(office) == {"US-0": "text 0", "US-1": "text 1", "US-2": "two", "US-3": "text 3"}
    office.overlay.drop(1)
    assert not flusher(office).is_due()
    office.overlay.drop(2)
    assert flusher(office).is_due()
    flusher(office).flush()
    assert visible(office)["US-2"] == "text 2"


def test_images_that_another_encoder_described_are_described_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.change("create", "US-9", 9, text="nine")
    monkeypatch.setattr(overlay_images, "encoder_key", lambda _: "another")
    assert flusher(office).flush().unreadable == 1
    assert "US-9" not in visible(office)
    (office.desk.root / "live" / office.base.name / LIVE_JSON).unlink()
    read: list[str] = []

    def describe(filename: str) -> OverlayImage | None:
        read.append(filename)
        with Decoder(ImageLimits()) as decoder:
            return describe_stored(filename, office.overlay, office.base.encoder, decoder, office.store.read)

    for _ in range(2):
        again = Flusher(office.desk.root, office.overlay, office.base, describe)
        office.change("update", "US-0", text="changed")
        assert again.flush().unreadable == 0
        assert visible(office)["US-9"] == "nine"
    assert len(read) == 1
    shutil.rmtree(office.desk.store)
    assert describe("none") is None


def test_the_segments_of_a_version_stay_while_a_newer_one_is_opened(office: Office) -> None:
    office.change("create", "US-9", 9, text="nine")
    flusher(office).flush()
    seen = visible(office)
    office.desk.add(office.desk.record("US-0", 8, text="later"))
    assert not flusher(office).is_behind()
    office.overlay.record_fold(office.catalog.current().name, 1)
    office.overlay.drop(1)
    assert flusher(office).is_behind()
    with pytest.raises(FolderBusyError):
        flusher(office).flush()
    assert visible(office) == seen
    office.open_base()
    assert not flusher(office).is_behind()


def test_one_process_writes_at_a_time(office: Office) -> None:
    with locked(office.desk.root, LOCK), pytest.raises(FolderBusyError):
        flusher(office).flush()
