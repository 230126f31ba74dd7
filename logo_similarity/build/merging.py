"""The rows of a register in which later records update earlier ones: one record for each logo."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from logo_similarity.catalog.updates import UpdateRow, record_row
from logo_similarity.domain import Reject, Removal
from logo_similarity.field_kinds import JsonValue
from logo_similarity.fields import Record, merge_records

CREATE = "CREATE TABLE rows (position INTEGER PRIMARY KEY, logo_id TEXT, day TEXT, record TEXT)"
INSERT = "INSERT INTO rows (logo_id, day, record) VALUES (?, ?, ?)"
IN_ORDER = """
WITH dated AS (
  SELECT position, logo_id, coalesce(day, max(day) OVER (PARTITION BY logo_id ORDER BY position), '') AS day FROM rows
)
SELECT dated.logo_id, dated.day, rows.record FROM dated JOIN rows USING (position)
ORDER BY dated.logo_id, dated.day, position
"""
"""The rows of each logo by their dates, and in the order of the source for rows of one day. A row without a date has the
latest date of those before it."""


@dataclass(frozen=True, slots=True)
class MergedLogo:
    """What the rows of one logo say together."""

    logo_id: str
    record: Record | None
    """None: the logo is deleted."""
    rows: tuple[UpdateRow, ...]
    """The rows on which the outcome of a further row may depend, oldest first; empty: on the record alone."""


def merge_logos(
    rows: Iterable[Record | Removal | Reject], database: Path, earlier: Iterable[UpdateRow] = ()
) -> Generator[MergedLogo | Reject]:
    """The rejects, then the logos in the order of their ids. The rows are kept in a file, not in memory.

    A record updates the earlier ones of its logo field by field, a removal deletes them.

    Args:
        rows: those of a source, which may be in any order if they have dates.
        database: a file that is replaced, and deleted at the end.
        earlier: the rows of earlier sources.

    Raises:
        OSError: the file cannot be written.
    """
    database.unlink(missing_ok=True)
    try:
        # The file is of no use after a failure, so it needs no journal.
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {CREATE}; BEGIN")
            connection.executemany(INSERT, earlier)
            for row in rows:
                if isinstance(row, Reject):
                    yield row
                    continue
                day = None if row.transaction_date is None else row.transaction_date.isoformat()
                text = json.dumps(record_object(row), ensure_ascii=False) if isinstance(row, Record) else None
                connection.execute(INSERT, (row.logo_id, day, text))
            connection.execute("COMMIT")
            for _, versions in groupby(connection.execute(IN_ORDER), key=itemgetter(0)):
                yield _merge([UpdateRow(*version) for version in versions])
    except sqlite3.OperationalError as error:
        raise OSError(None, f"cannot be written ({error}); is the disk full?", str(database)) from None
    finally:
        database.unlink(missing_ok=True)


def merge_logo(rows: Iterable[UpdateRow]) -> MergedLogo | None:
    """What the rows of one logo say together, as `merge_logos` merges them; None: there are no rows.

    Args:
        rows: of one logo, in the order in which they came.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(CREATE)
        connection.executemany(INSERT, rows)
        ordered = [UpdateRow(*version) for version in connection.execute(IN_ORDER)]
    return _merge(ordered) if ordered else None


def record_object(record: Record) -> dict[str, JsonValue]:
    """A record as JSON holds it; `Record.from_json` reads it."""
    return {"where": record.where, "logo_id": record.logo_id, "filename": record.filename, **record.metadata()}


def without_image(record: Record) -> Reject:
    """The reject of a logo whose image is not in the image folder."""
    return Reject(record.where, "no image of the logo in the image folder", record.logo_id)


def _merge(rows: Sequence[UpdateRow]) -> MergedLogo:
    """Merge the rows of one logo, which are in order."""
    records = [None if row.record is None else Record.from_json(json.loads(row.record)) for row in rows]
    merged: Record | None = None
    for record in records:
        merged = record if record is None or merged is None else merge_records(merged, record)
    needed = tuple(_without_place(rows[place], records[place]) for place in _needed(records))
    if merged is not None and merged.filename and needed == (record_row(merged),):
        needed = ()
    return MergedLogo(rows[0].logo_id, merged, needed)


def _without_place(row: UpdateRow, record: Record | None) -> UpdateRow:
    """The row without its position in the source."""
    return row if record is None else record_row(record)._replace(day=row.day)


def _needed(records: Sequence[Record | None]) -> list[int]:
    """The places of the records that a later one does not replace completely, back to the latest removal."""
    places: list[int] = []
    replaced: set[str] = set()
    for place in range(len(records) - 1, -1, -1):
        record = records[place]
        if record is None:
            return [place, *places]
        named = set(_named(record))
        if not named <= replaced:
            places.insert(0, place)
            replaced |= named
    return places


def _named(record: Record) -> Iterator[str]:
    """What a record has a value of."""
    for name, value in record_object(record).items():
        if name == "extra":
            yield from (f"extra.{column}" for column in record.extra)
        elif name != "where" and value not in (None, "", []):
            yield name
