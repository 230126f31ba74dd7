from __future__ import annotations

import uuid
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from tests.pictures import encode
from tests.samples import SampleCatalog


def search(client: TestClient, data: bytes, query: str = "", **fields: Any) -> Response:
    return client.post(f"/v1/search{query}", files={"file": ("query", data)}, data=fields)


@pytest.fixture(scope="module")
def picture(sample_catalog: SampleCatalog) -> bytes:
    return (sample_catalog.images / sample_catalog.files[6]).read_bytes()


def test_every_result_has_the_members_and_a_link_of_its_own(client: TestClient, picture: bytes) -> None:
    results = search(client, picture, "?top_k=1000").json()["results"]
    evidence = ("picture", "image_score", "word_similarity", "word_field", "others", "damage")
    assert {tuple(hit) for hit in results} == {
        ("score", "cosine", "copies", "expect", "band", "matched", *evidence, "id", "image_url", "metadata")
    }
    assert len({hit["id"] for hit in results}) == len({hit["image_url"] for hit in results}) == 200
    assert all(-1 <= hit["score"] <= 1.000001 for hit in results)


def test_each_answer_has_an_id_of_its_own(client: TestClient, picture: bytes) -> None:
    answers = [search(client, picture, "?top_k=5").json() for _ in range(3)]
    assert len({uuid.UUID(answer["query_id"]) for answer in answers}) == 3
    hits = [[(hit["id"], hit["score"]) for hit in answer["results"]] for answer in answers]
    assert hits[0] == hits[1] == hits[2]


def test_the_header_and_the_body_tell_the_same_times(client: TestClient, picture: bytes) -> None:
    response = search(client, picture)
    stages = dict(part.split(";dur=") for part in response.headers["Server-Timing"].split(", "))
    assert {name: float(value) for name, value in stages.items()} == response.json()["timings_ms"]
    assert response.json()["timings_ms"]["embed"] > 0
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "file_format", ["PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "JPEG2000", "PNM", "TGA", "PCX", "ICO"]
)
def test_a_logo_is_found_by_its_copy_in_another_format(client: TestClient, picture: bytes, file_format: str) -> None:
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    best = search(client, encode(np.asarray(pixels, np.uint8), file_format)).json()["results"][0]
    assert best["id"] == "EM/000006"
    assert best["score"] > 0.98


def test_the_damage_of_an_image_is_in_the_answer_and_counted(client: TestClient, picture: bytes) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith("logo_damaged_images_total ")).split()[1])

    before = count()
    for data, damage in ((picture, None), (picture[:-300], "the JPEG file is cut off")):
        answer = search(client, data).json()
        assert answer["results"][0]["id"] == "EM/000006"
        assert [each["damage"] for each in answer["pictures"]] == [damage]
    assert count() == before + 1


@pytest.mark.parametrize(("top_k", "count"), [("1", 1), ("200", 200), ("1000", 200)])
def test_the_bounds_of_top_k_are_inside(client: TestClient, picture: bytes, top_k: str, count: int) -> None:
    assert len(search(client, picture, f"?top_k={top_k}").json()["results"]) == count
    assert len(search(client, picture, top_k=top_k).json()["results"]) == count


def test_reranking_is_the_default_and_can_be_left_out(client: TestClient, picture: bytes) -> None:
    answers = {
        value: search(client, picture, f"?top_k=50{value}").json() for value in ("", "&rerank=1", "&rerank=false")
    }
    assert [answer["reranked"] for answer in answers.values()] == [True, True, False]
    assert answers[""]["results"][0]["score"] == pytest.approx(1, abs=1e-5)
    order = {value: [hit["id"] for hit in answer["results"]] for value, answer in answers.items()}
    assert order[""] == order["&rerank=1"] != order["&rerank=false"]
    assert all(hit["score"] == hit["cosine"] for hit in answers["&rerank=false"]["results"])
    assert any(abs(hit["score"] - hit["cosine"]) > 0.01 for hit in answers[""]["results"])
    assert search(client, picture, rerank="false").json()["reranked"] is False


@pytest.mark.parametrize("min_score", ["-1", "1"])
def test_the_bounds_of_min_score_are_inside(client: TestClient, picture: bytes, min_score: str) -> None:
    assert search(client, picture, f"?min_score={min_score}").status_code == 200
    assert search(client, picture, min_score=min_score).status_code == 200


def test_nothing_similar_enough_is_an_empty_answer(client: TestClient) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    response = search(client, encode(noise, "PNG"), "?min_score=0.999")
    assert response.status_code == 200
    assert response.json()["results"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_k", value) for value in ("0", "1001", "-1", "x", "1e9", "1.5")]
    + [("max_identical", value) for value in ("0", "1001", "x")]
    + [("rerank", value) for value in ("maybe", "2")]
    + [("min_score", value) for value in ("2", "-1.1", "nan", "inf", "x")],
)
def test_a_form_field_out_of_range_is_named(client: TestClient, picture: bytes, name: str, value: str) -> None:
    response = search(client, picture, **{name: value})
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "invalid_request"
    assert [item["field"] for item in problem["errors"]] == [name]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("?top_k=1&top_k=3", {}),
        ("?top_k=3&top_k=3", {}),
        ("?top_k=4", {"top_k": "3"}),
        ("?top_k=3", {"top_k": "3"}),
        ("", {"top_k": ["3", "3"]}),
    ],
)
def test_a_parameter_given_twice_is_refused(
    client: TestClient, picture: bytes, query: str, fields: dict[str, Any]
) -> None:
    response = search(client, picture, query, **fields)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"
    assert response.json()["detail"] == "parameter 'top_k' is given twice; send it once"


KNOWN = (
    "applicant, application_date, company, crop, expiry_date, extra.NAME, filter, goods, greyscale, group, invert, logo_id, "
    "mark_feature, max_expect, max_identical, min_score, nice, office, office_status, part_of_mark, parts, propose, read_words, "
    "registration_date, registration_number, rerank, status, text, top_k, transaction_date, turned, us_design, vienna, "
    "word_weight, words, year"
)


@pytest.mark.parametrize(("query", "fields"), [("?topk=3", {}), ("", {"topk": "3"}), ("?Top_K=3", {})])
def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    client: TestClient, picture: bytes, query: str, fields: dict[str, str]
) -> None:
    response = search(client, picture, query, **fields)
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "invalid_request"
    given = "Top_K" if "Top_K" in query else "topk"
    known = (
        KNOWN.replace("expiry_date, extra.NAME, filter", "cursor, expiry_date, extra.NAME, file, filter")
        if fields
        else KNOWN
    )
    expected = f"unknown parameter '{given}'; did you mean top_k? Known: {known}"
    assert response.json()["detail"] == expected


def test_an_unknown_parameter_unlike_any_other_is_cut(client: TestClient, picture: bytes) -> None:
    detail = search(client, picture, "?" + "x" * 5_000).json()["detail"]
    assert detail == f"unknown parameter '{'x' * 64}'. Known: {KNOWN}"


def test_parameters_in_the_query_and_in_the_form_go_together(client: TestClient, picture: bytes) -> None:
    both = search(client, picture, "?top_k=3", min_score="0.999").json()["results"]
    assert [hit["id"] for hit in both] == ["EM/000006"]
