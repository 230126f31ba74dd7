"""How often each key was used: the rate limits and daily quotas, counted once for all workers of this machine."""

from __future__ import annotations

import datetime as dt
import fcntl
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from limits import RateLimitItemPerDay
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError, QuotaSpentError, RateLimitedError
from logo_similarity.keys.document import LONGEST_WINDOW, Key, parse_rate

LOCK_SECONDS = 0.25
"""Longest wait for another process's write, which takes some 20 microseconds."""
DAY = 86_400
TABLES = """
CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, count INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hits (key TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS hits_by_key ON hits (key, at);
"""
ANY_NUMBER = 2**62


def usage_path(settings: Settings) -> Path:
    """The file that counts."""
    return settings.usage_db or settings.catalogs / ".usage.db"


class SQLiteStorage(Storage, MovingWindowSupport):
    """What `limits` counts, in a SQLite file, so that all processes of a machine count together."""

    STORAGE_SCHEME = None

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            sqlite3.Error: it can't be.
        """
        super().__init__()
        self._connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        # Counts may be lost with the machine's power, not with a process: nobody waits for the disk.
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
            # What lies in the future was written before the clock was set back: it would count for ever.
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
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise


class Usage:
    """Lets a key's requests in as often as it may, and counts them."""

    def __init__(self, path: Path) -> None:
        """Open the file of the counts, or make it. A damaged one is set aside: what it counted is lost.

        Raises:
            ConfigError: it can't be made or written there.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.with_name(path.name + ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # one worker finds the damage, the next ones a new file
                self._storage = _open_or_renew(path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"LOGO_USAGE_DB: {path} cannot be used: {error}") from None
        self._rates = MovingWindowRateLimiter(self._storage)
        self._quotas = FixedWindowRateLimiter(self._storage)

    def admit(self, key: Key) -> None:
        """Count one request of a key.

        Raises:
            RateLimitedError: it asks more often than it may.
            QuotaSpentError: it has asked for all that it may today.
            sqlite3.Error: it can't be counted now.
        """
        now = time.time()
        if key.rate is not None:
            rate = parse_rate(key.rate)
            if not self._rates.hit(rate, key.id):
                wait = self._rates.get_window_stats(rate, key.id).reset_time - now
                raise RateLimitedError(f"this key may ask {key.rate}", retry_after=_seconds(wait))
        quota, day = RateLimitItemPerDay(key.quota or ANY_NUMBER), _day(now)
        if not (self._quotas.test(quota, key.id, day) and self._quotas.hit(quota, key.id, day)):
            raise QuotaSpentError(
                f"this key may ask {key.quota:,} times a day, which begins at 00:00 UTC",
                retry_after=_seconds(DAY - now % DAY),
            )

    def today(self, key: Key) -> int:
        """How many of the key's requests were let in on this machine since 00:00 UTC."""
        return min(self._storage.get(_counter(key)), key.quota or ANY_NUMBER)

    def close(self) -> None:
        """Close the file."""
        self._storage.close()


def requests_today(path: Path, keys: Iterable[Key]) -> dict[str, int]:
    """How many requests of each key were let in since 00:00 UTC, by the key's id. Writes nothing.

    Raises:
        ConfigError: the file does not exist or cannot be read; says which settings name it.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist; set LOGO_USAGE_DB, or LOGO_CATALOGS, as for the service")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        try:
            counts = dict(connection.execute("SELECT key, count FROM counters"))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return {key.id: min(counts.get(_counter(key), 0), key.quota or ANY_NUMBER) for key in keys}


def _open_or_renew(path: Path) -> SQLiteStorage:
    try:
        return SQLiteStorage(path)
    except sqlite3.OperationalError:
        raise  # no room, no right: not the file's fault
    except sqlite3.DatabaseError:
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(path.with_name(f"{path.name}.damaged{ending}"))
        return SQLiteStorage(path)


def _counter(key: Key) -> str:
    """Where `limits` counts a key's requests of today."""
    return RateLimitItemPerDay(key.quota or ANY_NUMBER).key_for(key.id, _day(time.time()))


def _day(now: float) -> str:
    return dt.datetime.fromtimestamp(now, dt.UTC).date().isoformat()


def _seconds(wait: float) -> int:
    return max(1, math.ceil(wait))
