"""What happens around every request: its id, its log line, its metrics, and the bounds on its body."""

from __future__ import annotations

import asyncio
import random
import re
import time

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from logo_similarity.api.errors import problem_of_http
from logo_similarity.metrics import REQUEST_SECONDS, REQUESTS
from logo_similarity.tracing import current_trace

log = structlog.get_logger(__name__)

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

REQUEST_ID = re.compile(rb"^[A-Za-z0-9._\-]{1,64}$")


def new_request_id() -> str:
    """An id that nobody needs to be unable to guess: the system's own generator would take longer, and lets go of the GIL."""
    return f"{random.getrandbits(128):032x}"


class RequestMiddleware:
    """Gives a request its id (`X-Request-ID`, taken over when it is sensible), counts it and logs it."""

    def __init__(self, app: ASGIApp, *, traced: bool) -> None:
        self._app = app
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if REQUEST_ID.match(given) else new_request_id()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if self._traced and (trace_id := current_trace()) is not None:
            structlog.contextvars.bind_contextvars(trace_id=trace_id)
        status = 499  # what is counted when the client leaves before it gets an answer

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        finally:
            # The route's template, not its path: a label for each id would grow without end.
            route = getattr(scope.get("route"), "path", "unknown")
            seconds = time.perf_counter() - started
            REQUESTS.labels(scope["method"], route, str(status)).inc()
            REQUEST_SECONDS.labels(scope["method"], route).observe(seconds)
            level = log.debug if route in PROBES else log.info
            level("request", method=scope["method"], route=route, status=status, milliseconds=round(seconds * 1000, 2))


class BodyMiddleware:
    """Ends a request whose body is too large, or does not arrive in time: uvicorn would take and wait for ever."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await problem_of_http(self._too_large())(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._seconds
        received, complete = 0, False

        async def receive_bounded() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the request's body did not arrive in time", {"Connection": "close"}) from None
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, receive_bounded, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"at most {self._max_bytes:,} bytes are accepted", {"Connection": "close"})
