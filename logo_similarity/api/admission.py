"""Load shedding and admission: refuses searches that cannot run in time, before their upload is read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import document, problem_of
from logo_similarity.api.middleware import client_address
from logo_similarity.api.paths import POLICIES, WRITES
from logo_similarity.api.refusals import RefusalLog
from logo_similarity.api.routing import RouteTable
from logo_similarity.embed.gate import RETRY_SECONDS, Gate
from logo_similarity.errors import MediaTypeError, OverloadedError
from logo_similarity.metrics import ABANDONED, IN_FLIGHT, REFUSED, REQUESTS

Result = TypeVar("Result")
RESERVATION = "logo_similarity.reservation"
FORM = b"multipart/form-data"


class LoadSheddingMiddleware:
    """Refuses searches with 503 while the gate is full. Other requests pass.

    It is the outermost middleware, and a refusal must be cheap: under a flood, refusals take CPU time from the admitted
    searches. Its responses are therefore prepared in advance and have no request id. Every refusal is counted, but
    refusals are logged at most once a second.
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
        admitted = [("POST", template) for template, policy in POLICIES.items() if policy.admission]
        admitted += WRITES
        self._requests = {each: REQUESTS.labels(*each, "503") for each in admitted}
        self._logs = {template: RefusalLog("refused_at_the_door", route=template) for _, template in admitted}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _needs_admission(scope, self._routes) and self._gate.full:
            template = self._routes.template(scope)
            self._refused.inc()
            method = "POST" if scope["method"] == "GET" else scope["method"]
            self._requests[method, template].inc()
            self._logs[template].add(OverloadedError.code, client_address(scope))
            await random.choice(self._refusals)(scope, receive, send)  # noqa: S311 - spreads retries, not a secret
        else:
            await self._app(scope, receive, send)


class AdmissionMiddleware:
    """Reserves a place in the queue for an authorized search: clients without a key must not fill the queue.

    A body that is not a form is refused here. FastAPI would parse it as a form and report too many fields.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate, routes: RouteTable) -> None:
        self._app = app
        self._gate = gate
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _needs_admission(scope, self._routes):
            await self._app(scope, receive, send)
            return
        content_type = dict(scope["headers"]).get(b"content-type", FORM)
        form = self._routes.policy(scope).form
        if form is not None and not content_type.lower().startswith(FORM):
            await problem_of(MediaTypeError(form))(scope, receive, send)
            return
        with self._gate.reserve() as reservation:
            scope[RESERVATION] = reservation
            await self._app(scope, receive, send)


def _needs_admission(scope: Scope, routes: RouteTable) -> bool:
    if scope["type"] != "http" or not routes.policy(scope).admission:
        return False
    return scope["method"] in ("GET", "POST") or (scope["method"], routes.template(scope)) in WRITES


async def run_while_connected(request: Request, gate: Gate, job: Callable[[], Result]) -> Result | None:
    """Run `job` through the gate, the first one of a request in its reserved place.

    Returns None if the client disconnects; a waiting job is then cancelled.
    """
    work = asyncio.ensure_future(gate.run(job, request.scope.pop(RESERVATION, None)))
    disconnect = asyncio.ensure_future(_disconnect(request))
    with IN_FLIGHT.track_inprogress():
        try:
            await asyncio.wait((work, disconnect), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            ABANDONED.inc()
            return None
        finally:
            work.cancel()
            disconnect.cancel()


async def _disconnect(request: Request) -> None:
    """Return when the client disconnects. The body has been read, so the next message is the disconnect."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
