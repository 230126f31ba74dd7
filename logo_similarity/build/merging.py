"""The rows of a register in which later records update earlier ones: one record for each logo."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from logo_similarity.domain import Reject, Removal
from logo_similarity.fields import Record, merge_records

CREATE = "CREATE TABLE rows (position INTEGER PRIMARY KEY, logo_id TEXT, day TEXT, record TEXT)"
INSERT = "INSERT INTO rows (logo_id, day, record) VALUES (?, ?, ?)"
IN_ORDER = """
WITH dated AS (
  SELECT position, logo_id, coalesce(day, max(day) OVER (PARTITION BY logo_id ORDER BY position), '') AS day FROM rows
)
SELECT dated.logo_id, rows.record FROM dated JOIN rows USING (position) ORDER BY dated.logo_id, dated.day, position
"""
"""The rows of each logo by their dates, and in the order of the source for rows of one day. A row without a date has the
latest date of those before it."""


def merge_rows(rows: Iterator[Record | Removal | Reject], database: Path) -> Generator[Record | Reject]:
    """The rejects, then the merged records in the order of their ids. The rows are kept in a file, not in memory.

    A record updates the earlier ones of its logo field by field, a removal deletes them. A logo without an image becomes a
    reject.

    Args:
        rows: those of a source, which may be in any order if they have dates.
        database: a file that is replaced, and deleted at the end.

    Raises:
        OSError: the file cannot be written.
    """
    database.unlink(missing_ok=True)
    try:
        # The file is of no use after a failure, so it needs no journal.
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {CREATE}; BEGIN")
            for row in rows:
                if isinstance(row, Reject):
                    yield row
                    continue
                day = None if row.transaction_date is None else row.transaction_date.isoformat()
                text = json.dumps(record_object(row), ensure_ascii=False) if isinstance(row, Record) else None
                connection.execute(INSERT, (row.logo_id, day, text))
            connection.execute("COMMIT")
            for _, versions in groupby(connection.execute(IN_ORDER), key=itemgetter(0)):
                record = _merge(text for _, text in versions)
                if record is not None:
                    yield record if record.filename else _without_image(record)
    except sqlite3.OperationalError as error:
        raise OSError(None, f"cannot be written ({error}); is the disk full?", str(database)) from None
    finally:
        database.unlink(missing_ok=True)


def record_object(record: Record) -> dict[str, object]:
    """A record as JSON holds it; `Record.from_json` reads it."""
    return {"where": record.where, "logo_id": record.logo_id, "filename": record.filename, **record.metadata()}


def _merge(versions: Iterator[str | None]) -> Record | None:
    """The record that remains of the versions of a logo, of which None is a removal; None: it is deleted."""
    merged: Record | None = None
    for text in versions:
        if text is None:
            merged = None
        else:
            record = Record.from_json(json.loads(text))
            merged = record if merged is None else merge_records(merged, record)
    return merged


def _without_image(record: Record) -> Reject:
    return Reject(record.where, "no image of the logo in the image folder", record.logo_id)
