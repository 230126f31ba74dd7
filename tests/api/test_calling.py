"""Endpoints that are called without FastAPI answer as those that it calls."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from logo_similarity.api.calling import direct_handler
from logo_similarity.api.routes import search
from logo_similarity.api.routing import CheckedRouter

CALLS: list[str] = []


async def host_of(request: Request) -> str:
    CALLS.append("host")
    return request.headers["host"]


async def greeting_of(host: Annotated[str, Depends(host_of)]) -> str:
    return f"hello {host}"


async def describe(
    request: Request,
    host: Annotated[str, Depends(host_of)],
    greeting: Annotated[str, Depends(greeting_of)],
    file: Annotated[list[UploadFile], File()],
    other: Annotated[list[UploadFile] | None, File()] = None,
    name: Annotated[str | None, Form(max_length=5)] = None,
    count: Annotated[int, Form(ge=1)] = 7,
) -> Response:
    files = [each.file.read().decode() for each in (*file, *(other or ()))]
    return JSONResponse([request.url.path, host, greeting, files, other is None, name, count])


def client_of(router: APIRouter) -> TestClient:
    router.add_api_route("/", describe, methods=["POST"])
    app = FastAPI()
    app.include_router(router)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        return JSONResponse(sorted((each["type"], each["loc"]) for each in error.errors()), 422)

    return TestClient(app)


@pytest.fixture(scope="module")
def direct() -> TestClient:
    return client_of(CheckedRouter())


@pytest.fixture(scope="module")
def called_by_fastapi() -> TestClient:
    return client_of(APIRouter())


PICTURE = ("file", ("a.png", b"pixels", "image/png"))


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        pytest.param([PICTURE], {}, id="defaults"),
        pytest.param([PICTURE, ("file", ("b.png", b"more", "image/png"))], {"name": "abc", "count": "2"}, id="all"),
        pytest.param([PICTURE, ("other", ("c.png", b"third", "image/png"))], {}, id="optional file"),
        pytest.param([PICTURE], {"name": "", "count": ""}, id="not filled in"),
        pytest.param([("file", ("", b"", "application/octet-stream"))], {}, id="empty text for a file"),
        pytest.param([("file", ("", b"pixels", "image/png"))], {}, id="file without a name"),
        pytest.param([("other", ("c.png", b"third", "image/png"))], {}, id="missing"),
        pytest.param([], {"name": "abc"}, id="missing beside a field"),
        pytest.param([PICTURE], {"name": "abcdef", "count": "0"}, id="two invalid values"),
        pytest.param([PICTURE], {"count": "many"}, id="not a number"),
        pytest.param([("other", ("c.png", b"third", "image/png"))], {"file": "text"}, id="text for a file"),
        pytest.param([PICTURE, ("count", ("c.png", b"3", "image/png"))], {}, id="file for a number"),
    ],
)
def test_the_answer_is_that_of_fastapi(
    direct: TestClient,
    called_by_fastapi: TestClient,
    files: list[tuple[str, tuple[str, bytes, str]]],
    fields: dict[str, str],
) -> None:
    answers = [client.post("/", files=files, data=fields) for client in (direct, called_by_fastapi)]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("chosen", [b"", b"pixels"])
@pytest.mark.parametrize("name", ["file", "other", "name"])
def test_a_browser_that_sends_no_file_gets_the_answer_of_fastapi(
    direct: TestClient, called_by_fastapi: TestClient, name: str, chosen: bytes
) -> None:
    parts = {"file": b"pixels", name: chosen}
    head = b'--x\r\nContent-Disposition: form-data; name="%s"; filename=""\r\nContent-Type: image/png\r\n\r\n%s\r\n'
    body = b"".join(head % (each.encode(), content) for each, content in parts.items()) + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answers = [client.post("/", content=body, headers=headers) for client in (direct, called_by_fastapi)]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json() == answers[1].json()


def test_a_dependency_runs_once(direct: TestClient) -> None:
    CALLS.clear()
    assert direct.post("/", files=[PICTURE]).json() == [
        "/",
        "testserver",
        "hello testserver",
        ["pixels"],
        True,
        None,
        7,
    ]
    assert CALLS == ["host"]


def test_files_are_closed_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[UploadFile] = []

    async def keep(file: Annotated[list[UploadFile], File()]) -> Response:
        kept.extend(file)
        assert not file[0].file.closed
        return Response()

    router = CheckedRouter()
    router.add_api_route("/", keep, methods=["POST"])
    app = FastAPI()
    app.include_router(router)
    TestClient(app).post("/", files=[PICTURE])
    assert kept[0].file.closed


def in_query(size: Annotated[int, Query()] = 1) -> int:
    return size


async def read_query(size: Annotated[int, Depends(in_query)]) -> Response:
    return Response(str(size))


async def read_bytes(file: Annotated[bytes, File()]) -> Response:
    return Response(file)


async def return_number() -> int:
    return 1


@pytest.mark.parametrize("endpoint", [read_query, read_bytes, return_number])
def test_other_endpoints_are_left_to_fastapi(endpoint: object) -> None:
    router = CheckedRouter()
    router.add_api_route("/", endpoint, methods=["POST"])  # type: ignore[arg-type] # a function
    (route,) = router.routes
    assert isinstance(route, APIRoute)
    assert direct_handler(route.dependant) is None


def test_searches_are_called_directly() -> None:
    routes = [route for route in search.router.routes if isinstance(route, APIRoute)]
    assert routes
    assert all(direct_handler(route.dependant) for route in routes)
