from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.table import TABLES
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from logo_similarity.image.formats import EXTENSIONS
from tests.zips import make_zip


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """A folder that could be read as each kind."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    (tmp_path / "output_1996.json").write_text('[{"file": "a.jpg"}]')
    (tmp_path / "marks.csv").write_text("filename\na.jpg\n")
    return tmp_path


def test_what_has_metadata_is_read_with_it(everything: Path) -> None:
    assert open_source(everything).kind == "l3d"
    assert open_source(everything, kind="folder").kind == "folder"
    assert open_source(everything / "images").kind == "folder"
    assert open_source(everything / "marks.csv").kind == "table"


@pytest.mark.parametrize("suffix", TABLES)
def test_every_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"marks{suffix.upper()}"
    path.write_bytes(b"")
    assert open_source(path).kind == "table"


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_image(tmp_path: Path, extension: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f"a{extension.upper()}").write_bytes(b"")
    assert open_source(tmp_path).kind == "folder"


@pytest.mark.parametrize("name", ["empty", "notes.doc"])
def test_what_was_looked_for_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: not recognised as a source")
    assert ("the folder contains neither images nor metadata" in message) == (name == "empty")
    for expected in ("results.json", "output_<year>.json", *TABLES, *EXTENSIONS):
        assert expected in message


def test_images_elsewhere(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for path, kind in ((everything, "l3d"), (everything / "marks.csv", "table"), (everything, "folder")):
        assert str(open_source(path, kind=kind, images=other).images) == str(other)


def test_a_table_in_a_zip_file_is_to_be_unpacked(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "all.zip", {"register/marks.csv": b"", "register/a.jpg": b""})
    message = r"contains a table \(register/marks\.csv\).*unpack the table, and name the ZIP file with --images"
    with pytest.raises(SourceError, match=message):
        open_source(archive)
    assert open_source(archive, kind="folder").kind == "folder"
    make_zip(archive, {"register/notes.txt": b"", "register/a.jpg": b""})
    assert open_source(archive).kind == "folder"


@pytest.mark.parametrize(
    ("kind", "message"),
    [("l3d", "neither"), ("table", "contains no table, or read the images"), ("sql", "unknown kind of source 'sql'")],
)
def test_a_kind_that_it_is_not(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(tmp_path, kind=kind)


def test_a_mapping_is_for_tables(everything: Path) -> None:
    with pytest.raises(SourceError, match="read as l3d; leave out --mapping, for tables only"):
        open_source(everything, mapping=everything / "mapping.toml")


def test_a_mapping_is_one_of_the_files(everything: Path) -> None:
    mapping = everything / "mapping.toml"
    mapping.write_text('[columns]\nfilename = "filename"\n')
    assert list(open_source(everything / "marks.csv", mapping=mapping).files()) == [everything / "marks.csv", mapping]
    assert list(open_source(everything / "images").files()) == []


def test_a_table_beside_the_pictures_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "marks.CSV").write_text("filename,text\na.jpg,x\n")
    (tmp_path / "~$marks.xlsx").write_bytes(b"lock")
    source = open_source(tmp_path)
    assert (source.kind, list(source.files())) == ("table", [tmp_path / "marks.CSV"])
    (record,) = source.rows()
    assert isinstance(record, Record)
    assert record.text == "x"
    assert open_source(tmp_path, kind="folder").kind == "folder"


def test_of_several_tables_one_is_asked_for(tmp_path: Path) -> None:
    for name in ("a.jpg", "marks.csv", "old.xlsx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        SourceError, match=r"contains several tables \(marks\.csv, old\.xlsx\); name one of them, or .* --kind folder"
    ):
        open_source(tmp_path)


def test_a_folder_of_images_without_extensions(tmp_path: Path) -> None:
    (tmp_path / "1234").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert open_source(tmp_path).kind == "folder"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("marks.xls", "save it as .xlsx or CSV"), ("all.zip", "is not a ZIP file")],
)
def test_files_that_need_a_step_before(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=remedy):
        open_source(tmp_path / name, kind="table" if name == "marks.xls" else None)
