from __future__ import annotations

import os
from pathlib import Path

import pytest

from logo_similarity.catalog.sources.folder import FolderSource
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def read(folder: Path) -> list[tuple[str, str]]:
    rows = list(FolderSource(folder).rows())
    assert rows == list(FolderSource(folder).rows())
    return [(row.logo_id, row.filename) if isinstance(row, Record) else (row.where, row.reason) for row in rows]


def test_ids_never_collide(tmp_path: Path) -> None:
    names = ("a.bmp", "a.jpg", "a.jpg.gif", "a.jpg.png", "a/a.jpg")
    rows = read(touch(tmp_path, *names))
    assert sorted(name for _, name in rows) == sorted(names)
    assert len({logo_id for logo_id, _ in rows}) == len(names)


def test_names_that_differ_in_case_are_two_logos(tmp_path: Path) -> None:
    assert read(touch(tmp_path, "A.jpg", "a.jpg")) == [("A", "A.jpg"), ("a", "a.jpg")]


def test_links(tmp_path: Path) -> None:
    folder = touch(tmp_path / "logos", "a.jpg", "sub/b.jpg")
    touch(tmp_path, "outside/c.jpg")
    (folder / "good.jpg").symlink_to("sub/b.jpg")
    (folder / "out.jpg").symlink_to(tmp_path / "outside" / "c.jpg")
    (folder / "up").symlink_to(tmp_path)
    (folder / "round").symlink_to(folder)
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "broken.jpg").symlink_to("none.jpg")
    assert read(folder) == [("a", "a.jpg"), ("good", "good.jpg"), ("sub/b", "sub/b.jpg")]


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    touch(tmp_path, "folder.jpg/a.jpg", ".hidden/b.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert read(tmp_path) == [("folder.jpg/a", "folder.jpg/a.jpg")]


def test_names_that_are_no_unicode_or_no_keys_are_rejected(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"")
    touch(tmp_path, "back\\slash.jpg", "new\nline.jpg", "ü.jpg")
    rows = list(FolderSource(tmp_path).rows())
    assert [row.filename for row in rows if isinstance(row, Record)] == ["ü.jpg"]
    rejects = [row for row in rows if isinstance(row, Reject)]
    assert len(rejects) == 3
    for reject in rejects:
        (reject.where + reject.reason).encode()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the image folder does not exist"):
        read(tmp_path / "none")
