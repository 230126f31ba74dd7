from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from logo_similarity.api.app import create_app
from logo_similarity.api.server import Server
from logo_similarity.config import load_settings
from logo_similarity.cpu import ThreadPlan
from logo_similarity.domain import Query, SearchResult
from logo_similarity.engine import SearchEngine
from logo_similarity.keys.store import open_key_store
from tests.keys import make_key
from tests.samples import SampleCatalog

Document = dict[str, Any]
FORM_START = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
FORM_END = b"\r\n--x--\r\n"


@pytest.fixture(scope="module")
def document(client: TestClient) -> Document:
    opened: Document = client.get("/openapi.json").json()
    return opened


def nodes(node: object) -> Iterator[Document]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def series(client: TestClient) -> dict[str, float]:
    """Each line of the metrics page: name and labels, value."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_the_document_holds_together(document: Document) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "logo-similarity"
    references = [node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)]
    assert references
    for reference in references:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in target, reference
            target = target[step]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) == 28
    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_errors_are_documented_as_they_are_sent(document: Document) -> None:
    for path in ("/v1/search", "/v1/logos/{logo_id}", "/v1/image/{image_id}"):
        for method, operation in document["paths"][path].items():
            assert operation["security"] == [{"APIKeyHeader": []}]
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert "application/problem+json" in response["content"], f"{method} {path} {status}"
    assert document["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "X-API-Key"
    assert document["components"]["schemas"]["Problem"]["examples"][0]["code"] == "image_format_unsupported"


def test_every_documented_status_of_a_search_occurs(
    document: Document, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    key = {"X-API-Key": "k"}
    form = {**key, "Content-Type": "multipart/form-data; boundary=x"}
    settings = load_settings(
        catalogs=sample_catalog.root,
        api_keys="k",
        keys=str(tmp_path / "keys.json"),
        usage_db=tmp_path / "usage.db",
        max_upload_bytes=100_000,
        body_seconds=0.1,
        log_level="error",
    )
    limited = {"X-API-Key": make_key(open_key_store(settings), "team", quota=1)}
    app = create_app(settings)
    with TestClient(app) as client:

        def status(data: bytes) -> int:
            return client.post("/v1/search", files={"file": data}, headers=key).status_code

        seen = {
            status(picture),
            status(b"nothing"),
            status(b"8BPS\0\1"),
            status(bytes(200_000)),
            client.post("/v1/search", content=b"no form", headers=form).status_code,
            client.post("/v1/search").status_code,
            stalled_upload(client),
            *(client.post("/v1/search", headers=limited).status_code for _ in range(2)),
        }
        app.state.runtime.gate.close()
        seen.add(status(picture))
        assert client.get("/readyz").status_code == 503
    documented = {int(known) for known in document["paths"]["/v1/search"]["post"]["responses"]}
    assert seen == documented - {431}  # not from the application: tests/api/test_connections.py


def test_every_path_documents_that_its_head_may_be_too_large(document: Document) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for operation in operations:
        assert "application/problem+json" in operation["responses"]["431"]["content"]


def test_a_head_that_is_too_large_is_not_counted_as_a_request(client: TestClient) -> None:
    page = client.get("/metrics").text
    assert 'status="422"' in page
    assert 'status="431"' not in page


def test_metrics_agree_with_each_other(client: TestClient, sample_catalog: SampleCatalog) -> None:
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    before = series(client)
    for data in (picture, picture, b"nothing", b"8BPS\0\1"):
        client.post("/v1/search", files={"file": data})
    after = series(client)
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    asked = 'logo_requests_total{{method="POST",route="/v1/search",status="{}"}}'
    assert [grown[asked.format(status)] for status in (200, 422, 415)] == [2, 1, 1]
    assert grown['logo_request_seconds_count{method="POST",route="/v1/search"}'] == 4
    assert grown['logo_refused_total{code="image_undecodable"}'] == 1
    assert grown['logo_refused_total{code="image_format_unsupported"}'] == 1
    stages = ("queue", "decode", "preprocess", "embed", "search", "metadata", "links")
    assert {grown[f'logo_stage_seconds_count{{stage="{stage}"}}'] for stage in stages} == {2}
    assert {grown[f'logo_stage_seconds_bucket{{le="+Inf",stage="{stage}"}}'] for stage in stages} == {2}
    assert (
        0
        < grown['logo_stage_seconds_sum{stage="embed"}']
        < grown['logo_request_seconds_sum{method="POST",route="/v1/search"}']
    )
    assert after["logo_searches_in_flight"] == 0
    assert 200 in [value for name, value in after.items() if name.startswith("logo_catalog_logos{")]


def test_nobody_can_make_the_metrics_grow(client: TestClient) -> None:
    for path in ("/v1/logos/x", "/v1/image/x", "/v1/files/x/y", "/nowhere"):
        client.get(path, follow_redirects=False)
    series(client)  # the first reading is itself counted in the second
    before = set(series(client))
    for number in range(5):
        for path in ("/v1/logos/x{}", "/v1/image/x{}", "/v1/files/x/y{}", "/nowhere{}"):
            client.get(path.format(number), follow_redirects=False)
    assert set(series(client)) - before == set()
    routes = {found[1] for name in before if (found := re.search(r'route="([^"]*)"', name))}
    assert {"/v1/logos/{logo_id:path}", "/v1/image/{image_id:path}", "unmatched"} <= routes


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_server_listens_where_the_settings_say(host: str, tmp_path: Path) -> None:
    settings = load_settings(host=host, port=8123)
    assert Server(settings, ThreadPlan(workers=1, threads=1), tmp_path).cfg.address == [(host, 8123)]


def test_a_client_that_leaves_takes_its_search_along(
    sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release = threading.Event(), threading.Event()
    ran: list[object] = []
    real = SearchEngine.search

    def blocked(engine: SearchEngine, query: Query) -> SearchResult:
        ran.append(query.image)
        began.set()
        assert release.wait(60)
        return real(engine, query)

    first, second = ((sample_catalog.images / name).read_bytes() for name in sample_catalog.files[:2])
    app = create_app(load_settings(catalogs=sample_catalog.root, threads=1, log_level="error"))
    with TestClient(app) as client:
        monkeypatch.setattr(SearchEngine, "search", blocked)
        before = series(client)["logo_abandoned_total"]
        statuses: list[int] = []
        patient = threading.Thread(
            target=lambda: statuses.append(client.post("/v1/search", files={"file": first}).status_code)
        )
        patient.start()
        assert began.wait(60)
        body = FORM_START + second + FORM_END
        upload(client, [{"type": "http.request", "body": body}, {"type": "http.disconnect"}])
        assert series(client)["logo_abandoned_total"] == before + 1  # the one thread is still held by the first
        for _ in range(100):
            client.get("/healthz")  # turns of the event loop, in which its place becomes free
        assert app.state.runtime.gate.inside == 1
        release.set()
        patient.join()
        assert statuses == [200]
    assert ran == [first]


def stalled_upload(client: TestClient) -> int:
    """Status of the answer to a client that begins a body and does not go on."""
    sent = upload(client, [{"type": "http.request", "body": FORM_START, "more_body": True}])
    assert (b"content-type", b"application/problem+json") in sent[0]["headers"]
    return int(sent[0]["status"])


def upload(client: TestClient, messages: list[Message]) -> list[Message]:
    """What the application sends to a client of which an ASGI server reports these messages, and then nothing more."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/search", "raw_path": b"/v1/search", "query_string": b"", "root_path": "",
        "headers": [(b"x-api-key", b"k"), (b"content-type", b"multipart/form-data; boundary=x")],
        "server": ("testserver", 80), "client": ("testclient", 1),
    }  # fmt: skip
    coming, sent = iter(messages), list[Message]()

    async def receive() -> Message:
        for message in coming:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    return sent
