from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from starlette.types import Message

from logo_similarity.api import middleware, refusals
from logo_similarity.api.admission import RESERVATION, run_while_connected
from logo_similarity.api.app import create_app
from logo_similarity.api.paths import policy_of
from logo_similarity.config import load_settings
from logo_similarity.domain import Query, SearchResult
from logo_similarity.embed.gate import Gate
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import ConfigError, UnauthorizedError
from logo_similarity.keys.fixed import read_fixed_keys
from logo_similarity.keys.ring import KeyRing
from tests.logs import logs_of
from tests.samples import SampleCatalog
from tests.service import until

KEY = "correct-horse-battery"


@pytest.fixture(scope="module")
def guarded(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    digest = hashlib.sha256(b"from-the-file").hexdigest()
    keys.write_text(f"# who may search\nteam-a:{digest}  # until May\n\n")
    settings = load_settings(
        catalogs=sample_catalog.root, api_keys=f"other,{KEY}", api_keys_file=keys, log_level="error"
    )
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.mark.parametrize("key", [KEY, "other", "from-the-file"])
def test_a_known_key_opens(guarded: TestClient, key: str) -> None:
    assert guarded.get("/v1/logos/EM/000001", headers={"X-API-Key": key}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": KEY + " x"},
        {"X-API-Key": KEY.upper()},
        {b"X-API-Key": "schlüssel".encode("latin-1")},
        {b"X-API-Key": "鍵".encode()},
        [("X-API-Key", KEY), ("X-API-Key", KEY)],
        {"Authorization": f"Bearer {KEY}"},
    ],
)
def test_anything_else_is_a_401(guarded: TestClient, headers: Any) -> None:
    response = guarded.get("/v1/logos/EM/000001", headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert "X-API-Key" in response.headers["WWW-Authenticate"]
    assert KEY not in response.text


def test_every_route_is_closed_but_those_that_are_named(guarded: TestClient) -> None:
    document = guarded.get("/openapi.json").json()
    assert {"/v1/search", "/v1/logos/{logo_id}", "/v1/image/{image_id}", "/metrics"} <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method in methods:
            status = guarded.request(method, path, follow_redirects=False).status_code
            assert (status == 401) == (policy_of(path).role is not None), f"{method} {path}: {status}"
    assert guarded.get("/v1/unknown").status_code == 401
    assert guarded.get("/v1/files/x/y").status_code == 404


def test_keys_are_found_by_digest() -> None:
    keys = read_fixed_keys(load_settings(api_keys="a,b"))
    assert [key.secrets[0].sha256 for key in keys] == [hashlib.sha256(text).hexdigest() for text in (b"a", b"b")]
    ring, now = KeyRing(keys), dt.datetime.now(dt.UTC)
    assert ring.find(b"b", now) == keys[1]
    for text in (b"c", b"", hashlib.sha256(b"a").digest()):
        with pytest.raises(UnauthorizedError):
            ring.find(text, now)


@pytest.mark.parametrize("content", ["", "# nobody\n", "name:short\n", "no digest at all\n", ":" + "0" * 64 + "\n"])
def test_a_key_file_that_lets_nobody_in_or_is_broken(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(ConfigError, match="LOGO_API_KEYS_FILE"):
        read_fixed_keys(load_settings(api_keys_file=tmp_path / "keys"))


def test_a_key_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LOGO_API_KEYS_FILE"):
        create_app(load_settings(api_keys_file=tmp_path / "nothing"))


def metric(client: TestClient, name: str) -> float:
    line = next(line for line in client.get("/metrics").text.splitlines() if line.startswith(name + " "))
    return float(line.split()[-1])


def test_a_full_queue_refuses_and_probes_pass(sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    began, release = threading.Event(), threading.Event()
    real = SearchEngine.search

    def blocked(engine: SearchEngine, query: Query) -> SearchResult:
        began.set()
        assert release.wait(60)
        return real(engine, query)

    data = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    statuses: list[int] = []
    settings = load_settings(catalogs=sample_catalog.root, threads=1, max_queue=1, log_level="error")
    app = create_app(settings)
    with TestClient(app) as client:
        monkeypatch.setattr(SearchEngine, "search", blocked)

        def ask() -> None:
            statuses.append(client.post("/v1/search", files={"file": data}).status_code)

        waiting = [threading.Thread(target=ask) for _ in range(2)]
        for thread in waiting:
            thread.start()
        assert began.wait(60)
        runtime = app.state.runtime
        until(lambda: runtime.gate.inside == 2)
        counted = 'logo_requests_total{method="POST",route="/v1/search",status="503"}'
        with logs_of(refusals, middleware) as logs:
            refusal = client.post("/v1/search", files={"file": data})
            assert refusal.status_code == 503
            assert refusal.json()["code"] == "overloaded"
            assert 1 <= int(refusal.headers["Retry-After"]) <= 3
            before = metric(client, counted)
            assert {client.post("/v1/search", files={"file": data}).status_code for _ in range(20)} == {503}
            assert metric(client, counted) == before + 20
        said = [line for line in logs if line["event"] == "refused_at_the_door"]
        assert 1 <= len(said) <= 2, "a flood of refusals floods the log"
        assert said[0]["route"] == "/v1/search"
        assert said[0]["clients"] == {"testclient": 1}
        assert [line for line in logs if line["event"] == "request" and line["status"] == 503] == []
        assert client.get("/readyz").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get("/v1/logos/EM/000001").status_code == 200
        release.set()
        for thread in waiting:
            thread.join()
        assert statuses == [200, 200]
        assert client.post("/v1/search", files={"file": data}).status_code == 200


def test_stuck_searches_are_answered_and_the_worker_is_not_ready_until_one_ends(
    sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    real = SearchEngine.search

    def blocked(engine: SearchEngine, query: Query) -> SearchResult:
        assert release.wait(60)
        return real(engine, query)

    data = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    app = create_app(
        load_settings(catalogs=sample_catalog.root, threads=1, search_seconds=0.2, queue_seconds=0.3, log_level="error")
    )
    with TestClient(app) as client:
        monkeypatch.setattr(SearchEngine, "search", blocked)
        stuck = client.post("/v1/search", files={"file": data})
        assert (stuck.status_code, stuck.json()["code"]) == (503, "search_timeout")
        assert stuck.headers["Content-Type"] == "application/problem+json"
        assert "0.2 s" in stuck.json()["detail"]
        waiting = client.post("/v1/search", files={"file": data})  # the only thread is not free
        assert (waiting.status_code, waiting.json()["code"]) == (503, "overloaded")
        assert int(waiting.headers["Retry-After"]) >= 1
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert client.get("/healthz").status_code == 200
        assert metric(client, "logo_stuck_threads") == 1
        release.set()
        until(lambda: client.get("/readyz").status_code == 200)
        assert metric(client, "logo_stuck_threads") == 0
        assert client.post("/v1/search", files={"file": data}).status_code == 200


def test_who_has_no_key_keeps_nobody_out(sample_catalog: SampleCatalog) -> None:
    """A flood of unknown keys holds none of the few places."""
    data = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    settings = load_settings(
        catalogs=sample_catalog.root, threads=1, max_queue=1, api_keys="the-key", log_level="error"
    )
    with TestClient(create_app(settings)) as client:
        for _ in range(30):
            assert client.post("/v1/search", files={"file": data}, headers={"X-API-Key": "wrong"}).status_code == 401
        answer = client.post("/v1/search", files={"file": data}, headers={"X-API-Key": "the-key"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [({"content": b"broken"}, 400), ({"files": {"other": b"x"}}, 422), ({"files": {"file": b"no image"}}, 422)],
)
def test_bad_requests_keep_nobody_out(sample_catalog: SampleCatalog, body: dict[str, Any], status: int) -> None:
    """However fast they come, they hold none of the few places once they are answered."""
    data = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    headers = {"Content-Type": "multipart/form-data; boundary=x"} if "content" in body else {}
    with TestClient(
        create_app(load_settings(catalogs=sample_catalog.root, threads=1, max_queue=1, log_level="error"))
    ) as client:
        for _ in range(30):
            answer = client.post("/v1/search", headers=headers, **body)
            assert answer.status_code == status, answer.text
        assert client.post("/v1/search", files={"file": data}).status_code == 200


def test_a_place_is_held_until_the_search_has_it() -> None:
    """If it were released a moment before, a flood of requests would be let in for it."""

    async def silent() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> None:
        gate, release = Gate(threads=1, max_queue=0, queue_seconds=60, run_seconds=60), threading.Event()
        request = Request({"type": "http", RESERVATION: gate.reserve()}, silent)
        task = asyncio.create_task(run_while_connected(request, gate, lambda: release.wait(60)))
        while not gate.inside:
            assert gate.full
            await asyncio.sleep(0)
        assert gate.full
        release.set()
        assert await task
        gate.close()

    asyncio.run(scenario())
