from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from logo_similarity.cli import app
from logo_similarity.errors import SourceError
from tests.samples import SAMPLES
from tests.zips import make_zip


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A German table of four rows, one without an image, beside its pictures in a folder of another name."""
    (tmp_path / "bilder").mkdir()
    for name, picture in zip(("1.jpg", "2.jpg"), sorted((SAMPLES / "images").iterdir()), strict=False):
        (tmp_path / "bilder" / name).write_bytes(picture.read_bytes())
    rows = ["Nummer;Bild;Inhaber;Anmeldetag;Farbe", "A1;1;Müller;31/12/2019;rot", "A1;1;Söhne;31/12/2019;rot"]
    rows += ["A2;2.jpg;;01/02/2019;", "A3;3.jpg;;;"]
    (tmp_path / "marken.csv").write_text("\n".join(rows), encoding="cp1252")
    return tmp_path / "marken.csv"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_what_is_read_is_shown(marks: Path) -> None:
    done = run("inspect", marks, "--images", marks.parent / "bilder")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    for line in (
        "kind: table", "encoding: cp1252", "separator: semicolon", "date_order: day-month",
        "Bild\tfilename\ta usual name", "Farbe\t\tkept in metadata.extra", "field\tmarken.csv:2\tmarken.csv:4",
        "company\tMüller; Söhne\t", "application_date\t2019-12-31\t2019-02-01",
        "note: 1 logo with several rows, which were merged", "2 records to index, 1 rejected",
        "  1: no image '3.jpg' in the image folder (marken.csv:5)",
    ):  # fmt: skip
        assert line in lines


def test_the_same_as_json(marks: Path) -> None:
    shown = json.loads(run("inspect", marks, "--images", marks.parent / "bilder", "--json").stdout)
    assert (shown["kind"], shown["facts"]["encoding"], shown["records"], shown["rejected"]) == ("table", "cp1252", 2, 1)
    assert shown["columns"][1] == {"name": "Bild", "fields": ["filename"], "reason": "a usual name"}
    assert [(logo["logo_id"], logo["filename"]) for logo in shown["examples"]] == [("A1", "1.jpg"), ("A2", "2.jpg")]
    assert shown["rejections"][0]["count"] == 1
    assert shown["images"] == str(marks.parent / "bilder")


def test_a_mapping_is_written_once_and_can_be_used(marks: Path) -> None:
    mapping = marks.parent / "mapping.toml"
    images = marks.parent / "bilder"
    first = run("inspect", marks, "--images", images, "--write-mapping", mapping)
    assert run("inspect", marks, "--images", images, "--mapping", mapping).stdout == first.stdout.replace(
        "a usual name", "mapped"
    )
    with pytest.raises(FileExistsError):
        run("inspect", marks, "--images", images, "--write-mapping", mapping)


def test_columns_can_be_mapped_without_a_file(marks: Path) -> None:
    done = run("inspect", marks, "--images", marks.parent / "bilder", "--map", "text=Farbe", "--map", "status=Inhaber")
    assert "Farbe\ttext\tmapped" in done.stdout
    assert "Inhaber\tstatus\tmapped" in done.stdout


def test_forgotten_images_are_said(marks: Path) -> None:
    lines = run("inspect", marks).stdout.splitlines()
    assert lines[-3:] == [
        "0 records to index, 4 rejected",
        "  4: no image '1' in the image folder (marken.csv:2)",
        f"the images were looked for in {marks.parent}; if they are elsewhere, name their folder or ZIP file with --images",
    ]


def test_images_in_zip_files_are_said(marks: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    make_zip(
        archive, {path.name: path.read_bytes() for path in (marks.parent / "bilder").iterdir()} | {"../x.jpg": b""}
    )
    output = run("inspect", str(marks), "--images", str(archive)).stdout
    assert f"images: {archive}" in output
    assert f"run logo-similarity images upload {archive}" in " ".join(output.split())
    reading = json.loads(run("inspect", str(marks), "--images", str(archive), "--json").stdout)
    folder = json.loads(run("inspect", str(marks), "--images", str(marks.parent / "bilder"), "--json").stdout)
    assert reading["records"] == folder["records"] > 0
    assert reading["rejections"] == folder["rejections"]
    assert "its name leads out of the ZIP file" in reading["notes"][-1]


def test_every_kind_of_source_can_be_inspected(marks: Path) -> None:
    assert "kind: folder" in run("inspect", marks.parent / "bilder").stdout
    (marks.parent / "results.json").write_text('[{"file": "bilder/1.jpg"}]')
    assert "files: results.json" in run("inspect", marks.parent).stdout
    with pytest.raises(SourceError, match="read as folder, which has no mapping"):
        run("inspect", marks.parent / "bilder", "--write-mapping", marks.parent / "new.toml")


def test_a_build_says_how_it_read_the_table_and_why_rows_were_rejected(marks: Path) -> None:
    options = ("--images", marks.parent / "bilder", "--out", marks.parent / "catalogs", "--self-floor", 0)
    lines = run("build", marks, *options).stdout.splitlines()
    assert "read as table: encoding cp1252, separator semicolon, date_order day-month" in lines
    assert (
        "columns: logo_id from 'Nummer' (a usual name), filename from 'Bild' (a usual name), company from 'Inhaber' (a usual "
        "name), application_date from 'Anmeldetag' (a usual name)" in lines
    )
    assert "columns kept in metadata.extra: 'Farbe'" in lines
    assert "note: 1 logo with several rows, which were merged" in lines
    assert "  1: no image '3.jpg' in the image folder (marken.csv:5)" in lines
    shown = json.loads(run("build", marks, *options, "--json").stdout)
    assert (shown["reused"], shown["reading"]["kind"], shown["rejections"][0]["count"]) == (True, "table", 1)
    assert json.loads(run("build", marks, *options, "--map", "text=Farbe", "--json").stdout)["reused"] is False
