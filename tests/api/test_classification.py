from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.config import load_settings
from logo_similarity.errors import ConfigError
from tests.samples import SampleCatalog

OFFICIAL = Path(__file__).parents[1] / "unit" / "classification" / "vienna.xml"


@pytest.mark.parametrize(("scheme", "count", "code"), [("vienna", 31, "26"), ("nice", 45, "25")])
def test_the_names_are_sent_in_two_languages_and_may_be_cached(
    client: TestClient, scheme: str, count: int, code: str
) -> None:
    english = client.get(f"/v1/classification/{scheme}")
    german = client.get(f"/v1/classification/{scheme}?language=de")
    assert english.status_code == german.status_code == 200
    assert english.headers["Cache-Control"] == "private, max-age=3600"
    assert (english.json()["scheme"], english.json()["source"]) == (scheme, "built-in")
    assert len(english.json()["codes"]) == count
    assert english.json()["codes"][code] != german.json()["codes"][code]


def test_another_language_is_refused(client: TestClient) -> None:
    response = client.get("/v1/classification/vienna?language=fr")
    assert response.status_code == 422
    assert response.json()["detail"] == "language: is not valid; send one of en, de"


def test_another_classification_does_not_exist(client: TestClient) -> None:
    assert client.get("/v1/classification/locarno").status_code == 404


def test_the_official_list_is_sent_if_it_is_configured(sample_catalog: SampleCatalog) -> None:
    settings = load_settings(catalogs=sample_catalog.root, vienna_names=OFFICIAL, threads=1, log_level="error")
    with TestClient(create_app(settings)) as client:
        answer = client.get("/v1/classification/vienna").json()
    assert answer["source"] == "file"
    assert answer["codes"]["01.01.02"] == "One of them"


def test_a_service_does_not_start_with_another_file(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    settings = load_settings(catalogs=sample_catalog.root, vienna_names=tmp_path / "none.xml", log_level="error")
    with pytest.raises(ConfigError, match="LOGO_VIENNA_NAMES"):
        create_app(settings)
