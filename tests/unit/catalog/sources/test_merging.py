from __future__ import annotations

import datetime as dt

from logo_similarity.catalog.sources import merging
from logo_similarity.catalog.sources.merging import Merger
from logo_similarity.domain import Reject
from logo_similarity.field_kinds import LONGEST_TEXT
from logo_similarity.fields import Record


def record(logo_id: str = "1", filename: str = "a.jpg", **fields: object) -> Record:
    return Record(logo_id=logo_id, filename=filename, **fields)  # type: ignore[arg-type]


def test_rows_of_co_owners_and_classes_are_one_logo() -> None:
    merger = Merger()
    day = dt.date(2019, 12, 31)
    rows = [
        record("0"),
        record(company="A", nice_classes=(9,), application_date=day, extra={"n": 1, "m": "x"}, where="t:2"),
        record(company="B", nice_classes=(3, 9), vienna_codes=("01.01",), extra={"n": 2, "m": "x"}, where="t:3"),
        record(company="A", text="Mark", status="registered"),
        record("2"),
    ]
    assert list(merger.merge(rows)) == [
        rows[0],
        record(
            company="A; B",
            nice_classes=(3, 9),
            vienna_codes=("01.01",),
            application_date=day,
            text="Mark",
            status="registered",
            extra={"n": [1, 2], "m": "x"},
        ),
        rows[4],
    ]
    assert (merger.merged, merger.pictures, merger.conflicts) == (1, 0, {})


def test_the_images_of_a_logo_are_all_kept() -> None:
    merger = Merger()
    rows = [
        record(text="Mark"),
        record(filename="b.jpg"),
        record(filename="a.jpg"),
        record(filename="c.jpg", office="US"),
    ]
    assert [
        (row.logo_id, row.filename, row.text, row.office) for row in merger.merge(rows) if isinstance(row, Record)
    ] == [
        ("1", "a.jpg", "Mark", "US"),
        ("1#2", "b.jpg", "Mark", "US"),
        ("1#3", "c.jpg", "Mark", "US"),
    ]
    assert (merger.merged, merger.pictures) == (1, 1)


def test_of_values_that_exclude_each_other_the_first_is_kept_and_counted() -> None:
    merger = Merger()
    (merged,) = merger.merge([record(status="registered", year=2019), record(status="expired", year=2019)])
    assert isinstance(merged, Record)
    assert (merged.status, merged.year, merger.conflicts) == ("registered", 2019, {"status": 1})


def test_only_rows_that_follow_each_other_are_merged() -> None:
    rows: list[Record | Reject] = [
        record("1"),
        record("2"),
        record("1"),
        Reject("t:4", "bad"),
        Reject("t:5", "bad", "1"),
        record("1"),
    ]
    assert [row.logo_id for row in Merger().merge(rows)] == ["1", "2", None, "1", "1"]
    assert len(list(Merger().merge([record("1"), Reject("t:3", "bad", "2"), record("1")]))) == 3


def test_the_rows_of_one_logo_that_are_held_are_bounded() -> None:
    rows = (record(company="x" * 99 + str(number)) for number in range(merging.MOST_ROWS + 1))
    first, second = Merger().merge(rows)
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert len(first.company or "") == LONGEST_TEXT
    assert first.logo_id == second.logo_id
