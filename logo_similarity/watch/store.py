"""The store of the watches: one SQLite file, `watches.db`, for all processes of a machine.

It has the pictures of the watches as they were sent, since a search describes them with the encoder of the catalog, which
may change. What is committed survives a power failure.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from logo_similarity.config import Settings
from logo_similarity.domain import Query
from logo_similarity.errors import FolderBusyError, NotFoundError, WatchLimitError
from logo_similarity.watch.database import WatchDatabase
from logo_similarity.watch.model import (
    Alert,
    Event,
    Kind,
    NewWatch,
    Values,
    Watch,
    pictures_of,
    query_from_json,
    query_to_json,
)
from logo_similarity.watch.news import RegisterState
from logo_similarity.wording import counted

LOCK = "run.lock"
SECRET_BYTES = 32

_WATCH = (
    "SELECT id, owner, created, name, query, (SELECT count(*) FROM pictures WHERE watch = watches.id),"
    " (SELECT json_group_array(logo_id) FROM marks WHERE watch = watches.id AND own), webhook, problem,"
    " (SELECT count(*) FROM alerts WHERE watch = watches.id) FROM watches"
)
_ALERT = (
    "SELECT alerts.id, watch, name, kind, logo_id, at, version, filename, detail"
    " FROM alerts JOIN watches ON watches.id = watch"
)


class DeliveryState(StrEnum):
    """The state of a delivery to a webhook."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that is monitored for a watch."""

    logo_id: str
    own: bool
    """False: it was reported as similar."""
    values: Values | None
    """Its monitored fields, as last seen; None: the catalog did not contain it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An alert that is to be sent to a webhook."""

    id: str
    """The same in every attempt."""
    owner: str
    webhook: str
    secret: str
    attempts: int
    """Number of failed attempts."""
    alert: Alert


class WatchStore:
    """Reads and changes `watches.db`. Each operation is one transaction.

    Every operation raises ConfigError if the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        """Open nothing yet.

        Args:
            folder: is created with the file when the first watch is added.
        """
        self._database = WatchDatabase(folder)
        self.path = self._database.path

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the lock of runs and deliveries. The kernel releases it when the process ends, even if it is killed.

        Raises:
            FolderBusyError: another process holds it.
        """
        self._database.create()
        with (self._database.folder / LOCK).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderBusyError(
                    f"{self._database.folder}: another process runs the watches; wait until it has finished"
                ) from None
            yield

    def add(
        self, owner: str, new: NewWatch, marks: Mapping[str, Values], state: RegisterState | None, *, most: int | None
    ) -> tuple[Watch, str | None]:
        """Store a watch.

        Args:
            owner: its owner.
            new: the watch.
            marks: the monitored fields of its own marks.
            state: what the catalog has now; needed if `needs_state`.
            most: maximum number of watches of the owner; None: no limit.

        Returns:
            The watch, and the secret with which its webhook is signed; None: it has no webhook.

        Raises:
            WatchLimitError: the owner has that many watches.
        """
        ident, secret = secrets.token_hex(6), None if new.webhook is None else f"whsec_{_new_token()}"
        now = _now()
        content = json.dumps(query_to_json(new.query), ensure_ascii=False)
        with self._database.transaction() as connection:
            (count,) = connection.execute("SELECT count(*) FROM watches WHERE owner = ?", (owner,)).fetchone()
            if most is not None and count >= most:
                raise WatchLimitError(
                    f"at most {counted(most, 'watch', 'watches')} can be kept (LOGO_MOST_WATCHES); delete one first"
                )
            if not _has_state(connection):  # what is left of earlier watches is not the beginning of this one
                connection.execute("DELETE FROM watched")
                if state is not None:
                    _write_state(connection, state)
            connection.execute(
                "INSERT INTO watches VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (ident, owner, now, new.name, content, new.webhook, secret),
            )
            connection.executemany(
                "INSERT INTO pictures VALUES (?, ?, ?)",
                ((ident, place, picture) for place, picture in enumerate(pictures_of(new.query))),
            )
            connection.executemany(
                "INSERT INTO marks VALUES (?, ?, 1, ?)",
                ((ident, logo_id, json.dumps(values)) for logo_id, values in marks.items()),
            )
        return self.watch(ident), secret

    def needs_state(self) -> bool:
        """Whether the next watch that is added is the beginning: no version of the catalog has been watched."""
        with self._database.reading() as connection:
            return connection is None or not _has_state(connection)

    def watches(self, owner: str | None = None, *, after: str | None = None, limit: int = -1) -> list[Watch]:
        """Watches, oldest first.

        Args:
            owner: their owner; None: any.
            after: only those that were added after the watch with this id; None: all.
            limit: maximum number; -1: all.

        Raises:
            NotFoundError: there is no watch with the id `after`.
        """
        with self._database.reading() as connection:
            place = 0
            if after is not None:
                row = connection and connection.execute("SELECT rowid FROM watches WHERE id = ?", (after,)).fetchone()
                if not row:
                    raise NotFoundError(f"no watch has the id {after!r:.100}")
                (place,) = row
            rows = connection and connection.execute(
                f"{_WATCH} WHERE :owner IN (owner, '') AND rowid > :after ORDER BY rowid LIMIT :limit",
                {"owner": owner or "", "after": place, "limit": limit},
            )
            return list(map(_watch, rows or ()))

    def watch(self, ident: str, owner: str | None = None) -> Watch:
        """One watch.

        Args:
            ident: its id.
            owner: the owner that it must have; None: any.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.reading() as connection:
            row = (
                connection
                and connection.execute(
                    f"{_WATCH} WHERE id = :id AND :owner IN (owner, '')", {"id": ident, "owner": owner or ""}
                ).fetchone()
            )
            if not row:
                raise NotFoundError(f"no watch has the id {ident!r:.100}")
            return _watch(row)

    def query(self, ident: str) -> Query:
        """The query of a watch, with its pictures.

        Raises:
            InvalidRequestError: this version of the software does not accept it.
            NotFoundError: there is no such watch.
        """
        watch = self.watch(ident)
        with self._database.reading() as connection:
            rows = connection and connection.execute(
                "SELECT content FROM pictures WHERE watch = ? ORDER BY place", (ident,)
            )
            return query_from_json(watch.query, tuple(content for (content,) in rows or ()))

    def remove(self, ident: str, owner: str | None = None) -> None:
        """Delete a watch with its pictures, alerts and deliveries. Arguments and errors as `watch`."""
        self.watch(ident, owner)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM watches WHERE id = ?", (ident,))

    def marks(self, watch: str) -> list[Mark]:
        """The monitored marks of a watch."""
        with self._database.reading() as connection:
            rows = connection and connection.execute(
                "SELECT logo_id, own, monitored FROM marks WHERE watch = ? ORDER BY rowid", (watch,)
            )
            return [
                Mark(logo_id, bool(own), None if values is None else json.loads(values))
                for logo_id, own, values in rows or ()
            ]

    def alerts(
        self, *, watch: str | None = None, owner: str | None = None, before: int | None = None, limit: int
    ) -> list[Alert]:
        """Alerts, newest first.

        Args:
            watch: id of their watch; None: any.
            owner: its owner; None: any.
            before: only alerts with smaller ids; None: all.
            limit: maximum number.
        """
        given = {"watch": watch, "owner": owner, "alerts.id <": before}
        conditions = [f"{name} {'' if '<' in name else '='} ?" for name, value in given.items() if value is not None]
        values = [value for value in given.values() if value is not None]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        with self._database.reading() as connection:
            rows = connection and connection.execute(
                f"{_ALERT}{where} ORDER BY alerts.id DESC LIMIT ?", (*values, limit)
            )
            return [_alert(row) for row in rows or ()]

    def watched_version(self) -> str | None:
        """The version of the catalog that was watched last; None: there is none."""
        with self._database.reading() as connection:
            row = connection and connection.execute("SELECT version FROM watched").fetchone()
            return str(row[0]) if row else None

    def state(self) -> RegisterState | None:
        """The state of the catalog that was watched last; None: there is none."""
        with self._database.reading() as connection:
            row = connection and connection.execute("SELECT version, ids, contents FROM watched").fetchone()
            return None if not row else RegisterState(row[0], *(np.frombuffer(part, "<u8") for part in row[1:]))

    def commit(self, state: RegisterState, events: Sequence[Event], problems: Mapping[str, str | None]) -> int:
        """Store the outcome of a run: its alerts with their deliveries, and the state that is watched from now on.

        Args:
            state: of the catalog.
            events: those that were reported before are left out, and those of watches that were removed.
            problems: for each watch that ran, why it could not be searched for, or None.

        Returns:
            The number of alerts.
        """
        alerts, now = 0, _now()
        with self._database.transaction() as connection:
            webhooks = dict(connection.execute("SELECT id, webhook FROM watches"))
            for event in events:
                if event.watch in webhooks:
                    alert = _insert(connection, event, now, state.version)
                    alerts += alert is not None
                    if alert is not None and webhooks[event.watch] is not None:
                        connection.execute(
                            "INSERT INTO deliveries VALUES (?, ?, 'pending', 0, 0, NULL)",
                            (alert, secrets.token_hex(16)),
                        )
            connection.executemany(
                "UPDATE watches SET problem = ? WHERE id = ?", ((text, ident) for ident, text in problems.items())
            )
            _write_state(connection, state)
        return alerts

    def due_deliveries(self, now: float, *, after: int = 0, limit: int = 100) -> list[Delivery]:
        """Deliveries to attempt now, oldest alerts first.

        Args:
            now: Unix time.
            after: only those of alerts with larger ids.
            limit: maximum number.
        """
        with self._database.reading() as connection:
            rows = connection and connection.execute(
                "SELECT deliveries.id, owner, webhook, secret, attempts, alerts.id, watch, name, kind, logo_id, at, version,"
                " filename, detail FROM deliveries JOIN alerts ON alerts.id = alert JOIN watches ON watches.id = watch"
                " WHERE state = 'pending' AND due <= ? AND alert > ? ORDER BY alert LIMIT ?",
                (now, after, limit),
            )
            return [
                Delivery(ident, owner, webhook, secret, attempts, _alert(alert))
                for ident, owner, webhook, secret, attempts, *alert in rows or ()
            ]

    def note_delivery(self, ident: str, state: DeliveryState, outcome: str, *, due: float = 0) -> None:
        """Store the outcome of an attempt, and when the next one is due."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET state = ?, outcome = ?, due = ?, attempts = attempts + (? <> 'delivered') WHERE id = ?",
                (state.value, outcome, due, state.value, ident),
            )

    def deliveries(self, alerts: Iterable[int]) -> dict[int, tuple[DeliveryState, str | None]]:
        """The state of the delivery of each alert that has one, and the outcome of the last attempt."""
        with self._database.reading() as connection:
            rows = connection and connection.execute(
                "SELECT alert, state, outcome FROM deliveries WHERE alert IN (SELECT value FROM json_each(?))",
                (json.dumps(list(alerts)),),
            )
            return {alert: (DeliveryState(state), outcome) for alert, state, outcome in rows or ()}

    def new_feed(self, owner: str) -> str:
        """Create the feed of an owner, or replace its token. Returns the token, of which only a digest is stored."""
        token = _new_token()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO feeds VALUES (?, ?, ?) ON CONFLICT (owner) DO UPDATE"
                " SET token_sha256 = excluded.token_sha256, created = excluded.created",
                (owner, _digest(token), _now()),
            )
        return token

    def revoke_feed(self, owner: str) -> bool:
        """Delete the feed of an owner. Returns whether there was one."""
        if not self.path.exists():
            return False
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM feeds WHERE owner = ?", (owner,)).rowcount > 0

    def feed_owner(self, token: str) -> str:
        """The owner of the feed with this token.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.reading() as connection:
            # Compared by its digest: the time of the comparison reveals nothing about a token.
            row = (
                connection
                and connection.execute("SELECT owner FROM feeds WHERE token_sha256 = ?", (_digest(token),)).fetchone()
            )
            if not row:
                raise NotFoundError("no feed has this address; it may have been revoked")
            return str(row[0])


def open_watch_store(settings: Settings) -> WatchStore:
    """The store in the settings. Opens nothing yet."""
    return WatchStore(settings.watches_dir or settings.catalogs / ".watches")


def _insert(connection: sqlite3.Connection, event: Event, now: str, version: str) -> int | None:
    """The id of the new alert; None: it was reported before."""
    values = None if event.values is None else json.dumps(event.values)
    # A mark that is reported as similar is monitored from then on; one that is monitored keeps what was last reported.
    connection.execute(
        "INSERT INTO marks VALUES (?, ?, 0, ?) ON CONFLICT (watch, logo_id) DO UPDATE"
        " SET monitored = excluded.monitored WHERE ?",
        (event.watch, event.logo_id, values, event.kind is Kind.CHANGED),
    )
    detail = json.dumps(event.detail, ensure_ascii=False)
    cursor = connection.execute(
        "INSERT OR IGNORE INTO alerts (watch, logo_id, kind, key, at, version, filename, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (event.watch, event.logo_id, event.kind.value, event.key, now, version, event.filename, detail),
    )
    return cursor.lastrowid if cursor.rowcount else None


def _has_state(connection: sqlite3.Connection) -> bool:
    """Whether a version was watched. With the last watch ends what it was watched for."""
    query = "SELECT EXISTS (SELECT 1 FROM watched) AND EXISTS (SELECT 1 FROM watches)"
    return bool(connection.execute(query).fetchone()[0])


def _write_state(connection: sqlite3.Connection, state: RegisterState) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO watched VALUES (1, ?, ?, ?)",
        (state.version, state.ids.astype("<u8").tobytes(), state.contents.astype("<u8").tobytes()),
    )


def _watch(row: Sequence[Any]) -> Watch:
    ident, owner, created, name, query, pictures, marks, webhook, problem, alerts = row
    return Watch(
        id=ident,
        owner=owner,
        created=dt.datetime.fromisoformat(created),
        name=name,
        query=json.loads(query),
        pictures=pictures,
        marks=tuple(json.loads(marks)),
        webhook=webhook,
        problem=problem,
        alerts=alerts,
    )


def _alert(row: Sequence[Any]) -> Alert:
    ident, watch, name, kind, logo_id, at, version, filename, detail = row
    return Alert(
        id=ident,
        watch=watch,
        watch_name=name,
        kind=Kind(kind),
        logo_id=logo_id,
        at=dt.datetime.fromisoformat(at),
        version=version,
        filename=filename,
        detail=json.loads(detail),
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _new_token() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
