from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from logo_similarity.catalog.sources import encoding as module
from logo_similarity.catalog.sources.encoding import find_encoding
from logo_similarity.errors import SourceError

GERMAN = "filename,text\na.jpg,Müller Söhne\nb.jpg,Käse und Straße\n"
POLISH = "plik,tekst\na.jpg,Zażółć gęślą jaźń\nb.jpg,Łódź Kraków\n"
RUSSIAN = "файл,текст\na.jpg,Московская фабрика\nb.jpg,Заря и вода\n"


def written(folder: Path, content: bytes) -> Path:
    (folder / "marks.csv").write_bytes(content)
    return folder / "marks.csv"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "utf-8"),
        (b"filename,text\n", "utf-8"),
        (GERMAN.encode(), "utf-8"),
        (codecs.BOM_UTF8 + GERMAN.encode(), "utf-8-sig"),
        (GERMAN.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + GERMAN.encode("utf-16-be"), "utf-16"),
        (GERMAN.encode("utf-16-le"), "utf-16-le"),
        (GERMAN.encode("utf-16-be"), "utf-16-be"),
        (GERMAN.encode("utf-32"), "utf-32"),
        (GERMAN.encode("cp1252"), "cp1252"),
        ("Société générale\nL\u2019été à la plage \u2013 5 €\n".encode("cp1252"), "cp1252"),
        (b"filename,text\na.jpg,caf\xe9\n", "cp1252"),
        ("filename;text\na.jpg;«Été» d'août\n".encode("cp1252"), "cp1252"),
        ("filename;text\na.jpg;Diseño español del año\n".encode("cp1252"), "cp1252"),
        ("filename;text\na.jpg;São Paulo, informações\n".encode("cp1252"), "cp1252"),
        ("filename;text\na.jpg;Smørrebrød på Ærø\n".encode("cp1252"), "cp1252"),
    ],
)
def test_encodings_that_are_certain(tmp_path: Path, content: bytes, encoding: str) -> None:
    assert find_encoding(written(tmp_path, content)) == encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        ("filename,text\na.jpg,Žižkov příliš žluťoučký kůň\n" * 9, "cp1250"),
        ("filename,text\na.jpg,Győr árvíztűrő tükörfúrógép\n", "cp1250"),
    ],
)
def test_another_encoding_is_guessed_and_asked_for(tmp_path: Path, text: str, encoding: str) -> None:
    path = written(tmp_path, text.encode(encoding))
    with pytest.raises(SourceError) as caught:
        find_encoding(path)
    assert (
        f"not UTF-8, and the encoding is not certain; probably {encoding}: name it with --encoding {encoding}"
        in str(caught.value)
    )
    assert find_encoding(path, encoding) == encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp437"),
        (GERMAN, "mac_roman"),
        ("a.jpg,İstanbul şeker çağdaş\n", "cp1254"),
        ("a.jpg,שלום לכם\n", "cp1255"),
    ],
)
def test_an_encoding_that_resembles_windows_1252_is_asked_for(tmp_path: Path, text: str, encoding: str) -> None:
    with pytest.raises(SourceError, match="name it with --encoding"):
        find_encoding(written(tmp_path, text.encode(encoding)))


def test_a_few_names_from_other_countries_are_no_reason_for_doubt(tmp_path: Path) -> None:
    german = "a.jpg,Müller Söhne Käse\n".encode("cp1252")
    assert find_encoding(written(tmp_path, b"b.jpg,\x8akoda\n" + german * 30)) == "cp1252"
    with pytest.raises(SourceError, match="the encoding is not certain"):
        find_encoding(written(tmp_path, b"b.jpg,\x8akoda\n" + german * 3))


@pytest.mark.parametrize("chunk", [1, 2, 7, 15, 1_000])
def test_the_line_that_is_not_utf8_is_named(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    path = written(tmp_path, b"one\ntwo\nthree\n" + "ęóąść\n".encode("cp1250") * 9)
    with pytest.raises(SourceError, match="line 4 is not UTF-8, and the encoding is not certain"):
        find_encoding(path)


@pytest.mark.parametrize("chunk", [2, 7, 1_000])
@pytest.mark.parametrize("end", [b"caf\xe9\n", "ü".encode()[:1]])
def test_damage_in_a_file_of_utf8_is_no_other_encoding(
    tmp_path: Path, chunk: int, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    path = written(tmp_path, "one\nzwei ü\n".encode() + end)
    with pytest.raises(SourceError, match=r"line 3 is not UTF-8, but lines before it are; .* --encoding utf-8"):
        find_encoding(path)
    assert find_encoding(path, "utf-8") == "utf-8"


def test_the_mark_of_a_named_encoding_is_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, codecs.BOM_UTF8 + b"filename\n")
    assert find_encoding(path, "UTF8") == "utf-8-sig"
    assert find_encoding(path, "cp1252") == "cp1252"


@pytest.mark.parametrize("name", ["latin-99", "hex", "rot13", "", "\0"])
def test_an_encoding_that_does_not_exist(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="unknown encoding"):
        find_encoding(written(tmp_path, b"x"), name)
