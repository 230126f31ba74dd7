"""Polls resources that may change while the service runs: the live catalog, the keys, a published catalog."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NoReturn

import structlog

from logo_similarity.errors import FolderBusyError, LogoSimilarityError

log = structlog.get_logger(__name__)


class Follower:
    """Polls a resource at intervals. Failures are counted and logged, and polling continues.

    A failure with the same message as the previous one is not logged again: an unreachable bucket may fail for hours.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[object]],
        *,
        seconds: float,
        event: str,
        count_failure: Callable[[], object],
        level: int = logging.ERROR,
        details: Callable[[], Mapping[str, object]] = dict,
        wake: asyncio.Event | None = None,
    ) -> None:
        """Configure the polling.

        Args:
            look: checks the resource once; raises an exception on failure.
            seconds: the interval between checks.
            event: log event of a failure.
            count_failure: called for each failure.
            level: log level of a failure.
            details: further fields for its log line.
            wake: set to check at once; cleared before each check.
        """
        self._look = look
        self._seconds = seconds
        self._event = event
        self._count_failure = count_failure
        self._level = level
        self._details = details
        self._wake = wake or asyncio.Event()
        self._reported: str | None = None

    async def follow(self) -> NoReturn:
        """Check the resource at intervals until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._wake.wait()
            self._wake.clear()
            await self.look()

    async def look(self) -> None:
        """Check the resource once."""
        try:
            await self._look()
        except FolderBusyError:  # another process may be making this change; the next check sees the result
            return
        except Exception as error:  # noqa: BLE001 - an unexpected failure must not stop the polling
            self._count_failure()
            self._report(error)
        else:
            self._reported = None

    def _report(self, error: Exception) -> None:
        if str(error) != self._reported:
            expected = isinstance(error, LogoSimilarityError | OSError)
            trace = None if expected else error
            log.log(self._level, self._event, error=str(error), exc_info=trace, **self._details())
        self._reported = str(error)
