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
from logo_similarity.api.paths import POLICIES
from logo_similarity.api.refusals import RefusalLog
from logo_similarity.api.routing import RouteTable
from logo_similarity.embed.gate import RETRY_SECONDS, Gate
from logo_similarity.errors import MediaTypeError, OverloadedError
from logo_similarity.metrics import ABANDONED, IN_FLIGHT, REFUSED, REQUESTS

Result = TypeVar("Result")
RESERVATION = "logo_similarity.reservation"
FORM = b"multipart/form-data"


class LoadSheddingMiddleware:
    """Answers a search 503 while the gate is full. Other requests pass.

    It comes before everything else, and a refusal costs as little as possible: under a flood, the time spent on refusing is
    taken from the searches that were admitted. So its answers are prepared in advance and have no request id. Each refusal
    is counted, but they are logged once a second.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate, routes: RouteTable) -> None:
        self._app = app
        self._gate = gate
        self._routes = routes
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
        self._refused = REFUSED.labels(OverloadedError.code)
        admitted = [template for template, policy in POLICIES.items() if policy.admission]
        self._requests = {template: REQUESTS.labels("POST", template, "503") for template in admitted}
        self._logs = {template: RefusalLog("refused_at_the_door", route=template) for template in admitted}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _needs_admission(scope, self._routes) and self._gate.full:
            template = self._routes.template(scope)
            self._refused.inc()
            self._requests[template].inc()
            self._logs[template].add(OverloadedError.code, client_address(scope))
            await random.choice(self._refusals)(scope, receive, send)  # noqa: S311 - spread, not secret
        else:
            await self._app(scope, receive, send)


class AdmissionMiddleware:
    """Reserves a place for a search whose key was accepted: a client without a key must not keep others out.

    A body that is not a form is refused here: parsed as a form, it would be reported as one with too many fields.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate, routes: RouteTable) -> None:
        self._app = app
        self._gate = gate
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _needs_admission(scope, self._routes):
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


def _needs_admission(scope: Scope, routes: RouteTable) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and routes.policy(scope).admission


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
