"""The documentation page: whole without the internet, and no place to run somebody else's script."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from logo_similarity.fields import FIELDS

TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


class Page(HTMLParser):
    """The addresses of a page, and everything in it that a strict policy would stop."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset", "data"):
                self.addresses.append(value or "")
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")

    def handle_endtag(self, _tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture
def page(client: TestClient) -> Page:
    return Page(client.get("/docs").text)


def loaded(page: Page) -> list[str]:
    return [address for address in page.addresses if not address.startswith("data:")]


def test_all_that_the_page_refers_to_is_served_here(client: TestClient, page: Page) -> None:
    assets = [address for address in loaded(page) if address != "openapi.json"]
    assert len(assets) == 4
    for address in loaded(page):
        assert re.match(r"[a-z]", address), f"{address} is not relative"
        assert ":" not in address
        answer = client.get(urljoin("/docs", address))
        assert answer.status_code == 200, address
        assert len(answer.content) > 50
    for address in assets:
        answer = client.get(urljoin("/docs", address))
        assert answer.headers["Content-Type"] == TYPES[address.rpartition(".")[2]]
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if address.endswith(".css"):
            assert "@import" not in answer.text
            assert set(re.findall(r"url\(['\"]?(\w+:?)", answer.text)) <= {"data:"}


def test_the_script_shows_the_document_and_asks_no_validator(client: TestClient, page: Page) -> None:
    script = client.get(urljoin("/docs", next(one for one in page.addresses if one.endswith("docs.js")))).text
    (address,) = re.findall(r'\burl: "([^"]+)"', script)
    assert client.get(urljoin("/docs", address)).json()["info"]["title"] == "logo-similarity"
    assert "validatorUrl: null" in script
    assert "://" not in script


def test_the_page_behind_a_prefix(client: TestClient, page: Page) -> None:
    """A proxy passes /register/X on as /X."""
    for address in loaded(page):
        path = urljoin("http://proxy.example/register/docs", address).removeprefix("http://proxy.example/register")
        assert client.get(path).status_code == 200


def test_no_script_but_the_services_own_runs_on_the_page(client: TestClient, page: Page) -> None:
    assert page.inline == []
    answer = client.get("/docs")
    policy = dict(part.split(maxsplit=1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"unsafe|\*|https?:", answer.headers["Content-Security-Policy"])
    assert answer.headers["Cache-Control"] == "no-cache"


def test_head_is_get_without_a_body(client: TestClient, page: Page) -> None:
    for address in ("/docs", *(urljoin("/docs", one) for one in loaded(page) if one != "openapi.json")):
        head, whole = client.head(address), client.get(address)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("Content-Type", "Content-Length", "Cache-Control", "Content-Security-Policy"):
            assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "name", ["__init__.py", "favicon-32x32.png", "..%2fmain.py", "%2e%2e%2fmain.py", "docs.js%00", ""]
)
def test_no_other_file_is_served(client: TestClient, page: Page, name: str) -> None:
    folder = urljoin("/docs", page.addresses[-2]).rpartition("/")[0]
    assert client.get(f"{folder}/docs.js").status_code == 200
    assert client.get(f"{folder}/{name}").status_code == 404


def test_assets_of_another_version_are_not_mixed_in(client: TestClient) -> None:
    assert client.get("/docs/assets/0000000000000000/docs.js").status_code == 404


def test_every_register_field_is_described(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["Metadata"]
    descriptions = {name: value["description"] for name, value in schema["properties"].items()}
    assert descriptions == {**{field.name: field.description for field in FIELDS}, "extra": descriptions["extra"]}
    assert schema["required"] == list(schema["properties"]) == [*(field.name for field in FIELDS), "extra"]


def test_a_form_made_from_the_description_sends_the_picture_alone(client: TestClient) -> None:
    """Swagger UI fills in a value for each field of the form: `top_k=1` would be sent with every search."""
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    forms = [schema for name, schema in schemas.items() if name.startswith("Body_")]
    assert sorted(sorted(form["properties"]) for form in forms) == [
        ["case"], ["file"], ["file"], ["file"], ["file", "name"], ["image", "record"], ["image", "record"],
    ]  # fmt: skip
