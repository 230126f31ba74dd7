from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from logo_similarity.errors import BadImageError, ImageTooLargeError, SourceError
from logo_similarity.image.files import file_names, find_images, image_notes, open_images, unread_notes
from logo_similarity.image.folder import FolderEntry
from tests.zips import make_zip

MOST = 1_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, and with ZIP files at its top and below it."""
    make_zip(tmp_path / "b.zip", {"1.jpg": b"b1", "sub/2.jpg": b"b2"})
    (tmp_path / "below").mkdir()
    make_zip(tmp_path / "below" / "C.ZIP", {"1.jpg": b"c1"})
    (tmp_path / "a.jpg").write_bytes(b"a")
    return tmp_path


def test_the_files_of_a_zip_file_are_in_a_folder_of_its_name(folder: Path) -> None:
    images = open_images(folder)
    assert list(file_names(images)) == ["a.jpg", "b/1.jpg", "b/sub/2.jpg", "below/C/1.jpg"]
    assert [images.read(name, MOST) for name in file_names(images)] == [b"a", b"b1", b"b2", b"c1"]
    assert [images.size(name) for name in ("a.jpg", "b/1.jpg", "b/3.jpg", "c/1.jpg")] == [1, 2, None, None]
    assert [images.start(name, 1) for name in ("a.jpg", "below/C/1.jpg")] == [b"a", b"c"]
    assert images.roots() == ("b", "below/C")
    assert [archive.path.name for archive in images.archives()] == ["b.zip", "C.ZIP"]


def test_a_file_goes_before_one_in_a_zip_file(folder: Path) -> None:
    (folder / "b").mkdir()
    (folder / "b" / "1.jpg").write_bytes(b"unpacked")
    images = open_images(folder)
    assert sorted(file_names(images)) == ["a.jpg", "b/1.jpg", "b/sub/2.jpg", "below/C/1.jpg"]
    assert [images.read(name, MOST) for name in ("b/1.jpg", "b/sub/2.jpg")] == [b"unpacked", b"b2"]


def test_names_are_not_needed_before_files_are_read(folder: Path) -> None:
    assert open_images(folder).read("below/C/1.jpg", MOST) == b"c1"


@pytest.mark.parametrize("name", ["none.jpg", "b/none.jpg", "none/1.jpg", "a.jpg/x.jpg"])
def test_a_file_that_does_not_exist_cannot_be_read(folder: Path, name: str) -> None:
    images = open_images(folder)
    for read in (images.read, images.start):
        with pytest.raises(BadImageError, match=r"the file cannot be read: (No such file|Not a directory)"):
            read(name, MOST)
    assert images.size(name) is None


def test_a_file_over_the_limit_is_not_read(folder: Path) -> None:
    images = open_images(folder)
    for name in ("a.jpg", "b/1.jpg"):
        with pytest.raises(ImageTooLargeError, match="more than 0 bytes"):
            images.read(name, 0)


def test_two_zip_files_that_differ_in_case_are_not_both_read(folder: Path) -> None:
    make_zip(folder / "b.ZIP", {"3.jpg": b"3"})
    entries = [entry for entry in open_images(folder).entries() if entry.problem is not None]
    assert entries == [FolderEntry("b.zip", "its name differs from 'b.ZIP' in case only; rename it")]


def test_a_broken_zip_file_in_a_folder_is_named(folder: Path) -> None:
    (folder / "below" / "C.ZIP").write_bytes(b"half a file")
    reason = "it is not a ZIP file, or its end is missing; fetch it again; if it has no images, move it elsewhere"
    images = open_images(folder)
    assert FolderEntry("below/C.ZIP", reason, unreadable=True) in list(images.entries())
    with pytest.raises(SourceError) as caught:
        list(file_names(images))
    assert str(caught.value) == f"{folder / 'below' / 'C.ZIP'}: cannot be read ({reason})"
    assert images.read("b/1.jpg", MOST) == b"b1"


def test_entries_that_are_not_read_are_named(folder: Path) -> None:
    make_zip(folder / "b.zip", {"1.jpg": b"1", "more.zip": b"", **{f"../{number}.jpg": b"" for number in range(3)}})
    images = open_images(folder)
    assert "b/more.zip" in [entry.name for entry in images.entries() if entry.problem]
    (to_show,), (unread,) = image_notes(images), unread_notes(images)
    assert to_show == (
        f"a service cannot show images from ZIP files: run logo-similarity images upload {folder}, or unpack each ZIP "
        "file into a folder of its name"
    )
    leads_out = "of 'b.zip': its name leads out of the ZIP file"
    assert unread == (
        "4 entries of ZIP files not read ('more.zip' of 'b.zip': ZIP files inside ZIP files are not read; unpack the outer "
        f"one; '../0.jpg' {leads_out}; '../1.jpg' {leads_out}; ...)"
    )
    assert image_notes(open_images(folder / "b.zip"))[0].endswith(f"{folder / 'b.zip'}, or unpack the file")


def test_without_images_in_zip_files_there_is_nothing_to_note(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    make_zip(tmp_path / "apc.zip", {"apc.xml": b"", "apc.zip": b""})
    assert image_notes(open_images(tmp_path)) == unread_notes(open_images(tmp_path)) == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["images/a.jpg", "images.zip", "marks-images.zip"], "images"),
        (["images.zip", "marks-images.zip"], "images.zip"),
        (["marks-images.zip", "a.jpg"], "marks-images.zip"),
        (["a.jpg", "hrs.zip"], ""),
    ],
)
@pytest.mark.parametrize("source", ["marks.csv", "marks.zip"])
def test_the_usual_places_of_images(tmp_path: Path, files: list[str], found: str, source: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_zip(tmp_path / name, {"a.jpg": b""})
    make_zip(tmp_path / source, {"marks.xml": b""})
    assert str(find_images(tmp_path / source)) == str(tmp_path / found)


def test_a_zip_file_of_records_may_have_the_images(tmp_path: Path) -> None:
    make_zip(tmp_path / "marks.zip", {"marks.xml": b"", "1.jpg": b""})
    assert str(find_images(tmp_path / "marks.zip")) == str(tmp_path / "marks.zip")


def test_images_beside_a_folder_of_records(tmp_path: Path) -> None:
    (tmp_path / "daily").mkdir()
    assert str(find_images(tmp_path / "daily")) == str(tmp_path / "daily")
    make_zip(tmp_path / "daily-images.zip", {"1.jpg": b""})
    assert str(find_images(tmp_path / "daily")) == str(tmp_path / "daily-images.zip")
    make_zip(tmp_path / "daily" / "images.zip", {"1.jpg": b""})
    assert str(find_images(tmp_path / "daily")) == str(tmp_path / "daily" / "images.zip")


def test_what_is_neither_a_folder_nor_a_zip_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SourceError, match=r"a\.jpg: neither a folder nor a ZIP file; name one with the images"):
        open_images(tmp_path / "a.jpg")
    with pytest.raises(SourceError, match="none: the image folder does not exist"):
        list(file_names(open_images(tmp_path / "none")))
    assert zipfile.is_zipfile(make_zip(tmp_path / "b.zip", {}))
    assert list(file_names(open_images(tmp_path / "b.zip"))) == []
