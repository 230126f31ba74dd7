"""The live catalog in one process; `tests/e2e/test_swap.py` replaces it under gunicorn."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from logo_similarity.api import live as live_module
from logo_similarity.api.changes import LiveChanges
from logo_similarity.api.live import LiveCatalog, pull
from logo_similarity.catalog import warming
from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, FolderBusyError
from logo_similarity.metrics import CATALOG_CREATED, CATALOG_LOGOS, CATALOG_PULLS, CATALOG_SWAPS
from logo_similarity.storage.objects import ObjectFolder
from tests.hostile_catalogs import rewrite_manifest
from tests.logs import logs_of
from tests.samples import SampleCatalog
from tests.unit.catalog.test_replica import QuickTrial, publish

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(sample_catalog: SampleCatalog, tmp_path: Path) -> Catalog:
    """Two versions with the same files; the first is live."""
    live = Catalog(sample_catalog.root).current()
    shutil.copytree(live, tmp_path / "catalogs" / live.name)
    shutil.copytree(live, tmp_path / "catalogs" / "copy")
    rewrite_manifest(tmp_path / "catalogs" / "copy", lambda manifest: manifest.update(software="another"))
    made = Catalog(tmp_path / "catalogs")
    made.flip(live.name)
    return made


def other(folder: Catalog) -> str:
    """The version that is not live."""
    (name,) = set(folder.names()) - {folder.current().name}
    return name


class Opening:
    """Opens versions, and keeps the engines."""

    def __init__(self, folder: Catalog) -> None:
        self._folder = folder
        self.engines: list[SearchEngine] = []

    def __call__(self, name: str) -> SearchEngine:
        self.engines.append(SearchEngine.open(self._folder.root, version=name))
        return self.engines[-1]

    @property
    def names(self) -> list[str]:
        return [engine.version for engine in self.engines]


def live_catalog(folder: Catalog, opening: Opening, trial: QuickTrial) -> LiveCatalog:
    return LiveCatalog(folder, opening, trial, LiveChanges(folder, None, None, turns=1, waiting=1))


def logos(name: str) -> float:
    return float(CATALOG_LOGOS.labels(name)._value.get())


def swaps(outcome: str) -> float:
    return float(CATALOG_SWAPS.labels(outcome)._value.get())


async def test_a_new_version_replaces_the_open_one(folder: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[Path]()
    monkeypatch.setattr(warming, "read_ahead", read.append)
    opening, trial = Opening(folder), QuickTrial()
    live = live_catalog(folder, opening, trial)
    live.open()
    first, second = folder.current().name, other(folder)
    assert opening.names == trial.tried == [first]
    assert (live.current.out.version, live.current.out.logos) == (first, 200)
    assert (logos(first), folder.last_opened()) == (200, first)
    assert CATALOG_CREATED._value.get() == read_manifest(folder.current()).created.timestamp()
    await live.look()
    assert opening.names == [first]
    before = swaps("swapped")
    folder.flip(second)
    with logs_of(live_module) as lines:
        await live.look()
        await live.look()
    assert opening.names == trial.tried == [first, second]
    files = read_manifest(folder.current()).files
    assert {path.relative_to(folder.current()).as_posix() for path in read} == set(files)
    assert live.current.engine is opening.engines[1]
    assert (logos(first), logos(second), folder.last_opened()) == (0, 200, second)
    assert swaps("swapped") == before + 1
    (line,) = lines
    assert (line["event"], line["before"], line["catalog"], line["logos"]) == ("catalog_swapped", first, second, 200)
    live.close()


async def test_the_open_version_stays_if_it_is_activated_again(folder: Catalog) -> None:
    opening = Opening(folder)
    live = live_catalog(folder, opening, QuickTrial())
    live.open()
    folder.flip(folder.current().name)
    with logs_of(live_module) as lines:
        await live.look()
    assert (len(opening.engines), live.current.engine, lines) == (2, opening.engines[0], [])


async def test_a_refused_version_is_not_opened(folder: Catalog) -> None:
    opening, second = Opening(folder), other(folder)
    live = live_catalog(folder, opening, QuickTrial(second))
    live.open()
    folder.flip(second)
    with pytest.raises(CatalogError, match="is bad"):
        await live.look()
    await live.look()  # CURRENT has not been set again
    assert len(opening.engines) == 1
    (folder.root / second / "metadata.db").unlink()
    folder.flip(second)
    with pytest.raises(CatalogError, match=r"metadata\.db"):  # checked before the trial
        await live.look()


async def test_a_busy_folder_is_looked_at_again(folder: Catalog) -> None:
    opening, second = Opening(folder), other(folder)
    live = live_catalog(folder, opening, QuickTrial())
    live.open()
    with folder.locked():
        folder.flip(second)
        with pytest.raises(FolderBusyError):
            await live.look()
    await live.look()
    assert live.current.engine.version == second


async def test_a_start_with_a_refused_version_serves_another(folder: Catalog) -> None:
    first, second = folder.current().name, other(folder)
    opening, before = Opening(folder), swaps("refused")
    live = live_catalog(folder, opening, QuickTrial(first))
    with logs_of(live_module) as lines:
        live.open()
    assert opening.names == [second]
    assert swaps("refused") == before + 1
    (line,) = lines
    assert (line["event"], line["refused"], line["stays"]) == ("catalog_refused", first, second)
    assert "is bad" in line["error"]
    await live.look()
    assert opening.names == [second]


async def test_a_start_does_not_wait_for_a_build(folder: Catalog) -> None:
    opening, trial = Opening(folder), QuickTrial(other(folder))
    with folder.locked():
        live_catalog(folder, opening, trial).open()
    assert opening.names == trial.tried == [folder.current().name]


async def test_a_pulled_version_is_counted_and_logged(settings: Settings, tmp_path: Path) -> None:
    remote = ObjectFolder(str(settings.catalog_url), settings)
    replica, publisher = Catalog(tmp_path / "replica"), Catalog(tmp_path / "publisher")
    no_changes = LiveChanges(replica, None, None, turns=1, waiting=1)
    pulled, before, names = CATALOG_PULLS.labels("pulled"), CATALOG_PULLS.labels("pulled")._value.get(), []
    with logs_of(live_module) as lines:
        for day in (1, 2):
            names.append(publish(publisher, remote, day))
            for _ in range(2):
                await pull(remote, replica, no_changes, keep=1, trial=QuickTrial())
    assert pulled._value.get() == before + 2
    assert [(line["event"], line["catalog"]) for line in lines] == [("catalog_pulled", name) for name in names]
    assert replica.names() == names[1:]
    bad, trial = publish(publisher, remote, 3), QuickTrial()
    trial.bad = (bad,)
    for _ in range(2):
        with pytest.raises(CatalogError, match="is bad"):
            await pull(remote, replica, no_changes, keep=1, trial=trial)
    assert trial.tried == [bad]  # the refusal holds
