"""The file of live changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from logo_similarity.catalog import overlay as overlay_module
from logo_similarity.catalog.overlay import OVERLAY, Answer, Overlay, OverlayImage
from logo_similarity.catalog.updates import UpdateRow
from logo_similarity.errors import CatalogError, ChangeNotStoredError, NotWritableError, OverloadedError


def image(name: str) -> OverlayImage:
    return OverlayImage(name, "encoder", name.encode(), b"e", 1, b"p", b"p", b"", b"", None, None)


def test_changes_are_numbered_and_survive(tmp_path: Path) -> None:
    assert Overlay.open_existing(tmp_path) is None
    assert not (tmp_path / OVERLAY).exists()
    with closing(Overlay(tmp_path)) as overlay, overlay.changing() as changing:
        assert changing.append("create", "A", "2024-01-01", "{}") == 1
        assert changing.append("replace", "B", "", "{}") == 2
        assert changing.append("delete", "A", "2024-01-02", None) == 3
    again = Overlay.open_existing(tmp_path)
    assert again is not None
    with closing(again):
        assert (again.id, again.last(), again.count()) == (overlay.id, 3, 3)
        removal = UpdateRow("A", "2024-01-02", None)
        assert again.rows("A", 0) == [UpdateRow("A", "2024-01-01", "{}"), removal]
        assert (again.rows("A", 1), again.rows("A", 0, 2)) == ([removal], [UpdateRow("A", "2024-01-01", "{}")])
        assert list(again.all_rows(1, 3)) == [UpdateRow("B", "", None), UpdateRow("B", "", "{}"), removal]
        assert (again.changed_ids(0, 3), again.changed_ids(2, 3)) == (["B", "A"], ["A"])


def test_many_changes_are_read_in_pages(tmp_path: Path) -> None:
    with closing(Overlay(tmp_path)) as overlay:
        with overlay.changing() as changing:
            for number in range(2_500):
                changing.append("update", f"L-{number}", "", "{}")
        assert [row.logo_id for row in overlay.all_rows(3, 2_499)] == [f"L-{number}" for number in range(3, 2_499)]


def append_and_fail(overlay: Overlay) -> None:
    with overlay.changing() as changing:
        changing.append("create", "A", "", "{}")
        raise KeyError


def test_an_error_undoes_a_transaction(tmp_path: Path) -> None:
    with closing(Overlay(tmp_path)) as overlay:
        with pytest.raises(KeyError):
            append_and_fail(overlay)
        assert (overlay.count(), overlay.last()) == (0, 0)


def test_what_is_dropped_is_not_numbered_again(tmp_path: Path) -> None:
    with closing(Overlay(tmp_path)) as overlay:
        with overlay.changing() as changing:
            for name in ("one", "two"):
                changing.keep_image(image(name))
                changing.append("create", name, "", f'{{"filename": "{name}"}}')
        assert overlay.image_of(b"two", "encoder") == overlay.image("two", "encoder") == image("two")
        assert overlay.image("two", "another encoder") is None
        overlay.record_fold("version", 1)
        assert (overlay.folded("version"), overlay.start("version"), overlay.start("other")) == (1, 1, 0)
        assert overlay.drop(1) == 1
        assert (overlay.start("version"), overlay.start("other"), overlay.dropped()) == (1, 1, 1)
        assert (overlay.image("one", "encoder"), overlay.image("two", "encoder")) == (None, image("two"))
        overlay.drop(2)
        assert (overlay.count(), overlay.last()) == (0, 2)


def test_answers_belong_to_their_owner(tmp_path: Path) -> None:
    with closing(Overlay(tmp_path)) as overlay:
        with overlay.changing() as changing:
            changing.keep_answer("team", "key", Answer(b"request", "answer"))
            assert changing.answered("team", "key")
        assert overlay.answer("team", "key") == Answer(b"request", "answer")
        assert overlay.answer("others", "key") is None


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / OVERLAY
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
    with pytest.raises(CatalogError, match="not a file of live changes"):
        Overlay(tmp_path)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(CatalogError, match="not a database"):
        Overlay(tmp_path)
    path.unlink()
    Overlay(tmp_path).close()
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 2")
    with pytest.raises(CatalogError, match="layout 2"):
        Overlay(tmp_path)


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / OVERLAY).mkdir()
    with pytest.raises(NotWritableError):
        Overlay(tmp_path)


def test_a_change_that_cannot_be_stored_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Overlay(tmp_path)) as overlay:
        overlay._connection.execute(
            f"PRAGMA max_page_count = {1 + overlay._connection.execute('PRAGMA page_count').fetchone()[0]}"
        )
        with pytest.raises(ChangeNotStoredError), overlay.changing() as changing:
            changing.append("create", "A", "", "x" * 100_000)
        assert overlay.count() == 0
    monkeypatch.setattr(overlay_module, "BUSY_SECONDS", 0.01)
    one, other = Overlay(tmp_path), Overlay(tmp_path)
    with closing(one), closing(other), one.changing(), pytest.raises(OverloadedError), other.changing():
        pass
