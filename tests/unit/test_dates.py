from __future__ import annotations

import datetime as dt

import pytest

from logo_similarity.dates import day_order, is_ambiguous, parse_day, year_alone

LAST_DAY = dt.date(2019, 12, 31)


@pytest.mark.parametrize(
    "value",
    [
        "31/12/2019", "12/31/2019 0:00", "12/31/2019 12:00:00 AM", "31.12.2019", "31.12.2019 10:30", "31-12-2019", "20191231",
        20191231, 20191231.0, "20191231.0", "20191231120000", "2019/12/31", "2019-12-31T10:00:00+02:00", "2019-12-31 10:00 CET",
        "31 Dec 2019", "Dec 31, 2019", "31-DEC-2019", "Tue Dec 31 00:00:00 CET 2019", "31. Dezember 2019", "31 décembre 2019",
        "31 de diciembre de 2019", 43830, "43830", "43830.5", dt.datetime(2019, 12, 31, 23, tzinfo=dt.UTC), LAST_DAY,
    ],
)  # fmt: skip
def test_days_as_offices_write_them(value: object) -> None:
    assert parse_day(value) == LAST_DAY


@pytest.mark.parametrize(
    "value",
    [
        "2019", 2019, "2019-12", "May 2019", "20", 20, "31/12/19", "2020-02-30", "30/02/2019", "2019-13-01", "13/13/2019",
        "01/02/2019", "yesterday", "", "9" * 61, "x" * 100, True, None, ["2019-12-31"], "20191331", float("nan"), float("inf"),
    ],
)  # fmt: skip
def test_what_is_no_complete_day(value: object) -> None:
    with pytest.raises((ValueError, OverflowError)):
        parse_day(value)


def test_day_and_month_are_told_apart_by_the_order() -> None:
    assert parse_day("01/02/2019", day_first=True) == dt.date(2019, 2, 1)
    assert parse_day("01/02/2019", day_first=False) == dt.date(2019, 1, 2)
    assert parse_day("03/03/2019") == dt.date(2019, 3, 3)
    assert parse_day("1.2.2019", day_first=False) == parse_day("1.2.2019") == dt.date(2019, 2, 1)


@pytest.mark.parametrize(
    ("value", "order", "ambiguous"),
    [
        ("31/12/2019", True, False),
        ("12-31-2019 0:00", False, False),
        ("01/02/2019", None, True),
        ("02/02/2019", None, False),
        ("01.02.2019", None, False),
        ("2019-01-02", None, False),
        (43830, None, False),
    ],
)
def test_what_a_date_tells_of_the_order(value: object, order: bool | None, ambiguous: bool) -> None:
    assert (day_order(value), is_ambiguous(value)) == (order, ambiguous)


@pytest.mark.parametrize(
    ("value", "year"),
    [("2019", 2019), (2019.0, 2019), ("2019-12", 2019), ("2019-12-31", None), ("20", None), (None, None)],
)
def test_years_without_a_day(value: object, year: int | None) -> None:
    assert year_alone(value) == year
