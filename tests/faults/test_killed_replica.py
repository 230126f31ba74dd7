"""Publishing and pulling, killed before every single step, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.catalog.manifest import read_manifest, verify
from logo_similarity.catalog.replica import publish_version, pull_version
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.storage.objects import ObjectFolder

MOST_STEPS = 100


def die(settings: Settings, what: str, catalogs: Path, step: int) -> bool:
    """Whether it died at that step; else it has ended as it should."""
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    environment = {
        "LOGO_S3_ENDPOINT": str(settings.s3_endpoint),
        "LOGO_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "LOGO_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "LOGO_CATALOG_URL": str(settings.catalog_url),
    }
    words = [sys.executable, "-m", "tests.faults.replicate_and_die", what, str(catalogs), str(step)]
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.slow
def test_a_publisher_that_dies_at_any_step(built: Catalog, settings: Settings, tmp_path: Path) -> None:
    first, second = sorted(built.names(), key=lambda name: read_manifest(built.folder(name)).count)
    remote = ObjectFolder(str(settings.catalog_url), settings)
    publish_version(built.folder(first), remote)
    there = Catalog(tmp_path / "replica")
    step = 1
    while die(settings, "publish", built.root, step):
        # What is published is whole, whichever it is.
        pull_version(remote, there)
        verify(there.current())
        assert there.current().name in (first, second)
        step += 1
        assert step < MOST_STEPS
    assert step > 6
    pull_version(remote, there)
    assert there.current().name == second


@pytest.mark.slow
def test_a_puller_that_dies_at_any_step(built: Catalog, settings: Settings, tmp_path: Path) -> None:
    first, second = sorted(built.names(), key=lambda name: read_manifest(built.folder(name)).count)
    remote = ObjectFolder(str(settings.catalog_url), settings)
    there = Catalog(tmp_path / "replica")
    publish_version(built.folder(first), remote)
    pull_version(remote, there)
    publish_version(built.folder(second), remote)
    step = 1
    while die(settings, "pull", there.root, step):
        verify(there.current())
        for name in there.names():
            verify(there.folder(name))
        step += 1
        assert step < MOST_STEPS
    assert step > 10
    assert there.current().name == second
    verify(there.current())
    marks = {f".tried-{name}" for name in (first, second)}
    assert {path.name for path in there.root.iterdir()} == {"CURRENT", ".lock", first, second, *marks}
