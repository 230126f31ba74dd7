"""The middleware around a small application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from logo_similarity.api import middleware
from logo_similarity.api.middleware import ADDRESS_LENGTH, BodyMiddleware, RequestMiddleware, client_address
from logo_similarity.api.routing import RouteTable
from logo_similarity.metrics import REQUEST_SECONDS, REQUESTS
from tests.asgi import answer, no_receive, scope_of, sent_by
from tests.logs import logs_of

pytestmark = pytest.mark.anyio


def requests(method: str, status: str) -> float:
    return float(REQUESTS.labels(method, "/", status)._value.get())


@pytest.mark.parametrize("given", [b"a", b"A-b_c.1", b"x" * 64])
async def test_a_well_formed_request_id_is_kept(given: bytes) -> None:
    app = RequestMiddleware(answer, routes=RouteTable(), traced=False)
    start, _ = await sent_by(app, scope_of((b"x-request-id", given)))
    assert start["headers"] == [(b"x-a", b"b"), (b"x-request-id", given)]


@pytest.mark.parametrize("given", [None, b"", b"x" * 65, b"a b", b"\xff", b"a\n"])
async def test_any_other_request_id_is_replaced(given: bytes | None) -> None:
    app = RequestMiddleware(answer, routes=RouteTable(), traced=False)
    ids = set()
    for _ in range(20):
        start, _ = await sent_by(app, scope_of(*([] if given is None else [(b"x-request-id", given)])))
        ids.add(dict(start["headers"])[b"x-request-id"])
    assert len(ids) == 20
    assert {len(ident) for ident in ids} == {32}


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("PATCH", "PATCH"), ("BREW", "other")])
async def test_a_request_is_counted_and_logged(method: str, label: str) -> None:
    before, seconds = requests(label, "204"), REQUEST_SECONDS.labels(label, "/")._sum.get()
    app = RequestMiddleware(answer, routes=RouteTable(), traced=False)
    with logs_of(middleware) as lines:
        await sent_by(app, scope_of(method=method))
        await sent_by(app, scope_of(method=method, route="/healthz"))
    assert requests(label, "204") == before + 1
    taken = REQUEST_SECONDS.labels(label, "/")._sum.get() - seconds
    assert 0 <= taken < 600
    assert [(line["log_level"], line["route"]) for line in lines] == [("info", "/"), ("debug", "/healthz")]
    assert (lines[0]["event"], lines[0]["method"], lines[0]["status"]) == ("request", label, 204)
    assert lines[0]["milliseconds"] == round(1000 * taken, 2)


async def test_the_status_of_a_client_that_disconnects_is_499() -> None:
    async def fail(*_: object) -> None:
        raise ConnectionResetError

    before = requests("GET", "499")
    with pytest.raises(ConnectionResetError):
        await sent_by(RequestMiddleware(fail, routes=RouteTable(), traced=False), scope_of())
    assert requests("GET", "499") == before + 1


@pytest.mark.parametrize("traced", [True, False])
async def test_the_trace_is_logged_if_requests_are_traced(monkeypatch: pytest.MonkeyPatch, traced: bool) -> None:
    import structlog

    bound = list[dict[str, Any]]()

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        bound.append(structlog.contextvars.get_contextvars())
        await answer(scope, receive, send)

    structlog.contextvars.bind_contextvars(key="of an earlier request")
    monkeypatch.setattr(middleware, "current_trace", lambda: "trace")
    await sent_by(RequestMiddleware(note, routes=RouteTable(), traced=traced), scope_of((b"x-request-id", b"id")))
    assert bound == [{"request_id": "id", "client": "192.0.2.1"} | ({"trace_id": "trace"} if traced else {})]
    monkeypatch.setattr(middleware, "current_trace", lambda: None)
    await sent_by(RequestMiddleware(note, routes=RouteTable(), traced=traced), scope_of((b"x-request-id", b"id")))
    assert bound[1] == {"request_id": "id", "client": "192.0.2.1"}


async def test_other_scopes_pass() -> None:
    passed = list[object]()

    async def note(*arguments: object) -> None:
        passed.append(arguments)

    for app in (
        RequestMiddleware(note, routes=RouteTable(), traced=False),
        BodyMiddleware(note, max_upload=1, form_bytes=0, seconds=1, max_held=1),
    ):
        await app({"type": "lifespan"}, no_receive, note)
    assert passed == [({"type": "lifespan"}, no_receive, note)] * 2


def test_an_address_is_cut() -> None:
    assert client_address({"client": ("x" * 100, 1)}) == "x" * ADDRESS_LENGTH
    assert client_address({"client": None}) is client_address({}) is None


def pieces(*sizes: int) -> Receive:
    """A body in pieces of these sizes, then the disconnect."""
    messages = [
        {"type": "http.request", "body": bytes(size), "more_body": number < len(sizes)}
        for number, size in enumerate(sizes, 1)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    return receive


async def read(_scope: Scope, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "http.request":
        await send(message)


@pytest.mark.parametrize(("length", "status"), [(b"11", 413), (b"10", None), (b"-11", None), (b"x", None)])
async def test_a_body_that_announces_too_many_bytes_is_not_read(length: bytes, status: int | None) -> None:
    app = BodyMiddleware(answer, max_upload=10, form_bytes=0, seconds=60, max_held=10)
    start, _ = await sent_by(app, scope_of((b"content-length", length)))
    assert start["status"] == (status or 204)
    if status is not None:
        assert (b"connection", b"close") in start["headers"]


async def test_a_body_of_too_many_bytes_is_refused() -> None:
    app = BodyMiddleware(read, max_upload=10, form_bytes=0, seconds=60, max_held=10)
    assert len(await sent_by(app, scope_of(), pieces(4, 6))) == 2
    with pytest.raises(HTTPException, match="exceeds 10 bytes") as refusal:
        await sent_by(app, scope_of(), pieces(4, 7))
    assert (refusal.value.status_code, refusal.value.headers) == (413, {"Connection": "close"})
    assert app._held == 0


@pytest.mark.parametrize(("max_held", "size", "accepted"), [(15, 5, True), (15, 6, False), (1, 1, False), (1, 0, True)])
async def test_all_bodies_together_are_bounded(max_held: int, size: int, accepted: bool) -> None:
    """One body of `max_bytes` is held."""
    app = BodyMiddleware(read, max_upload=10, form_bytes=0, seconds=60, max_held=max_held)
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        held.set()
        await release.wait()

    app._app = hold
    first = asyncio.create_task(sent_by(app, scope_of(), pieces(10)))
    await held.wait()
    app._app = read
    if accepted:
        assert len(await sent_by(app, scope_of(), pieces(size))) == 1
    else:
        with pytest.raises(HTTPException, match="too many uploads") as refusal:
            await sent_by(app, scope_of(), pieces(size))
        assert refusal.value.status_code == 503
        assert refusal.value.headers == {"Connection": "close", "Retry-After": "1"}
    release.set()
    await first
    assert app._held == 0


async def test_a_body_has_its_time_and_a_wait_after_it_has_no_limit() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(HTTPException, match="did not arrive in time") as refusal:
        await sent_by(BodyMiddleware(read, max_upload=10, form_bytes=0, seconds=0.01, max_held=10), scope_of(), never)
    assert (refusal.value.status_code, refusal.value.headers) == (408, {"Connection": "close"})
    body, disconnect = pieces(3), asyncio.Event()

    async def receive() -> Message:
        if received:
            await disconnect.wait()
        received.append(await body())
        return received[-1]

    async def let_it_pass() -> None:
        loop = asyncio.get_running_loop()
        passed = asyncio.Event()
        loop.call_later(0.05, passed.set)
        await passed.wait()
        disconnect.set()

    received = list[Message]()
    late = BodyMiddleware(read, max_upload=10, form_bytes=0, seconds=0.01, max_held=10)
    await asyncio.gather(sent_by(late, scope_of(), receive), let_it_pass())
    assert [message["type"] for message in received] == ["http.request", "http.disconnect"]
