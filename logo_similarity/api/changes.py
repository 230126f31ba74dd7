"""Changes of logos in a worker: stored in the overlay, written into segments, and shown to searches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from logo_similarity.build.base import BaseVersion
from logo_similarity.build.changing import Applied, Changer, LogoChange, RepeatableRequest, describe_stored
from logo_similarity.build.flushing import DescribeImage, Flusher, drop_segments
from logo_similarity.catalog.live_folder import LiveFolder
from logo_similarity.catalog.live_replica import LivePublisher, LiveReplica
from logo_similarity.catalog.overlay import Overlay
from logo_similarity.catalog.versions import Catalog
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, FolderBusyError, NotWritableError, OverloadedError, StoreError
from logo_similarity.metrics import CHANGES_PUBLISHED, CHANGES_PULLED
from logo_similarity.storage import ImageStore

log = structlog.get_logger(__name__)

MANY_CHANGES = 50_000
"""With more changes than this, searches become slower, and the log says so."""
FIRST_SECONDS = 60.0
"""Maximum wait for another process that writes the segments of a version that is being opened."""


class LiveChanges:
    """The changes of the catalog in a folder."""

    def __init__(
        self,
        catalog: Catalog,
        store: ImageStore | None,
        refusal: str | None,
        *,
        turns: int,
        waiting: int,
        replica: LiveReplica | None = None,
        publisher: LivePublisher | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            catalog: the folder of the versions.
            store: has the images; None: there is none.
            refusal: why this service accepts no changes; None: it does.
            turns: number of changes that this worker makes at once.
            waiting: number of changes that may wait for their turn.
            replica: applies the changes that another service publishes; None: this service follows none.
            publisher: publishes the changes; None: they are not published.
        """
        self._catalog = catalog
        self._store = store
        self._refusal = refusal
        self._replica = replica
        self._publisher = publisher
        self._turns = asyncio.Semaphore(turns)
        self._most_waiting = waiting
        self._waiting = 0
        self._lock = threading.Lock()
        self._overlay: Overlay | None = None
        self._bases: dict[str, BaseVersion] = {}
        self._flushers: dict[str, Flusher] = {}
        self._discarded: int | None = None
        self._warned = False
        self.wake = asyncio.Event()
        """Set when a change was made in this worker."""

    def close(self) -> None:
        """Close the overlay."""
        with self._lock:
            if self._overlay is not None:
                self._overlay.close()

    @asynccontextmanager
    async def turn(self, seconds: float) -> AsyncIterator[None]:
        """Wait for the turn of a change: changes must leave search threads to searches.

        Raises:
            OverloadedError: too many changes are waiting, or the turn did not come in time.
        """
        if self._turns.locked() and self._waiting >= self._most_waiting:
            raise OverloadedError("too many changes are being made; try again shortly", retry_after=1)
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise OverloadedError("too many changes are being made; try again shortly", retry_after=2) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    def apply(self, engine: SearchEngine, change: LogoChange, request: RepeatableRequest | None) -> Applied:
        """Apply a change, durably.

        Raises:
            NotWritableError: this service accepts no changes, or has no store for new images.
            LogoSimilarityError: see `Changer.apply`.
        """
        if self._refusal is not None:
            raise NotWritableError(self._refusal)
        if change.image is not None and self._store is None:
            raise NotWritableError(
                "this service has no image store, which new images need; set LOGO_IMAGES_DIR or LOGO_S3_BUCKET"
            )
        keep = _no_store if self._store is None else self._store.write
        overlay = self._open(create=True)
        assert overlay is not None  # noqa: S101 - it was created
        changer = Changer(self._catalog, overlay, self._base(engine), engine.decoder, keep)
        return changer.apply(change, request)

    def flush(self, engine: SearchEngine) -> None:
        """Write the segments for the version of an engine, if there are new changes and no other process does it."""
        if self._refusal is not None:
            return
        try:
            overlay = self._open(create=False)
            if overlay is None:
                return
            flusher = self._flusher(engine, overlay)
            if flusher.is_behind() or not flusher.is_due():
                return
            flushed = flusher.flush()
        except NotWritableError:  # a read-only folder, whose segments another service writes
            return
        if flushed.unreadable:
            log.error("changes_without_images", logos=flushed.unreadable, catalog=engine.version)
        drop_segments(self._catalog, engine.version)
        self._warn(overlay)

    def merge(self, engine: SearchEngine) -> None:
        """Merge segments for the version of an engine if there are many, unless another process does it."""
        overlay = self._overlay
        base = self._bases.get(engine.version)
        if overlay is None or base is None or self._refusal is not None:
            return
        flusher = Flusher(self._catalog.root, overlay, base, self._describing(engine, overlay))
        if not flusher.is_behind():
            flusher.merge()

    def publish(self, engine: SearchEngine) -> None:
        """Publish the version of an engine and its changes, if they are new and no other process does it."""
        if self._publisher is not None and self._publisher.publish(engine.version):
            CHANGES_PUBLISHED.labels("published").inc()

    def pull(self, version: str) -> bool:
        """Apply the published changes of a version. Returns whether there were new ones.

        Raises:
            FolderBusyError, CatalogError, StoreError: as `LiveReplica.pull`.
        """
        if self._replica is None or not self._replica.pull(version):
            return False
        CHANGES_PULLED.labels("pulled").inc()
        return True

    def drop_old(self, version: str) -> None:
        """Delete the changes of versions that no longer exist; those of `version` stay."""
        drop_segments(self._catalog, version)

    def refresh(self, engine: SearchEngine) -> None:
        """As `flush` and `pull` for a version that is about to be searched; waits for another process that is writing.

        If published changes cannot be fetched, the version is searched with those that were fetched last.
        """
        deadline = time.monotonic() + FIRST_SECONDS
        while True:
            try:
                self.flush(engine)
                self.pull(engine.version)
            except FolderBusyError:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
            except (CatalogError, StoreError, OSError) as error:
                if self._replica is None:
                    raise
                CHANGES_PULLED.labels("failed").inc()
                log.warning("changes_not_pulled", catalog=engine.version, error=str(error))
                return
            else:
                return

    def marker(self, version: str) -> tuple[int, int] | None:
        """A value that changes when the segments for a version do; None: it has none."""
        return LiveFolder.of(self._catalog.root, version).marker()

    def opened(self, engine: SearchEngine) -> SearchEngine:
        """The engine with the present segments; the same one if there are none.

        Raises:
            CatalogError: the segments are damaged. They are then written again.
        """
        folder = LiveFolder.of(self._catalog.root, engine.version)
        try:
            return engine.with_changes(self._catalog.root)
        except CatalogError:
            marker = folder.marker()
            if marker is not None and self._discarded != marker[1]:
                self._discarded = marker[1]
                folder.discard()
            raise

    def _open(self, *, create: bool) -> Overlay | None:
        with self._lock:
            if self._overlay is None:
                root = self._catalog.root
                self._overlay = Overlay(root) if create else Overlay.open_existing(root)
            return self._overlay

    def _base(self, engine: SearchEngine) -> BaseVersion:
        """The version of an engine, without changes. Those of earlier engines are forgotten."""
        with self._lock:
            if engine.version not in self._bases:
                folder = self._catalog.folder(engine.version)
                self._bases = {engine.version: BaseVersion.open(folder, engine.encoder, engine.server)}
                self._flushers = {}
            return self._bases[engine.version]

    def _flusher(self, engine: SearchEngine, overlay: Overlay) -> Flusher:
        base = self._base(engine)
        with self._lock:
            return self._flushers.setdefault(
                engine.version, Flusher(self._catalog.root, overlay, base, self._describing(engine, overlay))
            )

    def _describing(self, engine: SearchEngine, overlay: Overlay) -> DescribeImage:
        """Describes images of the store with the encoder of an engine."""
        store = self._store
        if store is None:
            return lambda _: None
        return lambda filename: describe_stored(filename, overlay, engine.encoder, engine.decoder, store.read)

    def _warn(self, overlay: Overlay) -> None:
        if not self._warned and (count := overlay.count()) > MANY_CHANGES:
            self._warned = True
            log.warning("many_changes", changes=count, hint="run `logo-similarity compact`")


def _no_store(_name: str, _content: bytes) -> None:
    raise NotWritableError("this service has no image store")
