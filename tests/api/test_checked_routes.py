"""Routes of a small application that accept only the parameters that they declare."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Form, UploadFile
from fastapi.testclient import TestClient
from starlette.types import Message

from logo_similarity.api.errors import add_handlers
from logo_similarity.api.paths import POLICIES, UNMATCHED, Policy
from logo_similarity.api.routing import TEMPLATE, CheckedRouter, RouteTable, allowed_methods
from tests.asgi import sent_by


def limits(count: int = 0) -> int:
    return count


def details(note: Annotated[str, Form()] = "") -> str:
    return note


def make_app() -> FastAPI:
    router = CheckedRouter()

    @router.get("/none")
    async def none() -> str:
        return "none"

    @router.get("/query")
    async def query(count: Annotated[int, Depends(limits)], size: int = 1) -> list[int]:
        return [size, count]

    @router.post("/form")
    async def form(file: UploadFile, note: Annotated[str, Depends(details)], size: Annotated[int, Form()] = 1) -> Any:
        return [(await file.read()).decode(), note, size]

    @router.post("/json")
    async def json(items: list[int]) -> list[int]:
        return items

    @router.get("/v1/logos/{logo_id:path}")
    async def logo(logo_id: str) -> str:
        return logo_id

    app = FastAPI()
    add_handlers(app)
    app.include_router(router)
    return app


APP = make_app()


@pytest.fixture
def client() -> TestClient:
    return TestClient(APP)


def refusal(response: Any) -> str:
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"
    return str(response.json()["detail"])


def test_declared_parameters_are_accepted(client: TestClient) -> None:
    assert client.get("/none").json() == "none"
    assert client.get("/query?size=2&count=3").json() == [2, 3]
    assert client.post("/form", files={"file": b"x"}, data={"size": 2, "note": "n"}).json() == ["x", "n", 2]
    assert client.post("/json", json=[1, 2]).json() == [1, 2]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("/none?a=", "unknown parameter 'a'. This route accepts none"),
        ("/none?size=1", "unknown parameter 'size'. This route accepts none"),
        ("/query?Sise=1", "unknown parameter 'Sise'; did you mean size? Known: count, size"),
        ("/query?size=1&size=1", "parameter 'size' is given twice; send it once"),
        ("/query?" + "x" * 65, f"unknown parameter '{'x' * 64}'. Known: count, size"),
        ("/json?items=1", "unknown parameter 'items'. This route accepts none"),
    ],
)
def test_other_parameters_of_the_query_are_refused(client: TestClient, query: str, detail: str) -> None:
    response = client.post(query, json=[]) if query.startswith("/json") else client.get(query)
    assert refusal(response) == detail


def test_other_fields_of_a_form_are_refused(client: TestClient) -> None:
    response = client.post("/form", files={"file": b"x"}, data={"colour": "red"})
    assert refusal(response) == "unknown parameter 'colour'. Known: file, note, size"
    assert refusal(client.post("/form", files=[("file", b"x"), ("file", b"y")])).startswith("parameter 'file' is given")
    response = client.post("/form", files={"sise": b"x"})  # a file is meant for the field of a file
    assert refusal(response) == "unknown parameter 'sise'; did you mean file? Known: file, note, size"


def test_a_form_field_in_the_query_string_is_told_its_place(client: TestClient) -> None:
    response = client.post("/form?note=a", files={"file": b"pixels"})
    assert refusal(response) == "note is a form field; send it in the body, as curl -F note=... does"


def test_the_methods_of_a_path() -> None:
    assert allowed_methods(APP, "/query") == ["GET", "HEAD"]
    assert allowed_methods(APP, "/form") == ["POST"]
    assert allowed_methods(APP, "/nonesuch") == []


def test_head_has_the_headers_of_get_and_is_not_documented(client: TestClient) -> None:
    assert client.head("/query?size=2").headers["Content-Length"] == str(len(client.get("/query?size=2").content))
    assert client.head("/query?colour=red").status_code == 422
    assert client.head("/form").status_code == 405
    paths = client.get("/openapi.json").json()["paths"]
    assert {path: list(methods) for path, methods in paths.items()} == {
        "/none": ["get"], "/query": ["get"], "/form": ["post"], "/json": ["post"], "/v1/logos/{logo_id}": ["get"]
    }  # fmt: skip


@pytest.mark.anyio
async def test_a_client_that_disconnects_during_its_upload() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"--x\r\n", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": "/form", "query_string": b"", "headers": headers}
    start, _ = await sent_by(APP, scope, receive)
    assert start["status"] == 499


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/none", "/none"),
        ("/v1/logos/EM/1", "/v1/logos/{logo_id:path}"),
        ("/v1/logos", UNMATCHED),
        ("/nonesuch", UNMATCHED),
    ],
)
def test_the_route_of_a_request_is_looked_up_once(path: str, template: str) -> None:
    table = RouteTable()
    for _ in range(2):
        scope = {"path": path, "app": APP}
        assert table.template(scope) == scope[TEMPLATE] == template
        assert table.policy(scope) == POLICIES.get(template, Policy("admin"))
    assert table.template({TEMPLATE: "/known"}) == "/known"
