"""`POST /v1/explain`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.schemas import ExplanationOut
from logo_similarity.evaluation.composites import generator, put_beside
from logo_similarity.image.decode import decode
from tests.samples import SampleCatalog

FIGURE, OTHER = 12, 57


@pytest.fixture(scope="module")
def composite(sample_catalog: SampleCatalog) -> bytes:
    """The file of a picture of two samples side by side."""
    figure, other = (
        decode((sample_catalog.images / sample_catalog.files[number]).read_bytes()) for number in (FIGURE, OTHER)
    )
    pixels = put_beside(figure, [other], generator("beside", "test")).pixels
    return bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])


def explain(client: TestClient, image: bytes, **parameters: str) -> dict[str, object]:
    response = client.post("/v1/explain", files={"file": image}, params=parameters)
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    ExplanationOut.model_validate(response.json())
    explanation: dict[str, object] = response.json()
    return explanation


def test_the_hit_is_that_of_a_search(client: TestClient, composite: bytes) -> None:
    results = client.post("/v1/search", files={"file": composite}).json()["results"]
    for place in (0, 1, 5, 60):
        expected = results[place]
        hit = explain(client, composite, hit_id=expected["id"])["hit"]
        assert isinstance(hit, dict)
        assert hit["id"] == expected["id"]
        assert hit["metadata"] == expected["metadata"]
        assert (hit["band"], hit["matched"]) == (expected["band"], expected["matched"])
        for name in ("score", "cosine", "expect"):
            assert hit[name] == pytest.approx(expected[name], rel=1e-3)


def test_a_hit_of_a_turned_image_is_explained_by_the_turn_that_matches(client: TestClient, composite: bytes) -> None:
    pixels = np.ascontiguousarray(np.rot90(decode(composite)))
    image = bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])
    best = client.post("/v1/search?turned=true&parts=off", files={"file": image}).json()["results"][0]
    hit = explain(client, image, hit_id=best["id"], turned="true")["hit"]
    assert isinstance(hit, dict)
    assert hit["picture"] == best["picture"]
    assert hit["score"] == pytest.approx(best["score"], rel=1e-3)


def test_the_regions_that_match_are_named(client: TestClient, composite: bytes) -> None:
    explanation = explain(client, composite, hit_id=f"EM/{FIGURE:06}")
    regions, hit = explanation["regions"], explanation["hit"]
    assert isinstance(regions, list)
    assert isinstance(hit, dict)
    assert regions[0]["cosine"] > 0.9
    assert regions[0]["query_box"] == pytest.approx(hit["matched"]["query_box"], abs=1e-3)
    assert regions[0]["hit_box"] == [0, 0, 1, 1]
    assert [region["cosine"] for region in regions] == sorted((one["cosine"] for one in regions), reverse=True)


def test_the_cells_of_an_identical_image_match_themselves(client: TestClient, sample_catalog: SampleCatalog) -> None:
    image = (sample_catalog.images / sample_catalog.files[FIGURE]).read_bytes()
    cells = explain(client, image, hit_id=f"EM/{FIGURE:06}")["cells"]
    assert isinstance(cells, list)
    assert len(cells) > 10
    for cell in cells:
        assert cell["strength"] == pytest.approx(1, abs=0.02)
        assert cell["query_box"] == pytest.approx(cell["hit_box"], abs=1e-4)
        left, top, right, bottom = cell["query_box"]
        assert 0 <= left <= right <= 1
        assert 0 <= top <= bottom <= 1


def test_the_cells_lie_on_the_mark_wherever_it_stands(client: TestClient, sample_catalog: SampleCatalog) -> None:
    """The mark in the lower right quarter of a page."""
    mark = decode((sample_catalog.images / sample_catalog.files[FIGURE]).read_bytes())
    height, width = mark.shape[:2]
    page = cv2.copyMakeBorder(mark, height, 0, width, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    file = cv2.imencode(".png", cv2.cvtColor(page, cv2.COLOR_RGB2BGR))[1].tobytes()
    cells = explain(client, file, hit_id=f"EM/{FIGURE:06}")["cells"]
    assert isinstance(cells, list)
    for cell in cells:
        assert cell["query_box"] == pytest.approx([0.5 + side / 2 for side in cell["hit_box"]], abs=0.01)


def test_refusals(client: TestClient, composite: bytes) -> None:
    def ask(image: bytes, query: str) -> tuple[int, str]:
        response = client.post(f"/v1/explain{query}", files={"file": image})
        return response.status_code, response.json()["code"]

    assert ask(composite, "?hit_id=nobody") == (404, "not_found")
    assert ask(composite, "") == (422, "invalid_request")
    assert ask(composite, "?hit_id=EM/000001&top_k=3") == (422, "invalid_request")
    assert ask(composite, f"?hit_id={'x' * 501}") == (422, "invalid_request")
    assert ask(b"no image", "?hit_id=EM/000001") == (422, "image_undecodable")
    assert client.put("/v1/explain").status_code == 405
