from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from logo_similarity.cli import app
from tests.importing import Desk
from tests.registers import case_file, uspto
from tests.zips import make_zip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    desk = Desk(tmp_path)
    desk.build(desk.record("US-00000001", 1, 1, text="one"), desk.record("US-00000002", 1, 2, text="two"))
    header = "<mark-drawing-code>3000</mark-drawing-code><mark-identification>{}</mark-identification>"
    changes = (("00000002", "changed"), ("00000003", "new"), ("00000004", "no image"))
    files = [case_file(serial, header=header.format(text), date="20240301") for serial, text in changes]
    (tmp_path / "daily.xml").write_text(uspto(*files, "<case-file><serial-number>x</serial-number></case-file>"))
    desk.image("00000003.jpg", 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGO_CATALOGS", "catalogs")
    monkeypatch.delenv("LOGO_IMAGES_DIR", raising=False)
    return tmp_path


def run(*words: str) -> Result:
    outcome = CliRunner().invoke(app, ["import", "daily.xml", "--images", "images", *words])
    assert outcome.exit_code == 0, outcome.output
    return outcome


def test_changes_are_applied_and_summed_up(folder: Path) -> None:
    dry = run("--store", "store", "--dry-run").output
    assert "1 added (US-00000003)" in dry
    assert "dry run" in dry
    printed = run("--store", "store").output
    assert "1 changed (US-00000002)" in printed
    assert "1 left out, without an image (US-00000004)" in printed
    assert "rejected: 1: the serial number 'x'" in printed
    assert "is live: 3 logos" in printed
    assert len([path for path in (folder / "store").rglob("*") if path.is_file()]) == 3
    assert "nothing to change" in run("--store", "store").output


def test_images_in_zip_files_are_imported_and_what_is_not_read_is_said(folder: Path) -> None:
    picture = (folder / "images" / "00000003.jpg").read_bytes()
    make_zip(folder / "hrs.zip", {"00000003.jpg": picture, "more.zip": b""})
    shutil.rmtree(folder / "images")
    outcome = CliRunner().invoke(app, ["import", "daily.xml", "--images", "hrs.zip", "--store", "store"])
    assert outcome.exit_code == 0, outcome.output
    assert "1 added (US-00000003)" in outcome.output
    assert "note: 1 entry of ZIP files not read ('more.zip' of 'hrs.zip': ZIP files inside" in outcome.output
    assert [path.read_bytes() for path in (folder / "store").glob("??/*")] == [picture]


def test_a_zip_file_is_no_image_store(folder: Path) -> None:
    make_zip(folder / "store.zip", {})
    outcome = CliRunner().invoke(app, ["import", "daily.xml", "--store", "store.zip"])
    assert "images cannot be served from a ZIP file" in str(outcome.exception)


def test_json(folder: Path) -> None:
    summary = json.loads(run("--store", "store", "--json").stdout)
    assert (summary["added"], summary["changed"], summary["images_missing"], summary["rejected"]) == (1, 1, 1, 1)
    assert summary["published"]
    assert summary["version"] == (folder / "catalogs" / "CURRENT").read_text().strip()


def test_without_an_image_store_nothing_is_imported(folder: Path) -> None:
    outcome = CliRunner().invoke(app, ["import", "daily.xml", "--images", "images"])
    assert outcome.exit_code != 0
    assert "no image store for new images" in str(outcome.exception or outcome.output)


def test_a_table_without_images_enriches_the_catalog(folder: Path) -> None:
    (folder / "owners.csv").write_text("id;owner\nUS-00000002;Example Ltd\nUS-77777777;Other Ltd\n")
    outcome = CliRunner().invoke(app, ["import", "owners.csv", "--enrich"])
    assert outcome.exit_code == 0, outcome.output
    assert "1 changed (US-00000002)" in outcome.output
    assert "1 not in the catalog" in outcome.output
