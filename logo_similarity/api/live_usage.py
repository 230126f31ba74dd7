"""Counting the requests of keys while a file or a server may fail and come back."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog

from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError
from logo_similarity.keys.counting import NotCountedError, UsageCounter
from logo_similarity.keys.document import Key
from logo_similarity.keys.usage_file import open_usage_file, usage_path
from logo_similarity.keys.usage_server import UsageServer
from logo_similarity.metrics import USAGE_LOST, USAGE_SERVER_FAILURES

log = structlog.get_logger(__name__)

LOST_SECONDS = 10.0
"""Minimum interval between log lines about requests that cannot be counted."""


class LiveUsage:
    """Counts on the server of all replicas, if there is one; without it, or while it fails, in the file of this machine."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened before `open`.

        Raises:
            ConfigError: the server cannot be used as it is configured.
        """
        path = usage_path(settings)
        self._local = UsageCounter(lambda: open_usage_file(path), str(path))
        self._shared: UsageCounter | None = None
        if settings.usage_url is not None:
            server = UsageServer(settings.usage_url)
            self._shared = UsageCounter(server.open, server.name)
        self._lost: float | None = None

    def open(self) -> None:
        """Open the file and connect to the server; `look` tries again what fails."""
        self._open_local()
        if self._shared is not None:
            with suppress(ConfigError):
                self._shared.open()

    def close(self) -> None:
        """Close the file and the connection."""
        self._local.close()
        if self._shared is not None:
            self._shared.close()

    async def look(self) -> None:
        """Open the file again, and connect to the server again, if they have failed.

        Raises:
            ConfigError: the server still fails.
        """
        if not self._local.is_open:
            await asyncio.to_thread(self._open_local)
        if self._shared is not None and not self._shared.is_open:
            await asyncio.to_thread(self._shared.open)
            log.info("usage_shared")

    async def count(self, key: Key) -> None:
        """Count one request of a key.

        Raises:
            RateLimitedError, QuotaSpentError: the key has used up its rate or quota.
        """
        if self._shared is not None:
            try:
                await self._shared.admit(key)
            except NotCountedError:
                USAGE_SERVER_FAILURES.inc()
            else:
                return
        try:
            await self._local.admit(key)
        except NotCountedError as error:
            # A full disk must not stop searches: until counting works again, rates and quotas are not enforced.
            USAGE_LOST.inc()
            self._report_lost(str(error))

    def today(self, key: Key) -> int | None:
        """Number of requests with the key today (UTC), of all replicas if they share a server; None if unknown."""
        return (self._shared or self._local).today(key)

    def _open_local(self) -> None:
        try:
            self._local.open()
        except ConfigError as error:
            self._report_lost(str(error))

    def _report_lost(self, reason: str) -> None:
        if self._lost is None or time.monotonic() - self._lost >= LOST_SECONDS:
            log.error("usage_not_counted", error=reason)
            self._lost = time.monotonic()
