from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from logo_similarity.errors import SourceError
from logo_similarity.image.folder import FolderEntry, image_names, walk_folder


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_come_with_names_relative_to_the_folder_and_in_order_within_each(tmp_path: Path) -> None:
    fill(tmp_path, "b.jpg", "a.jpg", "A.jpg", "sub/d.png", "sub/c.txt", "sub/deep/e.gif")
    assert list(image_names(tmp_path)) == ["A.jpg", "a.jpg", "b.jpg", "sub/c.txt", "sub/d.png", "sub/deep/e.gif"]


def test_every_entry_that_is_not_read_comes_with_its_reason(tmp_path: Path) -> None:
    images, outside = tmp_path / "images", tmp_path / "outside"
    fill(images, "a.jpg", ".DS_Store", ".git/config", "sub/b.jpg")
    fill(outside, "c.jpg")
    (images / "inner.jpg").symlink_to("sub/b.jpg")
    (images / "outer.jpg").symlink_to(outside / "c.jpg")
    (images / "outer").symlink_to(outside)
    (images / "inner").symlink_to("sub")
    (images / "broken.jpg").symlink_to("none.jpg")
    (images / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(images / "pipe.jpg")

    problems = {entry.name: entry.problem for entry in walk_folder(images)}

    assert problems == {
        "a.jpg": None,
        "inner.jpg": None,
        "sub/b.jpg": None,
        ".DS_Store": "hidden files and folders are not read",
        ".git": "hidden files and folders are not read",
        "outer.jpg": "links that lead out of the folder are not followed",
        "outer": "links that lead out of the folder are not followed",
        "inner": "links to folders are not followed",
        "broken.jpg": "the link is broken",
        "circle.jpg": "the link is broken",
        "pipe.jpg": "not a regular file",
    }
    assert not any(entry.unreadable for entry in walk_folder(images))
    assert sorted(image_names(images)) == ["a.jpg", "inner.jpg", "sub/b.jpg"]


def test_a_folder_that_cannot_be_listed_is_reported_and_the_rest_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a.jpg", "closed/b.jpg", "open/c.jpg")
    scandir = os.scandir

    def refuse_one(path: Path) -> os._ScandirIterator[str]:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_one)

    entries = list(walk_folder(tmp_path))

    assert FolderEntry("closed", "Permission denied", unreadable=True) in entries
    assert [entry.name for entry in entries if entry.problem is None] == ["a.jpg", "open/c.jpg"]
    with pytest.raises(SourceError, match=rf"{tmp_path}/closed: cannot be read \(Permission denied\)"):
        list(image_names(tmp_path))


def test_a_missing_folder(tmp_path: Path) -> None:
    assert list(walk_folder(tmp_path / "none")) == [FolderEntry(".", "No such file or directory", unreadable=True)]
    with pytest.raises(SourceError, match="the image folder does not exist"):
        list(image_names(tmp_path / "none"))
