"""The live catalog version, and its replacement while requests are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from logo_similarity.api.changes import LiveChanges
from logo_similarity.api.schemas import CatalogOut
from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.replica import pull_version
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.catalog.warming import read_version_ahead
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, FolderBusyError, IndexUnavailableError, LogoSimilarityError
from logo_similarity.metrics import CATALOG_CREATED, CATALOG_LOGOS, CATALOG_PULLS, CATALOG_SWAPS
from logo_similarity.storage.objects import ObjectFolder

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenCatalog:
    """An open version. A request uses one version throughout; a version is closed with its last reference."""

    engine: SearchEngine
    out: CatalogOut
    """Its description in responses."""

    @classmethod
    def of(cls, engine: SearchEngine) -> OpenCatalog:
        """Wrap an engine, and set the metrics of the live catalog."""
        logos = engine.logos
        CATALOG_LOGOS.labels(engine.version).set(logos.count)
        CATALOG_CREATED.set(engine.manifest.created.timestamp())
        return cls(engine, CatalogOut(version=engine.version, logos=logos.count, fields=logos.fields))


class LiveCatalog:
    """The version named in CURRENT. A new version is tried, opened and warmed up before it replaces the old one.

    If a new version fails, the old one stays live. The new one is tried again when CURRENT is set again.
    """

    def __init__(
        self, folder: Catalog, open_version: Callable[[str], SearchEngine], trial: Trial, changes: LiveChanges
    ) -> None:
        """Open nothing yet.

        Args:
            folder: the folder of the versions.
            open_version: opens and warms up a version, given its name.
            trial: the trial that a version must pass before it is opened in this process.
            changes: the changes that are made to the logos of the version.
        """
        self._folder = folder
        self._open_version = open_version
        self._trial = trial
        self._changes = changes
        self._seen: tuple[int, int] | None = None
        self._seen_changes: tuple[int, int] | None = None
        self.current: OpenCatalog
        """Set by `open`."""

    def open(self) -> None:
        """Open the live version, or if it fails its trial, the fallback from `Catalog.choose`.

        Raises:
            CatalogError: no version exists, or none passes.
            EncoderError: the model of the version cannot be used here.
        """
        self._seen = self._folder.marker()
        refused: list[tuple[str, CatalogError]] = []
        chosen = self._folder.choose(self._admit_at_start, lambda name, error: refused.append((name, error)))
        for name, error in refused:
            CATALOG_SWAPS.labels("refused").inc()
            log.error("catalog_refused", refused=name, error=str(error), stays=chosen.name)
        self.current = OpenCatalog.of(self._with_changes(self._open_version(chosen.name)))
        self._folder.mark_opened(chosen.name)

    def close(self) -> None:
        """Close the open version."""
        self.current.engine.close()

    async def look(self) -> None:
        """Replace the open version if CURRENT was set since the last look.

        Raises:
            FolderBusyError: another process may be trying this version; the next call tries again.
            IndexUnavailableError: the Milvus server does not answer; the next call tries again.
            Exception: the version was refused, and the old one stays live.
        """
        marker = self._folder.marker()
        if marker == self._seen:
            return
        self._seen = marker
        old = self.current.engine.version
        try:
            engine = await asyncio.to_thread(self._open_current)
        except (FolderBusyError, IndexUnavailableError):  # tried again soon
            self._seen = None
            raise
        if engine.version == old:
            engine.close()
            return
        self.current, self._seen_changes = OpenCatalog.of(engine), None
        CATALOG_LOGOS.labels(old).set(0)
        CATALOG_SWAPS.labels("swapped").inc()
        log.info("catalog_swapped", before=old, catalog=engine.version, logos=engine.logos.count)

    async def look_at_changes(self) -> None:
        """Write new changes into segments, unless another process does, and show the segments to searches.

        Raises:
            Exception: this failed; searches see the changes that they saw before.
        """
        engine = self.current.engine
        with suppress(FolderBusyError):
            await asyncio.to_thread(self._changes.flush, engine)
        marker = self._changes.marker(engine.version)
        if marker in (None, self._seen_changes):
            return
        changed = await asyncio.to_thread(self._changes.opened, engine)
        if self.current.engine is engine:  # not replaced in the meantime
            self._seen_changes = marker
            self.current = OpenCatalog.of(changed)

    async def merge_changes(self) -> None:
        """Merge the segments of changes if there are many. Takes seconds; changes are shown in the meantime."""
        await asyncio.to_thread(self._changes.merge, self.current.engine)

    async def publish_changes(self) -> None:
        """Publish the open version and its changes, unless another process does."""
        await asyncio.to_thread(self._changes.publish, self.current.engine)

    async def pull_changes(self) -> None:
        """Fetch the published changes of the open version, unless another process does."""
        if await asyncio.to_thread(self._changes.pull, self.current.engine.version):
            self._changes.wake.set()

    def _with_changes(self, engine: SearchEngine) -> SearchEngine:
        """A new version with all changes. If they cannot be read, the version is searched without them until they can."""
        try:
            self._changes.refresh(engine)
            return self._changes.opened(engine)
        except (LogoSimilarityError, OSError) as error:
            log.error("changes_not_read", catalog=engine.version, error=str(error))  # noqa: TRY400 - expected
            return engine

    def _admit_at_start(self, name: str) -> None:
        self._trial.check(self._folder.folder(name))
        try:
            self._folder.admit_once(name, self._trial)
        except FolderBusyError:  # a starting worker does not wait for a build or a pull
            self._trial(self._folder.folder(name))

    def _open_current(self) -> SearchEngine:
        folder = self._folder.current()
        self._trial.check(folder)
        self._folder.admit_once(folder.name, self._trial)
        read_version_ahead(folder, read_manifest(folder))
        engine = self._with_changes(self._open_version(folder.name))
        self._folder.mark_opened(folder.name)
        return engine


async def pull(remote: ObjectFolder, folder: Catalog, changes: LiveChanges, *, keep: int, trial: Trial) -> None:
    """Fetch and try the published version with its changes, if it is new. `LiveCatalog` then opens it from the folder.

    All workers call this; the folder's lock lets one of them fetch the version. The newest `keep` versions are kept.
    A version that failed its trial is tried again after an hour, or once another version has been published.

    Raises:
        CatalogError, NotFoundError, StoreError: as `pull_version` and `LiveChanges.pull`.
    """
    name = await asyncio.to_thread(
        pull_version, remote, folder, keep=keep, trial=trial, refusals_hold=True, before_live=changes.pull
    )
    if name is not None:
        await asyncio.to_thread(changes.drop_old, name)
        CATALOG_PULLS.labels("pulled").inc()
        log.info("catalog_pulled", catalog=name)
