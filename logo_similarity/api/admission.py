"""Refusing searches that could not be run in time, before their upload is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import problem_of
from logo_similarity.api.middleware import new_request_id
from logo_similarity.embed.gate import Gate
from logo_similarity.errors import NotReadyError, OverloadedError
from logo_similarity.metrics import ABANDONED, IN_FLIGHT, REQUESTS

Result = TypeVar("Result")
SEARCH_PATH = "/v1/search"
REPORT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class AdmissionMiddleware:
    """Answers 503 at the door while the gate is full. Probes and metrics pass.

    It stands before everything else, and a refusal costs as little as can be: under a flood, what is spent on refusing is taken
    from the searches that were let in. So refusals are counted one by one, and logged once a second at most.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self._app = app
        self._gate = gate
        self._refused = 0
        self._said = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == SEARCH_PATH and scope["method"] == "POST":
            try:
                self._gate.check()
            except (OverloadedError, NotReadyError) as error:
                REQUESTS.labels("POST", SEARCH_PATH, str(error.status)).inc()
                self._report(error.code)
                refusal = problem_of(error)
                refusal.headers["X-Request-ID"] = new_request_id()
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _report(self, code: str) -> None:
        self._refused += 1
        now = time.monotonic()
        if now - self._said >= REPORT_SECONDS:
            log.warning("refused_at_the_door", code=code, requests=self._refused)
            self._refused, self._said = 0, now


async def run_while_connected(request: Request, gate: Gate, job: Callable[[], Result]) -> Result | None:
    """The result of `job` through the gate, or None when the client went away; a job that still waits is then dropped."""
    work = asyncio.ensure_future(gate.run(job))
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
