"""Facets over HTTP: further columns of a source that its mapping declares."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from logo_similarity.api.app import create_app
from logo_similarity.build.catalog import build_catalog
from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.postings import POSTINGS
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from tests.importing import FILES, OPTIONS

HOSTILE = "../../<img src> ';%2e&a[0], 東京"
COLUMN = HOSTILE + '="\\'
COLOURS = ["red", "light blue; red", "", "Red|green", "light blue"]
"""Of the logos 0, 1, 2, ..., over and over again."""
COUNT = 12


def colours(number: int) -> set[str]:
    return {part.strip() for part in COLOURS[number % 5].replace("|", ";").split(";")} - {""}


def names(wanted: Any) -> set[str]:
    return {f"L{number}" for number in range(COUNT) if wanted(number)}


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facets")
    (folder / "images").mkdir()
    with (folder / "marks.csv").open("w", encoding="utf8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["logo_id", "filename", "status", "Colour claim", COLUMN, "Score"])
        for number in range(COUNT):
            shutil.copy(FILES[number], folder / "images" / f"{number}.jpg")
            status = "ended" if number % 2 else "registered"
            table.writerow([f"L{number}", f"{number}.jpg", status, COLOURS[number % 5], f"v/{number % 3}", number])
    mapping = f'[columns]\nextra.colour = "Colour claim"\nextra.{json.dumps(HOSTILE)} = {json.dumps(COLUMN)}\n'
    (folder / "mapping.toml").write_text(mapping)
    source = open_source(folder / "marks.csv", mapping=folder / "mapping.toml")
    build_catalog(source, folder / "catalogs", OPTIONS)
    return folder / "catalogs"


@pytest.fixture(scope="module")
def service(catalogs: Path) -> Iterator[TestClient]:
    settings = load_settings(catalogs=catalogs, threads=1, cache_hits=0, log_level="error")
    with TestClient(create_app(settings), raise_server_exceptions=False) as opened:
        yield opened


def get(service: TestClient, path: str, *parameters: tuple[str, str]) -> dict[str, Any]:
    response = service.get(f"{path}?{urlencode(parameters)}")
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def listed(service: TestClient, *parameters: tuple[str, str]) -> set[str]:
    return {logo["id"] for logo in get(service, "/v1/logos", *parameters)["logos"]}


def refused(response: Response, message: str) -> None:
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"
    assert message in response.json()["detail"]


def test_the_manifest_names_the_facets_and_no_file_has_the_name_of_a_column(catalogs: Path) -> None:
    version = Catalog(catalogs).current()
    assert read_manifest(version).facets == ("colour", HOSTILE)
    files = {path.name for path in (version / POSTINGS).iterdir()}
    assert len([name for name in files if name.startswith("extra-")]) == 2
    assert all(name.isascii() and name.replace("-", "").replace(".", "").replace("_", "").isalnum() for name in files)
    assert {f"{POSTINGS}/{name}" for name in files} <= read_manifest(version).files.keys()


def test_values_stay_in_extra_under_the_name_of_the_facet(service: TestClient) -> None:
    assert get(service, "/v1/logos/L0")["metadata"]["extra"] == {"colour": "red", HOSTILE: "v/0", "Score": "0"}
    assert get(service, "/v1/logos/L1")["metadata"]["extra"]["colour"] == ["light blue", "red"]
    assert "colour" not in get(service, "/v1/logos/L2")["metadata"]["extra"]


def test_logos_are_filtered_by_a_facet(service: TestClient) -> None:
    assert listed(service, ("extra.colour", "red")) == names(lambda n: "red" in colours(n))
    assert listed(service, ("extra.colour", "green, light blue")) == names(
        lambda n: colours(n) & {"green", "light blue"}
    )
    both = ("extra.colour", "red"), ("extra.colour", "light blue")
    assert listed(service, *both) == names(lambda n: colours(n) >= {"red", "light blue"}) != set()
    assert listed(service, ("extra.colour", "-red")) == names(lambda n: "red" not in colours(n))
    assert listed(service, ("extra.colour", "red"), ("status", "ended")) == names(
        lambda n: "red" in colours(n) and n % 2
    )
    assert listed(service, ("extra.colour", "RED")) == set()
    assert listed(service, (f"extra.{HOSTILE}", "v/1")) == names(lambda n: n % 3 == 1)
    tree = {"or": [{"field": "extra.colour", "is": ["green"]}, {"not": {"field": f"extra.{HOSTILE}", "is": "v/0"}}]}
    assert listed(service, ("filter", json.dumps(tree))) == names(lambda n: "green" in colours(n) or n % 3)


def test_a_search_takes_the_conditions_of_the_query_and_of_the_form(service: TestClient) -> None:
    with FILES[0].open("rb") as file:
        response = service.post(
            "/v1/search?extra.colour=red", files={"file": file}, data={f"extra.{HOSTILE}": ["v/0", "-v/2"]}
        )
    assert response.status_code == 200, response.text
    expected = names(lambda n: "red" in colours(n) and n % 3 == 0)
    assert {hit["id"] for hit in response.json()["results"]} == expected
    assert response.json()["passed"] == len(expected)


def test_facets_are_counted(service: TestClient) -> None:
    def counted(numbers: Iterator[int]) -> dict[str, int]:
        return dict(Counter(colour for number in numbers for colour in colours(number)))

    def of(answer: dict[str, Any], name: str) -> dict[str, int]:
        return {one["value"]: one["count"] for one in answer["facets"][name]}

    everything = get(service, "/v1/facets")
    assert of(everything, "extra.colour") == counted(iter(range(COUNT)))
    assert of(everything, f"extra.{HOSTILE}") == {"v/0": 4, "v/1": 4, "v/2": 4}
    one = get(service, "/v1/facets", ("field", "extra.colour"), ("status", "ended"))
    assert list(one["facets"]) == ["extra.colour"]
    assert of(one, "extra.colour") == counted(iter(range(1, COUNT, 2)))
    assert [one["value"] for one in everything["facets"]["extra.colour"]] == ["red", "light blue", "Red", "green"]


def test_the_catalog_lists_its_facets(service: TestClient) -> None:
    fields = {field["name"]: field for field in get(service, "/v1/catalog")["fields"]}
    assert list(fields) == ["status", "extra.colour", f"extra.{HOSTILE}"]
    colour = fields["extra.colour"]
    assert (colour["parameter"], colour["kind"], colour["operators"], colour["facet"]) == (
        "extra.colour", "Keywords", ["is"], True
    )  # fmt: skip


def test_a_facet_that_the_catalog_lacks_is_refused_with_those_that_it_has(
    service: TestClient, client: TestClient
) -> None:
    refused(
        service.get("/v1/logos?extra.Score=1"), "no extra.Score to filter by; it has status, extra.colour, extra..."
    )
    tree = json.dumps({"field": "extra.x", "is": "1"})
    refused(service.get("/v1/logos", params={"filter": tree}), "this catalog has no extra.x to filter by")
    refused(service.get("/v1/facets?field=extra.x"), "the values of extra.x are not counted in this catalog")
    refused(client.get("/v1/logos?extra.colour=red"), "this catalog has no extra.colour to filter by; it has text")


@pytest.mark.parametrize(
    "name",
    ["extra.", "extra", "extras.x", "Extra.x", "extra." + "x" * 65, "extra. x", "extra.a=b", 'extra.a"b', "extra.a\nb"],
)
def test_other_parameters_are_refused(service: TestClient, name: str) -> None:
    assert service.get("/v1/logos", params={name: "x"}).status_code == 422


def test_the_bounds_of_conditions(service: TestClient) -> None:
    refused(service.get("/v1/logos?" + "&".join(["extra.colour=red"] * 33)), "the filter has 33 conditions")
    refused(service.get("/v1/logos", params={"extra.colour": "x" * 4_001}), "more than 4,000 characters")
    refused(service.get("/v1/logos?extra.colour="), "extra.colour is: None is not a valid value; 'red' is one")
    refused(service.get("/v1/image/L0?extra.colour=red"), "unknown parameter 'extra.colour'")
    with FILES[0].open("rb") as file:
        refused(
            service.post("/v1/search", files={"extra.colour": file}),
            "unknown parameter 'extra.colour'; did you mean file?",
        )
