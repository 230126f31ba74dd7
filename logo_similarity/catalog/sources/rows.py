"""From the values of one row to a record."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from logo_similarity.catalog.sources.status import canonical_status
from logo_similarity.dates import year_alone
from logo_similarity.domain import Reject
from logo_similarity.field_kinds import DEFAULT_NOTATION, Notation, UnreadableError, clean_text, json_object
from logo_similarity.fields import FIELDS, UNREADABLE, Record, RegisterField, select_fields

ABBREVIATED_CHARACTERS = 80
LONGEST_ID = 200
LONGEST_FILENAME = 1_024

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
WHOLE_FLOAT = re.compile(r"^(\d+)\.0$", re.ASCII)
"""A number in a column with gaps, as pandas writes it to CSV."""
SHORTENED = re.compile(r"^\d([.,]\d+)?E\+\d+$", re.ASCII)
"""1.17597E+11: the digits that Excel does not show are lost in a CSV file."""


class RowError(ValueError):
    """A row that cannot be indexed; its text is the reason, for a person."""


def make_record(
    *,
    where: str,
    logo_id: object,
    filename: str,
    fields: Mapping[str, object],
    extra: Mapping[str, object],
    notation: Notation = DEFAULT_NOTATION,
    notations: Mapping[str, Notation] = MappingProxyType({}),
) -> Record:
    """A record from the values of a row.

    A field that cannot be read does not reject the row: `Record.extra` keeps its value, under a marked name. It also keeps
    the values of facets, under their own names.

    Args:
        where: position of the row in the source.
        logo_id: the public id.
        filename: the image's name on disk.
        fields: values of the register's fields and of facets by name, as the source has them.
        extra: every further column.
        notation: how the source writes lists and dates.
        notations: the same for single fields that differ, by name.

    Raises:
        RowError: the id cannot be used.
    """
    kept = json_object(extra)

    def parse(field: RegisterField[Any]) -> Any:  # noqa: ANN401 - of the field's type
        try:
            return field.kind.parse(fields.get(field.name), notations.get(field.name, notation))
        except UnreadableError as error:
            kept[(field.column or field.name) + UNREADABLE] = error.unreadable
            return error.readable

    values: dict[str, Any] = {field.name: parse(field) for field in FIELDS}
    for facet in select_fields([name for name in fields if name not in values]):
        if items := parse(facet):
            kept[str(facet.column)] = facet.kind.to_json(items)
    if values["year"] is None and values["application_date"] is None:  # "2019" or "2019-12" is not a date
        values["year"] = year_alone(fields.get("application_date"))
    status = canonical_status(values["status"])
    if status != values["status"]:
        values["office_status"] = values["office_status"] or values["status"]
        values["status"] = status
    for field in FIELDS:
        if field.derive is not None and (derived := field.derive(values)) != field.kind.empty:
            values[field.name] = derived
    return Record(where=where, logo_id=checked_id(logo_id), filename=filename, extra=kept, **values)


def make_reject(where: str, error: RowError, *, logo_id: object = None, filename: object = None) -> Reject:
    """The reject of a row, with the id and the filename as the source has them; a value that is not text is left out."""
    return Reject(where, str(error), _text(logo_id), _text(filename))


def checked_id(value: object) -> str:
    """A public id. Raises RowError if it is empty, too long, or contains control characters."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas stores a column of whole numbers with gaps as floats
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f"logo_id {abbreviate(value)} is not text")
    text = WHOLE_FLOAT.sub(r"\1", unicodedata.normalize("NFC", str(value)).strip())
    if SHORTENED.match(text):
        raise RowError(
            f"logo_id {abbreviate(value)} is a number that a spreadsheet has shortened; format the column as text and "
            "export the table again"
        )
    if not text or len(text) > LONGEST_ID or CONTROL.search(text) or not text.isprintable():
        raise RowError(
            f"logo_id {abbreviate(value)} is empty, longer than {LONGEST_ID} characters, or contains control characters"
        )
    return text


def checked_filename(value: object) -> str:
    """A name relative to the image folder, "/" between its parts: that of "./sub//a.jpg" is "sub/a.jpg".

    Backslashes, as Windows writes them, are read as "/"; empty parts and "." are left out.

    Raises:
        RowError: the name is empty or could lead outside the folder.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f"filename {abbreviate(value)} is not text")
    parts = [part for part in str(value).strip().replace("\\", "/").split("/") if part not in ("", ".")]
    name = "/".join(parts)
    if not name or ".." in parts:
        raise RowError(f"filename {abbreviate(value)} is empty or leads outside the image folder")
    if CONTROL.search(name) or len(name.encode("utf8", "surrogatepass")) > LONGEST_FILENAME:
        raise RowError(
            f"filename {abbreviate(value)} contains control characters, or is longer than {LONGEST_FILENAME:,} bytes"
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RowError(f"filename {abbreviate(value)} is not valid Unicode") from None
    return name


def _text(value: object) -> str | None:
    try:
        return clean_text(value)
    except TypeError:
        return None


def abbreviate(value: object) -> str:
    """A value for a message, in at most 80 characters."""
    short = reprlib.Repr()  # looks no deeper and no further than it shows
    short.maxstring = short.maxlong = short.maxother = ABBREVIATED_CHARACTERS
    text = short.repr(value)
    return text if len(text) <= ABBREVIATED_CHARACTERS else text[: ABBREVIATED_CHARACTERS - 1] + "…"
