from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from logo_similarity.api.app import create_app
from logo_similarity.api.schemas import SearchResponse
from logo_similarity.config import load_settings
from logo_similarity.storage.local import LocalStore
from tests.samples import SampleCatalog


def search(client: TestClient, catalog: SampleCatalog, number: int = 0, **params: str | float) -> Response:
    data = (catalog.images / catalog.files[number]).read_bytes()
    return client.post("/v1/search", files={"file": ("query.jpg", data)}, params=params)


def test_the_answer_has_the_promised_form(client: TestClient, sample_catalog: SampleCatalog) -> None:
    response = search(client, sample_catalog, 7, top_k=5)
    assert response.status_code == 200
    answer = response.json()
    SearchResponse.model_validate(answer, strict=False)
    asked = {"reranked", "parts", "words", "exact", "passed", "pictures", "proposed", "next"}
    assert set(answer) == {"query_id", "results", *asked, "cached", "catalog", "timings_ms"}
    assert uuid.UUID(answer["query_id"])
    assert len(answer["results"]) == 5
    best = answer["results"][0]
    unknown = {"image_score", "word_similarity", "word_field", "others", "damage"}
    known = {"score", "cosine", "copies", "expect", "band", "matched", "picture", "id", "image_url", "metadata"}
    assert set(best) == known | unknown
    assert {best[name] for name in unknown} == {None}
    assert best["score"] >= 0.999
    assert best["id"] == "EM/000007"
    assert best["metadata"]["company"] == "Company 7"
    assert best["metadata"]["vienna_codes"] == ["26.01.01", "27.05.01"]
    assert best["metadata"]["application_date"] == "2023-01-01"
    assert best["metadata"]["status"] == "registered"
    assert best["metadata"]["office"] is None
    assert answer["catalog"]["logos"] == 200
    codes = {"vienna_codes", "nice_classes"}
    assert set(answer["catalog"]["fields"]) == {"text", "company", *codes, "status", "application_date", "year"}
    expects = [hit["expect"] for hit in answer["results"]]
    assert expects == sorted(expects)
    stages = [part.split(";")[0].strip() for part in response.headers["Server-Timing"].split(",")]
    assert (
        stages
        == list(answer["timings_ms"])
        == ["queue", "decode", "preprocess", "embed", "parts", "search", "rerank", "metadata", "links"]
    )
    assert response.headers["X-Request-ID"]


def test_a_hundred_results_unless_asked_otherwise(client: TestClient, sample_catalog: SampleCatalog) -> None:
    assert len(search(client, sample_catalog).json()["results"]) == 100
    assert len(search(client, sample_catalog, top_k=1000).json()["results"]) == 200


def test_parameters_as_form_fields(client: TestClient, sample_catalog: SampleCatalog) -> None:
    data = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    response = client.post("/v1/search", files={"file": data}, data={"top_k": "3", "min_score": "0.99"})
    assert [hit["id"] for hit in response.json()["results"]] == ["EM/000003"]
    both = client.post("/v1/search?top_k=4", files={"file": data}, data={"top_k": "3"})
    assert both.status_code == 422
    assert both.json()["code"] == "invalid_request"


def test_min_score_leaves_out_the_rest(client: TestClient, sample_catalog: SampleCatalog) -> None:
    scores = [hit["score"] for hit in search(client, sample_catalog).json()["results"]]
    kept = search(client, sample_catalog, min_score=scores[4]).json()["results"]
    assert [hit["score"] for hit in kept] == scores[:5]


def test_links_lead_to_the_very_pictures(client: TestClient, sample_catalog: SampleCatalog) -> None:
    for number, hit in enumerate(search(client, sample_catalog, 5, top_k=3).json()["results"]):
        picture = client.get(hit["image_url"])
        assert picture.status_code == 200
        assert picture.headers["Content-Type"] == "image/jpeg"
        assert picture.headers["X-Content-Type-Options"] == "nosniff"
        name = sample_catalog.files[int(hit["id"].removeprefix("EM/"))]
        assert picture.content == (sample_catalog.images / name).read_bytes()
        assert number > 0 or name == sample_catalog.files[5]


def test_image_route_redirects_to_a_fresh_link(client: TestClient, sample_catalog: SampleCatalog) -> None:
    response = client.get("/v1/image/EM/000009", follow_redirects=False)
    assert response.status_code == 307
    assert response.headers["Cache-Control"] == "no-store"
    picture = client.get(response.headers["Location"])
    assert picture.content == (sample_catalog.images / sample_catalog.files[9]).read_bytes()


def test_an_altered_or_foreign_link_is_refused(client: TestClient, sample_catalog: SampleCatalog) -> None:
    path = urlsplit(client.get("/v1/logos/EM/000001").json()["image_url"]).path
    token = path.split("/")[3]
    for wrong in (token[:-1], token + "A", ("B" if token[0] == "A" else "A") + token[1:], "x"):
        response = client.get(path.replace(token, wrong))
        assert response.status_code == 403, wrong
        assert response.json()["code"] == "link_refused"
    foreign = LocalStore(sample_catalog.images, secret="another", link_seconds=300).sign([sample_catalog.files[1]])
    assert client.get(foreign[0]).status_code == 403


def test_an_expired_link_is_refused(sample_catalog: SampleCatalog) -> None:
    settings = load_settings(catalogs=sample_catalog.root, images_dir=sample_catalog.images, log_level="error")
    secret = settings.link_secret.get_secret_value()
    old = LocalStore(sample_catalog.images, secret=secret, link_seconds=300, clock=lambda: 1_000_000)
    new = LocalStore(sample_catalog.images, secret=secret, link_seconds=300)
    with TestClient(create_app(settings)) as client:
        assert client.get(old.sign([sample_catalog.files[1]])[0]).status_code == 403
        assert client.get(new.sign([sample_catalog.files[1]])[0]).status_code == 200


def test_one_logo(client: TestClient) -> None:
    answer = client.get("/v1/logos/EM/000011").json()
    assert answer["id"] == "EM/000011"
    assert answer["metadata"]["company"] == "Company 11"
    assert client.get(answer["image_url"]).status_code == 200


@pytest.mark.parametrize("route", ["logos", "image"])
@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%252e%252e",
        "EM%00",
        "EM/000001%00",
        "EM\\000001",
        "a" * 5000,
        "é",
        "%ff",
        "' OR 1=1",
    ],
)
def test_unknown_ids_are_not_found(client: TestClient, route: str, name: str) -> None:
    response = client.get(f"/v1/{route}/{name}", follow_redirects=False)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"


def test_without_a_store_there_are_no_links(sample_catalog: SampleCatalog) -> None:
    with TestClient(create_app(load_settings(catalogs=sample_catalog.root, log_level="error"))) as client:
        assert search(client, sample_catalog, top_k=1).json()["results"][0]["image_url"] is None
        assert client.get("/v1/image/EM/000001", follow_redirects=False).status_code == 404
        assert client.get("/v1/files/a.b/c.jpg").status_code == 404


def test_a_public_address_is_put_before_our_own_links(sample_catalog: SampleCatalog) -> None:
    settings = load_settings(
        catalogs=sample_catalog.root,
        images_dir=sample_catalog.images,
        public_url="https://x.example/base/",
        log_level="error",
    )
    with TestClient(create_app(settings)) as client:
        url = client.get("/v1/logos/EM/000001").json()["image_url"]
    assert url.startswith("https://x.example/base/v1/files/")


def test_probes_and_documentation(client: TestClient, sample_catalog: SampleCatalog) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["catalog"]["logos"] == 200
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/search"]["post"]
    assert {"400", "401", "408", "413", "415", "422", "503"} <= set(operation["responses"])
    assert document["components"]["schemas"]["SearchResponse"]["examples"][0]["results"][0]["id"] == "US-123456"
    SearchResponse.model_validate(document["components"]["schemas"]["SearchResponse"]["examples"][0])


def test_metrics_count_what_was_asked(client: TestClient, sample_catalog: SampleCatalog) -> None:
    def counted() -> float:
        line = 'logo_requests_total{method="POST",route="/v1/search",status="200"} '
        found = [row for row in client.get("/metrics").text.splitlines() if row.startswith(line)]
        return float(found[0].removeprefix(line)) if found else 0

    before = counted()
    for _ in range(3):
        search(client, sample_catalog)
    assert counted() - before == 3
    text = client.get("/metrics").text
    assert 'logo_stage_seconds_count{stage="embed"}' in text
    assert "logo_catalog_logos" in text


def test_a_sensible_request_id_is_taken_over(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert client.get("/healthz", headers={"X-Request-ID": "a b\t"}).headers["X-Request-ID"] != "a b"
