"""Refusing searches that could not be run in time, before their upload is read."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import document, problem_of
from logo_similarity.embed.gate import RETRY_SECONDS, Gate
from logo_similarity.errors import MediaTypeError, OverloadedError
from logo_similarity.metrics import ABANDONED, IN_FLIGHT, REFUSED, REQUESTS

Result = TypeVar("Result")
SEARCH_PATH = "/v1/search"
REPORT_SECONDS = 1.0
TICKET = "logo_similarity.ticket"
FORM = b"multipart/form-data"

log = structlog.get_logger(__name__)


class AdmissionMiddleware:
    """Answers 503 at the door while the gate is full. Probes and metrics pass.

    It stands before everything else, and a refusal costs as little as can be: under a flood, what is spent on refusing is taken
    from the searches that were let in. So its answers are made beforehand, it has no request id, and it is counted but logged
    once a second at most.
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
        self._refused = 0
        self._said = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_search(scope) and self._gate.full:
            self._count()
            await random.choice(self._refusals)(scope, receive, send)  # noqa: S311 - spread, not secret
        else:
            await self._app(scope, receive, send)

    def _count(self) -> None:
        for counter in self._counters:
            counter.inc()
        self._refused += 1
        now = time.monotonic()
        if now - self._said >= REPORT_SECONDS:
            log.warning("refused_at_the_door", requests=self._refused)
            self._refused, self._said = 0, now


class PlaceMiddleware:
    """Holds a place for a search that has passed the door and the key: who has no key must keep nobody out.

    What is no form is refused here: taken for one, its bytes would be too many fields, which tells nobody what to do.
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
        scope[TICKET] = self._gate.expect()
        try:
            await self._app(scope, receive, send)
        finally:
            self._gate.give_back(scope[TICKET])  # of a request that never came to a search


def _is_search(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["path"] == SEARCH_PATH and scope["method"] == "POST")


async def run_while_connected(request: Request, gate: Gate, job: Callable[[], Result]) -> Result | None:
    """The result of `job` through the gate, or None when the client went away; a job that still waits is then dropped."""
    work = asyncio.ensure_future(gate.run(job, request.scope[TICKET]))
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
    """Return when the client has gone. The body has been read, so the next message is the farewell."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
