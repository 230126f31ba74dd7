"""Rate-limited logging of refusals."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

SECONDS = 1.0
MAX_CLIENTS = 100
"""Maximum number of client addresses counted between two lines; MOST_FREQUENT of them are logged."""
MOST_FREQUENT = 5

log = structlog.get_logger(__name__)


class RefusalLog:
    """Logs refusals at most once a second: their count, reasons and most frequent client addresses."""

    def __init__(self, event: str, **fields: str) -> None:
        self._event = event
        self._fields = fields
        self._reasons: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._waiting = False

    def add(self, reason: str, client: str | None) -> None:
        """Count a refusal. The first one is logged immediately, later ones at the end of the interval."""
        self._reasons[reason] += 1
        if client is not None and (client in self._clients or len(self._clients) < MAX_CLIENTS):
            self._clients[client] += 1
        if not self._waiting:
            self._write()

    def _write(self) -> None:
        clients = dict(self._clients.most_common(MOST_FREQUENT))
        log.warning(
            self._event, **self._fields, count=self._reasons.total(), reasons=dict(self._reasons), clients=clients
        )
        self._reasons.clear()
        self._clients.clear()
        self._waiting = True
        asyncio.get_running_loop().call_later(SECONDS, self._end_interval)

    def _end_interval(self) -> None:
        self._waiting = False
        if self._reasons:
            self._write()
