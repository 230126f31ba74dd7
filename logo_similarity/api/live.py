"""The catalog version that answers, and its change for another while requests go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import structlog

from logo_similarity.api.schemas import CatalogOut
from logo_similarity.catalog.files import read_ahead
from logo_similarity.catalog.replica import pull_version
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, FolderBusyError, LogoSimilarityError
from logo_similarity.metrics import CATALOG_CREATED, CATALOG_LOGOS, CATALOG_PULLS, CATALOG_SWAPS
from logo_similarity.storage.objects import ObjectFolder

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenCatalog:
    """An opened version. A request takes one and keeps it to its end; it is closed when nobody holds it any more."""

    engine: SearchEngine
    out: CatalogOut
    """What answers say of it."""

    @classmethod
    def of(cls, engine: SearchEngine) -> OpenCatalog:
        """Wrap an engine, and tell the metrics."""
        manifest = engine.manifest
        CATALOG_LOGOS.labels(engine.version).set(manifest.count)
        CATALOG_CREATED.set(manifest.created.timestamp())
        return cls(engine, CatalogOut(version=engine.version, logos=manifest.count, fields=manifest.fields))


class LiveCatalog:
    """Follows CURRENT: a new version is tried, opened and warmed beside the one that answers, and then takes its place.

    One that fails is refused, logged and counted, and the old one stays; it is tried again when CURRENT is set again.
    """

    def __init__(self, folder: Catalog, open_version: Callable[[str], SearchEngine], trial: Trial) -> None:
        """Open the live version, or where it fails its trial the one that `Catalog.choose` falls back to.

        Args:
            folder: of the versions.
            open_version: opens one by its name, warm.
            trial: what a version must pass before it is opened in this process.

        Raises:
            CatalogError: there is none, or all of them are damaged.
            EncoderError: its model can't be used here.
        """
        self._folder = folder
        self._open_version = open_version
        self._trial = trial
        self._seen = folder.marker()
        refused: list[tuple[str, CatalogError]] = []
        chosen = folder.choose(self._admit_at_start, lambda name, error: refused.append((name, error)))
        for name, error in refused:
            CATALOG_SWAPS.labels("refused").inc()
            log.error("catalog_refused", refused=name, error=str(error), stays=chosen.name)
        self.current = OpenCatalog.of(open_version(chosen.name))
        folder.mark_opened(chosen.name)

    async def follow(self, seconds: float) -> NoReturn:
        """Look at CURRENT every so often, for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> None:
        """Change over where CURRENT was set since the last look."""
        marker = self._folder.marker()
        if marker == self._seen:
            return
        self._seen = marker
        old = self.current.engine.version
        try:
            engine = await asyncio.to_thread(self._open_current)
        except FolderBusyError:
            self._seen = None  # another process may be trying this version: look again
            return
        except Exception as error:
            CATALOG_SWAPS.labels("refused").inc()
            expected = isinstance(error, LogoSimilarityError | OSError)
            log.exception("catalog_refused", error=str(error), stays=old, exc_info=None if expected else error)
            return
        if engine.version == old:
            engine.close()
            return
        self.current = OpenCatalog.of(engine)
        CATALOG_LOGOS.labels(old).set(0)
        CATALOG_SWAPS.labels("swapped").inc()
        log.info("catalog_swapped", before=old, catalog=engine.version, logos=engine.manifest.count)

    def _admit_at_start(self, name: str) -> None:
        self._trial.check(self._folder.folder(name))
        try:
            self._folder.admit_once(name, self._trial)
        except FolderBusyError:  # a worker that starts does not wait for a build or a pull to end
            self._trial(self._folder.folder(name))

    def _open_current(self) -> SearchEngine:
        folder = self._folder.current()
        self._trial.check(folder)
        self._folder.admit_once(folder.name, self._trial)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                read_ahead(path)
        engine = self._open_version(folder.name)
        self._folder.mark_opened(folder.name)
        return engine


async def replicate(remote: ObjectFolder, catalogs: Path, seconds: float, *, keep: int, trial: Trial) -> NoReturn:
    """Fetch and try each version that is published into the folder of versions, where `LiveCatalog` sees it.

    All workers do this; the folder's lock lets one of them work at a time, and the next finds it done. The newest `keep` stay.
    One that fails its trial is tried again when another one was published meanwhile, or after an hour.
    """
    folder = Catalog(catalogs)
    said = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            name = await asyncio.to_thread(pull_version, remote, folder, keep=keep, trial=trial, refusals_hold=True)
        except FolderBusyError:
            continue
        except Exception as error:  # noqa: BLE001 - a failed try must not be the last one
            CATALOG_PULLS.labels("failed").inc()
            if str(error) != said:  # a bucket that is down says the same for hours
                log.warning("catalog_not_pulled", error=str(error))
            said = str(error)
            continue
        said = ""
        if name is not None:
            CATALOG_PULLS.labels("pulled").inc()
            log.info("catalog_pulled", catalog=name)
