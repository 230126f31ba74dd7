from __future__ import annotations

import io
import multiprocessing
import os
import stat
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from logo_similarity.errors import BadImageError, ImageTooLargeError
from logo_similarity.image.folder import FolderEntry
from logo_similarity.image.zips import BrokenZipError, ZipImages
from tests.zips import make_zip

MOST = 1_000_000
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


def patch(path: Path, signature: bytes, offset: int, form: str, value: int) -> Path:
    """Change a number of the first record with this signature."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(signature) + offset, value)
    path.write_bytes(data)
    return path


def names(images: ZipImages) -> list[str]:
    return [entry.name for entry in images.entries() if entry.problem is None]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_are_read(tmp_path: Path, method: int) -> None:
    content = os.urandom(200_000) + b"x" * 200_000
    entries = {"b/c.jpg": content, "a.png": b"pixels", "empty.gif": b"", "grün.tif": b"tif"}
    images = ZipImages(make_zip(tmp_path / "a.zip", entries, method))
    assert names(images) == sorted(entries)
    assert {name: images.read(name, MOST) for name in entries} == entries
    assert [images.size(name) for name in ("b/c.jpg", "empty.gif", "none")] == [400_000, 0, None]
    assert images.start("b/c.jpg", 4_096) == content[:4_096]
    assert str(images) == str(tmp_path / "a.zip")


def test_folders_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    entries = {"a/": b"", ".hidden.jpg": b"", "__MACOSX/._a.jpg": b"", ".git/b.jpg": b"", "a/c.jpg": b"c"}
    assert list(ZipImages(make_zip(tmp_path / "a.zip", entries)).entries()) == [FolderEntry("a/c.jpg")]


def test_backslashes_and_dots_separate_folders(tmp_path: Path) -> None:
    images = ZipImages(make_zip(tmp_path / "a.zip", {"sub\\a.jpg": b"a", "./b//c.jpg": b"c", "empty\\": b""}))
    assert names(images) == ["b/c.jpg", "sub/a.jpg"]
    assert images.read("sub/a.jpg", MOST) == b"a"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../a.jpg", "its name leads out of the ZIP file"),
        ("a/../../b.jpg", "its name leads out of the ZIP file"),
        ("..\\a.jpg", "its name leads out of the ZIP file"),
        ("/etc/a.jpg", "its name leads out of the ZIP file"),
        ("\\\\server\\a.jpg", "its name leads out of the ZIP file"),
        ("C:\\a.jpg", "its name leads out of the ZIP file"),
        ("a\nb.jpg", "its name contains control characters"),
        ("inner.ZIP", "ZIP files inside ZIP files are not read; unpack the outer one"),
    ],
)
def test_a_name_that_is_not_safe_is_left_out_with_the_reason(tmp_path: Path, name: str, problem: str) -> None:
    images = ZipImages(make_zip(tmp_path / "a.zip", {name: b"x", "good.jpg": b"good"}))
    assert list(images.entries()) == [FolderEntry("good.jpg"), FolderEntry(name, problem)]
    assert images.size(name) is None
    with pytest.raises(BadImageError, match="there is no such entry"):
        images.read(name, MOST)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [(stat.S_IFLNK, "links in ZIP files are not followed"), (stat.S_IFIFO, "not a regular file"), (stat.S_IFREG, None)],
)
def test_links_and_devices_are_left_out(tmp_path: Path, kind: int, problem: str | None) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("a.jpg")
        entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    assert list(ZipImages(tmp_path / "a.zip").entries()) == [FolderEntry("a.jpg", problem)]


def test_several_entries_of_one_name_are_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("sub/a.jpg", b"1")
        archive.writestr("b.jpg", b"2")
        archive.writestr("sub\\a.jpg", b"3")
    images = ZipImages(tmp_path / "a.zip")
    assert names(images) == ["b.jpg", "sub/a.jpg"]
    assert images.read("b.jpg", MOST) == b"2"
    with pytest.raises(BadImageError, match=r"several entries have its name \(entry 'sub/a.jpg' of 'a.zip'\)"):
        images.read("sub/a.jpg", MOST)


@pytest.mark.parametrize(
    ("offset", "form", "value", "message"),
    [
        (8, "<H", 1, "it is encrypted"),
        (8, "<H", 0x2000, "it is encrypted"),
        (10, "<H", zipfile.ZIP_LZMA, "its compression is not supported"),
        (16, "<L", 7, "its checksum is wrong"),
        (24, "<L", 5, "it has more than the 5 bytes that the directory states"),
        (24, "<L", 9, "it has less than the 9 bytes that the directory states"),
        (42, "<L", 5, "its header is damaged"),
        (42, "<L", 0xFFFFFFF0, "its header is damaged"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_entry_that_lies_is_damaged(
    tmp_path: Path, method: int, offset: int, form: str, value: int, message: str
) -> None:
    path = patch(
        make_zip(tmp_path / "a.zip", {"a.jpg": b"content", "b.jpg": b"b"}, method), CENTRAL, offset, form, value
    )
    images = ZipImages(path)
    assert images.read("b.jpg", MOST) == b"b"
    with pytest.raises(BadImageError, match=f"the file cannot be read: {message}.*'a.jpg' of 'a.zip'"):
        images.read("a.jpg", MOST)


def test_data_that_cannot_be_expanded_is_damaged(tmp_path: Path) -> None:
    path = patch(make_zip(tmp_path / "a.zip", {"a.jpg": b"content" * 9}), LOCAL, 30 + len("a.jpg"), "<B", 0xFF)
    with pytest.raises(BadImageError, match=r"the file cannot be read: Error -3 .*'a.jpg'"):
        ZipImages(path).read("a.jpg", MOST)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    images = ZipImages(make_zip(tmp_path / "a.zip", {"a.jpg": b"x" * 1000}))
    assert images.read("a.jpg", 1000) == b"x" * 1000
    with pytest.raises(ImageTooLargeError, match=r"more than 999 bytes \(LOGO_MAX_UPLOAD_BYTES\)"):
        images.read("a.jpg", 999)


def test_a_bomb_expands_no_further_than_it_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": bytes(50_000_000)})
    lengths: list[int] = []
    monkeypatch.setattr(ZipImages, "_check", lambda _self, _place, content: lengths.append(len(content)))
    ZipImages(patch(path, CENTRAL, 24, "<L", 1000)).read("a.jpg", MOST)
    assert lengths == [1001]


def test_zip64(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(name.encode())
    data = bytearray((tmp_path / "a.zip").read_bytes())
    start = data.index(CENTRAL)
    # The numbers of the first entry move to its extra field, and those of the end to the end of ZIP64.
    size, packed, offset = struct.unpack_from("<2L", data, start + 20)[::-1] + struct.unpack_from(
        "<L", data, start + 42
    )
    struct.pack_into("<2L", data, start + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<L", data, start + 42, 0xFFFFFFFF)
    extra = struct.pack("<2H3Q", 1, 24, size, packed, offset)
    struct.pack_into("<H", data, start + 30, len(extra))
    data[start + 46 + 5 : start + 46 + 5] = extra
    end = data.index(END)
    *_, count, directory_size, directory, _ = struct.unpack_from("<4s4H2LH", data, end)
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, directory_size + len(extra), directory
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    struct.pack_into("<4H2L", data, end + 4, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    data[end:end] = end64 + locator
    (tmp_path / "a.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("a.jpg") == b"a.jpg"
    images = ZipImages(tmp_path / "a.zip")
    assert [images.read(name, MOST) for name in ("a.jpg", "b.jpg")] == [b"a.jpg", b"b.jpg"]
    patch(tmp_path / "a.zip", CENTRAL, 46 + 5 + 4, "<Q", 1 << 63)
    unread = FolderEntry("a.jpg", "its size or position is not valid")
    assert list(ZipImages(tmp_path / "a.zip").entries()) == [FolderEntry("b.jpg"), unread]


def test_more_entries_than_16_bits_count(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"{number:05}.jpg"), b"%d" % number)
    images = ZipImages(tmp_path / "a.zip")
    assert len(names(images)) == 66_000
    assert images.read("65999.jpg", MOST) == b"65999"


@pytest.mark.parametrize("junk", [b"", b"MZ an unpacking program"])
@pytest.mark.parametrize("comment", [b"", b"PK\x05\x06 a comment" * 100])
def test_data_around_the_zip_file_is_passed_over(tmp_path: Path, junk: bytes, comment: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"a")
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<H", whole, len(whole) - 2, len(comment))
    (tmp_path / "a.zip").write_bytes(junk + whole + comment)
    assert ZipImages(tmp_path / "a.zip").read("a.jpg", MOST) == b"a"


def break_off(data: bytes) -> bytes:
    return data[:-30]


def lose_the_start(data: bytes) -> bytes:
    return data[10:]


def lose_an_entry(data: bytes) -> bytes:
    return data.replace(CENTRAL, b"PK\x00\x00")


def split(data: bytes) -> bytes:
    end = data.index(END)
    return data[: end + 4] + b"\x01\x00" + data[end + 6 :]


def miscount(data: bytes) -> bytes:
    end = data.index(END)
    return data[: end + 10] + b"\x09\x00" + data[end + 12 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "it is not a ZIP file, or its end is missing"),
        (lambda _: b"no ZIP file", "it is not a ZIP file, or its end is missing"),
        (lambda _: END, "it is not a ZIP file, or its end is missing"),
        (break_off, "it is not a ZIP file, or its end is missing"),
        (lose_the_start, "its directory is damaged"),
        (lose_an_entry, "its directory is damaged after 0 entries"),
        (split, "it is one part of several; join them"),
        (miscount, "its directory has 1 of 9 entries"),
    ],
)
def test_a_broken_archive_is_named(tmp_path: Path, damage: object, reason: str) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"content"})
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(BrokenZipError) as caught:
        ZipImages(path)
    assert str(caught.value) == f"{path}: cannot be read ({reason}; fetch it again)"


def test_an_archive_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenZipError, match=r"none.zip: cannot be read \(No such file or directory\)"):
        ZipImages(tmp_path / "none.zip")


def test_any_damage_is_an_error_of_the_archive_or_of_the_entry(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "whole.zip", {"a.jpg": b"content" * 5, "b/c.jpg": b"c"}).read_bytes()
    path = tmp_path / "a.zip"
    for place in range(len(whole)):
        for value in (0, 1, 0x7F, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                images = ZipImages(path)
            except BrokenZipError:
                continue
            for name in ("a.jpg", "b/c.jpg"):
                try:
                    content = images.read(name, MOST)
                except BadImageError:
                    continue
                assert content == zipfile.ZipFile(io.BytesIO(whole)).read(name)


def test_an_archive_that_changed_is_not_read(tmp_path: Path) -> None:
    images = ZipImages(make_zip(tmp_path / "a.zip", {"a.jpg": b"content"}))
    make_zip(tmp_path / "a.zip", {"a.jpg": b"other content"})
    with pytest.raises(BadImageError, match=r"the ZIP file was changed while it was in use.*'a.jpg' of 'a.zip'"):
        images.read("a.jpg", MOST)
    (tmp_path / "a.zip").unlink()
    with pytest.raises(BadImageError, match="No such file or directory"):
        images.read("a.jpg", MOST)


def test_threads_and_processes_read_at_once(tmp_path: Path) -> None:
    contents = {f"{number}.jpg": os.urandom(20_000) + bytes(50_000) for number in range(40)}
    images = ZipImages(make_zip(tmp_path / "a.zip", contents))
    with ThreadPoolExecutor(8) as pool:
        assert dict(zip(contents, pool.map(lambda name: images.read(name, MOST), contents), strict=True)) == contents
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=read_all, args=(images, contents)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


def read_all(images: ZipImages, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        if images.read(name, MOST) != content:
            os._exit(1)
    os._exit(0)


@pytest.mark.parametrize(
    ("entries", "root"),
    [
        (["images/a.jpg", "images/b.jpg"], ("images",)),
        (["images/sub/a.jpg", "images/sub/b/c.jpg"], ("images/sub",)),
        (["images/a.jpg", "images2/b.jpg"], ()),
        (["a.jpg", "a/b.jpg"], ()),
        ([], ()),
    ],
)
def test_the_folder_that_has_all_files_is_a_root(tmp_path: Path, entries: list[str], root: tuple[str, ...]) -> None:
    assert ZipImages(make_zip(tmp_path / "a.zip", dict.fromkeys(entries, b""))).roots() == root
