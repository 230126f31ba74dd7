"""Load shedding and admission around a small application."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Request
from starlette.types import Message, Receive, Scope, Send

from logo_similarity.api import refusals
from logo_similarity.api.admission import (
    RESERVATION,
    AdmissionMiddleware,
    LoadSheddingMiddleware,
    run_while_connected,
)
from logo_similarity.api.routing import RouteTable
from logo_similarity.embed.gate import RETRY_SECONDS, Gate
from logo_similarity.metrics import ABANDONED, IN_FLIGHT, REFUSED, REQUESTS
from tests.asgi import answer, scope_of, sent_by
from tests.logs import logs_of

pytestmark = pytest.mark.anyio
SEARCH = "/v1/search"
FORM = (b"content-type", b"Multipart/Form-Data; boundary=x")


@pytest.fixture
def gate() -> Iterator[Gate]:
    opened = Gate(threads=1, max_queue=0, queue_seconds=60, run_seconds=60)
    yield opened
    opened.close()


def search(*headers: tuple[bytes, bytes], **more: object) -> dict[str, Any]:
    return scope_of(*headers, **{"method": "POST", "route": SEARCH, **more})  # type: ignore[arg-type]


def problem(sent: list[Message]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(sent[1]["body"])
    return content


async def test_searches_are_refused_while_the_gate_is_full(gate: Gate) -> None:
    shedding = LoadSheddingMiddleware(answer, gate=gate, routes=RouteTable())
    refused, requests = REFUSED.labels("overloaded"), REQUESTS.labels("POST", SEARCH, "503")
    before = refused._value.get(), requests._value.get()
    assert (await sent_by(shedding, search()))[0]["status"] == 204
    with gate.reserve(), logs_of(refusals) as lines:
        seconds = set()
        for _ in range(60):
            sent = await sent_by(shedding, search())
            assert sent[0]["status"] == 503
            assert problem(sent)["code"] == "overloaded"
            seconds.add(int(dict(sent[0]["headers"])[b"retry-after"]))
    assert seconds == set(RETRY_SECONDS)
    assert (refused._value.get(), requests._value.get()) == (before[0] + 60, before[1] + 60)
    (line,) = lines
    assert (line["event"], line["route"], line["clients"]) == ("refused_at_the_door", SEARCH, {"192.0.2.1": 1})
    assert (await sent_by(shedding, search()))[0]["status"] == 204


@pytest.mark.parametrize(
    "scope", [search(method="HEAD"), search(route="/v1/keys"), {"type": "lifespan"}], ids=["HEAD", "keys", "lifespan"]
)
async def test_all_other_requests_pass_a_full_gate(gate: Gate, scope: dict[str, Any]) -> None:
    reservations = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        reservations.append(scope.get(RESERVATION))
        await answer(scope, receive, send)

    admission = AdmissionMiddleware(note, gate=gate, routes=RouteTable())
    with gate.reserve():
        sent = await sent_by(LoadSheddingMiddleware(admission, gate=gate, routes=RouteTable()), scope)
    assert sent[0]["status"] == 204
    assert reservations == [None]


@pytest.mark.parametrize("headers", [[], [FORM], [(b"content-type", b"multipart/form-data")]])
async def test_a_search_has_a_reservation_while_it_is_handled(gate: Gate, headers: list[tuple[bytes, bytes]]) -> None:
    full = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        full.append(gate.full)
        gate.release(scope[RESERVATION])
        full.append(gate.full)
        scope[RESERVATION] = gate.reserve()  # the middleware keeps the first one and does not release this one
        gate.release(scope[RESERVATION])
        await answer(scope, receive, send)

    await sent_by(AdmissionMiddleware(note, gate=gate, routes=RouteTable()), search(*headers))
    assert full == [True, False]


async def test_the_reservation_ends_with_the_request(gate: Gate) -> None:
    async def fail(*_: object) -> None:
        assert gate.full
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await sent_by(AdmissionMiddleware(fail, gate=gate, routes=RouteTable()), search(FORM))
    assert not gate.full


@pytest.mark.parametrize("kind", [b"", b"image/png", b"application/x-www-form-urlencoded", b" multipart/form-data"])
async def test_a_body_that_is_not_a_form_is_refused(gate: Gate, kind: bytes) -> None:
    admission = AdmissionMiddleware(answer, gate=gate, routes=RouteTable())
    sent = await sent_by(admission, search((b"content-type", kind)))
    assert (sent[0]["status"], problem(sent)["code"]) == (415, "media_type_unsupported")


def request(gate: Gate, receive: Receive) -> Request:
    return Request({"type": "http", RESERVATION: gate.reserve()}, receive)


async def connected() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def in_flight() -> float:
    value: float = IN_FLIGHT._value.get()
    return value


async def test_the_result_of_a_connected_client(gate: Gate) -> None:
    before = in_flight(), ABANDONED._value.get()
    assert await run_while_connected(request(gate, connected), gate, in_flight) == before[0] + 1
    assert (in_flight(), ABANDONED._value.get()) == before

    def fail() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await run_while_connected(request(gate, connected), gate, fail)
    assert in_flight() == before[0]


async def test_a_disconnected_client_ends_its_waiting_job() -> None:
    gate = Gate(threads=1, max_queue=1, queue_seconds=60, run_seconds=60)
    release, ran = threading.Event(), []
    before = ABANDONED._value.get()
    running = asyncio.create_task(gate.run(lambda: release.wait(60)))
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    def job() -> bool:
        ran.append(True)
        return True

    assert await run_while_connected(request(gate, receive), gate, job) is None
    assert (messages, ABANDONED._value.get()) == ([], before + 1)
    while gate.inside > 1:  # noqa: ASYNC110 - the waiting job leaves the queue
        await asyncio.sleep(0)
    release.set()
    assert await running
    gate.close()
    assert ran == []


async def test_the_wait_for_the_disconnect_ends_with_the_job(gate: Gate) -> None:
    cancelled = []

    async def receive() -> Message:
        try:
            return await connected()
        finally:
            cancelled.append(True)

    await run_while_connected(request(gate, receive), gate, lambda: None)
    await asyncio.sleep(0)
    assert cancelled == [True]
