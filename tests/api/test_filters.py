"""Filters over HTTP: on searches, lists and counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from tests.samples import SampleCatalog

ENDED = {f"EM/{number:06}" for number in range(0, 200, 4)}
CLASS_9 = {f"EM/{number:06}" for number in range(8, 200, 45)}


@pytest.fixture(scope="module")
def picture(sample_catalog: SampleCatalog) -> bytes:
    return Path(sample_catalog.images / sample_catalog.files[6]).read_bytes()


def search(client: TestClient, picture: bytes, query: str = "", **fields: Any) -> dict[str, Any]:
    response = client.post(f"/v1/search?top_k=1000{query}", files={"file": ("a.jpg", picture)}, data=fields)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def ids(answer: dict[str, Any], key: str = "results") -> set[str]:
    return {entry["id"] for entry in answer[key]}


def refused(response: Response, message: str) -> None:
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"
    assert message in response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("&status=ended", ENDED),
        ("&nice=9", CLASS_9),
        ("&nice=9&status=ended", CLASS_9 & ENDED),
        ("&nice=9&status=-ended", CLASS_9 - ENDED),
        ("&nice=9&nice=45", CLASS_9),
        ("&nice=1..8&status=ended&nice=-45", set()),
        ("&vienna=26&nice=9", CLASS_9),
        ("&vienna=3,26.1&vienna=27.5.1&nice=9", CLASS_9),
        ("&vienna=-26&nice=9", set()),
        ("&company=COMPANY+8", {"EM/000008"}),
        ("&application_date=2023-01-01..&nice=9", CLASS_9),
        ("&application_date=..2022-12-31", set()),
        ('&filter={"or":[{"field":"nice_classes","is":9},{"field":"status","is":"ended"}]}', CLASS_9 | ENDED),
        ('&filter={"not":{"field":"status","is":"ended"}}&nice=9', CLASS_9 - ENDED),
    ],
)
def test_a_search_finds_all_logos_that_pass_and_no_other(
    client: TestClient, picture: bytes, query: str, expected: set[str]
) -> None:
    answer = search(client, picture, query)
    assert ids(answer) == expected
    assert answer["passed"] == len(expected)
    assert answer["exact"] is True


def test_a_search_without_a_filter_says_so(client: TestClient, picture: bytes) -> None:
    answer = search(client, picture)
    assert answer["passed"] is None
    assert len(answer["results"]) == 200


def test_conditions_in_the_query_and_in_the_form_go_together(client: TestClient, picture: bytes) -> None:
    assert ids(search(client, picture, "&nice=9", status="ended")) == CLASS_9 & ENDED
    assert ids(search(client, picture, "&nice=9", nice=["45", "-8"])) == CLASS_9
    tree = json.dumps({"field": "status", "is": "ended"})
    assert ids(search(client, picture, filter=tree)) == ENDED


def test_a_search_for_words_is_filtered_too(client: TestClient) -> None:
    answer = client.post("/v1/search?top_k=1000&status=ended", files={"words": (None, "company")}).json()
    assert answer["passed"] == len(ENDED)
    assert ids(answer) <= ENDED


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("office=EM", "this catalog has no office to filter by; it has text, company, vienna_codes, nice_classes"),
        ("nice=46", "nice_classes is: ['46'] is not a valid value; 9 is one"),
        ("vienna=bird", "vienna_codes is: ['bird'] is not a valid value"),
        ("application_date=2023..2022-01-01", "application_date between: '2023' is not a valid value"),
        ("text=!", "text words: needs at least one word"),
        ("filter=[", "filter is not valid JSON"),
        ("filter=[]", "a part of the filter is not"),
        ("filter=" + "[" * 3_000, "filter is not valid JSON"),
        ("filter=" + "1" * 5_000, "filter: is not valid; send a filter as JSON, at most 4,000 characters"),
        ("text=" + "x" * 5_000, "text: is not valid; send a shorter text"),
        ("vienna=" + ",".join(["26"] * 300) + "&vienna=" + ",".join(f"1.{n}" for n in range(300)), "is not a valid"),
        ("nice=9&" * 40, "the filter has 40 conditions with 40 values; at most 32 with 256 are accepted"),
        ("vienna_codes=26", "unknown parameter 'vienna_codes'"),
    ],
)
@pytest.mark.parametrize("route", ["/v1/search", "/v1/logos", "/v1/facets"])
def test_a_filter_that_is_not_valid_is_refused(
    client: TestClient, picture: bytes, route: str, query: str, message: str
) -> None:
    if route == "/v1/search":
        refused(client.post(f"{route}?{query}", files={"file": ("a.jpg", picture)}), message)
    else:
        refused(client.get(f"{route}?{query}"), message)


def test_logos_are_listed_page_by_page(client: TestClient) -> None:
    found: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/logos?status=ended&limit=20{cursor}").json()
        assert page["passed"] == len(ENDED)
        found += [logo["id"] for logo in page["logos"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == sorted(ENDED)
    assert len(client.get("/v1/logos").json()["logos"]) == 100
    assert client.get("/v1/logos?limit=1000").json()["next"] is None
    first = client.get("/v1/logos?limit=1").json()["logos"][0]
    assert client.get(f"/v1/logos/{first['id']}").json()["metadata"] == first["metadata"]
    assert client.get(first["image_url"]).status_code == 200


def test_cursors_of_others(client: TestClient) -> None:
    for cursor in ("x", "-1@v", "1.5@v", "٣@v"):
        refused(
            client.get("/v1/logos", params={"cursor": cursor}), "the cursor is not the `next` of an earlier response"
        )
    changed = client.get("/v1/logos?cursor=5@20200101T000000Z-00000000")
    assert (changed.status_code, changed.json()["code"]) == (409, "catalog_changed")
    version = client.get("/v1/catalog").json()["version"]
    end = client.get(f"/v1/logos?cursor={10**18}@{version}")
    assert (end.status_code, end.json()["logos"], end.json()["next"]) == (200, [], None)


def counts(answer: dict[str, Any], field: str) -> dict[Any, int]:
    return {entry["value"]: entry["count"] for entry in answer["facets"][field]}


def test_facets_count_the_logos_that_pass(client: TestClient) -> None:
    everything = client.get("/v1/facets?limit=1000").json()
    assert everything["passed"] == 200
    assert list(everything["facets"]) == ["company", "vienna_codes", "nice_classes", "status", "year"]
    assert counts(everything, "status") == {"registered": 150, "ended": 50}
    assert counts(everything, "vienna_codes") == {"26": 200, "27": 200}
    assert counts(everything, "nice_classes")[45] == 200
    assert counts(everything, "nice_classes")[9] == len(CLASS_9)
    assert len(everything["facets"]["company"]) == 200
    some = client.get("/v1/facets?nice=9&field=status&field=vienna").json()
    assert some["passed"] == len(CLASS_9)
    assert counts(some, "status") == {"ended": len(CLASS_9 & ENDED), "registered": len(CLASS_9 - ENDED)}
    assert list(some["facets"]) == ["status", "vienna_codes"]


def test_facets_below_a_code(client: TestClient) -> None:
    def below(code: str) -> dict[Any, int]:
        return counts(client.get(f"/v1/facets?field=vienna&under={code}&status=ended").json(), "vienna_codes")

    assert below("26") == {"26.01": 50}
    assert below("26.1") == {"26.01.01": 50}
    assert below("26.01.01") == below("5") == {}


def test_facets_that_cannot_be_counted(client: TestClient) -> None:
    refused(
        client.get("/v1/facets?field=office"), "the values of office are not counted in this catalog; those of company"
    )
    refused(client.get("/v1/facets?field=text"), "the values of text are not counted")
    refused(client.get("/v1/facets?field=colour"), "no field 'colour'; the fields are")
    refused(client.get("/v1/facets?under=bird"), "'bird' is not a code of vienna_codes; '26.01.01' is one")
    refused(client.get("/v1/facets?limit=0"), "limit: is not valid; send a whole number from 1 to 1000")


def test_the_catalog_describes_itself(client: TestClient) -> None:
    answer = client.get("/v1/catalog").json()
    assert answer["logos"] == 200
    assert answer["newest"] == "2023-01-01"
    assert (answer["reranks"], answer["parts"], answer["words"], answer["reads_words"]) == (True, True, True, True)
    assert answer["record_url"] is None
    assert answer["max_upload_bytes"] == 300_000
    assert {field["name"]: (field["parameter"], field["kind"], field["facet"]) for field in answer["fields"]} == {
        "text": ("text", "FreeText", False),
        "company": ("company", "Name", True),
        "vienna_codes": ("vienna", "Codes", True),
        "nice_classes": ("nice", "Numbers", True),
        "status": ("status", "Keyword", True),
        "application_date": ("application_date", "Date", False),
        "year": ("year", "Number", True),
    }
    assert len(answer["encoder"]["sha256"]) == 64
