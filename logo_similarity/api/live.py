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
from logo_similarity.catalog.versions import CatalogFolder
from logo_similarity.errors import FolderBusyError, LogoSimilarityError
from logo_similarity.metrics import CATALOG_CREATED, CATALOG_LOGOS, CATALOG_PULLS, CATALOG_SWAPS
from logo_similarity.search.pipeline import SearchEngine
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
    """Follows CURRENT: a new version is opened, tried and warmed beside the one that answers, and then takes its place.

    One that can't be opened is refused, logged and counted, and the old one stays; it is tried again when CURRENT is set again.
    """

    def __init__(self, folder: CatalogFolder, open_version: Callable[[str], SearchEngine]) -> None:
        """Open the live version.

        Args:
            folder: where the versions lie.
            open_version: opens one by its name, warm.

        Raises:
            CatalogError: there is none, or it is damaged.
            EncoderError: its model can't be used here.
        """
        self._folder = folder
        self._open_version = open_version
        self._seen = folder.marker()
        self.current = OpenCatalog.of(open_version(folder.current().name))

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

    def _open_current(self) -> SearchEngine:
        folder = self._folder.current()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                read_ahead(path)
        return self._open_version(folder.name)


async def replicate(remote: ObjectFolder, catalogs: Path, seconds: float, *, keep: int) -> NoReturn:
    """Fetch each version that is published into the folder of versions, where `LiveCatalog` sees it.

    All workers do this; the folder's lock lets one of them work at a time, and the next finds it done. The newest `keep` stay.
    """
    folder = CatalogFolder(catalogs)
    said = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            name = await asyncio.to_thread(pull_version, remote, folder, keep=keep)
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
