"""Processes whose whole clock is off, by faketime. Needs it (`apt-get install faketime`); `make faults` runs it."""

from __future__ import annotations

import os
import subprocess

import pytest

from logo_similarity.catalog.replica import publish_version
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.storage.objects import ObjectFolder
from tests.service import command


@pytest.mark.parametrize("shift", ["+2 days", "-2 days"])
def test_s3_refuses_and_the_clock_is_named(built: Catalog, settings: Settings, shift: str) -> None:
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    publish_version(built.current(), ObjectFolder(str(settings.catalog_url), settings))
    environment = {
        **os.environ,
        "LOGO_S3_ENDPOINT": str(settings.s3_endpoint),
        "LOGO_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "LOGO_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "LOGO_CATALOG_URL": str(settings.catalog_url),
    }
    words = command("catalog", "publish", "--catalogs", str(built.root))
    done = subprocess.run(["faketime", shift, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "clock" in done.stderr
    assert "Traceback" not in done.stderr
    assert subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
