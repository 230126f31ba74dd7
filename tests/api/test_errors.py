from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

from logo_similarity.api import errors
from logo_similarity.api.errors import MEDIA_TYPE, add_handlers, document, problem_of, problem_of_http
from logo_similarity.api.parameters import EXPECTED
from logo_similarity.errors import (
    CatalogError,
    ForbiddenError,
    LogoSimilarityError,
    NotReadyError,
    OverloadedError,
    QuotaSpentError,
    SearchTimeoutError,
    StoreError,
    UnauthorizedError,
)
from logo_similarity.metrics import REFUSED
from tests.logs import logs_of


def content_of(response: JSONResponse) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(bytes(response.body))
    return content


def counted(code: str) -> float:
    (family,) = REFUSED.collect()
    values = [sample.value for sample in family.samples if sample.labels == {"code": code}]
    return values[0] if values else 0.0


def test_a_document_has_no_empty_members() -> None:
    response = document(422, "a_code", "A title", headers={"X-A": "b"}, more=[1])
    assert content_of(response) == {
        "type": "about:blank", "status": 422, "code": "a_code", "title": "A title", "more": [1]
    }  # fmt: skip
    assert response.status_code == 422
    assert response.media_type == MEDIA_TYPE
    assert (response.headers["X-A"], response.headers["Cache-Control"]) == ("b", "no-store")


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (ForbiddenError("no"), {}),
        (UnauthorizedError("no"), {"www-authenticate": 'ApiKey header="X-API-Key"'}),
        (QuotaSpentError("no", retry_after=7), {"retry-after": "7"}),
        (OverloadedError("no", retry_after=2), {"retry-after": "2"}),
        (SearchTimeoutError("no"), {}),
        (NotReadyError("no"), {}),
    ],
)
def test_the_response_to_an_error_that_clients_may_see(error: LogoSimilarityError, headers: dict[str, str]) -> None:
    before = counted(error.code)
    with logs_of(errors) as lines:
        response = problem_of(error)
    assert lines == []
    assert content_of(response) == {
        "type": "about:blank", "status": error.status, "code": error.code, "title": error.title, "detail": "no"
    }  # fmt: skip
    assert response.status_code == error.status
    special = {name: response.headers[name] for name in ("www-authenticate", "retry-after") if name in response.headers}
    assert special == headers
    assert counted(error.code) == before + 1


@pytest.mark.parametrize("error", [CatalogError("/srv/catalogs is damaged"), StoreError("secret is wrong")])
def test_details_of_other_failures_are_logged_and_not_sent(error: LogoSimilarityError) -> None:
    with logs_of(errors) as lines:
        response = problem_of(error)
    assert "detail" not in content_of(response)
    (line,) = lines
    assert (line["event"], line["log_level"], line["code"]) == ("request_failed", "error", error.code)
    assert line["error"] == str(error)


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (HTTPException(400), "malformed_request", None),
        (HTTPException(404), "not_found", None),
        (HTTPException(405, "use POST", {"Allow": "POST"}), "method_not_allowed", "use POST"),
        (HTTPException(408, "too slow"), "body_too_slow", "too slow"),
        (HTTPException(409), "conflict", None),
        (HTTPException(413), "body_too_large", None),
        (HTTPException(415), "media_type_unsupported", None),
        (HTTPException(422), "invalid_request", None),
        (HTTPException(431), "head_too_large", None),
        (HTTPException(503), "overloaded", None),
    ],
)
def test_the_response_to_an_error_of_the_framework(error: HTTPException, code: str, detail: str | None) -> None:
    response = problem_of_http(error)
    content = content_of(response)
    assert (response.status_code, content["code"], content.get("detail")) == (error.status_code, code, detail)
    assert response.headers.get("Allow") == ("POST" if code == "method_not_allowed" else None)


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    add_handlers(app)

    @app.get("/fail/{name}")
    async def fail(name: str) -> None:
        raise {"ours": ForbiddenError("not this"), "http": HTTPException(404), "any": KeyError("secret")}[name]

    @app.get("/check")
    async def check(top_k: Annotated[int, Query(le=5)], min_score: float) -> None:
        pass

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/fail/ours", 403, "forbidden"), ("/fail/http", 404, "not_found"), ("/fail/any", 500, "internal_error")],
)
def test_every_exception_becomes_a_document(client: TestClient, path: str, status: int, code: str) -> None:
    with logs_of(errors) as lines:
        response = client.get(path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == MEDIA_TYPE
    assert "secret" not in response.text
    assert [isinstance(line["exc_info"], KeyError) for line in lines] == [True] * (status == 500)


def test_every_invalid_parameter_is_named_without_its_value(client: TestClient) -> None:
    response = client.get("/check?top_k=6006")
    assert response.status_code == 422
    content = response.json()
    assert (content["code"], content["title"]) == ("invalid_request", "The request is not valid")
    assert content["errors"] == [
        {"field": "top_k", "message": f"is not valid; send {EXPECTED['top_k']}"},
        {"field": "min_score", "message": f"is missing; send {EXPECTED['min_score']}"},
    ]
    assert content["detail"] == "; ".join(f"{one['field']}: {one['message']}" for one in content["errors"])
    assert "6006" not in response.text


def test_another_method_is_refused_with_those_that_are_allowed(client: TestClient) -> None:
    response = client.post("/check")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response.json()["detail"] == "use GET for this path"
    assert response.headers["Allow"] == "GET"
