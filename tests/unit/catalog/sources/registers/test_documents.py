from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from logo_similarity.catalog.sources.registers import documents
from logo_similarity.catalog.sources.registers.documents import DEEPEST_NESTING, HEAD_BYTES, PIECE_BYTES, read_documents
from logo_similarity.errors import SourceError
from tests.registers import zip_of


def contents(path: Path) -> dict[str, bytes]:
    return {document.name: b"".join(document.pieces()) for document in read_documents(path)}


def write(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_every_kind_of_container(tmp_path: Path) -> None:
    inner = zip_of(d__xml="<d/>", e__xml__gz=gzip.compress(b"<e/>"), logo__png="<svg/>", notes__txt="x")
    write(
        tmp_path,
        a__xml=b"\xef\xbb\xbf<a/>",
        sub___b__json=b" {}",
        c__dat=gzip.compress(b"<c/>"),
        z__bin=zip_of(in___inner__zip=inner, f__xml=b"<f/>"),
        image__jpg=b"<x/>",
        notes__txt=b"hello",
        empty__xml=b"",
    )
    assert contents(tmp_path) == {
        "a.xml": b"\xef\xbb\xbf<a/>",
        "c.dat": b"<c/>",
        "sub/b.json": b" {}",
        "z.bin/f.xml": b"<f/>",
        "z.bin/in/inner.zip/d.xml": b"<d/>",
        "z.bin/in/inner.zip/e.xml.gz": b"<e/>",
    }
    assert list(contents(tmp_path / "c.dat")) == ["c.dat"]


def test_a_large_document_comes_in_pieces(tmp_path: Path) -> None:
    content = b"<" + bytes(range(256)) * 9_000
    write(tmp_path, a__xml=content)
    (pieces,) = (list(document.pieces()) for document in read_documents(tmp_path / "a.xml"))
    assert b"".join(pieces) == content
    assert [len(piece) for piece in pieces] == [
        HEAD_BYTES,
        PIECE_BYTES,
        PIECE_BYTES,
        len(content) - HEAD_BYTES - 2 * PIECE_BYTES,
    ]


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    write(tmp_path, b___1__xml=b"<x/>", a__xml=b"<x/>", c__zip=zip_of(y__xml="<y/>", x__xml="<x/>"))
    assert list(contents(tmp_path)) == ["a.xml", "b/1.xml", "c.zip/x.xml", "c.zip/y.xml"]


@pytest.mark.parametrize("cut", [30, 200, -30])
def test_a_damaged_zip_file_stops_the_reading(tmp_path: Path, cut: int) -> None:
    write(tmp_path, a__zip=zip_of(a__xml=b"<a>" + bytes(range(256)) * 100)[:cut])
    with pytest.raises(SourceError, match=r"a\.zip.*cannot be read.*fetch the file again"):
        contents(tmp_path)


def test_a_damaged_member_stops_the_reading(tmp_path: Path) -> None:
    content = bytearray(zip_of(a__xml=b"<a>" + bytes(range(256)) * 100))
    content[60:90] = bytes(30)
    write(tmp_path, a__zip=bytes(content))
    with pytest.raises(SourceError, match=r"a\.zip/a\.xml: cannot be read"):
        contents(tmp_path)


def test_a_gzip_file_that_breaks_off_stops_the_reading(tmp_path: Path) -> None:
    write(tmp_path, a__gz=gzip.compress(b"<a>" + bytes(range(256)) * 1_000)[:-20])
    with pytest.raises(SourceError, match=r"a\.gz: cannot be read"):
        contents(tmp_path)


def test_an_encrypted_member_stops_the_reading(tmp_path: Path) -> None:
    content = bytearray(zip_of(a__xml="<a/>"))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    write(tmp_path, a__zip=bytes(content))
    with pytest.raises(SourceError, match=r"a\.zip/a\.xml: cannot be read \(.*encrypted"):
        contents(tmp_path)


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "EXPANDED_BYTES", 1_000_000)
    bomb = b"<" + bytes(5_000_000)
    write(tmp_path / "gzip", a__gz=gzip.compress(bomb))
    write(tmp_path / "zip", a__zip=zip_of(a__xml=bomb))
    for name in ("gzip", "zip"):
        with pytest.raises(SourceError, match="expands to more than 200 times its size; remove the file"):
            contents(tmp_path / name)
    monkeypatch.setattr(documents, "EXPANDED_BYTES", 10_000_000)
    assert contents(tmp_path / "zip") == {"a.zip/a.xml": bomb}


def test_the_nesting_is_limited(tmp_path: Path) -> None:
    content = zip_of(a__xml="<a/>")
    for _ in range(DEEPEST_NESTING - 1):
        content = zip_of(inner__zip=content)
    write(tmp_path, a__zip=content)
    assert len(contents(tmp_path)) == 1
    write(tmp_path, a__zip=zip_of(inner__zip=content))
    with pytest.raises(SourceError, match="is inside 3 other ZIP files; unpack the outer ones"):
        contents(tmp_path)


def test_names_that_lead_outside_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.xml", "<a/>")
    assert list(contents(path)) == ["a.zip/../../evil.xml"]
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]
