from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.config import load_settings
from logo_similarity.storage.local import LocalStore
from tests.samples import SampleCatalog


def link_of(client: TestClient, logo_id: str) -> str:
    return urlsplit(str(client.get(f"/v1/logos/{logo_id}").json()["image_url"])).path


def test_a_logo_is_what_the_search_says_of_it(client: TestClient, sample_catalog: SampleCatalog) -> None:
    data = (sample_catalog.images / sample_catalog.files[8]).read_bytes()
    hit = client.post("/v1/search?top_k=1", files={"file": data}).json()["results"][0]
    logo = client.get("/v1/logos/EM/000008").json()
    assert set(logo) == {"id", "image_url", "metadata"}
    assert logo["id"] == hit["id"]
    assert logo["metadata"] == hit["metadata"]
    assert set(logo["metadata"]) == {
        "text", "company", "applicant", "vienna_codes", "us_design_codes", "nice_classes", "goods", "mark_feature", "status",
        "office_status", "office", "registration_number", "application_date", "registration_date", "expiry_date",
        "transaction_date", "year", "extra",
    }  # fmt: skip


def test_an_id_may_come_with_its_slash_encoded(client: TestClient) -> None:
    assert client.get("/v1/logos/EM%2F000008").json()["id"] == "EM/000008"
    assert client.get("/v1/image/EM%2F000008", follow_redirects=False).status_code == 307


def test_every_altered_character_of_a_link_is_refused(client: TestClient) -> None:
    path = link_of(client, "EM/000001")
    _, _, _, token, name = path.split("/")
    for position, character in enumerate(token):
        wrong = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        response = client.get(f"/v1/files/{wrong}/{name}")
        assert response.status_code == 403, wrong
        assert response.headers["Content-Type"] == "application/problem+json"


def test_a_link_opens_no_file_but_its_own(client: TestClient, sample_catalog: SampleCatalog) -> None:
    one, two = (link_of(client, f"EM/{number:06}").split("/") for number in (1, 2))
    own = (sample_catalog.images / sample_catalog.files[1]).read_bytes()
    assert client.get(f"/v1/files/{one[3]}/{two[4]}").content == own  # the name is for the reader; the token decides
    payload, signature = one[3].rpartition(".")[0], two[3].rpartition(".")[2]
    assert client.get(f"/v1/files/{payload}.{signature}/{one[4]}").status_code == 403


@pytest.mark.parametrize("name", ["../catalogs/CURRENT", "/etc/passwd", "sub/../../marks.jsonl", ".", "", "a\0b"])
def test_not_even_a_signed_name_leads_out_of_the_folder(sample_catalog: SampleCatalog, name: str) -> None:
    settings = load_settings(
        catalogs=sample_catalog.root, images_dir=sample_catalog.images, link_secret="shared", log_level="error"
    )
    link = LocalStore(sample_catalog.images, secret="shared", link_seconds=60).sign([name])[0]
    with TestClient(create_app(settings)) as client:
        response = client.get(link if not link.endswith("/") else link + "x")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert str(sample_catalog.images) not in response.text


def test_an_image_that_is_gone_is_not_found(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    settings = load_settings(catalogs=sample_catalog.root, images_dir=tmp_path, log_level="error")
    with TestClient(create_app(settings)) as client:
        response = client.get("/v1/image/EM/000001")
    assert response.status_code == 404
    assert str(tmp_path) not in response.text


def test_a_stranger_gets_no_hint_of_the_catalog(client: TestClient) -> None:
    for path in ("/v1/logos/", "/v1/image/", "/v1/files/", "/v1/files/x", "/v1/logos/%00", "/v1/image/" + quote("鍵")):
        response = client.get(path)
        assert response.status_code == 404, path
        assert response.json()["code"] == "not_found"
        assert "/" not in response.json().get("detail", "")
