"""Follows a resource that may change while a service runs: the live catalog, the keys, a published catalog."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

import structlog

from logo_similarity.errors import FolderBusyError, LogoSimilarityError

log = structlog.get_logger(__name__)


class Follower:
    """Looks for a change at intervals. A failed look is counted and logged, and the next one follows all the same.

    A failure with the message of the previous one is not logged again: a bucket that is down fails for hours.
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
    ) -> None:
        """Describe what to follow.

        Args:
            look: looks once, and raises an exception if it fails.
            seconds: the interval.
            event: name of a failure in the log.
            count_failure: called for each failure.
            level: log level of a failure.
            details: further fields for its log line.
        """
        self._look = look
        self._seconds = seconds
        self._event = event
        self._count_failure = count_failure
        self._level = level
        self._details = details
        self._reported: str | None = None

    async def follow(self) -> NoReturn:
        """Look at intervals until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        try:
            await self._look()
        except FolderBusyError:  # another process may be making this change; the next look finds its outcome
            return
        except Exception as error:  # noqa: BLE001 - an unexpected failure must not end the following
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
