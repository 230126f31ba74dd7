from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from logo_similarity.catalog.sources.rows import (
    LONGEST_FILENAME,
    LONGEST_ID,
    RowError,
    abbreviate,
    checked_filename,
    checked_id,
    make_record,
)
from logo_similarity.field_kinds import LONGEST_KEY, Notation
from logo_similarity.fields import FIELDS, Record


def record(**fields: Any) -> Record:
    return make_record(where="", logo_id="1", filename="a.jpg", fields=fields, extra={})


def nested(depth: int) -> object:
    value: object = "inside"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("written", "classes", "bad"),
    [
        ([9, "42", 9], (9, 42), None),
        ([1, 45], (1, 45), None),
        ("9; 42|35", (9, 35, 42), None),
        (9.0, (9,), None),
        ([9.5, 0, 46, "x", True, None], (), [9.5, 0, 46, "x", True, None]),
        (float("nan"), (), None),
    ],
)
def test_nice_classes_are_1_to_45(written: object, classes: tuple[int, ...], bad: object) -> None:
    read = record(nice_classes=written)
    assert read.nice_classes == classes
    assert read.extra.get("nice_classes_unreadable") == bad


@pytest.mark.parametrize("year", [None, "", "  ", float("nan")])
def test_a_missing_year_is_not_an_unreadable_one(year: object) -> None:
    assert (record(year=year).year, record(year=year).extra) == (None, {})


@pytest.mark.parametrize("year", ["2016a", 2016.5, 1e400, "9" * 5000, 1799, 2201, True, [2016], b"2016"])
def test_an_invalid_year_is_kept_in_extra(year: object) -> None:
    read = record(year=year)
    assert read.year is None
    assert list(read.extra) == ["year_unreadable"]
    json.dumps(read.extra, allow_nan=False)


@pytest.mark.parametrize("year", [1800, "2200", 2016.0])
def test_years_are_1800_to_2200(year: object) -> None:
    assert (record(year=year).year, record(year=year).extra) == (int(float(str(year))), {})


@pytest.mark.parametrize(
    ("date", "year", "kept"),
    [("2019-02-28", "1996", 2019), ("2019-02-28", None, 2019), (None, "1996", 1996), ("soon", 1996, 1996)],
)
def test_the_year_is_that_of_the_date_if_there_is_one(date: str | None, year: object, kept: int) -> None:
    assert record(application_date=date, year=year).year == kept


def test_an_unreadable_year_is_kept_in_extra_beside_the_year_of_the_date() -> None:
    read = record(application_date="2019-02-28", year="soon")
    assert (read.application_date, read.year) == (dt.date(2019, 2, 28), 2019)
    assert read.extra == {"year_unreadable": "soon"}


def test_every_field_is_read() -> None:
    read = record(**{field.name: field.kind.to_json(field.example) for field in FIELDS})
    assert {field.name: getattr(read, field.name) for field in FIELDS} == {
        field.name: field.example for field in FIELDS
    }
    assert read.extra == {}


@pytest.mark.parametrize("date_format", ["%Q", "%d", "%d.%m.%Y %H"])
def test_a_date_in_another_format_is_kept_in_extra(date_format: str) -> None:
    fields = {"application_date": "31.12.2020"}
    read = make_record(
        where="", logo_id="1", filename="a.jpg", fields=fields, extra={}, notation=Notation(date_format=date_format)
    )
    assert read.application_date is None
    assert read.extra == {"application_date_unreadable": "31.12.2020"}


@pytest.mark.parametrize(
    "logo_id", ["", "  ", "a\nb", "a\x00", "\ud800", "x" * (LONGEST_ID + 1), None, 1.5, True, ["a"], "1.2E+11"]
)
def test_ids_that_cannot_be_used(logo_id: object) -> None:
    with pytest.raises(RowError, match="logo_id"):
        checked_id(logo_id)


@pytest.mark.parametrize(
    ("logo_id", "read"),
    [
        (7, "7"),
        (1175970.0, "1175970"),
        ("1175970.0", "1175970"),
        (" EM/018 3 ", "EM/018 3"),
        ("Cafe\u0301", "Café"),
        ("x" * LONGEST_ID, "x" * LONGEST_ID),
    ],
)
def test_ids_are_any_text_that_can_be_printed(logo_id: object, read: str) -> None:
    assert checked_id(logo_id) == read


@pytest.mark.parametrize(
    "name",
    [
        "..", ".", "../a.jpg", "a/../../b.jpg", "..\\a.jpg", "a\x00.jpg", "a\n.jpg", "\ud800.jpg",
        "ü" * (LONGEST_FILENAME // 2 + 1), " ", "/", None, 7.5, True, b"a.jpg", ["a.jpg"],
    ],
)  # fmt: skip
def test_filenames_that_lead_elsewhere_or_are_none(name: object) -> None:
    with pytest.raises(RowError, match="filename"):
        checked_filename(name)


@pytest.mark.parametrize(
    "name", ["a.jpg", "..a.jpg", "a..jpg", "sub/…/ü b.jpg", "%2e%2e/a.jpg", "x" * LONGEST_FILENAME]
)
def test_filenames_that_are_odd_and_good(name: str) -> None:
    assert checked_filename(name) == name


@pytest.mark.parametrize(
    "name", ["sub\\a.jpg", "./sub/a.jpg", "/sub/a.jpg", "sub//a.jpg", "\\sub\\.\\a.jpg", " sub/a.jpg/ "]
)
def test_filenames_have_one_form(name: str) -> None:
    assert checked_filename(name) == "sub/a.jpg"


def test_a_number_can_be_a_filename() -> None:
    assert checked_filename(7) == checked_filename(7.0) == "7"


@pytest.mark.parametrize(
    ("date", "year"), [("2019-12", 2019), ("2019", 2019), (2019, 2019), ("2019-12-31", 2019), ("soon", None)]
)
def test_a_date_without_a_day_gives_its_year(date: object, year: int | None) -> None:
    read = record(application_date=date)
    assert read.year == year
    assert ("application_date_unreadable" in read.extra) == (date != "2019-12-31")


@pytest.mark.parametrize(
    ("status", "canonical", "kept"),
    [
        ("registered", "registered", None),
        ("Registered", "registered", "Registered"),
        ("Application withdrawn", "ended", "Application withdrawn"),
        ("Expirée", "expired", "Expirée"),
        ("Section 8 & 15 accepted", "unknown", "Section 8 & 15 accepted"),
        (None, None, None),
    ],
)
def test_a_status_is_one_of_five_and_the_words_of_the_office_are_kept(
    status: str | None, canonical: str | None, kept: str | None
) -> None:
    assert (record(status=status).status, record(status=status).office_status) == (canonical, kept)
    assert record(status=status, office_status="x").office_status == "x"


def test_further_columns_have_names_that_can_be_written() -> None:
    read = make_record(where="", logo_id="1", filename="a.jpg", fields={}, extra={"\ud800name": 1, "n" * 999: 2})
    assert read.extra == {"name": 1, "n" * LONGEST_KEY: 2}


def test_what_is_nested_too_deep_is_cut_there() -> None:
    read = make_record(
        where="", logo_id="1", filename="a.jpg", fields={"text": nested(50_000)}, extra={"x": nested(50_000)}
    )
    assert json.dumps(read.extra["x"], ensure_ascii=False) == "[" * 20 + '"…"' + "]" * 20
    assert json.dumps(read.extra["text_unreadable"], ensure_ascii=False) == "[" * 20 + '"…"' + "]" * 20


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000_000, ["x" * 10_000_000] * 9, nested(50_000), {"k" * 9_000: 1}, 10**3_000, b"\xff" * 999, "\ud800"],
)
def test_a_value_in_a_message_is_short_and_can_be_written(value: object) -> None:
    assert 0 < len(abbreviate(value)) <= 80
    assert abbreviate(value).encode()


def test_a_name_has_at_most_the_bytes_of_a_key_of_s3() -> None:
    assert checked_filename("x" * 1_024) == "x" * 1_024
    with pytest.raises(RowError, match="longer than 1,024 bytes"):
        checked_filename("x" * 1_025)


def test_a_long_value_is_shown_in_80_characters() -> None:
    assert abbreviate("x" * 78) == repr("x" * 78)
    assert len(abbreviate("x" * 79)) == len(abbreviate(["x" * 30] * 6)) == 80
