from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from logo_similarity.build.records import REPORT_ROWS, count_lines, read_records, write_records
from logo_similarity.catalog.sources.description import SourceDescription
from logo_similarity.catalog.updates import UPDATES
from logo_similarity.domain import Reject, Removal
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from logo_similarity.image.files import open_images

RECORDS = [
    Record(
        logo_id="EM/018 é",
        filename="sub/ü.jpg",
        text='Two\nlines\u2028 \x85 "quoted"',
        company="Example Corp",
        vienna_codes=("26.01.01", "27.05.01"),
        nice_classes=(9, 42),
        status="registered",
        office="EM",
        application_date=dt.date(2019, 2, 28),
        year=2019,
        extra={"seniority": ["DE", None], "pages": 3, "": {"x": 1.5}},
    ),
    Record(logo_id="b", filename="b.jpg"),
    Record(logo_id="B", filename="B.jpg", year=1996),
]
ROWS: tuple[Record | Reject, ...] = (*RECORDS, Reject("x", "bad"))


class Rows:
    """A source of given rows, that can break off."""

    images = open_images(Path())

    def __init__(
        self, rows: Sequence[Record | Removal | Reject], error: BaseException | None = None, kind: str = "test"
    ) -> None:
        self.kind = kind
        self._rows = rows
        self._error = error

    def files(self) -> Iterator[Path]:
        return iter(())

    def description(self) -> SourceDescription:
        return SourceDescription(kind=self.kind)

    def rows(self) -> Iterator[Record | Removal | Reject]:
        yield from self._rows
        if self._error is not None:
            raise self._error


def lines(path: Path) -> list[dict[str, str | None]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_everything_comes_back_as_it_went_in(tmp_path: Path) -> None:
    write_records(Rows([*RECORDS]), tmp_path / "records", tmp_path / "rejects")
    assert list(read_records(tmp_path / "records")) == RECORDS
    assert (tmp_path / "rejects").read_bytes() == b""


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4])
def test_reading_goes_on_from_any_position(tmp_path: Path, start: int) -> None:
    write_records(Rows([*RECORDS]), tmp_path / "records", tmp_path / "rejects")
    assert list(read_records(tmp_path / "records", start)) == RECORDS[start:]


def test_the_position_of_a_record_is_kept(tmp_path: Path) -> None:
    record = Record(logo_id="a", filename="a.jpg", where="marks.csv:7")
    write_records(Rows([record]), tmp_path / "records", tmp_path / "rejects")
    assert [record.where for record in read_records(tmp_path / "records")] == ["marks.csv:7"]


def test_the_first_of_a_repeated_id_keeps_it(tmp_path: Path) -> None:
    first = Record(logo_id="1", filename="a.jpg", where="marks.csv:2")
    second = Record(logo_id="1", filename="b.jpg", where="marks.csv:4")
    rows: list[Record | Reject] = [first, Reject("marks.csv:3", "bad"), second, RECORDS[1], second]
    write_records(Rows(rows), tmp_path / "records", tmp_path / "rejects")
    assert list(read_records(tmp_path / "records")) == [first, RECORDS[1]]
    bad = {"where": "marks.csv:3", "reason": "bad", "logo_id": None, "filename": None}
    reason = "logo_id '1' occurs more than once; the first one is kept"
    repeated = {"where": "marks.csv:4", "reason": reason, "logo_id": "1", "filename": "b.jpg"}
    assert lines(tmp_path / "rejects") == [bad, repeated, repeated]
    assert (count_lines(tmp_path / "records"), count_lines(tmp_path / "rejects")) == (2, 3)


@pytest.mark.parametrize("error", [SourceError("broken"), KeyboardInterrupt()])
def test_a_reading_that_breaks_off_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        write_records(Rows(ROWS, error), tmp_path / "records", tmp_path / "rejects")
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_records_there_are_all_rejects(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    rejects.mkdir()  # so that they can't be renamed into place
    with pytest.raises(OSError, match="rejects"):
        write_records(Rows([*RECORDS]), tmp_path / "records", rejects)
    assert list(tmp_path.iterdir()) == [rejects]


def test_writing_again_gives_the_same(tmp_path: Path) -> None:
    written = set()
    for _ in range(2):
        write_records(Rows(ROWS), tmp_path / "records", tmp_path / "rejects")
        written.add((tmp_path / "records").read_bytes() + (tmp_path / "rejects").read_bytes())
    assert len(written) == 1


def test_progress_counts_records_and_rejects(tmp_path: Path) -> None:
    rows = [ROWS[-1], ROWS[0]] * REPORT_ROWS
    told: list[int] = []
    write_records(Rows(rows), tmp_path / "records", tmp_path / "rejects", told.append)
    assert told == [REPORT_ROWS, 2 * REPORT_ROWS]


def test_progress_is_reported_when_that_many_rows_are_written(tmp_path: Path) -> None:
    steps: list[int] = []
    rows = [ROWS[-1]] * (REPORT_ROWS - 1)
    write_records(Rows(rows), tmp_path / "records", tmp_path / "rejects", steps.append)
    assert steps == []
    write_records(Rows([*rows, ROWS[-1]]), tmp_path / "records", tmp_path / "rejects", steps.append)
    assert steps == [REPORT_ROWS]


def test_records_are_readable_text(tmp_path: Path) -> None:
    write_records(Rows([*RECORDS]), tmp_path / "records", tmp_path / "rejects")
    assert "EM/018 é" in (tmp_path / "records").read_text(encoding="utf8")


def test_a_number_that_json_cannot_hold_is_an_error(tmp_path: Path) -> None:
    record = Record(logo_id="a", filename="a.jpg", extra={"weight": float("nan")})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_records(Rows([record]), tmp_path / "records", tmp_path / "rejects")


def test_the_records_of_a_register_are_merged(tmp_path: Path) -> None:
    rows: list[Record | Removal | Reject] = [
        Record(logo_id="2", filename="2.jpg", text="old", company="A", where="a.xml[0]"),
        Record(logo_id="1", filename="1.jpg", where="a.xml[1]"),
        Reject("a.xml[2]", "bad"),
        Record(logo_id="2", filename="", text="new", where="b.xml[0]"),
        Record(logo_id="3", filename="", where="b.xml[1]"),
        Removal("1", "b.xml[2]"),
    ]
    write_records(Rows(rows, kind="register"), tmp_path / "records", tmp_path / "rejects")
    assert list(read_records(tmp_path / "records")) == [Record(logo_id="2", filename="2.jpg", text="new", company="A")]
    assert [(line["where"], line["reason"]) for line in lines(tmp_path / "rejects")] == [
        ("a.xml[2]", "bad"),
        ("b.xml[1]", "no image of the logo in the image folder"),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "rejects", UPDATES]


def test_progress_counts_the_rows_of_a_register(tmp_path: Path) -> None:
    told: list[int] = []
    rows = [RECORDS[1]] * REPORT_ROWS
    write_records(Rows(rows, kind="register"), tmp_path / "records", tmp_path / "rejects", told.append)
    assert told == [REPORT_ROWS]


def test_other_sources_remove_nothing(tmp_path: Path) -> None:
    rows: list[Record | Removal] = [RECORDS[1], Removal("b", "marks.csv:3")]
    write_records(Rows(rows), tmp_path / "records", tmp_path / "rejects")
    assert list(read_records(tmp_path / "records")) == [RECORDS[1]]
    reason = "only registers can delete logos; remove the row"
    assert lines(tmp_path / "rejects") == [{"where": "marks.csv:3", "reason": reason, "logo_id": "b", "filename": None}]
