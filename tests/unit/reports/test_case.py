from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CaseError
from logo_similarity.reports import case as case_module
from logo_similarity.reports.case import Case
from logo_similarity.reports.record import record_case

SCHEMA = Path(__file__).parents[3] / "docs" / "case.schema.json"


def encoded(extension: str) -> str:
    return base64.b64encode(cv2.imencode(extension, np.zeros((16, 16, 3), np.uint8))[1].tobytes()).decode()


def document(**changes: Any) -> dict[str, Any]:
    hit = {"id": "a", "score": 0.5, "metadata": {"text": "x", "nice_classes": [9], "application_date": "2020-01-31"}}
    return {
        "case": 1,
        "searched_at": "2026-11-26T14:00:00Z",
        "engine": "0.1.0",
        "catalog": {"version": "v", "logos": 3},
        "query": {"pictures": [{"data": encoded(".png")}], "parameters": {"top_k": 5, "parts": "off"}},
        "hits": [hit],
        **changes,
    }


def read(**changes: Any) -> Case:
    return Case.from_json(json.dumps(document(**changes)).encode())


def test_a_case_survives_a_round_trip(case: Case) -> None:
    assert Case.from_json(case.to_json()) == case
    assert read().hits[0].metadata.nice_classes == (9,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"case": 2}, "case: Input should be 1"),
        ({"extra": 1}, "extra: is not a key of a case"),
        ({"hits": [{"id": "a", "score": 0.5, "image_url": "x"}]}, r"hits\.0\.image_url: is not a key of a case"),
        ({"hits": [{"id": "a", "score": 0.5, "metadata": {"colour": "x"}}]}, r"metadata\.colour: is not a key"),
        ({"hits": [{"id": "a", "score": "0.5"}]}, r"hits\.0\.score: Input should be a valid number"),
        ({"hits": [{"id": "a", "score": 7}]}, r"hits\.0\.score: Input should be less than"),
        ({"hits": 2 * [{"id": "a", "score": 0.5}]}, "the hit 'a' is listed twice"),
        (
            {"hits": [{"id": "a", "score": 0.5, "verdict": "perhaps"}]},
            r"verdict: Input should be 'kept' or 'dismissed'",
        ),
        ({"hits": [{"id": "a", "score": 0.5, "thumbnail": "&"}]}, r"hits\.0\.thumbnail: is not base64"),
        (
            {"hits": [{"id": "a", "score": 0.5, "thumbnail": encoded(".bmp")}]},
            "is a BMP file; PNG and JPEG are accepted",
        ),
        ({"hits": [{"id": "a", "score": 0.5, "thumbnail": "eA=="}]}, r"hits\.0\.thumbnail: "),
        ({"query": {}}, "query: has no picture, no logo_id and no words"),
        (
            {"query": {"parameters": {"words": "x", "top_k": 0}}},
            r"query\.parameters\.top_k: Input should be greater than",
        ),
        ({"query": {"parameters": {"words": "x", "colour": 1}}}, r"query\.parameters\.colour: is not a key"),
        ({"query": {"parameters": {"words": "x"}, "filter": {"field": "colour", "is": ["x"]}}}, "no field 'colour'"),
        ({"searched_at": "2026-11-26T14:00:00"}, "searched_at: Input should have timezone info"),
        ({"note": "x" * 10_001}, "note: String should have at most 10000 characters"),
        ({"catalog": {"version": "v"}}, r"catalog\.logos: Field required"),
        ({"hits": [{"id": str(number), "score": 0} for number in range(1001)]}, "hits: Tuple should have at most 1000"),
    ],
)
def test_another_document_is_refused_with_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CaseError, match=message) as refusal:
        read(**changes)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(CaseError, match="the case is n"):
        Case.from_json(content)


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(case_module.PICTURE_BYTES)).decode()
    with pytest.raises(CaseError, match=r"pictures\.0\.data: .*at most 5,000,000 are accepted"):
        read(query={"pictures": [{"data": picture}]})
    with pytest.raises(CaseError, match=r"thumbnail: .*at most 100,000 are accepted"):
        read(hits=[{"id": "a", "score": 0, "thumbnail": picture[:200_000]}])
    monkeypatch.setattr(case_module, "CASE_BYTES", 100)
    with pytest.raises(CaseError, match="bytes; at most 100 are accepted"):
        read()


def test_a_filter_is_kept_in_its_canonical_form() -> None:
    tree = {"not": {"field": "vienna_codes", "is": ["3.1"]}}
    case = read(query={"parameters": {"words": "x"}, "filter": tree})
    assert case.query.filter == {"not": {"field": "vienna_codes", "is": ["03.01"]}}
    assert case.query.words == "x"


def test_an_image_of_another_format_cannot_be_recorded(engine: SearchEngine) -> None:
    image = cv2.imencode(".bmp", np.full((32, 32, 3), 255, np.uint8))[1].tobytes()
    query = Query(image=image)
    with pytest.raises(CaseError, match=r"logo\.bmp: a case holds PNG and JPEG files"):
        record_case(query, engine.search(query), engine, name="logo.bmp")


def test_the_json_schema_is_that_of_the_model() -> None:
    assert json.loads(SCHEMA.read_text()) == Case.model_json_schema(), "run `python -m scripts.update_docs`"
