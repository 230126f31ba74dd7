from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.config import load_settings
from tests.samples import SampleCatalog


@pytest.fixture(scope="session")
def client(sample_catalog: SampleCatalog) -> Iterator[TestClient]:
    """A service without keys and with the local image store. A 5xx is an answer here, not an exception."""
    settings = load_settings(
        catalogs=sample_catalog.root,
        images_dir=sample_catalog.images,
        threads=2,
        max_upload_bytes=300_000,
        cache_hits=0,  # the same picture is asked for again and again, and a search is meant each time
        log_level="error",
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as opened:
        yield opened
