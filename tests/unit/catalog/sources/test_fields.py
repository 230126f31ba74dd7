from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from logo_similarity.catalog.sources.fields import (
    LONGEST_FILENAME,
    LONGEST_ID,
    LONGEST_TEXT,
    RowError,
    as_json,
    canonical_vienna_code,
    checked_filename,
    checked_id,
    clean_text,
    make_record,
    shown,
)
from logo_similarity.domain import Record


def record(**fields: Any) -> Record:
    return make_record(logo_id="1", filename="a.jpg", fields=fields, extra={})


def nested(depth: int) -> object:
    value: object = "inside"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "code",
    [
        "\uff12\uff17.\uff10\uff15.\uff10\uff11",
        "\u0662\u0667.\u0660\u0665.\u0660\u0661",
        "27.5.1\n27.5.2",
        "270.5.1",
        "-1.2.3",
        "27.05.01.",
    ],
)
def test_codes_have_plain_digits_and_three_parts(code: str) -> None:
    assert canonical_vienna_code(code) is None


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
def test_a_year_that_is_not_given_is_no_unreadable_one(year: object) -> None:
    assert (record(year=year).year, record(year=year).extra) == (None, {})


@pytest.mark.parametrize("year", ["2016a", 2016.5, 1e400, "9" * 5000, 1799, 2201, True, [2016], b"2016"])
def test_a_year_that_is_none_is_kept_aside(year: object) -> None:
    read = record(year=year)
    assert read.year is None
    assert list(read.extra) == ["year_unreadable"]
    json.dumps(read.extra, allow_nan=False)


@pytest.mark.parametrize("year", [1800, "2200", 2016.0])
def test_years_are_1800_to_2200(year: object) -> None:
    assert (record(year=year).year, record(year=year).extra) == (int(float(str(year))), {})


def test_the_date_says_the_year() -> None:
    read = record(application_date="2019-02-28", year="1996")
    assert (read.application_date, read.year) == (dt.date(2019, 2, 28), 2019)


@pytest.mark.parametrize("date_format", ["%Q", "%d", "%d.%m.%Y %H"])
def test_a_date_in_another_format_is_kept_aside(date_format: str) -> None:
    fields = {"application_date": "31.12.2020"}
    read = make_record(logo_id="1", filename="a.jpg", fields=fields, extra={}, date_format=date_format)
    assert read.application_date is None
    assert read.extra == {"application_date_unreadable": "31.12.2020"}


@pytest.mark.parametrize(
    "logo_id", ["", "  ", "a\nb", "a\x00", "\ud800", "x" * (LONGEST_ID + 1), None, 1.0, True, ["a"]]
)
def test_ids_that_cannot_be_used(logo_id: object) -> None:
    with pytest.raises(RowError, match="logo_id"):
        checked_id(logo_id)


@pytest.mark.parametrize(
    ("logo_id", "read"),
    [(7, "7"), (" EM/018 3 ", "EM/018 3"), ("Cafe\u0301", "Café"), ("x" * LONGEST_ID, "x" * LONGEST_ID)],
)
def test_ids_are_any_text_that_can_be_printed(logo_id: object, read: str) -> None:
    assert checked_id(logo_id) == read


@pytest.mark.parametrize(
    "name",
    [
        "..", ".", "../a.jpg", "a/../../b.jpg", "a//b.jpg", "/a.jpg", "a/", "a/./b.jpg", "..\\a.jpg", "C:\\a.jpg", "a\x00.jpg",
        "a\n.jpg", "\ud800.jpg", "ü" * (LONGEST_FILENAME // 2 + 1), " ", None, 7, b"a.jpg", ["a.jpg"],
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
    ("value", "text"),
    [("A\ud800B\x7f\x85C", "ABC"), (" \n\t ", None), ("a\nb", "a\nb"), (0, "0"), (1.5, "1.5"), (float("nan"), None)],
)
def test_texts(value: object, text: str | None) -> None:
    assert clean_text(value) == text


def test_texts_are_cut_after_they_are_composed() -> None:
    assert clean_text("e\u0301" * LONGEST_TEXT) == "é" * LONGEST_TEXT


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (float("inf"), None),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (Decimal("1.50"), "1.50"),
        (b"\xff", "b'\\xff'"),
        (("a", {1: ["b\x00"]}), ["a", {"1": ["b"]}]),
        ({"\ud800x": 1, "y" * 999: 2}, {"x": 1, "y" * LONGEST_ID: 2}),
    ],
)
def test_every_value_becomes_json(value: object, json_value: object) -> None:
    assert as_json(value) == json_value


def test_further_columns_have_names_that_can_be_written() -> None:
    read = make_record(logo_id="1", filename="a.jpg", fields={}, extra={"\ud800name": 1, "n" * 999: 2})
    assert read.extra == {"name": 1, "n" * LONGEST_ID: 2}


def test_what_is_nested_too_deep_is_cut_there() -> None:
    assert as_json(nested(20)) == nested(20)
    read = make_record(logo_id="1", filename="a.jpg", fields={"text": nested(50_000)}, extra={"x": nested(50_000)})
    assert json.dumps(read.extra["x"], ensure_ascii=False) == "[" * 20 + '"…"' + "]" * 20
    assert json.dumps(read.extra["text_unreadable"], ensure_ascii=False) == "[" * 20 + '"…"' + "]" * 20


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000_000, ["x" * 10_000_000] * 9, nested(50_000), {"k" * 9_000: 1}, 10**3_000, b"\xff" * 999, "\ud800"],
)
def test_a_value_in_a_message_is_short_and_can_be_written(value: object) -> None:
    assert 0 < len(shown(value)) <= 80
    assert shown(value).encode()
