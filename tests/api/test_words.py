"""Searches for words over HTTP."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.schemas import SearchResponse
from tests.samples import SampleCatalog


def ask(client: TestClient, **arguments: Any) -> dict[str, Any]:
    response = client.post("/v1/search", **arguments)
    assert response.status_code == 200, response.text
    SearchResponse.model_validate(response.json())
    answer: dict[str, Any] = response.json()
    return answer


def test_words_need_no_file_and_no_form(client: TestClient) -> None:
    first = ask(client, params={"words": "company 5", "top_k": 3})["results"][0]
    assert (first["id"], first["score"], first["word_similarity"], first["word_field"]) == (
        "EM/000005",
        1,
        1,
        "company",
    )
    assert (first["cosine"], first["image_score"]) == (None, None)


def test_words_in_the_form(client: TestClient) -> None:
    answer = ask(client, files=[("words", (None, "Compány 5"))])
    assert answer["results"][0]["id"] == "EM/000005"


def test_an_image_and_words(client: TestClient, sample_catalog: SampleCatalog) -> None:
    image = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    answer = ask(client, params={"words": "company 5", "word_weight": 0.5}, files={"file": image})
    hits = {hit["id"]: hit for hit in answer["results"]}
    assert answer["results"][0]["id"] == "EM/000005"
    assert hits["EM/000003"]["image_score"] == pytest.approx(1, abs=1e-4)
    assert hits["EM/000005"]["word_similarity"] == 1
    for hit in hits.values():
        assert hit["score"] == pytest.approx((hit["image_score"] + hit["word_similarity"]) / 2, abs=1e-5)


def test_words_in_the_image_are_read_on_demand(client: TestClient) -> None:
    canvas = np.full((160, 560, 3), 255, np.uint8)
    cv2.putText(canvas, "Company 5", (20, 100), cv2.FONT_HERSHEY_SIMPLEX, 2.5, (10, 10, 10), 5, cv2.LINE_AA)
    image = cv2.imencode(".png", canvas)[1].tobytes()
    assert ask(client, files={"file": image})["words"] is None
    answer = ask(client, params={"read_words": True}, files={"file": image})
    assert answer["words"].replace(" ", "") == "Company5"
    (hit,) = (hit for hit in answer["results"] if hit["word_similarity"] == 1)
    assert (hit["id"], hit["word_field"]) == ("EM/000005", "company")
    assert ask(client, params={"read_words": True, "words": "x"}, files={"file": image})["words"] == "x"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"words": ""}, "words: is not valid; send a text of 1 to 200 characters"),
        ({"words": "a" * 201}, "words: is not valid; send a text of 1 to 200 characters"),
        ({"words": "!?"}, "the words '!?' have no letter or digit; send at least one"),
        ({"words": "a", "word_weight": 2}, "word_weight: is not valid; send a number from 0 to 1"),
        ({"word_weight": 0.5}, "file: is missing; send an image file, as curl -F file=@logo.png does, or words"),
        ({"word": "a"}, "did you mean words?"),
    ],
)
def test_invalid_words_are_answered_with_what_to_send(
    client: TestClient, parameters: dict[str, Any], message: str
) -> None:
    response = client.post("/v1/search", params=parameters)
    assert response.status_code == 422
    assert message in response.json()["detail"]
