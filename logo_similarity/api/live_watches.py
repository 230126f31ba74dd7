"""Runs the watches after the live catalog has changed, in one worker of the machine."""

from __future__ import annotations

import asyncio
import threading
import time

import faiss
import structlog

from logo_similarity.api.live import LiveCatalog
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.engine import split_edition
from logo_similarity.metrics import WATCH_ALERTS, WATCH_DELIVERIES, WATCH_RUNS
from logo_similarity.watch.delivery import deliver
from logo_similarity.watch.model import ANONYMOUS
from logo_similarity.watch.run import run
from logo_similarity.watch.store import open_watch_store
from logo_similarity.watch.webhook import WebhookRules

LIVE_SECONDS = 60.0
"""Least time between two runs of a worker for live changes: a run stores the state of the register, 16 bytes a logo."""

log = structlog.get_logger(__name__)


class LiveWatches:
    """The watches of a service. Without any, a look costs one stat call."""

    def __init__(self, settings: Settings, live: LiveCatalog, keys: LiveKeys) -> None:
        """Open nothing yet."""
        self._folder = Catalog(settings.catalogs)
        self._live = live
        self._keys = keys
        self._stopping = threading.Event()
        self._ran = -LIVE_SECONDS
        self.store = open_watch_store(settings)
        self.rules = WebhookRules.of(settings)

    def is_active(self, owner: str) -> bool:
        """Whether the watches of an owner run: those of a key only while it is active."""
        return owner == ANONYMOUS or owner in self._keys.active()

    def stop(self) -> None:
        """Send no further alerts: those that are due are sent after the next start."""
        self._stopping.set()

    async def look(self) -> None:
        """Run the watches if the live version is new to them, and send the alerts that are due.

        Raises:
            FolderBusyError: another process runs them.
            CatalogError, ConfigError: they cannot be run; nothing is lost, and the next call tries again.
        """
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        if not (self._is_new() or self.store.due_deliveries(time.time(), limit=1)):
            return
        faiss.omp_set_num_threads(1)
        with self.store.running():
            if self._is_new():  # another worker may have run them meanwhile
                self._ran = time.monotonic()
                active = self._keys.active() | {ANONYMOUS}
                summary = run(self.store, self._live.current.engine, active.__contains__)
                WATCH_RUNS.labels("run").inc()
                WATCH_ALERTS.inc(summary.alerts)
                log.info(
                    "watches_run", catalog=summary.version, before=summary.before, new=summary.new,
                    changed=summary.changed, watches=summary.watches, alerts=summary.alerts, problems=summary.problems,
                )  # fmt: skip
            delivered, failed = deliver(self.store, self.rules, self._may_send)
            WATCH_DELIVERIES.labels("delivered").inc(delivered)
            WATCH_DELIVERIES.labels("failed").inc(failed)

    def _may_send(self, owner: str) -> bool:
        return not self._stopping.is_set() and self.is_active(owner)

    def _is_new(self) -> bool:
        """Whether the open version is the live one, and it or its live changes were not watched yet.

        A worker that still has the version before, or fewer live changes, must not search for what those have and the
        later ones have not.
        """
        watched, engine = self.store.watched_version(), self._live.current.engine
        if watched is None or self._folder.current_name() != engine.version:
            return False
        version, generation = split_edition(watched)
        if version != engine.version:
            return True
        return generation < engine.generation and time.monotonic() - self._ran >= LIVE_SECONDS
