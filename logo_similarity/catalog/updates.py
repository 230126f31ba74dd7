"""`updates.sqlite`: what an import needs to know about a version, beyond the records of its logos.

The rows of a logo are here if its record alone does not decide what a further row leads to: it was deleted, it has no
usable image, or its fields have different dates. The table `files` has the files that were imported.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from logo_similarity.catalog.files import sync_file
from logo_similarity.domain import Logo
from logo_similarity.errors import CatalogError
from logo_similarity.fields import Record

UPDATES = "updates.sqlite"

_KEY = "PRIMARY KEY (logo_id, position)"
_SCHEMA = (
    f"CREATE TABLE rows (logo_id TEXT, position INTEGER, day TEXT, record TEXT, {_KEY}) WITHOUT ROWID",
    "CREATE TABLE files (sha256 TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID",
)


class UpdateRow(NamedTuple):
    """A row of a register."""

    logo_id: str
    day: str
    """Date of the office's change, in ISO 8601; empty: not known, and earlier than any other."""
    record: str | None
    """`Record.from_json` as text; None: the logo was deleted."""


def record_row(record: Record) -> UpdateRow:
    """The row of a record."""
    values = {"logo_id": record.logo_id, "filename": record.filename, **record.metadata()}
    day = "" if record.transaction_date is None else record.transaction_date.isoformat()
    return UpdateRow(record.logo_id, day, json.dumps(values, ensure_ascii=False))


def logo_row(logo: Logo) -> UpdateRow:
    """The row of a logo of a catalog, if its record alone decides what a further row leads to."""
    values = json.loads(logo.metadata_json)
    record = json.dumps({"logo_id": logo.logo_id, "filename": logo.filename, **values}, ensure_ascii=False)
    return UpdateRow(logo.logo_id, values["transaction_date"] or "", record)


def write_updates(path: Path, rows: Iterable[UpdateRow], files: Iterable[tuple[str, str]]) -> None:
    """Write the file, in place of an earlier one. The same rows and files make the same file.

    Args:
        path: the file.
        rows: those of one logo after each other, oldest first.
        files: sha256 and name of each imported file.

    Raises:
        OSError: it cannot be written.
    """
    path.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {';'.join(_SCHEMA)}; BEGIN")
            connection.executemany(
                "INSERT INTO rows VALUES (?, ?, ?, ?)",
                ((row.logo_id, position, row.day, row.record) for position, row in enumerate(rows)),
            )
            connection.executemany("INSERT INTO files VALUES (?, ?)", sorted(set(files)))
            connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise OSError(None, f"cannot be written ({error}); is the disk full?", str(path)) from None
    sync_file(path)


def read_updates(path: Path) -> Iterator[UpdateRow]:
    """The rows, those of one logo after each other, oldest first.

    Raises:
        CatalogError: the file cannot be read.
    """
    for row in _query(path, "SELECT logo_id, day, record FROM rows ORDER BY logo_id, position"):
        yield UpdateRow(*row)


def read_logo(path: Path, logo_id: str) -> list[UpdateRow]:
    """The rows of one logo, oldest first. Raises CatalogError if the file cannot be read."""
    query = "SELECT logo_id, day, record FROM rows WHERE logo_id = ? ORDER BY position"
    return [UpdateRow(*row) for row in _query(path, query, logo_id)]


def read_files(path: Path) -> dict[str, str]:
    """The names of the imported files, by their sha256. Raises CatalogError if the file cannot be read."""
    files: Iterator[tuple[str, str]] = _query(path, "SELECT sha256, name FROM files")
    return dict(files)


def _query(path: Path, sql: str, *values: str) -> Iterator[Any]:
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            schema = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
            if sorted(text for (text,) in schema) != sorted(_SCHEMA):  # a view of another could run for hours
                raise CatalogError(f"{path}: damaged: it has other tables")
            yield from connection.execute(sql, values)
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"{path}: {error}") from None
