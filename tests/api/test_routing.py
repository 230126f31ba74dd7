from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.api.paths import WRITES
from logo_similarity.config import load_settings
from logo_similarity.keys.store import open_key_store
from tests.keys import make_key
from tests.samples import SampleCatalog

FRAMEWORK = {"/docs", "/docs/oauth2-redirect", "/openapi.json"}


def paths_of(client: TestClient) -> dict[str, set[str]]:
    """The methods of every route of ours, by the route's path."""
    methods: dict[str, set[str]] = {}
    for context in iter_route_contexts(client.app.routes):  # type: ignore[attr-defined]
        if context.path is not None and context.path not in FRAMEWORK:
            methods.setdefault(context.path, set()).update(context.methods or ())
    return methods


def link_of(client: TestClient) -> str:
    return urlsplit(str(client.get("/v1/logos/EM/000001").json()["image_url"])).path


def test_every_route_refuses_an_unknown_query_parameter(client: TestClient) -> None:
    paths = paths_of(client)
    assert {"/v1/search", "/v1/logos/{logo_id:path}", "/healthz", "/v1/keys"} <= set(paths)
    for path, methods in paths.items():
        for method in methods:
            if (method, path) in WRITES:
                continue  # they need a key, see `test_changes`
            response = client.request(method, path + "?nonsense=1", files={"file": b"x"} if method == "POST" else None)
            assert response.status_code == 422, f"{method} {path}"
            if method != "HEAD":
                assert response.json()["code"] == "invalid_request"
                assert "'nonsense'" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/v1/logos/EM/000001", 200),
        ("/v1/logos/nothing", 404),
        ("/v1/image/EM/000001", 307),
        ("/v1/files/x/y", 403),
    ],
)
def test_head_is_answered_like_get(client: TestClient, path: str, status: int) -> None:
    got = client.get(path, follow_redirects=False)
    head = client.head(path, follow_redirects=False)
    assert (got.status_code, head.status_code) == (status, status)
    assert head.headers.get("Content-Type") == got.headers.get("Content-Type")
    if path.startswith("/v1/image"):
        assert urlsplit(head.headers["Location"]).path.startswith("/v1/files/")


def test_head_of_a_picture_has_its_length(client: TestClient) -> None:
    link = link_of(client)
    head = client.head(link)
    assert head.status_code == 200
    assert int(head.headers["Content-Length"]) == len(client.get(link).content)
    assert head.headers["Content-Type"] == "image/jpeg"


def test_head_of_a_search_is_not_allowed(client: TestClient) -> None:
    assert client.head("/v1/search").status_code == 405


def test_odd_methods_and_paths_share_one_label(client: TestClient) -> None:
    for method in ("PROPFIND", "MKCOL", "QUERY"):
        assert client.request(method, "/no/such/path").status_code == 404
        assert client.request(method, "/v1/logos/x").status_code == 405
    page = client.get("/metrics").text
    assert 'logo_requests_total{method="other",route="unmatched",status="404"} 3.0' in page
    assert 'logo_requests_total{method="other",route="/v1/logos/{logo_id:path}",status="405"} 3.0' in page
    assert not re.search("PROPFIND|MKCOL|QUERY", page)


def test_refused_requests_are_logged_with_client_key_and_route(
    sample_catalog: SampleCatalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(
        catalogs=sample_catalog.root,
        keys=f"{tmp_path}/keys.json",
        usage_db=tmp_path / "usage.db",
        max_upload_bytes=1_000,
    )
    place = open_key_store(settings)
    headers = {"X-API-Key": make_key(place, "team", quota=1)}
    (key,) = place.read().keys
    with TestClient(create_app(settings), client=("192.0.2.7", 1)) as client:
        client.get("/healthz")  # not in the log at this level
        client.get("/v1/logos/EM/000001")
        client.get("/nowhere")
        client.get("/v1/keys", headers=headers)
        client.post("/v1/search", content=bytes(100_000))
        client.get("/v1/logos/EM/000001", headers=headers)
        client.get("/v1/logos/EM/000001", headers=headers)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert {line["client"] for line in requests} == {"192.0.2.7"}
    assert [(line["status"], line["route"], line.get("key")) for line in requests] == [
        (401, "/v1/logos/{logo_id:path}", None),
        (401, "unmatched", None),
        (403, "/v1/keys", key.id),
        (413, "/v1/search", None),
        (200, "/v1/logos/{logo_id:path}", key.id),
        (429, "/v1/logos/{logo_id:path}", key.id),
    ]
