from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from logo_similarity.catalog.sources.images import ImageNames, NamesAsWritten
from logo_similarity.catalog.sources.rows import RowError
from logo_similarity.image.files import open_images
from tests.zips import make_zip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = (
        "sub/d.jpg",
        "b c.jpg",
        unicodedata.normalize("NFD", "Käse.jpg"),
        "00012.jpg",
        "99.jpg",
        "e.jpg",
        "e.png",
        "100%.jpg",
    )
    for name in names:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [
        ("sub\\d.jpg", "sub/d.jpg"),
        ("./sub/d.jpg", "sub/d.jpg"),
        ("/sub/d.jpg", "sub/d.jpg"),
        ("sub//d.jpg", "sub/d.jpg"),
        ("images/sub/d.jpg", "sub/d.jpg"),
        ("C:\\data\\images\\sub\\d.jpg", "sub/d.jpg"),
        ("https://logos.example/images/sub/d.jpg", "sub/d.jpg"),
        ("SUB/D", "sub/d.jpg"),
        ("b%20c.jpg", "b c.jpg"),
        ("100%.jpg", "100%.jpg"),
        (unicodedata.normalize("NFC", "KÄSE.jpg"), unicodedata.normalize("NFD", "Käse.jpg")),
        ("12.jpg", "00012.jpg"),
        (12, "00012.jpg"),
        (12.0, "00012.jpg"),
        ("0099", "99.jpg"),
    ],
)
def test_names_as_tables_have_them(folder: Path, written: object, on_disk: str) -> None:
    assert ImageNames(open_images(folder)).resolve(written) == on_disk


@pytest.mark.parametrize("written", ["d.jpg", "images/d.jpg", "other/sub/d.jpg", "13", "images", "sub", "112.jpg"])
def test_names_that_no_image_has(folder: Path, written: str) -> None:
    with pytest.raises(RowError, match="no image"):
        ImageNames(open_images(folder)).resolve(written)


def test_a_name_that_several_images_have(folder: Path) -> None:
    with pytest.raises(RowError, match=r"several images could be 'e': 'e\.jpg', 'e\.png'"):
        ImageNames(open_images(folder)).resolve("e")
    (folder / "012.jpg").write_bytes(b"")
    with pytest.raises(RowError, match="several images could be '12'"):
        ImageNames(open_images(folder)).resolve("12")


def test_a_name_on_disk_that_is_not_utf8_is_to_be_changed(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/M\xfcller.jpg")).write_bytes(b"")
    with pytest.raises(RowError, match=r"the name of the image 'müller\.JPG' is not UTF-8 on disk; rename the file"):
        ImageNames(open_images(folder)).resolve("müller.JPG")


def test_zeros_that_were_added_are_noted(folder: Path) -> None:
    names = ImageNames(open_images(folder))
    names.resolve("sub/d.jpg")
    assert names.notes() == []
    for written in ("12", "0099.jpg"):
        names.resolve(written)
    (note,) = names.notes()
    assert note.startswith("2 images found by leading zeros that were added or removed ('12' is '00012.jpg')")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("part1/a.jpg", "part1/a.jpg"),
        ("a.jpg", "part2/a.jpg"),
        ("b", "part1/b.jpg"),
        ("12.jpg", "part2/0012.jpg"),
        ("c.jpg", "part3/images/c.jpg"),
        ("images/c.jpg", "part3/images/c.jpg"),
        ("register/a.jpg", "part2/a.jpg"),
    ],
)
def test_names_are_looked_for_in_zip_files(tmp_path: Path, written: str, found: str) -> None:
    folder = tmp_path / "register"
    folder.mkdir()
    make_zip(folder / "part1.zip", {"a.jpg": b"", "b.jpg": b""})
    make_zip(folder / "part2.zip", {"a.jpg": b"", "0012.jpg": b""})
    make_zip(folder / "part3.zip", {"images/c.jpg": b"", "images/d.jpg": b""})
    names = ImageNames(open_images(folder))
    assert len(names) == 6
    assert names.resolve(written) == found
    with pytest.raises(RowError, match=r"no image 'e\.jpg' in the image folder"):
        names.resolve("e.jpg")


@pytest.mark.parametrize("written", ["a.jpg", "images/a.jpg", "A", "pictures/a.jpg"])
def test_the_only_folder_of_a_zip_file_may_be_left_out(tmp_path: Path, written: str) -> None:
    archive = make_zip(tmp_path / "Images.ZIP", {"pictures/a.jpg": b"", "pictures/sub/b.jpg": b""})
    assert ImageNames(open_images(archive)).resolve(written.replace("images", "Images")) == "pictures/a.jpg"


def test_names_of_images_that_are_not_there(tmp_path: Path) -> None:
    names = NamesAsWritten(open_images(tmp_path))
    assert names.resolve("./sub\\x.jpg") == "sub/x.jpg"
    assert names.notes() == []
    with pytest.raises(RowError, match="leads outside"):
        names.resolve("../x.jpg")
