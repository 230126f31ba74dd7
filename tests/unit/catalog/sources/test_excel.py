from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

from logo_similarity.catalog.sources import excel, open_source
from logo_similarity.catalog.sources.excel import ExcelTable
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record


def workbook(folder: Path, **sheets: Sequence[Sequence[object]]) -> Path:
    book = openpyxl.Workbook(write_only=True)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / "marks.xlsx")
    return folder / "marks.xlsx"


def test_a_workbook_is_a_table(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    rows: list[list[object]] = [
        [],
        ["Application Number", "Picture", "Filing Date", "Nice", "Vienna", "Colour", None],
        [1175970, "a.jpg", dt.datetime(2019, 12, 31), 9, "26.4.1", "red", None],  # noqa: DTZ001 - as Excel stores it
        [None, None, None, None, None, None, None],
        ["0012", "b", 43830, "9, 35", 270501, None],
    ]
    first, second = open_source(workbook(tmp_path, Empty=[], Marks=rows)).rows()
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert (first.logo_id, first.where, first.nice_classes, first.extra) == (
        "1175970",
        "marks.xlsx:3",
        (9,),
        {"Colour": "red"},
    )
    assert (second.logo_id, second.where, second.filename) == ("0012", "marks.xlsx:5", "b.jpg")
    assert first.application_date == second.application_date == dt.date(2019, 12, 31)
    assert (first.vienna_codes, second.vienna_codes) == (("26.04.01",), ("27.05.01",))


def test_the_sheet_is_the_first_with_rows_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path, Cover=[], One=[["filename"], ["a.jpg"]], Two=[["file", "n"], ["b.jpg", 1]])
    assert ExcelTable(path).columns == ["filename"]
    assert ExcelTable(path).facts == {"sheet": "One", "other sheets": "Cover, Two"}
    assert list(ExcelTable(path, "Two").rows()) == [("marks.xlsx:2", {"file": "b.jpg", "n": 1})]
    with pytest.raises(SourceError, match="has no sheet 'Three'; its sheets are 'Cover', 'One', 'Two'"):
        ExcelTable(path, "Three")
    with pytest.raises(SourceError, match="has no rows in the sheet 'Cover'"):
        ExcelTable(path, "Cover")


def test_a_stray_cell_far_away_takes_no_memory(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.create_sheet("Marks", 0)
    sheet["A1"], sheet["A2"], sheet["XFD4"] = "filename", "a.jpg", "x"
    book.save(tmp_path / "marks.xlsx")
    rows = list(ExcelTable(tmp_path / "marks.xlsx").rows())
    assert [where for where, _ in rows] == ["marks.xlsx:2", "marks.xlsx:4"]


def test_a_sheet_that_states_too_few_rows_is_read_to_its_end(tmp_path: Path) -> None:
    with zipfile.ZipFile(workbook(tmp_path, One=[["filename", "n"], ["a.jpg", 1], ["b.jpg", 2]])) as good:
        parts = {name: good.read(name) for name in good.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b"<sheetData>", b'<dimension ref="A1"/><sheetData>')
    with zipfile.ZipFile(tmp_path / "short.xlsx", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert [row for _, row in ExcelTable(tmp_path / "short.xlsx").rows()] == [
        {"filename": "a.jpg", "n": 1},
        {"filename": "b.jpg", "n": 2},
    ]


@pytest.mark.parametrize("content", [b"", b"PK", b"\xd0\xcf\x11\xe0" * 200])
def test_what_is_no_workbook(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "marks.xlsx").write_bytes(content)
    with pytest.raises(SourceError, match="is not an Excel workbook"):
        ExcelTable(tmp_path / "marks.xlsx")


def test_a_damaged_part_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(workbook(tmp_path, One=[["filename"], ["a.jpg"]])) as good:
        parts = {name: good.read(name) for name in good.namelist()}
    for name in parts:
        with zipfile.ZipFile(tmp_path / "bad.xlsx", "w") as archive:
            for other, content in parts.items():
                archive.writestr(other, content[:20] if other == name else content)
        try:
            list(ExcelTable(tmp_path / "bad.xlsx").rows())
        except SourceError as error:
            assert "bad.xlsx" in str(error)  # noqa: PT017 - some parts are not needed


@pytest.mark.parametrize("limit", ["MOST_SHARED_BYTES", "MOST_PART_BYTES"])
def test_parts_that_would_fill_the_memory(tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path, One=[["filename"], ["a.jpg"]])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/sharedStrings.xml", "<sst/>")
    monkeypatch.setattr(excel, limit, 1)
    with pytest.raises(SourceError, match="unpacks to too much data"):
        ExcelTable(path)


def test_a_sheet_that_inflates_without_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path, One=[["filename"], *[["a" * 1_000]] * 10_000])
    monkeypatch.setattr(excel, "INFLATED_BYTES", 1)
    monkeypatch.setattr(excel, "MOST_INFLATION", 2)
    with pytest.raises(SourceError, match=r"unpacks to too much data \(xl/worksheets/sheet1.xml\)"):
        ExcelTable(path)
