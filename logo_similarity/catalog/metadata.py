"""`metadata.db`: the register data of each logo, in SQLite. Its row ids are the rows of the catalog."""

from __future__ import annotations

import datetime as dt
import functools
import json
import queue
import sqlite3
import unicodedata
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from logo_similarity.domain import Logo
from logo_similarity.errors import BuildError, CatalogError
from logo_similarity.field_kinds import ListKind, ScalarKind
from logo_similarity.fields import FIELDS, UNREADABLE, Record
from logo_similarity.wording import counted

LONGEST_LINE = 120
_SCALARS = {field.name: field.kind for field in FIELDS if isinstance(field.kind, ScalarKind)}
_LISTS = {field.name: field.kind for field in FIELDS if isinstance(field.kind, ListKind)}
_FULL_TEXT = [name for name, kind in _SCALARS.items() if kind.full_text]


def _list_table(name: str, kind: ListKind[Any]) -> str:
    columns = f"{kind.item} {kind.sql_type} NOT NULL, logo INTEGER NOT NULL, PRIMARY KEY ({kind.item}, logo)"
    line = f"CREATE TABLE {name} ({columns}) STRICT, WITHOUT ROWID;"
    return line if len(line) <= LONGEST_LINE else f"CREATE TABLE {name} (\n  {columns}\n) STRICT, WITHOUT ROWID;"


_GENERATED_COLUMNS = ",\n  ".join(
    f"{name} {kind.sql_type} AS (json_extract(metadata, '$.{name}'))" for name, kind in _SCALARS.items()
)
_LIST_TABLES = "\n".join(_list_table(name, kind) for name, kind in _LISTS.items())
_SCALAR_INDEXES = "\n".join(
    f"CREATE INDEX logos_{name} ON logos ({name}) WHERE {name} IS NOT NULL;"
    for name, kind in _SCALARS.items()
    if kind.indexed
)

# Responses contain `metadata` unchanged. Filter columns are generated from it, and stored only in their indexes.
# The schema of a catalog is compared with this text, including line breaks.
SCHEMA = f"""
CREATE TABLE logos (
  id INTEGER PRIMARY KEY,
  logo_id TEXT NOT NULL UNIQUE,
  filename TEXT NOT NULL,
  metadata TEXT NOT NULL,
  {_GENERATED_COLUMNS}
) STRICT;
{_LIST_TABLES}
CREATE VIRTUAL TABLE logos_text USING fts5(
  {", ".join(_FULL_TEXT)}, content='logos', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
"""

# Created after the rows are inserted, which is several times faster than updating them row by row.
INDEXES = f"""
{_SCALAR_INDEXES}
INSERT INTO logos_text (logos_text) VALUES ('rebuild');
"""  # noqa: S608 - names of our own

# For each field, a query that checks whether any logo has it.
FIELD_PROBES = {
    field.name: f"SELECT EXISTS (SELECT 1 FROM {field.name})"  # noqa: S608 - names of our own
    if field.name in _LISTS
    else f"SELECT EXISTS (SELECT 1 FROM logos WHERE {field.name} IS NOT NULL)"  # noqa: S608 - names of our own
    for field in FIELDS
}

COLUMNS = "id, logo_id, filename, metadata"
CONNECTIONS = 8
BATCH = 1_000
"""Rows that are read at once where all are."""
MAPPED_BYTES = 1 << 30
"""Maximum size of the memory map of each connection, in bytes."""
MOST_ROW_BYTES = 16_000_000
"""Maximum size of a row, in bytes."""

SCHEMA_QUERY = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
# Prefixes of tables that SQLite, ANALYZE and FTS5 add, which depend on the version of SQLite.
ADDED = ("sqlite_", "logos_text_")


def write_metadata(path: Path, records: Iterable[Record]) -> tuple[str, ...]:
    """Write a new `metadata.db` with the records in row order, from row 0.

    The same records give the same bytes (with one SQLite version).

    Returns:
        The names of the fields that occur in at least one record.

    Raises:
        CatalogError: the folder of the file does not exist.
        BuildError: the file cannot be written.
    """
    if not path.parent.is_dir():
        raise CatalogError(f"{path.parent}: the folder does not exist; create it before writing {path.name}")
    connection = sqlite3.connect(path)
    try:
        # No journal is needed: after a crash the file is written again, and no reader opens it before it is complete.
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
        with connection:
            for row, record in enumerate(records):
                _insert(connection, row, record)
        connection.executescript(INDEXES + "ANALYZE; VACUUM;")
        return tuple(name for name, probe in FIELD_PROBES.items() if connection.execute(probe).fetchone()[0])
    except sqlite3.OperationalError as error:
        raise BuildError(f"{path}: cannot be written: {error}; is the disk full?") from None
    finally:
        connection.close()


class Metadata:
    """Thread-safe, read-only access to a `metadata.db` through a few shared connections.

    All connections are opened in advance, because the file may be deleted while it is in use.

    Raises:
        CatalogError: the file cannot be read, or its schema is not that of `write_metadata`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        connections = [self._connect() for _ in range(CONNECTIONS)]
        for connection in connections:
            self._free.put(connection)
        try:
            self._check_schema()
        except CatalogError:
            _close_all(connections)
            raise
        # Called when the last reference is dropped: that closes versions that are no longer live.
        self._closer = weakref.finalize(self, _close_all, connections)

    def count(self) -> int:
        """Number of logos, from the first and last row id. `check_rows` reads all rows.

        Raises:
            CatalogError: the first row is not row 0.
        """
        ((first, last),) = self._query("SELECT (SELECT min(id) FROM logos), (SELECT max(id) FROM logos)")
        if first not in (None, 0):
            raise CatalogError(f"{self._path}: begins with row {first}; row 0 is missing")
        return 0 if last is None else int(last) + 1

    def check_rows(self) -> None:
        """Read and check every row.

        Raises:
            CatalogError: a row is missing, or its metadata is not a JSON object.
        """
        ((rows, unreadable),) = self._query(
            "SELECT count(*), count(*) FILTER (WHERE NOT json_valid(metadata) OR json_type(metadata) <> 'object')"
            " FROM logos NOT INDEXED"
        )
        if rows != self.count():
            raise CatalogError(f"{self._path}: damaged: {counted(self.count() - rows, 'row')} missing")
        if unreadable:
            raise CatalogError(
                f"{self._path}: damaged: the metadata of {counted(unreadable, 'row')} is not a JSON object"
            )

    def fetch(self, ids: Sequence[int]) -> list[Logo]:
        """The logos with these row ids, in this order, from as few queries as possible.

        Raises:
            CatalogError: a row does not exist.
        """
        by_id: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            places = ",".join("?" * len(batch))
            rows = self._query(f"SELECT {COLUMNS} FROM logos WHERE id IN ({places})", *batch)  # noqa: S608 - no text in it
            by_id.update((row[0], row) for row in rows)
        try:
            return [Logo._make(by_id[row]) for row in ids]
        except KeyError as error:
            raise CatalogError(f"{self._path}: has no row {error}") from None

    def logos(self) -> Iterator[Logo]:
        """All logos, in the order of their rows."""
        for start in range(0, self.count(), BATCH):
            rows = self._query(
                f"SELECT {COLUMNS} FROM logos WHERE id >= ? AND id < ? ORDER BY id",  # noqa: S608 - constant
                start,
                start + BATCH,
            )
            yield from map(Logo._make, rows)

    def find(self, logo_id: str) -> Logo | None:
        """The logo with this public id, or None. Ids are compared in Unicode's NFC form."""
        normalised = unicodedata.normalize("NFC", logo_id)
        rows = self._query(f"SELECT {COLUMNS} FROM logos WHERE logo_id = ?", normalised)  # noqa: S608 - constant
        return Logo._make(rows[0]) if rows else None

    def newest(self, hidden: Sequence[int] = ()) -> dt.date | None:
        """The latest date of application of the logos whose rows are not hidden; None: no logo has one."""
        rows = self._query(
            "SELECT application_date FROM logos WHERE application_date IS NOT NULL"
            " AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY application_date DESC LIMIT 1",
            json.dumps(hidden),
        )
        return dt.date.fromisoformat(rows[0][0]) if rows else None

    def unreadable(self) -> dict[str, int]:
        """Number of logos with an unreadable value or invalid UTF-8 text, by field name."""
        rows = self._query(
            "SELECT key, count(*) FROM logos, json_each(metadata, '$.extra') WHERE key GLOB ? GROUP BY key",
            "*" + UNREADABLE,
        )
        counts = {str(key).removesuffix(UNREADABLE): int(count) for key, count in rows}
        for name in _FULL_TEXT:
            ((damaged,),) = self._query(f"SELECT count(*) FROM logos WHERE instr({name}, ?)", "\ufffd")  # noqa: S608 - constant
            if damaged:
                counts[name] = counts.get(name, 0) + int(damaged)
        return counts

    def extra_columns(self) -> list[str]:
        """Names of the further columns of the source, in order. Reads every row."""
        rows = self._query("SELECT DISTINCT key FROM logos, json_each(metadata, '$.extra') ORDER BY key")
        return [str(key) for (key,) in rows]

    def close(self) -> None:
        """Close the connections. No other thread may be reading."""
        self._closer()

    def _check_schema(self) -> None:
        """Compare the schema text with our own: a foreign view or generated column could compute for hours.

        `PRAGMA trusted_schema = OFF` would protect less, and SQLite 3.40 then refuses `json_extract` in our own
        generated columns.
        """
        entries = self._query(SCHEMA_QUERY)
        differences = _own(entries) ^ _schema()
        differences |= {entry for entry in entries if entry[0] not in ("table", "index")}
        if differences:
            kind, name, *_ = min(differences)
            raise CatalogError(f"{self._path}: not a valid metadata file: the {kind} {name!r} is missing or differs")

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        connection = self._free.get()
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            raise CatalogError(f"{self._path}: {error}") from None
        finally:
            self._free.put(connection)

    def _connect(self) -> sqlite3.Connection:
        # immutable: SQLite uses no locks and no journal. The file never changes after it is published.
        uri = f"file:{quote(str(self._path.absolute()))}?mode=ro&immutable=1"
        try:
            # Any thread may use a connection, one at a time.
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_ROW_BYTES)
            connection.executescript(
                f"PRAGMA cell_size_check = ON; PRAGMA query_only = ON; PRAGMA mmap_size = {MAPPED_BYTES};"
            )
        except sqlite3.DatabaseError as error:
            raise CatalogError(f"{self._path}: {error}") from None
        return connection


@functools.cache
def _schema() -> frozenset[tuple[Any, ...]]:
    """Type, name, table and SQL of every schema entry of `write_metadata`, except those that SQLite and FTS5 add."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(SCHEMA + INDEXES)
        return _own(connection.execute(SCHEMA_QUERY))
    finally:
        connection.close()


def _own(entries: Iterable[tuple[Any, ...]]) -> frozenset[tuple[Any, ...]]:
    return frozenset(entry for entry in entries if not entry[1].startswith(ADDED))


def _close_all(connections: list[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()
    connections.clear()


def _insert(connection: sqlite3.Connection, row: int, record: Record) -> None:
    metadata = json.dumps(record.metadata(), ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    connection.execute(
        "INSERT INTO logos (id, logo_id, filename, metadata) VALUES (?, ?, ?, ?)",
        (row, record.logo_id, record.filename, metadata),
    )
    for name in _LISTS:
        items = ((item, row) for item in getattr(record, name))
        connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", items)  # noqa: S608 - names of our own
