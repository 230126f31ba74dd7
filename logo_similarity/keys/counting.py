"""Counts the requests of keys on a separate thread: a slow disk or server never blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from logo_similarity.errors import ConfigError, TryLaterError
from logo_similarity.keys.document import Key
from logo_similarity.keys.usage import Usage

COUNT_SECONDS = 1.0
"""Maximum wait of a request for its count. SQLite and a server have limits of 0.25 s; a stalled disk has none."""
PAUSE_SECONDS = 1.0
"""Pause of counting after a failure, so that requests do not wait for the next failure."""

Job = tuple[Key, "asyncio.Future[None]"]


class NotCountedError(Exception):
    """A request that could not be counted; the message gives the reason."""


class UsageCounter:
    """Counts requests in the usage file of this machine, or on a server, in the order of their arrival."""

    def __init__(self, open_usage: Callable[[], Usage], name: str) -> None:
        """Nothing is opened before `open`.

        Args:
            open_usage: opens the file or connects to the server; raises ConfigError.
            name: names it in messages.
        """
        self._open_usage = open_usage
        self._name = name
        self._usage: Usage | None = None
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._resume = 0.0
        self._reason = f"{name} is not open"

    @property
    def is_open(self) -> bool:
        """Whether requests can be counted. A damaged file and a server that does not respond are closed."""
        return self._usage is not None

    def open(self) -> None:
        """Open the file or connect to the server, and start the thread. May wait for other processes that open the file.

        Raises:
            ConfigError: counting is not possible.
        """
        try:
            self._usage = self._open_usage()
        except ConfigError as error:
            self._reason = str(error)
            raise
        self._resume = 0.0
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="usage", daemon=True)
            self._thread.start()

    async def admit(self, key: Key) -> None:
        """Count one request of a key.

        Raises:
            RateLimitedError, QuotaSpentError: a limit of the key is reached.
            NotCountedError: counting failed, or is paused after a failure.
        """
        if self._usage is None or time.monotonic() < self._resume:
            raise NotCountedError(self._reason)
        counted = asyncio.get_running_loop().create_future()
        self._jobs.put((key, counted))
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                await counted
        except TimeoutError:
            self._pause(f"{self._name}: counting took longer than {COUNT_SECONDS:g} s")
            raise NotCountedError(self._reason) from None

    def today(self, key: Key) -> int | None:
        """Number of admitted requests of the key since 00:00 UTC; None if it is unknown."""
        usage = self._usage
        if usage is None or time.monotonic() < self._resume:
            return None
        try:
            return usage.today(key)
        except usage.failures as error:
            self._pause(str(error))
            return None

    def close(self) -> None:
        """Close the file or the connection. Requests that still wait are not counted."""
        self._resume = math.inf
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(COUNT_SECONDS)  # a thread that a stalled disk blocks ends with the process
        if self._usage is not None:
            self._usage.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            key, counted = job
            error = self._count(key)
            with contextlib.suppress(RuntimeError):  # the loop is closed, so no request waits
                counted.get_loop().call_soon_threadsafe(_finish, counted, error)

    def _count(self, key: Key) -> Exception | None:
        usage = self._usage
        if usage is None or time.monotonic() < self._resume:
            return NotCountedError(self._reason)
        try:
            usage.admit(key)
        except TryLaterError as error:
            return error
        except usage.failures as error:
            self._pause(str(error))
            if not isinstance(error, sqlite3.OperationalError):  # not locked or full: `open` replaces what failed
                self._usage = None
                usage.close()
            return NotCountedError(self._reason)
        return None

    def _pause(self, reason: str) -> None:
        self._reason = reason
        self._resume = max(self._resume, time.monotonic() + PAUSE_SECONDS)


def _finish(counted: asyncio.Future[None], error: Exception | None) -> None:
    if counted.done():  # the client has disconnected, or the wait was too long
        return
    if error is None:
        counted.set_result(None)
    else:
        counted.set_exception(error)
