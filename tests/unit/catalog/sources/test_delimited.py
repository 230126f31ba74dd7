from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.catalog.sources.delimited import LONGEST_CELL, DelimitedTable
from logo_similarity.catalog.sources.lines import LONGEST_LINE
from logo_similarity.catalog.sources.rows import RowError
from logo_similarity.errors import SourceError


def table(folder: Path, content: str | bytes) -> DelimitedTable:
    (folder / "marks.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return DelimitedTable(folder / "marks.csv")


def rows(read: DelimitedTable) -> list[list[object] | str]:
    """The cells of each row, or the reason why it cannot be read."""
    found = list(read.rows())
    assert len(found) == len(list(read.rows()))
    return [str(row) if isinstance(row, RowError) else list(row.values()) for _, row in found]


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        ("filename,text\na.jpg,x; y\n", "comma"),
        ("filename;text\na.jpg;x, y\n", "semicolon"),
        ("filename\ttext\na.jpg\tx, y\n", "tab"),
        ("filename|text\na.jpg|x, y\n", "bar"),
        ('"file, name";text\na.jpg;x, y\n', "semicolon"),
        ("file name, or path;text\na.jpg;x\nb.jpg;y\n", "semicolon"),
        ("sep=|\nfilename|text\na.jpg|x\n", "bar"),
        ('"sep=;"\r\nfilename;text\r\na.jpg;x\r\n', "semicolon"),
        ("filename\na.jpg\n", "comma"),
    ],
)
def test_the_separator_is_recognised(tmp_path: Path, content: str, separator: str) -> None:
    read = table(tmp_path, content)
    assert read.facts["separator"] == separator
    assert rows(read)[0][0] == "a.jpg"


def test_a_stated_separator_goes_before_a_recognised_one(tmp_path: Path) -> None:
    table(tmp_path, "a;b,c\n1;2,3\n")
    assert DelimitedTable(tmp_path / "marks.csv", separator=",").columns == ["a;b", "c"]
    assert DelimitedTable(tmp_path / "marks.csv", separator="~").facts["separator"] == "'~'"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_positions(tmp_path: Path, end: str) -> None:
    read = table(tmp_path, end.join(["", "filename,text", "", 'a.jpg,"x', 'y"', "b.jpg,z", ",", ""]))
    assert [(where, list(row.values())) for where, row in read.rows() if isinstance(row, dict)] == [
        ("marks.csv:4", ["a.jpg", f"x{end}y"]),
        ("marks.csv:6", ["b.jpg", "z"]),
    ]


def test_trailing_separators_and_short_rows(tmp_path: Path) -> None:
    read = table(tmp_path, "filename;text;n;;\na.jpg;x;1;;\nb.jpg\nc.jpg;;;;;;\nd.jpg;x;1;2\n")
    assert read.columns == ["filename", "text", "n"]
    assert rows(read) == [
        ["a.jpg", "x", "1"],
        ["b.jpg", None, None],
        ["c.jpg", "", ""],
        "the row has 4 cells, the header 3",
    ]


def test_columns_without_a_name_are_numbered(tmp_path: Path) -> None:
    assert table(tmp_path, ",filename\n0,a.jpg\n").columns == ["column 1", "filename"]


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"several columns are named 'text'; rename all but one of them"):
        table(tmp_path, "filename,text, text \n")


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ('a.jpg,"x, y"', ["a.jpg", "x, y"]),
        ('a.jpg, "x, y"', ["a.jpg", "x, y"]),
        ('"a.jpg","say ""hi"""', ["a.jpg", 'say "hi"']),
        ('a.jpg,"say \\"hi\\", ok"', ["a.jpg", 'say "hi", ok']),
        ('a.jpg,5" disc', ["a.jpg", '5" disc']),
        ('a.jpg,""', ["a.jpg", ""]),
        ("sub\\a.jpg,x", ["sub\\a.jpg", "x"]),
        ('"C:\\pics\\a.jpg",x', ["C:\\pics\\a.jpg", "x"]),
    ],
)
def test_quotes_in_all_forms(tmp_path: Path, line: str, cells: list[str]) -> None:
    assert rows(table(tmp_path, f"filename,text\n{line}\nb.jpg,z\n")) == [cells, ["b.jpg", "z"]]


def test_single_quotes(tmp_path: Path) -> None:
    assert rows(table(tmp_path, "'filename','text'\n'a.jpg','x, y'\n")) == [["a.jpg", "x, y"]]


OPEN = "line 2 cannot be read as a row: a quote is not closed"


@pytest.mark.parametrize("after", ['b.jpg,"z, w"\n', "b.jpg,z\n", '"b.jpg","z"\n'])
def test_an_open_quote_costs_its_own_row(tmp_path: Path, after: str) -> None:
    first, *others = rows(table(tmp_path, f'filename,text\na.jpg,"5 inch\n{after}{after}'))
    assert first == OPEN
    assert [cells[0] for cells in others] == ["b.jpg", "b.jpg"]


def test_an_open_quote_before_a_million_characters(tmp_path: Path) -> None:
    good = "b.jpg,zzzzzzzzzzzz\n" * (LONGEST_CELL // 15)
    read = rows(table(tmp_path, f'filename,text\na.jpg,"5 inch\n{good}c.jpg,"w, w"\n'))
    assert read[0] == OPEN
    assert len(read) == LONGEST_CELL // 15 + 2
    assert read[-1] == ["c.jpg", "w, w"]


def test_a_cell_of_very_many_lines_costs_its_own_row(tmp_path: Path) -> None:
    read = rows(table(tmp_path, 'filename,text\na.jpg,"' + "xy\n" * 600_000 + '"\n' + "b.jpg,z\n" * 5))
    assert read == ["lines 2 to 600002 are one cell that is longer than 1,000,000 characters", *[["b.jpg", "z"]] * 5]


def test_a_cell_that_ends_on_the_line_that_exceeds_the_limit(tmp_path: Path) -> None:
    read = rows(table(tmp_path, 'filename,text\na.jpg,"x\n' + "y" * LONGEST_CELL + '"\nb.jpg,z\n'))
    assert read == ["lines 2 to 3 are one cell that is longer than 1,000,000 characters", ["b.jpg", "z"]]


def test_a_line_of_any_length_costs_its_own_row(tmp_path: Path) -> None:
    assert rows(table(tmp_path, f"filename,text\na.jpg,{'x' * (LONGEST_LINE + 9)}\nb.jpg,z\n")) == [
        "line 2 is too long",
        ["b.jpg", "z"],
    ]


def test_utf16_of_excel(tmp_path: Path) -> None:
    read = table(tmp_path, "filename\ttext\r\na.jpg\tŽižkov\r\n".encode("utf-16"))
    assert rows(read) == [["a.jpg", "Žižkov"]]
    assert read.facts == {"encoding": "utf-16", "separator": "tab"}
