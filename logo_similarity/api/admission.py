"""Refusing searches that could not be run in time, before their upload is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import problem_of
from logo_similarity.embed.gate import Gate
from logo_similarity.errors import NotReadyError, OverloadedError
from logo_similarity.metrics import ABANDONED, IN_FLIGHT

Result = TypeVar("Result")
SEARCH_PATH = "/v1/search"


class AdmissionMiddleware:
    """Answers 503 at the door while the gate is full. Probes and metrics pass."""

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == SEARCH_PATH and scope["method"] == "POST":
            try:
                self._gate.check()
            except (OverloadedError, NotReadyError) as error:
                await problem_of(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


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
