from __future__ import annotations

import csv
import io
import json
from typing import Any

import pypdf
import pytest
from fastapi.testclient import TestClient

from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.reports.case import Case
from logo_similarity.reports.record import record_case
from tests.samples import SampleCatalog


@pytest.fixture(scope="module")
def case(sample_catalog: SampleCatalog) -> Case:
    query = Query(image=(sample_catalog.images / sample_catalog.files[5]).read_bytes(), top_k=3)
    with SearchEngine.open(sample_catalog.root) as engine:
        return record_case(query, engine.search(query), engine)


def post(client: TestClient, content: bytes, parameters: str = "") -> Any:
    return client.post(f"/v1/report{parameters}", files={"case": ("case.json", content)})


def test_a_pdf_is_made_with_images_of_the_store(client: TestClient, case: Case) -> None:
    response = post(client, case.to_json())
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.headers["Content-Disposition"] == 'attachment; filename="report.pdf"'
    assert response.headers["Cache-Control"] == "no-store"
    reader = pypdf.PdfReader(io.BytesIO(response.content))
    assert "the list is the same" in " ".join(reader.pages[0].extract_text().split())
    assert sum(len(page.images) for page in reader.pages) >= 4


def test_the_other_formats(client: TestClient, case: Case) -> None:
    response = post(client, case.to_json(), "?format=csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(response.content.decode("utf-8-sig").splitlines()))
    assert [row["id"] for row in rows] == [hit.id for hit in case.hits]
    response = post(client, case.to_json(), "?format=json")
    assert response.headers["Content-Disposition"] == 'attachment; filename="report.json"'
    assert response.json()["repetition"]["same_list"]


@pytest.mark.parametrize(
    ("content", "parameters", "status", "detail"),
    [
        (b"{}", "", 422, "the case is not valid: case: Field required"),
        (b"x", "", 422, "the case is not valid: "),
        (None, "?format=docx", 422, "format: is not valid; send one of pdf, csv, json"),
        (None, "?colour=1", 422, "unknown parameter 'colour'"),
        (bytes(320_000), "", 413, "the request body exceeds"),
    ],
)
def test_other_requests_are_refused(
    client: TestClient, case: Case, content: bytes | None, parameters: str, status: int, detail: str
) -> None:
    response = post(client, case.to_json() if content is None else content, parameters)
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)


def test_a_missing_case_and_another_media_type_are_refused(client: TestClient) -> None:
    response = client.post("/v1/report", data={"x": "y"})
    assert response.status_code == 415
    assert "curl -F case=@case.json" in response.json()["detail"]
    response = client.post("/v1/report", files={"file": b"x"})
    assert response.status_code == 422
    assert "unknown parameter 'file'; did you mean case?" in response.json()["detail"]


def test_a_picture_that_is_none_is_refused(client: TestClient, case: Case) -> None:
    content = json.loads(case.to_json())
    content["query"]["pictures"][0]["data"] = content["query"]["pictures"][0]["data"][:40]
    response = post(client, json.dumps(content).encode())
    assert (response.status_code, response.json()["code"]) == (422, "image_undecodable")


def test_a_parameter_that_the_catalog_cannot_serve_is_reported(client: TestClient, case: Case) -> None:
    content = json.loads(case.to_json())
    content["query"]["filter"] = {"field": "status", "is": ["registered"]}
    answer = post(client, json.dumps(content).encode(), "?format=json").json()
    assert answer["repetition"]["changes"]["gone"] == [hit.id for hit in case.hits]


def test_without_the_extra_the_answer_is_501(client: TestClient, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "logo_similarity.reports.fonts", None)
    response = post(client, case.to_json())
    assert (response.status_code, response.json()["code"]) == (501, "reports_unavailable")
