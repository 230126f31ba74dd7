"""Refuses searches that could not run in time, before their upload is read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import document, problem_of
from logo_similarity.api.middleware import client_address
from logo_similarity.api.refusals import RefusalLog
from logo_similarity.embed.gate import RETRY_SECONDS, Gate
from logo_similarity.errors import MediaTypeError, OverloadedError
from logo_similarity.metrics import ABANDONED, IN_FLIGHT, REFUSED, REQUESTS

Result = TypeVar("Result")
SEARCH_PATH = "/v1/search"
RESERVATION = "logo_similarity.reservation"
FORM = b"multipart/form-data"


class LoadSheddingMiddleware:
    """Answers a search 503 while the gate is full. Other requests pass.

    It comes before everything else, and a refusal costs as little as possible: under a flood, the time spent on refusing is
    taken from the searches that were let in. So its answers are prepared in advance, have no request id, and are counted
    one by one but logged once a second.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self._app = app
        self._gate = gate
        self._refusals = tuple(
            document(
                OverloadedError.status,
                OverloadedError.code,
                OverloadedError.title,
                "too many searches are waiting; try again shortly",
                {"Retry-After": str(seconds)},
            )
            for seconds in RETRY_SECONDS
        )
        self._counters = REQUESTS.labels("POST", SEARCH_PATH, "503"), REFUSED.labels(OverloadedError.code)
        self._log = RefusalLog("refused_at_the_door", route=SEARCH_PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_search(scope) and self._gate.full:
            for counter in self._counters:
                counter.inc()
            self._log.add(OverloadedError.code, client_address(scope))
            await random.choice(self._refusals)(scope, receive, send)  # noqa: S311 - spread, not secret
        else:
            await self._app(scope, receive, send)


class AdmissionMiddleware:
    """Reserves a place for a search whose key was accepted: a client without a key must not keep others out.

    A body that is not a form is refused here: parsed as one, it would be reported as a form with too many fields.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_search(scope):
            await self._app(scope, receive, send)
            return
        kind = dict(scope["headers"]).get(b"content-type", FORM)
        if not kind.lower().startswith(FORM):
            error = MediaTypeError(
                "send multipart/form-data with the picture in the field `file`: curl -F file=@logo.png"
            )
            await problem_of(error)(scope, receive, send)
            return
        with self._gate.reserve() as reservation:
            scope[RESERVATION] = reservation
            await self._app(scope, receive, send)


def _is_search(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["path"] == SEARCH_PATH and scope["method"] == "POST")


async def run_while_connected(request: Request, gate: Gate, job: Callable[[], Result]) -> Result | None:
    """The result of `job` through the gate, or None if the client left; a job that still waits is then dropped."""
    work = asyncio.ensure_future(gate.run(job, request.scope[RESERVATION]))
    gone = asyncio.ensure_future(_disconnect(request))
    with IN_FLIGHT.track_inprogress():
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            ABANDONED.inc()
            return None
        finally:
            work.cancel()
            gone.cancel()


async def _disconnect(request: Request) -> None:
    """Return when the client has gone. The body has been read, so the next message is the disconnect."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
