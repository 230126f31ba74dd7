from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logo_similarity.build.merging import MergedLogo, merge_logos, without_image
from logo_similarity.domain import Reject, Removal
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record, merge_records

Row = Record | Removal | Reject


def day(number: int) -> dt.date:
    return dt.date(2024, 1, number)


def record(number: int | None = None, logo_id: str = "1", filename: str = "1.png", **values: Any) -> Record:
    date = None if number is None else day(number)
    return Record(logo_id=logo_id, filename=filename, transaction_date=date, **values)


def merged(folder: Path, *rows: Row) -> list[Record | Reject]:
    logos = list(merge_logos(rows, folder / "merging.sqlite"))
    assert list(folder.iterdir()) == []
    records = [logo.record if isinstance(logo, MergedLogo) else logo for logo in logos]
    return [
        one if isinstance(one, Reject) or one.filename else without_image(one) for one in records if one is not None
    ]


def test_later_values_replace_earlier_ones() -> None:
    old = record(1, text="Old", vienna_codes=("01.01.01",), status="pending", company="A")
    new = record(2, text="New", vienna_codes=("02.01.01", "03.01.01"), status="registered")
    assert merge_records(old, new) == record(
        2, text="New", vienna_codes=("02.01.01", "03.01.01"), status="registered", company="A"
    )


def test_a_sparse_record_blanks_nothing() -> None:
    old = record(1, text="Old", nice_classes=(9,), goods="Hats", application_date=day(9), year=2024, extra={"a": 1})
    new = record(2, filename="", status="ended", extra={"b": 2})
    expected = record(
        2, text="Old", nice_classes=(9,), goods="Hats", application_date=day(9), year=2024, status="ended",
        extra={"a": 1, "b": 2},
    )  # fmt: skip
    assert merge_records(old, new) == expected


def test_an_unreadable_value_goes_when_a_readable_one_comes() -> None:
    old = record(1, extra={"expiry_date_unreadable": "x", "other": 1})
    assert merge_records(old, record(2, expiry_date=day(3))).extra == {"other": 1}
    assert merge_records(old, record(2)).extra == {"expiry_date_unreadable": "x", "other": 1}
    both = record(2, nice_classes=(9,), extra={"nice_classes_unreadable": ["A"]})
    assert merge_records(old, both).extra["nice_classes_unreadable"] == ["A"]


def test_dates_decide_and_not_the_order(tmp_path: Path) -> None:
    first, second, third = record(1, text="1", company="A"), record(2, text="2"), record(3, goods="3")
    expected = [record(3, text="2", company="A", goods="3")]
    for rows in ([first, second, third], [third, second, first], [second, third, first]):
        assert merged(tmp_path, *rows) == expected


def test_without_dates_the_order_decides(tmp_path: Path) -> None:
    assert merged(tmp_path, record(text="1"), record(text="2")) == [record(text="2")]


def test_on_one_day_the_order_decides(tmp_path: Path) -> None:
    assert merged(tmp_path, record(1, text="1"), record(1, text="2")) == [record(1, text="2")]


def test_a_row_without_a_date_is_later_than_those_before_it(tmp_path: Path) -> None:
    rows = [record(5, text="5"), record(text="new"), record(4, text="4")]
    (found,) = merged(tmp_path, *rows)
    assert isinstance(found, Record)
    assert found.text == "new"
    (found,) = merged(tmp_path, *rows, record(6, text="6"))
    assert isinstance(found, Record)
    assert found.text == "6"


def test_a_removal_deletes_what_is_before_it(tmp_path: Path) -> None:
    assert merged(tmp_path, record(1), Removal("1", "x", day(2))) == []
    assert merged(tmp_path, Removal("1", "x", day(2)), record(1)) == []
    assert merged(tmp_path, record(1), Removal("1", "x")) == []
    assert merged(tmp_path, Removal("2", "x")) == []
    again = record(3, text="again")
    assert merged(tmp_path, record(1, text="old", goods="g"), Removal("1", "x", day(2)), again) == [again]


def test_a_logo_without_an_image_is_a_reject(tmp_path: Path) -> None:
    without = record(1, filename="")
    assert merged(tmp_path, without) == [Reject("", "no image of the logo in the image folder", "1")]
    assert merged(tmp_path, without, record(2, text="2")) == [record(2, text="2")]


def test_rejects_come_first_and_records_in_the_order_of_their_ids(tmp_path: Path) -> None:
    bad = Reject("x", "bad")
    assert merged(tmp_path, record(1, "b"), bad, record(1, "a")) == [bad, record(1, "a"), record(1, "b")]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        yield record(1)
        raise SourceError("broken")

    with pytest.raises(SourceError):
        list(merge_logos(rows(), tmp_path / "updates.sqlite"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none/updates\.sqlite"):
        list(merge_logos([record(1)], tmp_path / "none" / "updates.sqlite"))
