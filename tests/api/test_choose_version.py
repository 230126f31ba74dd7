"""The choice of the version that a service starts with."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from logo_similarity.api import server
from logo_similarity.catalog import warming
from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.versions import Catalog
from tests.hostile_catalogs import rewrite_manifest
from tests.logs import logs_of
from tests.samples import SampleCatalog
from tests.unit.catalog.test_replica import QuickTrial


def test_a_version_is_read_before_it_is_tried(sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, trial = Catalog(sample_catalog.root), QuickTrial()
    tried_before = list[int]()

    def read_ahead(_path: Path) -> None:
        tried_before.append(len(trial.tried))

    monkeypatch.setattr(warming, "read_ahead", read_ahead)
    live = folder.current()
    assert server.choose_version(folder, trial) == live
    assert tried_before == [0] * len(read_manifest(live).files)
    assert trial.tried == [live.name]


def test_a_version_that_cannot_be_read_is_left_to_its_trial(
    sample_catalog: SampleCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, good = Catalog(tmp_path / "catalogs"), Catalog(sample_catalog.root).current()
    shutil.copytree(good, folder.root / good.name)
    shutil.copytree(good, folder.root / "copy")
    bad = rewrite_manifest(folder.root / "copy", lambda manifest: manifest.update(software="another"))
    folder.flip(bad.name)

    def read_ahead(path: Path) -> None:
        if path.is_relative_to(bad):
            raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(warming, "read_ahead", read_ahead)
    trial = QuickTrial(bad.name)
    with logs_of(server) as lines:
        assert server.choose_version(folder, trial) == folder.root / good.name
    assert trial.tried == [bad.name, good.name]
    assert [line["refused"] for line in lines if line["event"] == "catalog_fell_back"] == [bad.name]
