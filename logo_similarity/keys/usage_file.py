"""The file in which all workers of this machine count the requests of keys together."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from limits.storage import MovingWindowSupport, Storage

from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError
from logo_similarity.keys.document import LONGEST_WINDOW, Key
from logo_similarity.keys.usage import ANY_NUMBER, Usage, counter_of

LOCK_SECONDS = 0.25
"""Maximum wait for the write of another process, which takes about 20 microseconds."""
TABLES = """
CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, count INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hits (key TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS hits_by_key ON hits (key, at);
"""


def usage_path(settings: Settings) -> Path:
    """The file of the request counts."""
    return settings.usage_db or settings.catalogs / ".usage.db"


class SQLiteStorage(Storage, MovingWindowSupport):
    """Storage for `limits` in a SQLite file, which all processes of a machine share."""

    STORAGE_SCHEME = None

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            sqlite3.Error: it cannot be opened or created.
        """
        super().__init__()
        self._connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        # Counts survive the process, but may be lost in a power failure: no request waits for the disk.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(TABLES)
        now = time.time()
        self._connection.execute("DELETE FROM counters WHERE expires < ?", (now,))
        self._connection.execute("DELETE FROM hits WHERE at < ?", (now - LONGEST_WINDOW,))

    @property
    def base_exceptions(self) -> type[Exception]:
        return sqlite3.Error

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        (count,) = self._connection.execute(
            "INSERT INTO counters VALUES (:key, :amount, :expires) ON CONFLICT (key) DO UPDATE SET"
            " count = iif(expires < :now, :amount, count + :amount), expires = iif(expires < :now, :expires, expires)"
            " RETURNING count",
            {"key": key, "amount": amount, "now": now, "expires": now + expiry},
        ).fetchone()
        return int(count)

    def get(self, key: str) -> int:
        query = "SELECT count FROM counters WHERE key = ? AND expires >= ?"
        row = self._connection.execute(query, (key, time.time())).fetchone()
        return int(row[0]) if row else 0

    def get_expiry(self, key: str) -> float:
        row = self._connection.execute("SELECT expires FROM counters WHERE key = ?", (key,)).fetchone()
        return float(row[0]) if row else time.time()

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        with self._transaction() as connection:
            now = time.time()
            # An entry in the future was written before the clock was set back, and would never leave the window.
            connection.execute("DELETE FROM hits WHERE key = ? AND (at <= ? OR at > ?)", (key, now - expiry, now + 1))
            (count,) = connection.execute("SELECT count(*) FROM hits WHERE key = ?", (key,)).fetchone()
            if count + amount > limit:
                return False
            connection.executemany("INSERT INTO hits VALUES (?, ?)", [(key, now)] * amount)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002
        now = time.time()
        query = "SELECT min(at), count(*) FROM hits WHERE key = ? AND at > ?"
        first, count = self._connection.execute(query, (key, now - expiry)).fetchone()
        return (float(first), int(count)) if count else (now, 0)

    def check(self) -> bool:
        return bool(self._connection.execute("SELECT 1").fetchone())

    def reset(self) -> int:
        return sum(self._connection.execute(f"DELETE FROM {table}").rowcount for table in ("counters", "hits"))  # noqa: S608

    def clear(self, key: str) -> None:
        for table in ("counters", "hits"):
            self._connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))  # noqa: S608

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk ends the transaction by itself
                self._connection.execute("ROLLBACK")
            raise


def open_usage_file(path: Path) -> Usage:
    """Open or create the file of the counts. A damaged file is renamed, and its counts are lost.

    Raises:
        ConfigError: it cannot be created or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the first worker replaces a damaged file, the others open the new one
            storage = _open_or_renew(path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"LOGO_USAGE_DB: {path} cannot be used: {error}") from None
    return Usage(storage, storage.close)


def read_usage_file(path: Path, keys: Iterable[Key]) -> dict[str, int]:
    """Number of requests admitted on this machine since 00:00 UTC, by the id of the key. Writes nothing.

    Raises:
        ConfigError: the file does not exist or cannot be read; names the settings for its path.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist; set LOGO_USAGE_DB or LOGO_CATALOGS as for the service")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        try:
            counts = dict(connection.execute("SELECT key, count FROM counters"))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return {key.id: min(counts.get(counter_of(key), 0), key.quota or ANY_NUMBER) for key in keys}


def _open_or_renew(path: Path) -> SQLiteStorage:
    try:
        return SQLiteStorage(path)
    except sqlite3.OperationalError:
        raise  # no space or no permission; the file is not damaged
    except sqlite3.DatabaseError:
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(path.with_name(f"{path.name}.damaged{ending}"))
        return SQLiteStorage(path)
