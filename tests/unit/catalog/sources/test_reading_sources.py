from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logo_similarity.build.records import count_lines, read_records, write_records
from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record


def images(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def l3d(folder: Path, rows: object, name: str = "results.json") -> Path:
    (folder / name).write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return folder


def read(path: Path, **options: Any) -> tuple[list[Record], list[Reject]]:
    rows = list(open_source(path, **options).rows())
    assert rows == list(open_source(path, **options).rows())  # the same order each time
    return [row for row in rows if isinstance(row, Record)], [row for row in rows if isinstance(row, Reject)]


def one(path: Path, **options: Any) -> Record:
    (record,), rejects = read(path, **options)
    assert rejects == []
    return record


@pytest.mark.parametrize(("written", "on_disk"), [("A1.JPG", "A1.jpg"), ("A1.jpg", "A1.JPG"), ("a1.jpg", "A1.jpg")])
def test_l3d_names_differ_in_case_from_the_disk(tmp_path: Path, written: str, on_disk: str) -> None:
    record = one(l3d(images(tmp_path, on_disk), [{"file": written}]))
    assert (record.filename, record.logo_id) == (on_disk, "A1")


def test_l3d_prefers_the_name_that_is_written(tmp_path: Path) -> None:
    records, _ = read(l3d(images(tmp_path, "a.jpg", "a.JPG"), [{"file": "a.JPG"}, {"file": "a.jpg"}]))
    assert [record.filename for record in records] == ["a.JPG", "a.jpg"]


@pytest.mark.parametrize(
    ("codes", "read_codes"),
    [
        (["27.05.01"], ("27.05.01",)),
        ("27.5.1", ("27.05.01",)),
        (["29.1.12", "01.15.03", "1.15.3"], ("01.15.03", "29.01.12")),
        ("26.04.01, 27.05.01;29.01", ("26.04.01", "27.05.01", "29.01")),
        ([], ()),
        (None, ()),
        ("", ()),
    ],
)
def test_l3d_codes_are_a_list_or_a_text(tmp_path: Path, codes: object, read_codes: tuple[str, ...]) -> None:
    assert one(l3d(images(tmp_path, "a.jpg"), [{"file": "a.jpg", "vienna_codes": codes}])).vienna_codes == read_codes


@pytest.mark.parametrize(
    ("year", "kept"),
    [("2016", 2016), (2016, 2016), (2016.0, 2016), (None, None), ("", None), ("soon", None), (3, None)],
)
def test_l3d_years(tmp_path: Path, year: object, kept: int | None) -> None:
    record = one(l3d(images(tmp_path, "a.jpg"), [{"file": "a.jpg", "year": year}]))
    assert record.year == kept
    assert ("year_unreadable" in record.extra) == (kept is None and year not in (None, ""))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("CytoView", "CytoView"),
        (None, None),
        ("  ", None),
        ("ΑΒΓ 商標 <script>\"'", "ΑΒΓ 商標 <script>\"'"),
        ("Cafe\u0301\x00\x07", "Café"),
        (12, "12"),
        ("x" * 10_000_000, "x" * 10_000),
    ],
)
def test_l3d_texts(tmp_path: Path, text: object, kept: str | None) -> None:
    assert one(l3d(images(tmp_path, "a.jpg"), [{"file": "a.jpg", "text": text}])).text == kept


def test_an_unreadable_field_never_costs_the_logo(tmp_path: Path) -> None:
    row = {"file": "a.jpg", "text": {"de": "x"}, "vienna_codes": ["27.05.01", "bird", 7.5], "owner": ["A", None]}
    record = one(l3d(images(tmp_path, "a.jpg"), [row]))
    assert record.vienna_codes == ("27.05.01",)
    assert record.text is None
    assert record.extra == {
        "owner": ["A", None],
        "text_unreadable": {"de": "x"},
        "vienna_codes_unreadable": ["bird", 7.5],
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"file": "missing.jpg"}, "no image"),
        ({"file": "sound.mp3"}, "no image"),
        ({"file": "scan.TIF"}, "no image"),
        ({"file": "../secret.jpg"}, "leads outside"),
        ({"file": "/etc/passwd"}, "no image"),
        ({"file": "a\x00.jpg"}, "control characters"),
        ({"file": "..\\a.jpg"}, "leads outside"),
        ({"file": ""}, "empty"),
        ({"file": None}, "not text"),
        ({"file": 7}, "no image"),
        ({"file": [7]}, "not text"),
        ({"text": "x"}, "has no 'file'"),
        ("a.jpg", "not an object"),
        (None, "not an object"),
        ([["nested"] * 50], "not an object"),
    ],
)
def test_l3d_rejects_with_a_place_and_a_reason(tmp_path: Path, row: object, reason: str) -> None:
    records, rejects = read(l3d(images(tmp_path, "good.jpg"), [{"file": "good.jpg"}, row, {"file": "good.jpg"}]))
    assert [record.filename for record in records] == ["good.jpg", "good.jpg"]
    (reject,) = rejects
    assert reject.where == "results.json[1]"
    assert reason in reject.reason
    assert len(reject.reason) < 300


def test_l3d_yearly_files_alone_and_beside_the_cleaned_one(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    l3d(tmp_path, [{"file": "c.JPG", "year": 2019, "vienna_codes": "1.1.1"}], "output_2019.json")
    l3d(tmp_path, [{"file": "A.jpg", "text": "raw"}, {"file": "b.jpg", "text": "raw"}], "output_2018.json")
    records, _ = read(tmp_path)
    assert [record.filename for record in records] == ["a.jpg", "b.jpg", "c.jpg"]
    l3d(tmp_path, [{"file": "a.jpg", "text": "clean"}])
    records, rejects = read(tmp_path)
    assert [(record.filename, record.text) for record in records] == [
        ("a.jpg", "clean"),
        ("b.jpg", "raw"),
        ("c.jpg", None),
    ]
    assert rejects == []
    assert [path.name for path in open_source(tmp_path).files()] == [
        "results.json",
        "output_2018.json",
        "output_2019.json",
    ]


@pytest.mark.parametrize(
    "content", ['[{"file": "a.jpg"}, {"fi', "{}x", "", "no json", '[{"file": "a.jpg"}', '[NaN, "\x01"]']
)
def test_l3d_broken_json_is_said_and_not_passed_over(tmp_path: Path, content: str) -> None:
    with pytest.raises(SourceError, match=r"results\.json"):
        read(l3d(images(tmp_path, "a.jpg"), content))


def test_l3d_invalid_utf8_is_said(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    (tmp_path / "results.json").write_bytes(b'[{"file": "a.jpg", "text": "\xff\xfe"}]')
    with pytest.raises(SourceError, match=r"results\.json"):
        read(tmp_path)


CSV = "logo_id,filename,text,company,vienna_codes,nice_classes,status,office,application_date,colour\n"


def test_csv_with_everything(tmp_path: Path) -> None:
    row = 'US-123456,sub/a b.png,"Two\nlines",Example Corp,26.1.1|27.05.01,"9, 42",registered,US,2023-01-01,red\n'
    (images(tmp_path, "sub/a b.png") / "marks.csv").write_text("\ufeff" + CSV + row)
    assert one(tmp_path / "marks.csv") == Record(
        logo_id="US-123456",
        filename="sub/a b.png",
        text="Two\nlines",
        company="Example Corp",
        vienna_codes=("26.01.01", "27.05.01"),
        nice_classes=(9, 42),
        status="registered",
        office="US",
        application_date=dt.date(2023, 1, 1),
        year=2023,
        extra={"colour": "red"},
    )


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_with_another_delimiter(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(["filename", "text"]) + "\n" + delimiter.join(["a.jpg", "x, y"]) + "\n"
    (images(tmp_path, "a.jpg") / "marks.csv").write_text(text)
    record = one(tmp_path / "marks.csv")
    assert (record.logo_id, record.text) == ("a", "x, y")


def test_csv_bad_rows_have_line_numbers(tmp_path: Path) -> None:
    text = 'filename,text\na.jpg,one\na.jpg\nmissing.jpg,x\na.jpg,one,two,three\n\na.jpg,"with\nnewline"\nb.jpg,y\n'
    (images(tmp_path, "a.jpg") / "marks.csv").write_text(text)
    records, rejects = read(tmp_path / "marks.csv")
    assert [record.text for record in records] == ["one", None, "with\nnewline"]
    assert [reject.where for reject in rejects] == ["marks.csv:4", "marks.csv:5", "marks.csv:9"]


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        '{"filename": "a.jpg", "nice_classes": [9, "35", 99], "more": {"x": [1]}}',
        "",
        "no json",
        "[1]",
        '{"text": 1}',
    ]
    (images(tmp_path, "a.jpg") / "marks.jsonl").write_text("\n".join(rows))
    (record,), rejects = read(tmp_path / "marks.jsonl")
    assert record.nice_classes == (9, 35)
    assert record.extra == {"more": {"x": [1]}, "nice_classes_unreadable": [99]}
    assert [reject.where for reject in rejects] == ["marks.jsonl:3", "marks.jsonl:4", "marks.jsonl:5"]


def test_parquet_with_dates_lists_and_nan(tmp_path: Path) -> None:
    table = pa.table(
        {
            "filename": ["a.jpg", "b.jpg"],
            "application_date": [dt.date(1999, 12, 31), None],
            "vienna_codes": [["1.1.1", "27.05.01"], None],
            "year": [float("nan"), 2001.0],
            "score": [float("nan"), 0.5],
            "seen": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None],
        }
    )
    pq.write_table(table, images(tmp_path, "a.jpg", "b.jpg") / "marks.parquet")
    (first, second), _ = read(tmp_path / "marks.parquet")
    assert (first.application_date, first.year, first.vienna_codes) == (
        dt.date(1999, 12, 31),
        1999,
        ("01.01.01", "27.05.01"),
    )
    assert first.extra == {"score": None, "seen": "2020-01-01T00:00:00+00:00"}
    assert (second.application_date, second.year, second.extra) == (None, 2001, {"score": 0.5})


def test_a_damaged_parquet_file_is_said(tmp_path: Path) -> None:
    (images(tmp_path, "a.jpg") / "marks.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(SourceError, match="Parquet"):
        read(tmp_path / "marks.parquet")


def test_mapping(tmp_path: Path) -> None:
    (images(tmp_path, "a.jpg") / "marks.csv").write_text("Nr,Bild,Tag,Wiener\n7/12,a.jpg,31.12.2020,26.1.1 / 27.5.1\n")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        '[columns]\nlogo_id = "Nr"\nfilename = "Bild"\napplication_date = "Tag"\nvienna_codes = "Wiener"\n'
        '[format]\nlist_separator = "/"\ndate = "%d.%m.%Y"\n'
    )
    record = one(tmp_path / "marks.csv", mapping=mapping)
    assert (record.logo_id, record.application_date) == ("7/12", dt.date(2020, 12, 31))
    assert record.vienna_codes == ("26.01.01", "27.05.01")
    assert record.extra == {}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ('[columns]\nfilename = "Picture"', "'Nr', 'Bild'"),
        ('[columns]\nname = "Nr"', "unknown: name;"),
        ("[column]\n", "unknown: column;"),
        ("no toml", "not valid TOML"),
        ("[columns]\nfilename = 7", "not text"),
    ],
)
def test_a_wrong_mapping_says_what_there_is(tmp_path: Path, mapping: str, message: str) -> None:
    (images(tmp_path, "a.jpg") / "marks.csv").write_text("Nr,Bild\n1,a.jpg\n")
    (tmp_path / "mapping.toml").write_text(mapping)
    with pytest.raises(SourceError, match=message):
        read(tmp_path / "marks.csv", mapping=tmp_path / "mapping.toml")


@pytest.mark.parametrize("date", ["2020-02-30", "yesterday", 20])
def test_a_date_that_is_none_is_kept_aside(tmp_path: Path, date: object) -> None:
    row = json.dumps({"filename": "a.jpg", "application_date": date})
    (images(tmp_path, "a.jpg") / "marks.jsonl").write_text(row)
    record = one(tmp_path / "marks.jsonl")
    assert record.application_date is None
    assert record.extra == {"application_date_unreadable": date}


def test_folder_of_images(tmp_path: Path) -> None:
    folder = images(tmp_path, "b.PNG", "a.jpg", "a.png", "sub/c.webp", ".hidden.jpg", "notes.txt") / "images"
    (tmp_path / "outside.jpg").write_bytes(b"")
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    records, rejects = read(folder)
    assert [(record.logo_id, record.filename) for record in records] == [
        ("a", "a.jpg"),
        ("a.png", "a.png"),
        ("b", "b.PNG"),
        ("sub/c", "sub/c.webp"),
    ]
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("link.jpg", "links that lead out of the folder are not followed")
    ]


def test_recognition(tmp_path: Path) -> None:
    assert open_source(l3d(images(tmp_path / "one", "a.jpg"), [])).kind == "l3d"
    assert open_source(images(tmp_path / "two", "a.jpg")).kind == "folder"
    (tmp_path / "marks.tsv").write_text("filename\n")
    assert open_source(tmp_path / "marks.tsv").kind == "table"


@pytest.mark.parametrize("name", ["nothing", "empty", "notes.doc"])
def test_what_is_not_recognised_says_what_would_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(SourceError, match=r"no such file|results\.json"):
        open_source(tmp_path / name)


def test_records_are_written_once_and_read_from_anywhere(tmp_path: Path) -> None:
    rows = [{"file": f"{n}.jpg", "text": f"«{n}»", "vienna_codes": "1.1.1", "year": 2000 + n} for n in range(5)]
    source = l3d(
        images(tmp_path, *(f"{n}.jpg" for n in range(5)), "0.png"), [*rows, {"file": "0.png"}, {"file": "no.jpg"}]
    )
    write_records(open_source(source), tmp_path / "records", tmp_path / "rejects")
    expected, _ = read(source)
    assert list(read_records(tmp_path / "records")) == expected[:5]
    assert list(read_records(tmp_path / "records", 3)) == expected[3:5]
    assert count_lines(tmp_path / "records") == 5
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "rejects").read_text().splitlines()]
    assert "more than once" in reasons[0]
    assert "no image" in reasons[1]


def test_records_of_a_broken_source_are_not_there(tmp_path: Path) -> None:
    source = l3d(images(tmp_path, "a.jpg"), '[{"file": "a.jpg"},')
    with pytest.raises(SourceError):
        write_records(open_source(source), tmp_path / "records", tmp_path / "rejects")
    assert not (tmp_path / "records").exists()
    assert not list(tmp_path.glob("*.partial"))
