"""Searches by a logo of the catalog, by several pictures, by a crop, in other colours, and page by page."""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from numpy.typing import NDArray

from logo_similarity.api.cursor import LONGEST_CURSOR
from logo_similarity.api.schemas import BatchResponse
from tests.pictures import encode
from tests.samples import SampleCatalog

Pixels = NDArray[np.uint8]
HALVED = 75
"""A sample of which neither half is enough to find it first."""


@pytest.fixture(scope="module")
def pictures(sample_catalog: SampleCatalog) -> list[bytes]:
    return [(sample_catalog.images / file).read_bytes() for file in sample_catalog.files]


def pixels(content: bytes) -> Pixels:
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def search(client: TestClient, *images: bytes, **parameters: Any) -> dict[str, Any]:
    files = [("file", ("a.jpg", image)) for image in images]
    response = client.post("/v1/search", params=parameters, files=files or None)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["results"]]


def refused(response: Response, status: int, message: str) -> None:
    assert response.status_code == status
    assert message in response.json()["detail"]


def test_a_logo_of_the_catalog_finds_what_its_image_finds(client: TestClient, pictures: list[bytes]) -> None:
    by_image = search(client, pictures[6], top_k=20)
    by_logo = search(client, logo_id="EM/000006", top_k=19)
    assert ids(by_image)[0] == "EM/000006"
    assert ids(by_logo) == ids(by_image)[1:]
    scores = [[hit["score"] for hit in answer["results"]] for answer in (by_logo, by_image)]
    assert scores[0] == pytest.approx(scores[1][1:], abs=0.01)
    assert len(by_logo["pictures"]) == 1
    assert by_logo["pictures"][0]["content"] == pytest.approx(by_image["pictures"][0]["content"], abs=0.01)


def test_the_stored_parts_of_a_logo_are_searched_for(client: TestClient) -> None:
    """They have fewer dimensions than whole images."""
    answers = [search(client, logo_id=f"EM/{number:06}", top_k=5) for number in range(10)]
    assert sum(bool(answer["pictures"][0]["parts"]) for answer in answers) > 3
    assert all(len(answer["results"]) == 5 and answer["parts"] for answer in answers)


def test_a_logo_and_words(client: TestClient) -> None:
    answer = search(client, logo_id="EM/000006", words="Company 9", word_weight=0.9, top_k=5)
    assert ids(answer)[0] == "EM/000009"
    assert answer["results"][0]["image_score"] is not None


def test_an_unknown_logo(client: TestClient) -> None:
    refused(client.post("/v1/search", params={"logo_id": "EM/999999"}), 404, "no logo has the id 'EM/999999'")


def test_each_of_several_pictures_finds_its_logo(client: TestClient, pictures: list[bytes]) -> None:
    answer = search(client, pictures[6], pictures[40], pictures[90], top_k=10)
    assert set(ids(answer)[:3]) == {"EM/000006", "EM/000040", "EM/000090"}
    assert {hit["id"]: hit["picture"] for hit in answer["results"][:3]} == {
        "EM/000006": 0, "EM/000040": 1, "EM/000090": 2,
    }  # fmt: skip
    assert len(answer["pictures"]) == 3
    alone = {hit["id"]: hit["expect"] for hit in search(client, pictures[40], top_k=200)["results"]}
    together = {hit["id"]: hit for hit in search(client, pictures[6], pictures[40], top_k=200)["results"]}
    second = [hit for hit in together.values() if hit["picture"] == 1 and hit["expect"] < 100]
    assert len(second) > 1
    for hit in second:
        assert hit["expect"] == pytest.approx(2 * alone[hit["id"]], rel=1e-3)


def test_the_same_picture_twice_is_one(client: TestClient, pictures: list[bytes]) -> None:
    once, twice = search(client, pictures[6], top_k=50), search(client, pictures[6], pictures[6], top_k=50)
    assert ids(once) == ids(twice)


def side_by_side(left: Pixels, right: Pixels) -> bytes:
    height = max(len(left), len(right))
    padded = [np.pad(each, ((0, height - len(each)), (0, 0), (0, 0)), constant_values=255) for each in (left, right)]
    return encode(np.concatenate(padded, axis=1), "PNG")


def test_a_crop_is_searched_for_alone(client: TestClient, pictures: list[bytes]) -> None:
    page = side_by_side(pixels(pictures[6]), pixels(pictures[40]))
    for crop, expected in (("0,0,0.5,1", "EM/000006"), ("0.5,0,1,1", "EM/000040")):
        answer = search(client, page, crop=crop, top_k=3)
        assert ids(answer)[0] == expected
        assert answer["results"][0]["band"] == "near-identical"
        left, top, right, bottom = map(float, crop.split(","))
        (picture,) = answer["pictures"]
        assert picture["box"] == [left, top, right, bottom]
        for box in (picture["content"], *picture["parts"]):
            assert left - 0.001 <= box[0] < box[2] <= right + 0.001
            assert top - 0.001 <= box[1] < box[3] <= bottom + 0.001


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ("0,0,1", "crop: is not valid"),
        ("0,0,1,x", "it must be four numbers, as 0,0,0.5,1 for the left half"),
        ("0,0,1,1,1", "it must be four numbers"),
        ("0.5,0,0.5,1", "left must be less than right"),
        ("0,0.6,1,0.4", "and top than bottom"),
        ("0,0,1,1.1", "all from 0 to 1"),
        ("nan,0,1,1", "left must be less than right"),
        ("0,0,0.001,1", "each side must have at least 8"),
    ],
)
def test_crops_that_are_not_valid(client: TestClient, pictures: list[bytes], crop: str, message: str) -> None:
    response = client.post("/v1/search", params={"crop": crop}, files={"file": ("a.jpg", pictures[6])})
    refused(response, 422, message)


def test_colours_can_be_inverted_or_left_out(client: TestClient, pictures: list[bytes]) -> None:
    image = pixels(pictures[6])
    negative = encode(np.asarray(255 - image, np.uint8), "PNG")
    found = search(client, negative, invert=True, top_k=1)["results"][0]
    assert (found["id"], found["band"]) == ("EM/000006", "near-identical")
    assert search(client, negative, top_k=1)["results"][0]["score"] < found["score"]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert ids(search(client, pictures[6], greyscale=True, top_k=50)) == ids(
        search(client, encode(np.asarray(grey, np.uint8), "PNG"), top_k=50)
    )


def turned(image: bytes, turns: int) -> bytes:
    """The image, turned anticlockwise by quarter turns."""
    return encode(np.ascontiguousarray(np.rot90(pixels(image), turns)), "PNG")


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_mark_is_found_however_it_is_turned(client: TestClient, pictures: list[bytes], turns: int) -> None:
    answer = search(client, turned(pictures[6], turns), turned=True, top_k=5)
    assert [picture["turned"] for picture in answer["pictures"]] == [0, 90, 180, 270]
    assert [bool(picture["parts"]) for picture in answer["pictures"]][1:] == [False] * 3
    hit = answer["results"][0]
    assert (hit["id"], hit["band"], hit["picture"]) == ("EM/000006", "near-identical", turns)
    upright = search(client, pictures[6], top_k=5)["results"][0]
    assert hit["score"] == pytest.approx(upright["score"], abs=0.01)


def test_a_turned_mark_is_not_the_same_image_otherwise(client: TestClient, pictures: list[bytes]) -> None:
    best = search(client, turned(pictures[6], 1), top_k=1)["results"][0]
    assert (best["id"], best["band"]) != ("EM/000006", "near-identical")


@pytest.mark.parametrize("side", [0, 1])
def test_half_of_a_mark_finds_it(client: TestClient, pictures: list[bytes], side: int) -> None:
    """Of the drawing of the sample alone, without its margin."""
    whole = pixels(pictures[HALVED])
    rows, columns = np.nonzero((np.abs(whole.astype(int) - whole[0, 0]) > 60).any(axis=2))
    whole = whole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    middle = whole.shape[1] // 2
    half = encode(np.ascontiguousarray(whole[:, :middle] if side == 0 else whole[:, middle:]), "PNG")
    plain = search(client, half, top_k=200)
    answer = search(client, half, part_of_mark=True, top_k=200)
    assert [picture["completed"] for picture in answer["pictures"]] == [False, True]
    places = [ids(one).index(f"EM/{HALVED:06}") for one in (plain, answer)]
    assert places[1] == 0 < places[0]
    assert answer["results"][0]["picture"] == 1


def test_a_whole_mark_finds_itself_as_a_part_of_a_mark(client: TestClient, pictures: list[bytes]) -> None:
    hit = search(client, pictures[6], part_of_mark=True, top_k=1)["results"][0]
    assert (hit["id"], hit["band"], hit["picture"]) == ("EM/000006", "near-identical", 0)


def test_more_than_one_way_at_once(client: TestClient, pictures: list[bytes]) -> None:
    def ask(count: int, **parameters: Any) -> Response:
        files = [("file", ("a.jpg", pictures[6]))] * count
        return client.post("/v1/search", params=parameters, files=files or None)

    refused(ask(1, logo_id="EM/000006"), 422, "the query has an image and a logo_id; give it one of them")
    refused(ask(0, logo_id="EM/000006", invert=True), 422, "apply to an image, and the query has none")
    refused(ask(0, words="a", crop="0,0,1,1"), 422, "apply to an image, and the query has none")
    refused(ask(2, crop="0,0,1,1"), 422, "a crop applies to one image")
    refused(ask(2, turned=True), 422, "turned applies to one image")
    refused(ask(0, logo_id="EM/000006", turned=True), 422, "apply to an image, and the query has none")
    refused(ask(2, part_of_mark=True), 422, "part_of_mark applies to one image")
    refused(ask(0, words="a", part_of_mark=True), 422, "apply to an image, and the query has none")
    refused(ask(1, part_of_mark=True, rerank=False), 422, "part_of_mark=true needs re-ranking")
    assert ask(5).status_code == 400
    assert ask(4).status_code == 200


def pages(client: TestClient, first: dict[str, Any]) -> list[dict[str, Any]]:
    found = [first]
    while found[-1]["next"] is not None:
        response = client.post("/v1/search", files={"cursor": (None, found[-1]["next"])})
        assert response.status_code == 200, response.text
        found.append(response.json())
    return found


def test_pages_show_every_logo_once_without_the_image(client: TestClient, pictures: list[bytes]) -> None:
    found = pages(client, search(client, pictures[6], top_k=60))
    shown = [logo for page in found for logo in ids(page)]
    assert [len(page["results"]) for page in found] == [60, 60, 60, 20]
    assert sorted(shown) == sorted(ids(search(client, pictures[6], top_k=200)))
    assert found[1]["pictures"] == found[0]["pictures"]
    assert found[1]["timings_ms"]["embed"] == 0
    whole = {hit["id"]: hit for hit in search(client, pictures[6], top_k=200)["results"]}
    for hit in (hit for page in found for hit in page["results"]):
        other = whole[hit["id"]]
        assert (hit["score"], hit["expect"]) == pytest.approx((other["score"], other["expect"]), rel=1e-4)


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"status": "ended", "top_k": 20}, 50),
        ({"logo_id": "EM/000006", "top_k": 120}, 199),
        ({"words": "company", "top_k": 150}, 200),
        ({"logo_id": "EM/000006", "words": "company", "top_k": 150}, 199),
        ({"crop": "0.1,0.1,0.9,0.9", "top_k": 150, "parts": "off", "rerank": False}, 200),
        ({"turned": True, "top_k": 150}, 200),
        ({"turned": True, "part_of_mark": True, "top_k": 150}, 200),
    ],
)
def test_pages_of_other_searches(
    client: TestClient, pictures: list[bytes], parameters: dict[str, Any], count: int
) -> None:
    images = [] if parameters.keys() & {"logo_id", "words"} else [pictures[6]]
    found = pages(client, search(client, *images, **parameters))
    shown = [logo for page in found for logo in ids(page)]
    assert len(set(shown)) == len(shown) == count
    assert {page["passed"] for page in found} == {50 if "status" in parameters else None}
    assert len({page["words"] for page in found}) == len({page["reranked"] for page in found}) == 1


def test_a_cursor_goes_alone(client: TestClient, pictures: list[bytes]) -> None:
    cursor = search(client, pictures[6], top_k=60)["next"]
    alone = "send it without any other parameter"
    files = {"cursor": (None, cursor)}
    refused(client.post("/v1/search?top_k=5", files=files), 422, alone)
    refused(client.post("/v1/search?status=ended", files=files), 422, alone)
    refused(client.post("/v1/search", files={**files, "file": ("a.jpg", pictures[6])}), 422, alone)


def changed(cursor: str, change: dict[str, Any], picture: dict[str, Any] | None = None) -> str:
    content = json.loads(base64.urlsafe_b64decode(cursor))
    content |= change
    content["pictures"][0] |= picture or {}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def numbers(values: Any, dtype: str) -> str:
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()


@pytest.mark.parametrize(
    ("change", "picture"),
    [
        ({"shown": numbers([-1], "<i4")}, {}),
        ({"shown": numbers([200], "<i4")}, {}),
        ({"shown": numbers(np.zeros(1000), "<i4")}, {}),
        ({"shown": "x"}, {}),
        ({"pictures": []}, None),
        ({"parameters": {"top_k": 0}}, {}),
        ({"parameters": {"top_k": "5"}}, {}),
        ({"parameters": {"top_k": 1e300}}, {}),
        ({"parameters": {"words": "a" * 201}}, {}),
        ({"parameters": {"colour": "red"}}, {}),
        ({"parameters": None}, {}),
        ({"filter": {"and": []}}, {}),
        ({}, {"embedding": numbers(np.ones(256), "<f4")}),
        ({}, {"embedding": numbers(np.full(256, np.nan), "<f4")}),
        ({}, {"embedding": numbers([1], "<f4")}),
        ({}, {"patches": numbers([1], "i1")}),
        ({}, {"parts": numbers(np.eye(1, 7), "<f4"), "boxes": numbers([0, 0, 1, 1], "<f4")}),
        ({}, {"parts": numbers(np.eye(6, 128), "<f4"), "boxes": numbers(np.tile([0, 0, 1, 1], (6, 1)), "<f4")}),
        ({}, {"parts": numbers(np.eye(1, 128), "<f4"), "boxes": numbers([0, 0, 2, 1], "<f4")}),
        ({}, {"box": [0, 0, 1]}),
        ({}, {"box": [0, 0, 0, 1]}),
        ({}, {"place": [0, 0, 2, 1, 1]}),
        ({}, {"place": "abcde"}),
        ({}, {"turned": 45}),
        ({}, {"completed": 1}),
        ({}, {"completed": True, "patches": None}),
    ],
)
def test_a_cursor_that_was_changed_is_refused(
    client: TestClient, pictures: list[bytes], change: dict[str, Any], picture: dict[str, Any] | None
) -> None:
    cursor = search(client, pictures[6], top_k=60)["next"]
    if picture is None:
        content = json.loads(base64.urlsafe_b64decode(cursor)) | change
        other = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    else:
        other = changed(cursor, change, picture)
    response = client.post("/v1/search", files={"cursor": (None, other)})
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    "cursor", ["x", "e30=", "bnVsbA==", "W10=", "é", "W" * LONGEST_CURSOR, "W" * (LONGEST_CURSOR + 1)]
)
def test_texts_that_are_no_cursor(client: TestClient, cursor: str) -> None:
    response = client.post("/v1/search", files={"cursor": (None, cursor)})
    assert response.status_code == 422


def test_a_cursor_of_another_catalog(client: TestClient, pictures: list[bytes]) -> None:
    cursor = search(client, pictures[6], top_k=60)["next"]
    other = changed(cursor, {"catalog": "20200101T000000Z-00000000"})
    response = client.post("/v1/search", files={"cursor": (None, other)})
    refused(response, 409, "the catalog has changed since the first page")
    assert response.json()["code"] == "catalog_changed"


def test_two_logos_are_explained(client: TestClient, pictures: list[bytes]) -> None:
    by_id = client.get("/v1/explain", params={"logo_id": "EM/000006", "hit_id": "EM/000040"}).json()
    by_image = client.post("/v1/explain", params={"hit_id": "EM/000040"}, files={"file": ("a.jpg", pictures[6])}).json()
    assert by_id["hit"]["id"] == "EM/000040"
    assert by_id["hit"]["score"] == pytest.approx(by_image["hit"]["score"], abs=0.01)
    assert len(by_id["cells"]) == pytest.approx(len(by_image["cells"]), abs=2)
    refused(client.get("/v1/explain", params={"logo_id": "EM/000006", "hit_id": "x"}), 404, "no logo has the id 'x'")
    refused(client.get("/v1/explain", params={"hit_id": "EM/000006"}), 422, "logo_id: is missing")


def test_a_crop_is_explained(client: TestClient, pictures: list[bytes]) -> None:
    page = side_by_side(pixels(pictures[6]), pixels(pictures[40]))
    answer = client.post(
        "/v1/explain", params={"hit_id": "EM/000040", "crop": "0.5,0,1,1"}, files={"file": ("a.png", page)}
    ).json()
    assert answer["hit"]["band"] == "near-identical"
    assert all(cell["query_box"][0] >= 0.499 for cell in answer["cells"])


def batch(client: TestClient, *images: bytes, **parameters: Any) -> Response:
    files = [("file", (f"{number}.jpg", image)) for number, image in enumerate(images)]
    return client.post("/v1/search/batch", params=parameters, files=files or None)


def test_each_image_of_a_batch_is_searched_for(client: TestClient, pictures: list[bytes]) -> None:
    response = batch(client, pictures[6], b"no image", pictures[40], top_k=5, status="registered")
    answer = response.json()
    assert response.status_code == 200
    assert [search["name"] for search in answer["searches"]] == ["0.jpg", "1.jpg", "2.jpg"]
    first, second, third = answer["searches"]
    assert second["code"] == "image_undecodable"
    assert second["answer"] is None
    for entry, image in ((first, pictures[6]), (third, pictures[40])):
        alone = search(client, image, top_k=5, status="registered")
        assert entry["code"] is None
        assert ids(entry["answer"]) == ids(alone)
        assert entry["answer"]["passed"] == 150
        assert client.get(entry["answer"]["results"][0]["image_url"]).status_code == 200
    assert BatchResponse.model_validate(answer).catalog.logos == 200


def test_batches_that_are_refused(client: TestClient, pictures: list[bytes]) -> None:
    refused(batch(client), 422, "file: is missing")
    refused(batch(client, pictures[6], office="EM"), 422, "this catalog has no office to filter by")
    refused(batch(client, pictures[6], crop="0"), 422, "crop: is not valid")
    assert batch(client, *[pictures[6]] * 21).status_code == 400
    assert len(batch(client, *[pictures[6]] * 20, top_k=1).json()["searches"]) == 20


def test_codes_are_proposed_by_the_nearest_logos(client: TestClient, pictures: list[bytes]) -> None:
    assert search(client, pictures[6])["proposed"] is None
    shares = [{"value": "26.01.01", "share": 1.0}, {"value": "27.05.01", "share": 1.0}]
    assert search(client, pictures[6], propose=True, top_k=40)["proposed"] == {"vienna_codes": shares}
    assert search(client, pictures[6], propose=True, top_k=1)["proposed"] == {"vienna_codes": []}


def test_groups_page_by_page(client: TestClient, pictures: list[bytes]) -> None:
    whole = search(client, pictures[6], group="picture", top_k=1000)
    assert whole["next"] is None
    assert all(hit["others"]["count"] == len(hit["others"]["ids"]) for hit in whole["results"])
    page = search(client, pictures[6], group="picture", top_k=60)
    collected = page["results"]
    while page["next"] is not None:
        page = client.post("/v1/search", files={"cursor": (None, page["next"])}).json()
        collected += page["results"]
    assert [(hit["id"], hit["others"]) for hit in collected] == [(hit["id"], hit["others"]) for hit in whole["results"]]
    assert search(client, pictures[6], top_k=1)["results"][0]["others"] is None


def test_a_cursor_leaves_out_one_logo_of_a_query_at_most(client: TestClient) -> None:
    content = json.loads(base64.urlsafe_b64decode(search(client, logo_id="EM/000006", top_k=5)["next"]))
    for rows in ([0, 1], [200], [-1]):
        content["left_out"] = base64.b64encode(np.array(rows, "<i4").tobytes()).decode()
        cursor = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
        refused(client.post("/v1/search", files={"cursor": (None, cursor)}), 422, "the cursor is not the `next`")


def test_an_unknown_group(client: TestClient, pictures: list[bytes]) -> None:
    response = client.post("/v1/search", params={"group": "office"}, files={"file": ("a.jpg", pictures[6])})
    refused(response, 422, "group: is not valid; send one of none, picture, company")
