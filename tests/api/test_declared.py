"""Parameters that a dependency reads itself are documented, read and refused as those that FastAPI reads."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, File, Form, Query, UploadFile
from fastapi.testclient import TestClient
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from logo_similarity.api.app import create_app
from logo_similarity.api.declared import Declared, RequestParameters
from logo_similarity.api.errors import add_handlers
from logo_similarity.api.parameters import EXPECTED
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.config import load_settings


class Mode(StrEnum):
    """How."""

    FAST = "fast"
    SLOW = "slow"


NUMBER, SHARE, TEXT = Field(ge=1, le=9), Field(ge=-1, le=1), Field(min_length=1, max_length=5)
DECLARED = [
    Declared("top_k", Annotated[int, NUMBER], "A number."),
    Declared("min_score", Annotated[float, SHARE], "A share."),
    Declared("words", Annotated[str, TEXT], "A text."),
    Declared("rerank", bool, "A flag."),
    Declared("parts", Mode, "A choice."),
    Declared("company", list[Annotated[str, TEXT]], "Some texts."),
]
Values = dict[str, Any]
OURS = RequestParameters(DECLARED, lambda values, _: values)
OUR_FORM = RequestParameters(DECLARED, lambda values, _: values, in_form=True)


def theirs(
    top_k: Annotated[int | None, Query(ge=1, le=9, description="A number.")] = None,
    min_score: Annotated[float | None, Query(ge=-1, le=1, description="A share.")] = None,
    words: Annotated[str | None, Query(min_length=1, max_length=5, description="A text.")] = None,
    rerank: Annotated[bool | None, Query(description="A flag.")] = None,
    parts: Annotated[Mode | None, Query(description="A choice.")] = None,
    company: Annotated[list[Annotated[str, TEXT]] | None, Query(description="Some texts.")] = None,
) -> Values:
    return {name: value for name, value in locals().items() if value is not None}


def their_form(
    top_k: Annotated[SkipJsonSchema[int | None], Form(ge=1, le=9)] = None,
    min_score: Annotated[SkipJsonSchema[float | None], Form(ge=-1, le=1)] = None,
    words: Annotated[SkipJsonSchema[str | None], Form(min_length=1, max_length=5)] = None,
    rerank: Annotated[SkipJsonSchema[bool | None], Form()] = None,
    parts: Annotated[SkipJsonSchema[Mode | None], Form()] = None,
    company: Annotated[SkipJsonSchema[list[Annotated[str, TEXT]] | None], Form()] = None,
) -> Values:
    return {name: value for name, value in locals().items() if value is not None}


def make_client() -> TestClient:
    """`/query/theirs` and `/query/ours` have the same parameters, and so have the forms, which have a file, too."""
    router = CheckedRouter()

    @router.get("/query/theirs")
    async def query_theirs(values: Annotated[Any, Depends(theirs)]) -> Values:
        return dict(values)

    @router.get("/query/ours")
    async def query_ours(values: Annotated[Any, Depends(OURS)]) -> Values:
        return dict(values)

    @router.post("/form/theirs")
    async def form_theirs(
        file: Annotated[UploadFile, File()],
        values: Annotated[Any, Depends(theirs)],
        more: Annotated[Any, Depends(their_form)],
    ) -> Values:
        return {**values, **more}

    @router.post("/form/ours")
    async def form_ours(file: Annotated[UploadFile, File()], values: Annotated[Any, Depends(OUR_FORM)]) -> Values:
        return dict(values)

    app = FastAPI()
    add_handlers(app)
    app.include_router(router)
    return TestClient(app)


@pytest.fixture(scope="module")
def client() -> TestClient:
    return make_client()


@pytest.fixture(autouse=True)
def _expected(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in DECLARED:
        monkeypatch.setitem(EXPECTED, one.name, f"something for {one.name}")


@pytest.mark.parametrize("path", ["/query", "/form"])
def test_they_are_documented_alike(client: TestClient, path: str) -> None:
    document = client.get("/openapi.json").json()
    operations = [document["paths"][f"{path}/{whose}"].popitem()[1] for whose in ("theirs", "ours")]
    assert operations[0]["parameters"] == operations[1]["parameters"]
    assert len(operations[0]["parameters"]) == len(DECLARED)
    definitions: dict[str, Any] = {}
    for one in DECLARED:
        definitions |= one.definitions()
    assert definitions == {"Mode": document["components"]["schemas"]["Mode"]}


def test_the_document_of_the_service_has_every_schema_that_it_refers_to() -> None:
    document = create_app(load_settings(log_level="error")).openapi()

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"].rpartition("/")[2]} if "$ref" in value else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    assert {"PartsMode", "Group"} <= references(document) <= set(document["components"]["schemas"])


@pytest.mark.parametrize(
    "given",
    [
        "top_k=3&min_score=-0.5&words=ab&rerank=false&parts=slow&company=a&company=b",
        "rerank=1", "rerank=on", "rerank=maybe", "top_k=", "top_k=3.0", "top_k=3.5", "top_k=0", "top_k= 3", "top_k=x",
        "min_score=nan", "min_score=2", "min_score=1e-1", "words=", "words=abcdef", "words=%20", "words=%FF", "parts=SLOW",
        "parts=", "company=", "company=abcdef", "company=a&company=", "top_k=0&min_score=7&company=abcdef",
        "top_k=1&top_k=2", "other=1", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["query", "form", "query of a form"])
def test_they_are_read_and_refused_alike(client: TestClient, given: str, place: str) -> None:
    def answer(whose: str) -> tuple[int, Any]:
        if place == "query":
            response = client.get(f"/query/{whose}?{given}")
        elif place == "form":
            pairs = [(name, value) for pair in given.split("&") if pair for name, _, value in [pair.partition("=")]]
            fields = [(name, (None, value)) for name, value in pairs]
            response = client.post(f"/form/{whose}", files=[("file", b"x"), *fields])
        else:
            response = client.post(f"/form/{whose}?{given}", files={"file": b"x"})
        return response.status_code, response.json()

    status, told = answer("ours")
    expected_status, expected = answer("theirs")
    assert status == expected_status
    assert told == expected


def test_a_file_where_a_text_is_expected(client: TestClient) -> None:
    for whose in ("theirs", "ours"):
        response = client.post(f"/form/{whose}", files={"file": b"x", "words": ("a.txt", b"y")})
        assert response.status_code == 422
        assert response.json()["detail"] == "words: is not valid; send something for words"
