"""`overlay.db`: the changes that were made to a catalog over HTTP and are not yet in one of its versions.

SQLite in a folder of versions, beside them. A change is there before it is acknowledged. It is never altered, and goes
when a version that contains it has been published.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from logo_similarity.catalog.updates import UpdateRow
from logo_similarity.errors import CatalogError, ChangeNotStoredError, NotWritableError, OverloadedError

OVERLAY = "overlay.db"
ANSWER_SECONDS = 24 * 3600
"""Time for which the answers of requests with an idempotency key are kept."""
BUSY_SECONDS = 5.0
"""Maximum wait for the transaction of another process."""

Operation = Literal["create", "replace", "update", "delete"]

_APPLICATION = 0x6C6F676F
_LAYOUT = 1
_SCHEMA = """
CREATE TABLE changes (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  operation TEXT NOT NULL,
  logo_id TEXT NOT NULL,
  day TEXT NOT NULL,
  record TEXT
) STRICT;
CREATE INDEX changes_of_logo ON changes (logo_id, sequence);
CREATE TABLE images (
  filename TEXT NOT NULL,
  encoder TEXT NOT NULL,
  digest BLOB NOT NULL,
  embedding BLOB NOT NULL,
  cells INTEGER NOT NULL,
  patches BLOB,
  place BLOB NOT NULL,
  part_embeddings BLOB NOT NULL,
  part_boxes BLOB NOT NULL,
  damage TEXT,
  words TEXT,
  PRIMARY KEY (filename, encoder)
) STRICT;
CREATE INDEX images_by_digest ON images (digest);
CREATE TABLE answers (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  request BLOB NOT NULL,
  answer TEXT NOT NULL,
  at REAL NOT NULL,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE folds (version TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state (id TEXT NOT NULL, dropped INTEGER NOT NULL) STRICT;
"""


class Change(NamedTuple):
    """One change of a logo."""

    sequence: int
    """Changes are numbered in the order in which they were stored, from 1."""
    operation: Operation
    logo_id: str
    day: str
    """As `UpdateRow.day`: the date of the change, or if it has none, the latest one of its logo at that time."""
    record: str | None
    """As `UpdateRow.record`."""

    @property
    def rows(self) -> tuple[UpdateRow, ...]:
        """The rows of a register that have the same effect. A replacement is a deletion and a new record."""
        removal = UpdateRow(self.logo_id, self.day, None)
        record = UpdateRow(self.logo_id, self.day, self.record)
        return {"delete": (removal,), "replace": (removal, record)}.get(self.operation, (record,))


class OverlayImage(NamedTuple):
    """What is stored of an image. Arrays are little-endian bytes; their shapes follow from the encoder."""

    filename: str
    """Its name in the image store."""
    encoder: str
    """Digest of the encoder and version of the preprocessing that described it."""
    digest: bytes
    """Sha256 of the image file."""
    embedding: bytes
    """float32."""
    cells: int
    """Number of the patches."""
    patches: bytes | None
    """int8, those of one cell after another; None: the encoder has none."""
    place: bytes
    """float32."""
    part_embeddings: bytes
    """float32."""
    part_boxes: bytes
    """uint16."""
    damage: str | None
    """What is wrong with the file, if it was read only in part."""
    words: str | None
    """The words that were read in it; None: none, or they were not read."""


class Answer(NamedTuple):
    """The answer to an earlier request with an idempotency key."""

    request: bytes
    """Sha256 of the request."""
    answer: str


class Overlay:
    """The changes of a catalog. Safe to use from many threads and processes.

    Every method raises:
        CatalogError: the file is damaged, or is not an overlay.
        NotWritableError: the folder or the file is read-only.
        OverloadedError: another process is writing for too long.
        ChangeNotStoredError: the disk is full or fails.
    """

    def __init__(self, root: Path) -> None:
        """Open or create the overlay of the catalog in the folder `root`."""
        self.path = root / OVERLAY
        self._lock = threading.RLock()  # a transaction may read, too
        with self._errors():
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                with _transaction(self._connection):
                    self._check()
                ((self.id,),) = self._connection.execute("SELECT id FROM state")
            except BaseException:
                self._connection.close()
                raise

    @classmethod
    def open_existing(cls, root: Path) -> Self | None:
        """The overlay of a catalog; None: nothing was ever changed."""
        return cls(root) if (root / OVERLAY).exists() else None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def changing(self) -> Iterator[Changing]:
        """A transaction that is stored durably at the end of the block, and has no effect if an error leaves it."""
        with self._lock, self._errors(), _transaction(self._connection):
            yield Changing(self._connection)

    def last(self) -> int:
        """Sequence number of the latest change; 0: there has been none."""
        ((last,),) = self._query("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)")
        return int(last)

    def count(self) -> int:
        """Number of changes."""
        ((count,),) = self._query("SELECT count(*) FROM changes")
        return int(count)

    def start(self, version: str) -> int:
        """The last change that is not applied to a version: it contains the change, or the change was dropped."""
        return max(self.folded(version), self.dropped())

    def folded(self, version: str) -> int:
        """The last change that a version contains; 0: none."""
        rows = self._query("SELECT sequence FROM folds WHERE version = ?", version)
        return int(rows[0][0]) if rows else 0

    def dropped(self) -> int:
        """The last change that was dropped."""
        ((dropped,),) = self._query("SELECT dropped FROM state")
        return int(dropped)

    def changed_ids(self, after: int, until: int) -> list[str]:
        """The logos with a change in a range, `after` excluded, in the order of their last change in it."""
        rows = self._query(
            "SELECT logo_id FROM changes WHERE sequence > ? AND sequence <= ? GROUP BY logo_id ORDER BY max(sequence)",
            after,
            until,
        )
        return [logo_id for (logo_id,) in rows]

    def rows(self, logo_id: str, after: int, until: int | None = None) -> list[UpdateRow]:
        """The changes of a logo in a range, `after` excluded, as rows of a register in their order."""
        with self._lock, self._errors():
            return _rows(self._connection, logo_id, after, until)

    def all_rows(self, after: int, until: int) -> Iterator[UpdateRow]:
        """The changes in a range, `after` excluded, as rows of a register in their order."""
        while after < until:
            page = self._query(
                "SELECT * FROM changes WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT 1000", after, until
            )
            for change in map(Change._make, page):
                yield from change.rows
            after = page[-1][0] if page else until

    def image(self, filename: str, encoder: str) -> OverlayImage | None:
        """What is stored of an image; None: nothing for this encoder."""
        rows = self._query("SELECT * FROM images WHERE filename = ? AND encoder = ?", filename, encoder)
        return OverlayImage._make(rows[0]) if rows else None

    def image_of(self, digest: bytes, encoder: str) -> OverlayImage | None:
        """The same by the sha256 of the image file."""
        rows = self._query("SELECT * FROM images WHERE digest = ? AND encoder = ?", digest, encoder)
        return OverlayImage._make(rows[0]) if rows else None

    def answer(self, owner: str, key: str) -> Answer | None:
        """The answer to the latest request with an idempotency key, if it is not too old."""
        rows = self._query(
            "SELECT request, answer FROM answers WHERE owner = ? AND key = ? AND at > ?",
            owner,
            key,
            time.time() - ANSWER_SECONDS,
        )
        return Answer._make(rows[0]) if rows else None

    def record_fold(self, version: str, sequence: int) -> None:
        """Record that a version contains all changes up to this one. It need not be live yet."""
        with self.changing():
            self._connection.execute("INSERT OR REPLACE INTO folds VALUES (?, ?)", (version, sequence))

    def drop(self, sequence: int) -> int:
        """Drop the changes up to this one, and the images that no other change has. Returns the number of changes."""
        with self.changing():
            count = self._connection.execute("DELETE FROM changes WHERE sequence <= ?", (sequence,)).rowcount
            self._connection.execute("UPDATE state SET dropped = max(dropped, ?)", (sequence,))
            self._connection.execute(
                "DELETE FROM images WHERE filename NOT IN"
                " (SELECT json_extract(record, '$.filename') FROM changes WHERE record IS NOT NULL)"
            )
        return int(count)

    def _query(self, sql: str, *values: object) -> list[Any]:
        with self._lock, self._errors():
            return self._connection.execute(sql, values).fetchall()

    def _check(self) -> None:
        """Create the tables of a new file, and check the kind of an older one."""
        ((application,),) = self._connection.execute("PRAGMA application_id")
        ((layout,),) = self._connection.execute("PRAGMA user_version")
        ((tables,),) = self._connection.execute("SELECT count(*) FROM sqlite_schema")
        if (application, layout, tables) == (0, 0, 0):
            for statement in _SCHEMA.split(";\n"):
                self._connection.execute(statement)
            self._connection.execute("INSERT INTO state VALUES (?, 0)", (secrets.token_hex(16),))
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        elif application != _APPLICATION:
            raise CatalogError(f"{self.path}: not a file of live changes; move it away")
        elif layout != _LAYOUT:
            raise CatalogError(
                f"{self.path}: has layout {layout}; this version of the software reads layout {_LAYOUT}: use the version "
                "that wrote it, and run `logo-similarity compact` with it first"
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            kind = (error.sqlite_errorcode or 0) & 0xFF
            if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise OverloadedError("another change takes too long; try again shortly", retry_after=2) from None
            if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
                raise NotWritableError(
                    "the folder of the catalog is read-only; send changes to a service that may write to it"
                ) from None
            if kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise ChangeNotStoredError(f"{self.path}: {error}; is the disk full?") from None
            raise CatalogError(f"{self.path}: {error}") from None


class Changing:
    """A transaction on an overlay, from `Overlay.changing`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, logo_id: str, after: int) -> list[UpdateRow]:
        """As `Overlay.rows`."""
        return _rows(self._connection, logo_id, after, None)

    def append(self, operation: Operation, logo_id: str, day: str, record: str | None) -> int:
        """Add a change. Returns its sequence number."""
        added = self._connection.execute(
            "INSERT INTO changes (operation, logo_id, day, record) VALUES (?, ?, ?, ?)",
            (operation, logo_id, day, record),
        )
        return int(added.lastrowid or 0)

    def keep_image(self, image: OverlayImage) -> None:
        """Add an image, in place of what is stored of it."""
        marks = ", ".join("?" * len(image))
        self._connection.execute(f"INSERT OR REPLACE INTO images VALUES ({marks})", image)  # noqa: S608 - marks

    def answered(self, owner: str, key: str) -> bool:
        """Whether another request with this idempotency key was answered in the meantime."""
        query = "SELECT 1 FROM answers WHERE owner = ? AND key = ? AND at > ?"
        return self._connection.execute(query, (owner, key, time.time() - ANSWER_SECONDS)).fetchone() is not None

    def keep_answer(self, owner: str, key: str, answer: Answer) -> None:
        """Keep an answer for a repetition of its request, and drop those that are too old."""
        now = time.time()
        self._connection.execute("DELETE FROM answers WHERE at <= ?", (now - ANSWER_SECONDS,))
        self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", (owner, key, *answer, now))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends the transaction by itself
            connection.execute("ROLLBACK")
        raise


def _rows(connection: sqlite3.Connection, logo_id: str, after: int, until: int | None) -> list[UpdateRow]:
    query = "SELECT * FROM changes WHERE logo_id = ? AND sequence > ? AND sequence <= ? ORDER BY sequence"
    changes = connection.execute(query, (logo_id, after, 2**62 if until is None else until))
    rows: Sequence[tuple[UpdateRow, ...]] = [Change._make(change).rows for change in changes]
    return [row for each in rows for row in each]
