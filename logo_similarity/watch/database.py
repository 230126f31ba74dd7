"""The file of the watches, `watches.db`: its schema, and transactions on it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from logo_similarity.errors import ConfigError

FILE = "watches.db"
SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
"""Maximum wait for a write of another process."""

SCHEMA = """
CREATE TABLE watches (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, created TEXT NOT NULL, name TEXT NOT NULL, query TEXT NOT NULL,
  webhook TEXT, secret TEXT, problem TEXT
) STRICT;
CREATE INDEX watches_owner ON watches (owner);
CREATE TABLE pictures (
  watch TEXT NOT NULL REFERENCES watches ON DELETE CASCADE, place INTEGER NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (watch, place)
) STRICT;
CREATE TABLE marks (
  watch TEXT NOT NULL REFERENCES watches ON DELETE CASCADE, logo_id TEXT NOT NULL, own INTEGER NOT NULL, monitored TEXT,
  PRIMARY KEY (watch, logo_id)
) STRICT;
CREATE TABLE alerts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, watch TEXT NOT NULL REFERENCES watches ON DELETE CASCADE,
  logo_id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, at TEXT NOT NULL, version TEXT NOT NULL,
  filename TEXT, detail TEXT NOT NULL, UNIQUE (watch, logo_id, kind, key)
) STRICT;
CREATE TABLE deliveries (
  alert INTEGER PRIMARY KEY REFERENCES alerts ON DELETE CASCADE, id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')), attempts INTEGER NOT NULL, due REAL NOT NULL,
  outcome TEXT
) STRICT;
CREATE INDEX deliveries_pending ON deliveries (due) WHERE state = 'pending';
CREATE TABLE feeds (owner TEXT PRIMARY KEY, token_sha256 TEXT NOT NULL UNIQUE, created TEXT NOT NULL) STRICT;
CREATE TABLE watched (one INTEGER PRIMARY KEY CHECK (one = 1), version TEXT NOT NULL, ids BLOB NOT NULL, contents BLOB NOT NULL)
  STRICT;
"""


class WatchDatabase:
    """A SQLite file for all processes of a machine. Each transaction opens it anew.

    Every operation raises ConfigError if the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection for one consistent read; None: there is no file, and thus no watch."""
        if not self.path.exists():
            yield None
            return
        with self._connection() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed together, unless the `with` block raises."""
        self.create()
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")  # without it, closing the connection undoes the transaction

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                connection.executescript(
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                )
                self._prepare(connection)
                yield connection
        except sqlite3.Error as error:
            raise ConfigError(f"LOGO_WATCHES_DIR: {self.path} cannot be used: {error}") from None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create the tables of a new file, and check the version of an existing one."""
        if _version(connection) == 0:
            connection.execute("BEGIN IMMEDIATE")
            if _version(connection) == 0:  # another process may have created them meanwhile
                for statement in SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        if (version := _version(connection)) != SCHEMA_VERSION:
            raise ConfigError(
                f"LOGO_WATCHES_DIR: {self.path} has format {version}; this version of the software reads format "
                f"{SCHEMA_VERSION}"
            )

    def create(self) -> None:
        """Create the folder and an empty file, if there is none.

        Raises:
            ConfigError: they cannot be created.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # It contains the secrets of webhooks. SQLite gives the other files of a database the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise ConfigError(f"LOGO_WATCHES_DIR: {self.folder} cannot be written: {error.strerror}") from None


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
