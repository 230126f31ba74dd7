"""Days as offices and spreadsheets write them."""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import Any

LONGEST_DATE = 60
_NUMERIC = re.compile(r"^(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?!\d)", re.ASCII)
_YEAR_MONTH_DAY = re.compile(r"^(\d{4})([./-])(\d{1,2})\2(\d{1,2})(?!\d)", re.ASCII)
_WHOLE = re.compile(r"^(\d+)(?:\.\d+)?$", re.ASCII)
_YEAR_FIRST = re.compile(r"^((?:1[89]|2[01])\d\d)(?:[./-]\d{1,2})?(?:\.0+)?$", re.ASCII)
_FULL_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)|^\d{14}$", re.ASCII)
_EXCEL_EPOCH = dt.date(1899, 12, 30)
"""Day 0 of Excel's serial dates, from March 1900 on: Excel takes 1900 for a leap year (ECMA-376 part 1, 18.17.4.1)."""
_SERIALS = range(10_000, 80_000)
"""Serial dates of 1927 to 2119. Other whole numbers are not taken for dates, except YYYYMMDD."""
_MONTHS = [
    ("jan", "january", "januar", "jänner", "janvier", "janv", "enero", "ene"),
    ("feb", "february", "februar", "février", "févr", "fevrier", "febrero"),
    ("mar", "march", "märz", "maerz", "mrz", "mars", "marzo"),
    ("apr", "april", "avril", "avr", "abril", "abr"),
    ("may", "mai", "mayo"),
    ("jun", "june", "juni", "juin", "junio"),
    ("jul", "july", "juli", "juillet", "juil", "julio"),
    ("aug", "august", "août", "aout", "agosto", "ago"),
    ("sep", "sept", "september", "septembre", "septiembre"),
    ("oct", "october", "okt", "oktober", "octobre", "octubre"),
    ("nov", "november", "novembre", "noviembre"),
    ("dec", "december", "dez", "dezember", "déc", "décembre", "decembre", "dic", "diciembre"),
]
"""Months in English, German, French and Spanish."""


def parse_day(value: object, *, day_first: bool | None = None) -> dt.date:
    """The day that a value states; a time of day is dropped.

    Dates, ISO 8601, 31.12.2019, 31/12/2019, 20191231, 31 Dec 2019, and the serial numbers of Excel are read.

    Args:
        value: from a source.
        day_first: the order of day and month in 01/02/2019; None: not known, so that such a date cannot be read. Between
            dots the day is always first.

    Raises:
        ValueError: it is not a date with a day, a month and a year of four digits.
    """
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not a date")  # noqa: TRY004 - one error for everything that is not a date
    return _parse_text(str(value).strip()[: LONGEST_DATE + 1], day_first)


def year_alone(value: object) -> int | None:
    """The year of a value that states a year, or a year and a month ("2019-12"); None: it states something else."""
    match = _YEAR_FIRST.match(str(value).strip()[:LONGEST_DATE]) if isinstance(value, str | int | float) else None
    return int(match[1]) if match else None


def day_order(value: object) -> bool | None:
    """Whether the day comes first in a date such as 31/12/2019; None: the value does not tell."""
    first, second = _ambiguous_numbers(value)
    if first > 12 >= second:
        return True
    return False if second > 12 >= first else None


def is_ambiguous(value: object) -> bool:
    """Whether day and month of the date could be exchanged, as in 01/02/2019."""
    first, second = _ambiguous_numbers(value)
    return 0 < first <= 12 and 0 < second <= 12 and first != second


def _ambiguous_numbers(value: object) -> tuple[int, int]:
    match = _NUMERIC.match(value.strip()[:LONGEST_DATE]) if isinstance(value, str) else None
    return (int(match[1]), int(match[3])) if match and match[2] != "." else (0, 0)


@functools.lru_cache(maxsize=4_096)  # the dates of a register repeat
def _parse_text(text: str, day_first: bool | None) -> dt.date:  # noqa: FBT001 - the keys of the cache
    if len(text) > LONGEST_DATE:
        raise ValueError("too long for a date")
    if whole := _WHOLE.match(text):
        number = whole[1]
        if len(number) == 5 and int(number) in _SERIALS:
            return _EXCEL_EPOCH + dt.timedelta(days=int(number))
        if len(number) == 8:
            return dt.date(int(number[:4]), int(number[4:6]), int(number[6:]))
        if len(number) != 14:
            raise ValueError("a number that is not a date")
    try:
        return dt.datetime.fromisoformat(text).date()
    except ValueError:
        return _parse_other(text, day_first)


def _parse_other(text: str, day_first: bool | None) -> dt.date:  # noqa: FBT001 - as _parse_text
    if not _FULL_YEAR.search(text):
        raise ValueError("no year of four digits")
    if is_ambiguous(text) and day_first is None:
        raise ValueError("day and month could be exchanged")
    numeric = _NUMERIC.match(text)
    order = True if numeric and numeric[2] == "." else day_order(text)
    days_come_first = day_first is not False if order is None else order
    if ordered := _YEAR_MONTH_DAY.match(text):  # dateutil would read 2019-13-01 as 13 January
        dt.date(int(ordered[1]), int(ordered[3]), int(ordered[4]))
    parser = _parser()
    # What the text does not state is taken from the default: a date that is complete does not depend on it.
    days: set[dt.date] = {
        parser.parse(text, default=default, dayfirst=days_come_first, ignoretz=True).date()
        for default in (dt.datetime(1904, 1, 1), dt.datetime(2008, 2, 2))  # noqa: DTZ001 - only days are used
    }
    if len(days) != 1:
        raise ValueError("not a complete date")
    return days.pop()


@functools.cache
def _parser() -> Any:  # noqa: ANN401 - of a library that is imported late
    from dateutil.parser import parser, parserinfo

    class Months(parserinfo):
        MONTHS = _MONTHS  # type: ignore[assignment] # stated too narrowly: a month may have any number of names
        JUMP = [*parserinfo.JUMP, "de", "del", "le", "den"]  # noqa: RUF012 - as dateutil declares it

    return parser(Months())
