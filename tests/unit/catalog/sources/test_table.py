from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.delimited import LONGEST_CELL
from logo_similarity.catalog.sources.mapping import read_mapping
from logo_similarity.catalog.sources.table import MOST_COLUMNS, TableSource
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "one/1.jpg", "two/1.JPG"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def table(folder: Path, content: str | bytes, name: str = "marks.csv") -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def parquet(folder: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), folder / "marks.parquet")
    return folder / "marks.parquet"


def read(path: Path, mapping: Path | None = None) -> tuple[list[Record], list[Reject]]:
    rows = list(open_source(path, mapping=mapping).rows())
    return [row for row in rows if isinstance(row, Record)], [row for row in rows if isinstance(row, Reject)]


def test_without_an_id_it_is_the_path_without_its_extension(folder: Path) -> None:
    records, rejects = read(table(folder, "filename,logo_id\none/1.jpg,\ntwo/1.jpg,\na.jpg,7\n"))
    assert [(record.logo_id, record.filename) for record in records] == [
        ("one/1", "one/1.jpg"),
        ("two/1", "two/1.JPG"),
        ("7", "a.jpg"),
    ]
    assert rejects == []


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "one/../../x.jpg", "one\\..\\..\\x.jpg", "one", ".", ""])
def test_names_that_lead_elsewhere_are_rejected(folder: Path, name: str) -> None:
    (folder / "x.jpg").write_bytes(b"")
    records, (reject,) = read(table(folder, f"filename,text\n{name},x\n"))
    assert records == []
    assert reject.where == "marks.csv:2"


def test_an_image_behind_a_link_out_of_the_folder_is_not_seen(folder: Path) -> None:
    (folder / "secret.jpg").write_bytes(b"")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "c.jpg").write_bytes(b"")
    (folder / "images" / "link.jpg").symlink_to(folder / "secret.jpg")
    (folder / "images" / "more").symlink_to(folder / "elsewhere")
    (folder / "images" / "inside.jpg").symlink_to(folder / "images" / "a.jpg")
    records, rejects = read(table(folder, "filename\nlink.jpg\nmore/c.jpg\ninside.jpg\n"))
    assert [record.filename for record in records] == ["inside.jpg"]
    assert ["no image" in reject.reason for reject in rejects] == [True, True]


def test_an_undecodable_byte_spoils_its_own_cell_if_the_encoding_is_named(folder: Path) -> None:
    path = table(folder, b"filename,text\na.jpg,caf\xe9\nb.jpg,good\n")
    records = [row for row in open_source(path, encoding="utf-8").rows() if isinstance(row, Record)]
    assert [record.text for record in records] == ["caf\ufffd", "good"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(folder: Path, end: str) -> None:
    records, rejects = read(table(folder, end.join(["filename,text", "a.jpg,x", 'b.jpg,"y, ""z"""', "c.jpg,"])))
    assert [record.text for record in records] == ["x", 'y, "z"']
    assert [reject.where for reject in rejects] == ["marks.csv:4"]


def test_a_quote_that_is_not_closed_swallows_no_row_without_a_word(folder: Path) -> None:
    records, (reject,) = read(table(folder, 'filename,text\na.jpg,x\na.jpg,"5 inch\nb.jpg,y\nb.jpg,z\n'))
    assert [record.text for record in records] == ["x", "y", "z"]
    assert (reject.where, reject.reason) == ("marks.csv:3", "line 3 cannot be read as a row: a quote is not closed")


def test_a_row_is_read_again_after_a_bad_quote(folder: Path) -> None:
    records, (reject,) = read(table(folder, 'filename,text\na.jpg,"x" y\nb.jpg,z\n'))
    assert [record.text for record in records] == ["z"]
    assert (reject.where, "line" in reject.reason) == ("marks.csv:2", True)


def test_a_cell_that_is_too_long_costs_its_row(folder: Path) -> None:
    records, (reject,) = read(table(folder, f"filename,text\na.jpg,{'x' * (LONGEST_CELL + 1)}\nb.jpg,{'y' * 20_000}\n"))
    assert [record.text for record in records] == ["y" * 10_000]
    assert reject.reason == "a cell is longer than 1,000,000 characters"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column 'filename' for filename; its columns are none;"),
        (",".join(f"c{number}" for number in range(50)), "'c39', and 10 more; name the right one"),
        ("shape;text\n", "its columns are 'shape', 'text'"),
        (f"filename,{'x' * (LONGEST_CELL + 1)}\na.jpg,1\n", "the header cannot be read"),
        ('filename,"text\n', "the header cannot be read"),
        ("filename,text,text\na.jpg,x,y\n", "several columns are named 'text'; rename all but one"),
    ],
)
def test_a_header_that_is_none(folder: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(table(folder, content))


def test_json_lines_with_everything_wrong(folder: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"filename": "a.jpg", "year": NaN, "score": Infinity, "\\ud800": 1}',
        b'{"filename": "a.jpg", "text": "\xff"}',
        b"[" * 5_000 + b"]" * 5_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"filename": "a.jpg", "x": ' + b"[" * 600 + b"]" * 600 + b"}",
        b'{"filename": "a.jpg", "n": ' + b"9" * 5_000 + b"}",
        b'{"filename": "a.jpg", "logo_id": {}}',
        b'{"filename": ["a.jpg"]}',
        b'{"filename": "b.jpg", "text": "' + b"x" * 10_000_000 + b'"}',
        b'{"filename": "b.jpg"',
    ]
    records, rejects = read(table(folder, b"\n".join(lines), "marks.jsonl"))
    assert [(record.filename, len(record.text or "")) for record in records] == [
        ("a.jpg", 0),
        ("a.jpg", 1),
        ("a.jpg", 0),
        ("b.jpg", 10_000),
    ]
    assert (records[0].year, records[0].extra) == (None, {"score": None, "": 1})
    assert json.dumps(records[2].extra["x"]).startswith("[[[[")
    assert [reject.where for reject in rejects] == [f"marks.jsonl:{line}" for line in (3, 4, 6, 7, 8, 10)]


def test_parquet_rows_in_order_over_batches(folder: Path) -> None:
    path = parquet(folder, filename=["a.jpg", "gone.jpg"] * 2_500, logo_id=list(range(5_000)))
    records, rejects = read(path)
    assert [record.logo_id for record in records] == [str(n) for n in range(0, 5_000, 2)]
    assert [reject.where for reject in rejects] == [f"marks.parquet[{n}]" for n in range(1, 5_000, 2)]


def test_parquet_columns_of_every_kind(folder: Path) -> None:
    (record,), _ = read(
        parquet(
            folder,
            filename=["a.jpg"],
            nice_classes=pa.array([9.0]),
            vienna_codes=pa.array(["27.5.1"]).dictionary_encode(),
            application_date=pa.array([dt.datetime(2020, 2, 29)], pa.timestamp("ns")),  # noqa: DTZ001 - as pandas writes it
            map=pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
            struct=[{"x": [1, None]}],
            raw=[b"\xff"],
            wide=pa.array([2**63], pa.uint64()),
        )
    )
    assert (record.nice_classes, record.vienna_codes) == ((9,), ("27.05.01",))
    assert record.application_date == dt.date(2020, 2, 29)
    assert record.extra == {"map": [["k", 1]], "struct": {"x": [1, None]}, "raw": "b'\\xff'", "wide": 2**63}


@pytest.mark.parametrize("column", [pa.array([2**30], pa.date32()), pa.array([2**62], pa.timestamp("us"))])
def test_a_time_beyond_the_range_of_python_is_left_out(folder: Path, column: object) -> None:
    (record,), _ = read(parquet(folder, filename=["a.jpg"], application_date=column, text=["x"]))
    assert (record.application_date, record.text) == (None, "x")
    assert "application_date_unreadable" in record.extra


def test_a_fraction_of_a_microsecond_is_dropped_with_the_time(folder: Path) -> None:
    (record,), _ = read(parquet(folder, filename=["a.jpg"], application_date=pa.array([1], pa.timestamp("ns"))))
    assert record.application_date == dt.date(1970, 1, 1)


def test_two_parquet_columns_of_one_name(folder: Path) -> None:
    pq.write_table(pa.Table.from_arrays([["a.jpg"], ["x"], ["y"]], ["filename", "n", "n"]), folder / "marks.parquet")
    with pytest.raises(SourceError, match="several columns are named 'n'"):
        read(folder / "marks.parquet")


def test_a_parquet_file_that_breaks_off_is_said(folder: Path) -> None:
    path = parquet(folder, filename=["a.jpg"] * 100)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"marks\.parquet"):
        read(path)


def test_parquet_without_the_column_names_those_that_are_there(folder: Path) -> None:
    with pytest.raises(SourceError, match="has no column 'filename' for filename; its columns are 'shape', 'n2'"):
        read(parquet(folder, shape=["a.jpg"], n2=[1]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("columns = 3", "must be tables"),
        ('columns = ["filename"]', "must be tables"),
        ('columns = ""', "must be tables"),
        ("format = 1", "must be tables"),
        ("a = " + "[" * 5_000, "not valid TOML"),
        ("[columns]\nfilename = ['a']", "not text"),
        ('[columns]\npicture = "x"\n[format]\nsplit = ";"', "unknown: picture, split;"),
        ('[format]\nlist_separator = ";"\ncoding = "x"', "unknown: coding;"),
        ('[format]\ndate_order = "mdy"', "date_order must be one of day-month, month-day, not 'mdy'"),
        ('[format]\nseparator = "||"', "separator must be comma, semicolon, tab, bar or one other character"),
    ],
)
def test_an_invalid_mapping(folder: Path, content: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_mapping(table(folder, content, "mapping.toml"))


def test_a_mapping_that_is_not_there_or_no_text(folder: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read_mapping(folder / "none.toml")
    assert str(caught.value) == (
        f"{folder / 'none.toml'}: the mapping file cannot be read (No such file or directory); check the path after "
        "--mapping"
    )
    with pytest.raises(SourceError, match="not valid TOML"):
        read_mapping(table(folder, b"\xff", "mapping.toml"))


def test_a_mapped_column_that_is_missing_is_corrected_in_the_mapping(folder: Path) -> None:
    mapping = table(folder, '[columns]\nfilename = "Image"\ncompany = "Owner"', "mapping.toml")
    with pytest.raises(SourceError) as caught:
        read(table(folder, "Image,Applicant\n"), mapping)
    assert str(caught.value) == (
        f"{folder / 'marks.csv'}: has no column 'Owner' for company; its columns are 'Image', 'Applicant'; name another "
        f"column for company under [columns] in {mapping}"
    )


@pytest.mark.parametrize("separator", [".*", "|", " / ", "\\"])
def test_a_separator_is_taken_as_it_is_written(folder: Path, separator: str) -> None:
    mapping = table(folder, f"[format]\nlist_separator = '{separator}'", "mapping.toml")
    ((record,), _) = read(table(folder, f"filename,vienna_codes\na.jpg,1.1.1{separator}2.2.2\n"), mapping)
    assert record.vienna_codes == ("01.01.01", "02.02.02")


@pytest.mark.parametrize(("name", "message"), [("marks.xls", "not a table"), ("none.csv", "no such file")])
def test_a_file_that_is_no_table(folder: Path, name: str, message: str) -> None:
    (folder / "marks.xls").write_bytes(b"PK")
    with pytest.raises(SourceError, match=message):
        TableSource(folder / name)


def lines(folder: Path, *rows: str) -> tuple[list[Record], tuple[str, ...], dict[str, str]]:
    """The records of a CSV file, and the notes and the facts of its description."""
    source = open_source(table(folder, "\n".join(rows)))
    records = [row for row in source.rows() if isinstance(row, Record)]
    description = source.description()
    return records, description.notes, dict(description.facts)


def test_one_date_decides_the_order_of_its_whole_column(folder: Path) -> None:
    records, notes, facts = lines(folder, "filename,filing date", "a.jpg,01/02/2019", "b.jpg,12/31/2019")
    assert [str(record.application_date) for record in records] == ["2019-01-02", "2019-12-31"]
    assert (notes, facts["date_order"]) == ((), "month-day")


def test_a_column_that_does_not_tell_follows_the_others(folder: Path) -> None:
    header = "filename,filing date,registration date"
    records, notes, facts = lines(folder, header, "a.jpg,01/02/2019,12/31/2019", "b.jpg,,")
    assert (str(records[0].application_date), facts["date_order"], notes) == ("2019-01-02", "month-day", ())


def test_if_no_date_tells_the_day_is_first_and_that_is_noted(folder: Path) -> None:
    records, (note,), _ = lines(folder, "filename,filing date", "a.jpg,01/02/2019")
    assert str(records[0].application_date) == "2019-02-01"
    assert note.startswith(
        "application_date: no date tells whether the day or the month comes first; the day is assumed"
    )


def test_a_column_in_both_orders_keeps_the_dates_that_are_certain(folder: Path) -> None:
    rows = ("a.jpg,31/12/2019", "b.jpg,12/31/2019", "one/1.jpg,01/02/2019")
    records, (note,), _ = lines(folder, "filename,filing date", *rows)
    assert [str(record.application_date) for record in records] == ["2019-12-31", "2019-12-31", "None"]
    assert "1 date with the day first and 1 with the month first; 1 that could be either are not read" in note


def test_each_column_may_have_its_own_order(folder: Path) -> None:
    header = "filename,filing date,registration date"
    records, _, facts = lines(folder, header, "a.jpg,31/12/2019,12/31/2019", "b.jpg,01/02/2019,01/02/2019")
    assert (str(records[1].application_date), str(records[1].registration_date)) == ("2019-02-01", "2019-01-02")
    assert facts["date_order of application_date"] == "day-month"


def test_the_order_in_a_mapping_is_not_asked_again(folder: Path) -> None:
    mapping = table(folder, '[format]\ndate_order = "month-day"', "mapping.toml")
    ((record,), _) = read(table(folder, "filename,filing date\na.jpg,01/02/2019\n"), mapping)
    assert record.application_date == dt.date(2019, 1, 2)


def test_years_in_a_column_of_dates_are_noted(folder: Path) -> None:
    records, (note,), _ = lines(folder, "filename,filing date", "a.jpg,2019", "b.jpg,2018-12", "b.jpg,2017-12-31")
    assert [record.year for record in records] == [2019, 2018, 2017]
    assert note == "2 values of application_date without a day: the field stays empty"


def test_columns_of_single_classes(folder: Path) -> None:
    records, _, _ = lines(folder, "filename,Class1,Class9,Class35", "a.jpg,1,,x", "b.jpg,0,0,0")
    assert [record.nice_classes for record in records] == [(1, 35), ()]
    records, _, _ = lines(folder, "filename,Class1,Class2,Class3", "a.jpg,9,35,", "b.jpg,1,,")
    assert [record.nice_classes for record in records] == [(9, 35), (1,)]
    assert records[0].extra == {}


def test_rows_of_one_id_are_merged_and_noted(folder: Path) -> None:
    rows = ("1,a.jpg,A,9", "1,a.jpg,B,35", "2,b.jpg,C,", "2,a.jpg,,")
    records, notes, _ = lines(folder, "id,filename,owner,classes", *rows)
    assert [(record.logo_id, record.filename, record.company, record.nice_classes) for record in records] == [
        ("1", "a.jpg", "A; B", (9, 35)),
        ("2", "b.jpg", "C", ()),
        ("2#2", "a.jpg", "C", ()),
    ]
    assert notes == (
        "2 logos with several rows, which were merged",
        "1 logo with several images: the ids of the second and later ones end in #2, #3",
    )


def test_several_logos_of_one_image_without_ids_are_all_kept(folder: Path) -> None:
    records, _, _ = lines(folder, "filename,text", "a.jpg,x", "b.jpg,y", "a.jpg,z")
    assert [(record.logo_id, record.text) for record in records] == [("a", "x"), ("b", "y"), ("a#2", "z")]


def test_a_blank_id_is_a_missing_one(folder: Path) -> None:
    records, rejects = read(parquet(folder, filename=["a.jpg", "b.jpg"], logo_id=[" ", None], note=["", None]))
    assert [(record.logo_id, record.extra) for record in records] == [("a", {}), ("b", {})]
    assert rejects == []


def test_floats_of_pandas(folder: Path) -> None:
    ((record,), _, _) = lines(folder, "id,filename,nice_classes,year", "1175970.0,a.jpg,9.0,2019.0")
    assert (record.logo_id, record.nice_classes, record.year, record.extra) == ("1175970", (9,), 2019, {})


def test_parquet_ids_that_are_floats(folder: Path) -> None:
    (record,), _ = read(parquet(folder, filename=["a.jpg"], logo_id=[1.0]))
    assert record.logo_id == "1"


def test_json_rows_name_their_columns(folder: Path) -> None:
    path = table(folder, '{"n": 1}\n{"Picture File": "a.jpg", "Owner": "A"}\n', "marks.jsonl")
    (record,), (reject,) = read(path)
    assert (record.company, reject.where) == ("A", "marks.jsonl:1")
    with pytest.raises(SourceError, match="has no column 'filename' for filename; its columns are 'n'"):
        read(table(folder, '{"n": 1}', "marks.jsonl"))
    assert read(table(folder, "[1]", "marks.jsonl"))[0] == []


def test_a_json_row_may_have_any_number_of_columns(folder: Path) -> None:
    rows = [{"filename": "a.jpg", **{f"x{row}-{n}": n for n in range(10)}} for row in range(200)]
    rows += [{"filename": "b.jpg", "Owner": "A", "Date of birth": "x"}]
    source = open_source(
        table(folder, "\n".join(map(json.dumps, rows)), "marks.jsonl"), columns={"text": "date OF birth"}
    )
    *_, last = source.rows()
    assert isinstance(last, Record)
    assert (last.company, last.text) == ("A", "x")
    assert MOST_COLUMNS <= len(source.description().columns) < MOST_COLUMNS + 20


def test_every_column_is_described(folder: Path) -> None:
    source = open_source(table(folder, "Bild;Inhaber;Class1;Class2;Farbe\na.jpg;A;1;;rot\n"))
    description = source.description()
    assert [(column.name, column.fields, column.reason) for column in description.columns] == [
        ("Bild", ("filename",), "a usual name"),
        ("Inhaber", ("company",), "a usual name"),
        ("Class1", ("nice_classes",), "one column for each class"),
        ("Class2", ("nice_classes",), "one column for each class"),
        ("Farbe", (), "kept in metadata.extra"),
    ]
    assert description.facts == {"encoding": "utf-8", "separator": "semicolon"}
    (folder / "mapping.toml").write_text(description.mapping or "")
    again = open_source(folder / "marks.csv", mapping=folder / "mapping.toml")
    assert list(again.rows()) == list(source.rows())
