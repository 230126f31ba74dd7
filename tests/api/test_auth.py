from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.api.auth import ApiKeyMiddleware
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.api.paths import UNMATCHED
from logo_similarity.api.routing import RouteTable
from logo_similarity.config import load_settings
from logo_similarity.errors import ConfigError, UnauthorizedError
from logo_similarity.keys.fixed import read_fixed_keys
from logo_similarity.keys.ring import KeyRing
from tests.asgi import answer, scope_of, sent_by
from tests.samples import SampleCatalog
from tests.service import until

KEY = "schlüssel-鍵"
# Written out a second time on purpose: to open one more path must be a decision.
OPEN = {"/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"}


@pytest.fixture(scope="module")
def guarded(sample_catalog: SampleCatalog) -> Iterator[TestClient]:
    settings = load_settings(
        catalogs=sample_catalog.root, images_dir=sample_catalog.images, api_keys=KEY, log_level="error"
    )
    with TestClient(create_app(settings)) as client:
        yield client


def test_a_key_outside_ascii_opens_as_utf8(guarded: TestClient) -> None:
    assert guarded.get("/v1/logos/EM/000001", headers={b"X-API-Key": KEY.encode()}).status_code == 200
    assert guarded.get("/v1/logos/EM/000001", headers={b"X-API-Key": "schlüssel".encode("latin-1")}).status_code == 401


def test_with_a_key_a_search_and_its_link_work(guarded: TestClient, sample_catalog: SampleCatalog) -> None:
    data = (sample_catalog.images / sample_catalog.files[2]).read_bytes()
    response = guarded.post("/v1/search", files={"file": data}, headers={b"X-API-Key": KEY.encode()})
    assert response.status_code == 200
    assert guarded.get(response.json()["results"][0]["image_url"]).content == data


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_every_route_that_is_not_named_open_wants_a_key(guarded: TestClient, method: str) -> None:
    app = create_app(load_settings(api_keys=KEY))
    paths = {context.path for context in iter_route_contexts(app.routes)}
    assert {"/v1/search", "/v1/logos/{logo_id:path}", "/v1/image/{image_id:path}", "/v1/keys"} <= paths
    for path in sorted(path for path in paths if path):
        response = guarded.request(method, path, follow_redirects=False)
        is_open = path in OPEN or path.startswith(("/v1/files/", "/docs/assets/", "/web/", "/v1/watches/feed/"))
        assert (response.status_code == 401) == (not is_open), f"{method} {path}: {response.status_code}"
        if response.status_code == 401:
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["WWW-Authenticate"]


def test_the_body_of_a_stranger_is_not_read(guarded: TestClient) -> None:
    read: list[int] = []
    assert guarded.post("/v1/search", content=counted(read)).status_code == 401
    assert read == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nobody",
        b"name:short",
        b"name:" + b"g" * 64,
        b"name " + b"0" * 64,
        b"\xff\xfe",
        b"a:" + b"0" * 64 + b"\nbroken",
    ],
)
def test_a_key_file_that_cannot_be_meant_stops_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ConfigError, match="LOGO_API_KEYS_FILE"):
        create_app(load_settings(api_keys_file=tmp_path / "keys"))


def test_a_key_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ConfigError, match="LOGO_API_KEYS_FILE"):
            create_app(load_settings(api_keys_file=path))


@pytest.mark.parametrize("keys", [",", " , ,", " "])
def test_keys_that_came_out_empty_open_nothing(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setenv("LOGO_API_KEYS", keys)
    with pytest.raises(ConfigError, match=r"LOGO_API_KEYS: contains no key"):
        load_settings()


def test_a_key_file_holds_digests_and_not_keys(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"secret").digest()
    (tmp_path / "keys").write_text(f"team:{digest.hex()}\n")
    keys = read_fixed_keys(load_settings(api_keys_file=tmp_path / "keys"))
    ring, now = KeyRing(keys), dt.datetime.now(dt.UTC)
    assert ring.find(b"secret", now).name == "team"
    with pytest.raises(UnauthorizedError):
        ring.find(digest.hex().encode(), now)


def test_a_full_queue_refuses_before_the_body_is_read(sample_catalog: SampleCatalog) -> None:
    began, release = threading.Event(), threading.Event()

    def job() -> None:
        began.set()
        assert release.wait(60)

    app = create_app(load_settings(catalogs=sample_catalog.root, threads=1, max_queue=1, log_level="error"))
    with TestClient(app) as client:
        assert client.portal is not None
        gate = app.state.runtime.gate
        jobs = [client.portal.start_task_soon(gate.run, job) for _ in range(2)]
        assert began.wait(60)
        until(lambda: gate.inside == 2)
        read: list[int] = []
        refusal = client.post("/v1/search", content=counted(read))
        assert refusal.status_code == 503
        assert refusal.headers["Content-Type"] == "application/problem+json"
        assert int(refusal.headers["Retry-After"]) >= 1
        assert read == []
        release.set()
        for waiting in jobs:
            waiting.result(60)


def counted(read: list[int]) -> Iterator[bytes]:
    for number in range(100):
        read.append(number)
        yield bytes(1_000)


@pytest.fixture
def keys(tmp_path: Path) -> LiveKeys:
    return LiveKeys(load_settings(api_keys="the-key", usage_db=tmp_path / "usage.db"))


async def status_of(keys: LiveKeys, scope: dict[str, Any]) -> int:
    sent = await sent_by(ApiKeyMiddleware(answer, keys=keys, routes=RouteTable()), scope)
    return int(sent[0]["status"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("route", "without", "wrong", "with_key"),
    [
        ("/healthz", 204, 204, 204),
        ("/v1/search", 401, 401, 204),
        ("/v1/keys", 401, 401, 403),
        (UNMATCHED, 401, 401, 404),
    ],
)
async def test_the_middleware_refuses_by_role(
    keys: LiveKeys, route: str, without: int, wrong: int, with_key: int
) -> None:
    key, other = (b"x-api-key", b"the-key"), (b"x-api-key", b"other")
    statuses = [await status_of(keys, scope_of(*headers, route=route)) for headers in ([], [other], [key], [key, key])]
    assert statuses == [without, wrong, with_key, without]
    assert await status_of(keys, scope_of((b"authorization", b"the-key"), route=route)) == without


@pytest.mark.anyio
async def test_the_middleware_passes_everything_without_keys_and_other_scopes(keys: LiveKeys, tmp_path: Path) -> None:
    assert await status_of(keys, {"type": "lifespan"}) == 204
    none = LiveKeys(load_settings(usage_db=tmp_path / "usage.db"))
    assert await status_of(none, scope_of(route="/v1/keys")) == 204
