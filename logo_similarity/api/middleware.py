"""Request id, log line and metrics of every request, and limits on its body."""

from __future__ import annotations

import asyncio
import random
import re
import time

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from logo_similarity.api.errors import problem_of_http
from logo_similarity.api.routing import RouteTable
from logo_similarity.metrics import REQUEST_SECONDS, REQUESTS
from logo_similarity.tracing import current_trace

log = structlog.get_logger(__name__)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
"""Metrics label of all other methods."""
ADDRESS_LENGTH = 64
"""Maximum length of a client address in a log line: a proxy may forward any text."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}")


def new_request_id() -> str:
    """A random id. It need not be unpredictable, and the system's generator is slower and releases the GIL."""
    return f"{random.getrandbits(128):032x}"


def client_address(scope: Scope) -> str | None:
    """The client's address; behind a trusted proxy, the forwarded address."""
    client = scope.get("client")
    return None if client is None else str(client[0])[:ADDRESS_LENGTH]


class RequestMiddleware:
    """Assigns each request an id (its `X-Request-ID` if well formed), counts it and logs it."""

    def __init__(self, app: ASGIApp, *, routes: RouteTable, traced: bool) -> None:
        self._app = app
        self._routes = routes
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        header = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = header.decode() if REQUEST_ID.fullmatch(header) else new_request_id()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id, client=client_address(scope))
        if self._traced and (trace_id := current_trace()) is not None:
            structlog.contextvars.bind_contextvars(trace_id=trace_id)
        status = 499  # stays if the client disconnects before the response

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        finally:
            # The route's template instead of its path, and only common methods: the number of labels must be bounded.
            route = self._routes.template(scope)
            method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
            seconds = time.perf_counter() - started
            REQUESTS.labels(method, route, str(status)).inc()
            REQUEST_SECONDS.labels(method, route).observe(seconds)
            level, milliseconds = self._routes.policy(scope).log_level, round(seconds * 1000, 2)
            log.log(level, "request", method=method, route=route, status=status, milliseconds=milliseconds)


class BodyMiddleware:
    """Refuses a body that is too large or too slow, or would exceed the limit on all bodies in this worker.

    uvicorn accepts bodies of any size at any speed. Bodies are spooled to temporary files, which are often in memory,
    and kept until their search has ended.
    """

    def __init__(self, app: ASGIApp, *, max_upload: int, form_bytes: int, seconds: float, max_held: int) -> None:
        """Limit the bodies of all requests.

        Args:
            app: the next application.
            max_upload: maximum size of a body, as the setting has it.
            form_bytes: added to it for what a form needs beside its files.
            seconds: time limit for receiving a body.
            max_held: maximum total size of all bodies; one body always fits.
        """
        self._app = app
        self._max_upload = max_upload
        self._max_bytes = max_upload + form_bytes
        self._seconds = seconds
        self._max_held = max(max_held, self._max_bytes)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        content_length = dict(scope["headers"]).get(b"content-length", b"0")
        if content_length.isdigit() and int(content_length) > self._max_bytes:
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
                raise HTTPException(408, "the request body did not arrive in time", {"Connection": "close"}) from None
            size = len(message.get("body", b""))
            received += size
            self._held += size
            if received > self._max_bytes:
                raise self._too_large()
            if self._held > self._max_held:
                raise HTTPException(
                    503,
                    "too many uploads are in progress; try again shortly",
                    {"Connection": "close", "Retry-After": "1"},
                )
            complete = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, receive_bounded, send)
        finally:
            self._held -= received

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"the request body exceeds {self._max_upload:,} bytes (LOGO_MAX_UPLOAD_BYTES); send a smaller file",
            {"Connection": "close"},
        )
