"""The whole way with a real S3 server: images uploaded by the command, found, and fetched by signed links."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx2
import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.config import load_settings
from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server

PREFIX = "search/images/"


@pytest.fixture(scope="module")
def uploaded(s3_server: S3Server, sample_catalog: SampleCatalog) -> dict[str, str]:
    """Upload the samples by the command; the settings that a service then needs."""
    settings = {
        "s3_bucket": s3_server.bucket,
        "s3_prefix": PREFIX,
        "s3_endpoint": s3_server.endpoint,
        "s3_access_key": s3_server.access_key,
        "s3_secret_key": s3_server.secret_key,
    }
    environment = {**os.environ, **{f"LOGO_{name.upper()}": value for name, value in settings.items()}}
    words = [sys.executable, "-m", "logo_similarity.cli", "images", "upload", str(sample_catalog.images), "--json"]
    for sent, skipped in ((len(sample_catalog.files), 0), (0, len(sample_catalog.files))):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        summary = json.loads(done.stdout)
        assert (summary["uploaded"], summary["skipped"], summary["failed"]) == (sent, skipped, 0)
    return settings


def test_links_of_hits_open_at_the_server(uploaded: dict[str, str], sample_catalog: SampleCatalog) -> None:
    data = (sample_catalog.images / sample_catalog.files[2]).read_bytes()
    with TestClient(create_app(load_settings(catalogs=sample_catalog.root, log_level="error", **uploaded))) as client:
        hits = client.post("/v1/search", files={"file": data}, params={"top_k": 3}).json()["results"]
        redirect = client.get("/v1/image/EM/000002", follow_redirects=False)
    assert hits[0]["id"] == "EM/000002"
    assert "X-Amz-Signature" in hits[0]["image_url"]
    assert PREFIX in hits[0]["image_url"]
    assert redirect.status_code == 307
    for url in (hits[0]["image_url"], redirect.headers["Location"]):
        picture = httpx2.get(url)
        assert picture.status_code == 200
        assert picture.headers["Content-Type"] == "image/jpeg"
        assert picture.content == data
    assert httpx2.get(hits[0]["image_url"].split("?")[0]).status_code == 403


def test_a_search_answers_while_the_store_is_down(uploaded: dict[str, str], sample_catalog: SampleCatalog) -> None:
    settings = load_settings(
        catalogs=sample_catalog.root, log_level="error", **{**uploaded, "s3_endpoint": "http://127.0.0.1:9"}
    )
    data = (sample_catalog.images / sample_catalog.files[2]).read_bytes()
    with TestClient(create_app(settings)) as client:
        hits = client.post("/v1/search", files={"file": data}).json()["results"]
        assert client.get("/readyz").status_code == 200
    assert len(hits) == 100
    assert all(hit["image_url"].startswith("http://127.0.0.1:9/") for hit in hits)
