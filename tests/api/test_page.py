"""The examiner's page: complete, small, and without a place to run foreign scripts. `tests/browser` uses it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

import logo_similarity
from logo_similarity.api.app import create_app
from logo_similarity.config import load_settings
from tests.samples import SampleCatalog

WEB = Path(logo_similarity.__file__).parent / "web"
LARGEST = 150_000
"""Bytes of all files together, compressed."""


def policy_of(client: TestClient) -> dict[str, str]:
    header = client.get("/").headers["Content-Security-Policy"]
    return dict(part.split(maxsplit=1) for part in header.split("; "))


def assets(client: TestClient) -> list[str]:
    addresses = re.findall(r'(?:src|href)="([^"]+)"', client.get("/").text)
    return [address for address in addresses if address != "docs"]


def test_everything_that_the_page_refers_to_is_served(client: TestClient) -> None:
    addresses = assets(client)
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    for address in addresses:
        assert re.fullmatch(r"web/[0-9a-f]{16}/[a-z0-9.]+", address), f"{address} is not relative"
        answer = client.get(urljoin("/", address))
        assert answer.status_code == 200, address
        assert answer.headers["Content-Type"] == types[Path(address).suffix]
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    # A module that is not preloaded delays the page by a round trip.
    assert {Path(address).name for address in addresses if address.endswith(".js")} == {
        path.name for path in WEB.glob("*.js")
    }
    folder = addresses[0].rpartition("/")[0]
    for language in ("en", "de"):
        assert client.get(f"/{folder}/{language}.json").json()["query.title"]
    # A proxy passes /register/X on as /X.
    assert urljoin("http://proxy.example/register/", addresses[0]).startswith("http://proxy.example/register/web/")


def test_the_page_runs_no_script_but_its_own(client: TestClient) -> None:
    policy = policy_of(client)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    page = client.get("/")
    assert page.headers["Cache-Control"] == "no-cache"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)
    sources = "\n".join(path.read_text() for path in WEB.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", sources)
    assert set(re.findall(r"\w+://[\w.]+", sources)) == {"http://www.w3.org"}  # the namespace of SVG


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        ({"public_url": "https://marks.example/base"}, "https://marks.example"),
        (
            {"images_dir": None, "s3_bucket": "l3d", "s3_endpoint": "http://minio:9000"}
            | {"s3_public_endpoint": "https://images.example:9443", "s3_access_key": "a", "s3_secret_key": "b"},
            "https://images.example:9443",
        ),
        ({"images_dir": None}, None),
    ],
)
def test_pictures_may_come_from_the_image_store_only(
    sample_catalog: SampleCatalog, settings: dict[str, str], origin: str | None
) -> None:
    common = {"catalogs": sample_catalog.root, "images_dir": sample_catalog.images, "log_level": "error"}
    with TestClient(create_app(load_settings(**{**common, **settings}))) as client:
        assert policy_of(client)["img-src"] == " ".join(["'self' data: blob:", *([origin] if origin else [])])


def test_a_forged_host_adds_no_directive(client: TestClient) -> None:
    for host in ("evil.example; script-src *", "evil.example script-src", "a'b"):
        policy = client.get("/", headers={"Host": host}).headers["Content-Security-Policy"]
        assert "img-src 'self' data: blob:;" in policy


def test_files_are_small_and_compressed_if_the_client_accepts_it(client: TestClient) -> None:
    for path in ("/", *(urljoin("/", address) for address in assets(client))):
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        packed = client.get(path, headers={"Accept-Encoding": "gzip, br"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.content == plain.content
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        head = client.head(path, headers={"Accept-Encoding": "identity"})
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == plain.headers["Content-Length"]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in WEB.iterdir()) < LARGEST


@pytest.mark.parametrize("name", ["index.html", "__init__.py", "..%2fversion.py", "main.js%00", "", "x.js"])
def test_no_other_file_is_served(client: TestClient, name: str) -> None:
    folder = urljoin("/", assets(client)[0]).rpartition("/")[0]
    assert client.get(f"{folder}/main.js").status_code == 200
    assert client.get(f"{folder}/{name}").status_code == 404
    assert client.get("/web/0000000000000000/main.js").status_code == 404


def test_both_languages_have_every_text() -> None:
    texts = {path.stem: json.loads(path.read_text()) for path in WEB.glob("*.json")}
    assert set(texts) == {"en", "de"}
    english, german = texts["en"], texts["de"]
    assert english.keys() == german.keys()
    for key, text in english.items():
        assert type(text) is type(german[key]), key
        assert placeholders(text) == placeholders(german[key]), key
    sources = "\n".join(path.read_text() for path in (*WEB.glob("*.js"), WEB / "index.html"))
    named = set(re.findall(r'\bt\("([\w.-]+)"|data-t(?:-\w+)?="([\w.-]+)"', sources))
    assert {one or other for one, other in named} <= english.keys()
    forbidden = r"(?i)\bmatch(es)?\b|infring|\bsafe\b|%"
    assert [key for key, text in english.items() if re.search(forbidden, json.dumps(text))] == []


def placeholders(text: str | dict[str, str]) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", json.dumps(text) if isinstance(text, str) else text["other"]))
