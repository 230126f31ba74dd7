from __future__ import annotations

import os
from pathlib import Path

import pytest

from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.folder import FolderSource
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from tests.zips import make_zip


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
    assert read(folder) == [
        ("a", "a.jpg"),
        ("good", "good.jpg"),
        ("sub/b", "sub/b.jpg"),
        ("broken.jpg", "the link is broken"),
        ("out.jpg", "links that lead out of the folder are not followed"),
        ("round", "links to folders are not followed"),
        ("self.jpg", "the link is broken"),
        ("up", "links that lead out of the folder are not followed"),
    ]


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    touch(tmp_path, "folder.jpg/a.jpg", ".hidden/b.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert read(tmp_path) == [("folder.jpg/a", "folder.jpg/a.jpg"), ("pipe.jpg", "not a regular file")]


def test_names_that_are_no_unicode_or_no_keys_are_rejected(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"")
    touch(tmp_path, "back\\slash.jpg", "new\nline.jpg", "ü.jpg")
    rows = list(FolderSource(tmp_path).rows())
    assert [row.filename for row in rows if isinstance(row, Record)] == ["ü.jpg"]
    rejects = [row for row in rows if isinstance(row, Reject)]
    assert len(rejects) == 3
    for reject in rejects:
        (reject.where + reject.reason).encode()


def test_images_in_zip_files(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xe0"
    entries = {"a.jpg": jpeg, "sub/b": jpeg, "notes.txt": b"hello", "c.cdr": b"x", "../d.jpg": jpeg}
    archive = make_zip(tmp_path / "part1.zip", entries)
    reason = "its name leads out of the ZIP file"
    assert [row[0] for row in read(archive)] == ["a", "sub/b", "../d.jpg", "c.cdr"]
    assert dict(read(archive))["../d.jpg"] == reason
    assert [row[0] for row in read(tmp_path)] == ["part1/a", "part1/sub/b", "part1/../d.jpg", "part1/c.cdr"]
    for path in (archive, tmp_path):
        source = open_source(path)
        assert source.kind == "folder"
        list(source.rows())
        assert source.description().notes[0].startswith("1 other file in the folder: ")


def test_images_are_recognised_by_their_content(tmp_path: Path) -> None:
    jpeg, png = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"
    for name, content in {
        "a.jfif": jpeg, "b.jpe": jpeg, "c.jpg_large": jpeg, "d": png, "e.svg": b"<svg xmlns='x'/>", "f.pdf": b"%PDF-1.7",
        "g.heic": b"\0\0\0\x18ftypheic" + bytes(12), "h.cdr": b"unknown", "notes.txt": b"hello", "Thumbs.db": b"x",
        ".DS_Store": b"x",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    source = FolderSource(tmp_path)
    rows = list(source.rows())
    assert [row.filename for row in rows if isinstance(row, Record)] == [
        "a.jfif", "b.jpe", "c.jpg_large", "d", "g.heic"
    ]  # fmt: skip
    rejects = {row.where: row.reason for row in rows if isinstance(row, Reject)}
    assert sorted(rejects) == ["e.svg", "f.pdf", "h.cdr"]
    assert "SVG is not among the accepted formats" in rejects["e.svg"]
    assert "not an image" in rejects["h.cdr"]
    assert source.description().notes == ("2 other files in the folder: Thumbs.db, notes.txt",)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the image folder does not exist"):
        read(tmp_path / "none")
