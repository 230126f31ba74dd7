"""The one form that each field of a record has inside, whatever a source writes."""

from __future__ import annotations

import datetime as dt
import math
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from logo_similarity.domain import JsonValue, Record

SHOWN_CHARACTERS = 80
LONGEST_TEXT = 10_000
LONGEST_ID = 200
LONGEST_FILENAME = 1_024
DEEPEST_NESTING = 20

SEPARATORS = re.compile(r"[\s,;|]+")
VIENNA = re.compile(r"^(\d{1,2})(?:\.(\d{1,2}))?(?:\.(\d{1,2}))?$", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What an optional field may not be: kept under this name, so that nothing is lost without a trace.
UNREADABLE = "_unreadable"


class RowError(ValueError):
    """A row that can't be indexed; the text is the reason, for a person."""


def canonical_vienna_code(text: str) -> str | None:
    """A Vienna code in padded form: "27.5.1" is "27.05.01". Categories ("27") and divisions ("27.5") stay as short.

    None where the text is no code.
    """
    match = VIENNA.match(text.strip())
    return ".".join(part.zfill(2) for part in match.groups() if part is not None) if match else None


def make_record(
    *,
    logo_id: object,
    filename: str,
    fields: dict[str, Any],
    extra: dict[str, Any],
    separators: re.Pattern[str] = SEPARATORS,
    date_format: str | None = None,
) -> Record:
    """A record from what a row holds.

    Args:
        logo_id: the public id.
        filename: the image's name as it is on disk.
        fields: values of the optional fields, as the source has them.
        extra: every further column.
        separators: between the codes in a text that holds several.
        date_format: for `strptime`; ISO 8601 where it is None.

    An optional field that can't be read never costs the logo: its value is kept in `extra`, its name marked.

    Raises:
        RowError: the id can't be used.
    """
    kept = _json_object(extra, DEEPEST_NESTING)
    values: dict[str, Any] = {}
    readers = {
        "text": clean_text,
        "company": clean_text,
        "status": clean_text,
        "office": clean_text,
        "application_date": lambda value: _date(value, date_format),
        "year": _year,
    }
    for name, read in readers.items():
        try:
            values[name] = read(fields.get(name))
        except (ValueError, TypeError, OverflowError):
            kept[name + UNREADABLE] = as_json(fields[name])
    for name, one in (("vienna_codes", _vienna_code), ("nice_classes", _nice_class)):
        good, bad = _several(fields.get(name), separators, one)
        values[name] = tuple(sorted(good))
        if bad:
            kept[name + UNREADABLE] = bad
    applied = values.get("application_date")
    values["year"] = applied.year if applied else values.get("year")
    return Record(logo_id=checked_id(logo_id), filename=filename, extra=kept, **values)


def checked_id(value: object) -> str:
    """A public id. Raises RowError where it is empty, too long, or has control characters."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f"logo_id {shown(value)} is no text")
    text = unicodedata.normalize("NFC", str(value)).strip()
    if not text or len(text) > LONGEST_ID or CONTROL.search(text) or not text.isprintable():
        raise RowError(
            f"logo_id {shown(value)} is empty, longer than {LONGEST_ID} characters, or has control characters"
        )
    return text


def checked_filename(value: object) -> str:
    """A name relative to the image folder, "/" between its parts. Raises RowError where it could lead out of it."""
    if not isinstance(value, str):
        raise RowError(f"filename {shown(value)} is no text")
    name = value.strip()
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts):
        raise RowError(f"filename {shown(value)} is empty or leads out of the image folder")
    if "\\" in name or CONTROL.search(name) or len(name.encode("utf8", "surrogatepass")) > LONGEST_FILENAME:
        raise RowError(f"filename {shown(value)} has characters that a name can't have, or too many")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RowError(f"filename {shown(value)} is not valid Unicode") from None
    return name


def clean_text(value: object) -> str | None:
    """Text in Unicode's NFC form, without control characters and outer space; None where nothing is left.

    Cut at 10,000 characters: what is longer is no text of a logo. Raises TypeError for what is no text or number.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("no text")
    text = unicodedata.normalize("NFC", str(value)[: 2 * LONGEST_TEXT])
    printable = "".join(c for c in text if c in " \n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return printable.strip()[:LONGEST_TEXT] or None


def as_json(value: object, depth: int = DEEPEST_NESTING) -> JsonValue:  # noqa: PLR0911 - one line for each type
    """A value that JSON can hold; dates as ISO text, NaN as null, what is unknown as its text.

    What is nested deeper than `depth` becomes "…": a file may nest deeper than Python can follow.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return _json_object(value, depth - 1) if depth else "…"
    if isinstance(value, list | tuple):
        return [as_json(item, depth - 1) for item in value] if depth else "…"
    if isinstance(value, dt.date):
        return value.isoformat()
    return clean_text(str(value))


def shown(value: object) -> str:
    """A value for a message, shortened."""
    short = reprlib.Repr()  # looks no deeper and no further than it shows
    short.maxstring = short.maxlong = short.maxother = SHOWN_CHARACTERS
    text = short.repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _json_object(value: Mapping[Any, object], depth: int) -> dict[str, JsonValue]:
    return {(clean_text(str(key)) or "")[:LONGEST_ID]: as_json(item, depth) for key, item in value.items()}


def _several(value: object, separators: re.Pattern[str], one: Any) -> tuple[set[Any], list[JsonValue]]:  # noqa: ANN401 - a reader of one code
    """The readable codes of a list, or of a text that holds several, and the unreadable ones."""
    items: Iterable[object]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        items = ()
    elif isinstance(value, str):
        items = [part for part in separators.split(value.strip()) if part]
    elif isinstance(value, list | tuple):
        items = value
    else:
        items = (value,)
    good, bad = set(), []
    for item in items:
        code = one(item)
        if code is None:
            bad.append(as_json(item))
        else:
            good.add(code)
    return good, bad


def _vienna_code(value: object) -> str | None:
    return canonical_vienna_code(value) if isinstance(value, str) else None


def _nice_class(value: object) -> int | None:
    """1 to 45 (Nice classification)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a Parquet column of whole numbers with gaps
    try:
        number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        return None
    return number if number is not None and 1 <= number <= 45 else None


def _date(value: object, date_format: str | None) -> dt.date | None:
    if isinstance(value, dt.datetime):
        return value.date()
    if value is None or isinstance(value, dt.date):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    text = str(value).strip()
    if not text:
        return None
    if date_format is not None:
        return dt.datetime.strptime(text, date_format).replace(tzinfo=dt.UTC).date()
    return dt.datetime.fromisoformat(text).date()


def _year(value: object) -> int | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("no year")
    year = int(value)
    if year != float(value) or not 1800 <= year <= 2200:
        raise ValueError("no year")
    return year
