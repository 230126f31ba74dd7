"""Limits on connections, enforced in the HTTP protocol, before a request reaches the application.

uvicorn's protocol accepts heads of any size, at any speed, any number of connections, and any number of pipelined
requests. This one is safe to expose without a proxy.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, get_args

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from logo_similarity.api.errors import CODES, problem
from logo_similarity.api.refusals import RefusalLog
from logo_similarity.config import Settings
from logo_similarity.errors import OverloadedError
from logo_similarity.limits import DESCRIPTORS_BESIDE_CONNECTIONS, DESCRIPTORS_PER_CONNECTION
from logo_similarity.metrics import CONNECTIONS_REFUSED

MAX_PIPELINED = 8
"""Maximum number of pipelined requests that wait on a connection. Common clients do not pipeline."""
PROGRESS = 65_536
"""Bytes of a pending response that a client must read within the write timeout; the timeout then restarts."""
PROBE_SECONDS = 0.1
"""Interval of checking whether the client of a half-closed connection has disconnected."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TCP_CLOSE = 7
"""TCP state after a reset, from <netinet/tcp.h>."""


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """The limits on the connections of a worker."""

    connections: int
    head_bytes: int
    headers: int
    head_seconds: float
    idle_seconds: float
    write_seconds: float
    unread_bytes: int
    """Maximum size of the rest of a body that arrives after its request was answered."""

    @classmethod
    def of(cls, settings: Settings) -> ConnectionBounds:
        """The limits in the settings; the number of connections is reduced to fit the process's descriptor limit."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        connections = settings.max_connections
        if descriptors != resource.RLIM_INFINITY:
            room = (descriptors - DESCRIPTORS_BESIDE_CONNECTIONS) // DESCRIPTORS_PER_CONNECTION
            connections = max(1, min(connections, room))
        return cls(
            connections=connections,
            head_bytes=settings.max_head_bytes,
            headers=settings.max_headers,
            head_seconds=settings.head_seconds,
            idle_seconds=settings.keep_alive_seconds,
            write_seconds=settings.write_seconds,
            unread_bytes=settings.max_upload_bytes,
        )


def bounded_protocol(bounds: ConnectionBounds) -> Callable[..., BoundedProtocol]:
    """A connection factory for uvicorn's setting `http`. Its connections share these limits."""
    return partial(BoundedProtocol, bounds=bounds, idle={}, refusals=RefusalLog("connections_refused"))


Reason = Literal[
    "connections", "framing", "head_bytes", "head_seconds", "headers", "idle", "malformed", "pipelined", "unread_body",
    "write_seconds",
]  # fmt: skip
REASONS: tuple[Reason, ...] = get_args(Reason)


class Refusal(NamedTuple):
    """The reason for closing a connection, and the error response."""

    reason: Reason
    status: HTTPStatus
    detail: str


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits.

    - Heads are limited in size, number of headers and time; so are trailers and the framing of chunked bodies.
    - At the connection limit, a new connection replaces the one that has been idle longest.
    - A client that does not read its response, or keeps sending a body after it, is disconnected.
    - A half-closed client gets its response. A disconnected one looks the same at first, so it is probed.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: ConnectionBounds,
        idle: dict[BoundedProtocol, None],
        refusals: RefusalLog,
    ) -> None:
        """Like uvicorn's.

        Args:
            config: passed on.
            server_state: passed on.
            app_state: passed on.
            _loop: passed on.
            bounds: the limits.
            idle: the idle connections of this worker, longest idle first.
            refusals: logs refusals.
        """
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._idle = idle
        self._refusals = refusals
        self._active: RequestResponseCycle | None = None
        """The request in progress; `cycle` is the newest request, which may still be queued."""
        self._in_body = False
        self._head_begun = False
        self._ending = False
        """Whether further input is ignored."""
        self._head_size = 0
        self._trailers = 0
        self._progressed = False
        self._delivered = 0
        """Bytes of body in the current read."""
        self._unproductive = 0
        """Bytes since the last progress that are not body: an incomplete head, chunk framing, trailers."""
        self._unread = 0
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._probe_timer: asyncio.TimerHandle | None = None

    # Called by the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections and not self._make_room():
            self._refuse(REFUSED_CONNECTION)
            return
        self._wait_for_request(self._bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.pop(self, None)
        for timer in (self._read_timer, self._write_timer, self._probe_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if self._active is not None and not self._active.response_complete:  # uvicorn only marks the newest request
            self._active.disconnected = True
            self._active.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._progressed, self._delivered = False, 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_answers()  # further bytes would be in another protocol; none is supported
            self._stop_reading()
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _RefusedError) else MALFORMED)
            return
        if self._progressed:
            self._unproductive = 0
            return
        # Each byte of body allows one byte of framing: chunks of five bytes or more are never refused.
        self._unproductive = max(0, self._unproductive + len(data) - 2 * self._delivered)
        if self._unproductive > self._bounds.head_bytes:
            self._refuse(LONG_FRAMING if self._in_body else self._long_head())
        elif not self._in_body and not self._busy and not self._head_begun:
            self._begin_head()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        if self._in_body or not self._busy:
            return None  # closes the connection
        # The client has sent its last request: keep the other direction open for the response.
        if not self._ending:
            self._end_after_answers()
        if self._probe_timer is None:
            self._probe_timer = self.loop.call_later(PROBE_SECONDS, self._probe)
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._guard_write()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self.transport.is_closing():
            self._guard_write()

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._busy and len(self.pipeline) >= MAX_PIPELINED:
            raise _RefusedError(PIPELINED)
        super().on_message_begin()
        self._head_size = self._trailers = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:  # a trailer: ignored, and must not be taken for a header
            self._trailers += 1
            if self._trailers > self._bounds.headers:
                raise _RefusedError(self._many_headers())
            return
        super().on_header(name, value)
        self._head_size += len(name) + len(value)
        if len(self.headers) > self._bounds.headers:
            raise _RefusedError(self._many_headers())

    def on_headers_complete(self) -> None:
        if self._head_size + len(self.url) > self._bounds.head_bytes:
            raise _RefusedError(self._long_head())
        super().on_headers_complete()
        self._in_body = self._progressed = True
        self._head_begun = False
        self._idle.pop(self, None)
        self._stop_read_timer()

    def on_body(self, body: bytes) -> None:
        self._delivered += len(body)
        if self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > self._bounds.unread_bytes:
                raise _RefusedError(UNREAD_BODY)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        self._progressed = True
        if self.cycle.response_complete:  # answered before its body was complete
            self._wait_for_request(self._bounds.idle_seconds)

    # Called by the application's side.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._guard_write()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._in_body:
            self._unread = 0
            self._start_read_timer(self._bounds.head_seconds, self._body_is_late)
        else:
            self._wait_for_request(self._bounds.idle_seconds)
            if self._unproductive:  # part of the next head has arrived
                self._begin_head()

    def shutdown(self) -> None:
        if self._busy:
            self.cycle.keep_alive = False
        else:
            self._close()

    # Waiting for a request.

    @property
    def _busy(self) -> bool:
        """Whether a response is pending."""
        return self._active is not None and not self._active.response_complete

    def _wait_for_request(self, seconds: float) -> None:
        self._idle[self] = None
        self._start_read_timer(seconds, self._head_is_late)

    def _begin_head(self) -> None:
        """Start the timer at the first bytes of a head. For the first head, it started with the connection."""
        self._head_begun = True
        if self._active is not None:
            self._start_read_timer(self._bounds.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._head_begun:
            self._refuse(LATE_HEAD)
        else:
            self._close()  # an idle connection

    def _body_is_late(self) -> None:
        self._count(UNREAD_BODY)
        self._close()

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest. Returns False if none is idle."""
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        self._count(REFUSED_CONNECTION._replace(reason="idle"))
        oldest._close()  # noqa: SLF001 - same class
        self.connections.discard(oldest)
        return True

    # Ending a connection.

    def _refuse(self, refusal: Refusal) -> None:
        """Close the connection. Send the error unless an earlier response is pending or this one has started."""
        self._count(refusal)
        if self.transport.is_closing():
            return
        if self._busy:
            if self._active is not self.cycle or not self._in_body:  # the refused input follows another request
                self._end_after_answers()
                self._stop_reading()
                return
            response_started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            response_started = self._in_body  # answered before
        self._ending = True
        if not response_started:
            self.transport.write(_answer(refusal))
        self._close()

    def _end_after_answers(self) -> None:
        """Ignore further input, and close once all complete requests have been answered."""
        self._ending = True
        last = self.cycle
        if self._in_body and self.pipeline and self.pipeline[0][0] is last:  # its body will stay incomplete
            self.pipeline.popleft()
            last = self.pipeline[0][0] if self.pipeline else self._active or last
        self._in_body = False
        if self._busy:
            last.keep_alive = False
        else:
            self._close()

    def _stop_reading(self) -> None:
        if self.transport.is_reading():
            self.transport.pause_reading()

    def _count(self, refusal: Refusal) -> None:
        CONNECTIONS_REFUSED.labels(refusal.reason).inc()
        self._refusals.add(refusal.reason, self.client[0] if self.client else None)

    def _close(self) -> None:
        self._ending = True
        self._idle.pop(self, None)
        self._stop_read_timer()
        self.transport.close()
        self._guard_write()

    # Timers.

    def _start_read_timer(self, seconds: float, late: Callable[[], None]) -> None:
        self._stop_read_timer()
        self._read_timer = self.loop.call_later(seconds, late)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _guard_write(self) -> None:
        """Start the write timeout if data is waiting to be sent."""
        waiting = self.transport.get_write_buffer_size()
        if self._write_timer is None and waiting > 0:
            self._write_timer = self.loop.call_later(self._bounds.write_seconds, self._check_write, waiting)

    def _check_write(self, before: int) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size() <= before - PROGRESS:
            self._guard_write()
        else:
            self._count(UNREAD_ANSWER)
            self.transport.abort()

    def _probe(self) -> None:
        """Check whether the client of a half-closed connection has disconnected.

        TCP shows the difference only when data is sent: a disconnected client replies with a reset. An interim response
        may be sent at any time, and clients ignore it.
        """
        active = self._active
        if active is not None and not active.response_started and active.scope["http_version"] == "1.1":
            self.transport.write(CONTINUE)
        self._look_for_reset()

    def _look_for_reset(self) -> None:
        if self.transport.is_closing():
            return
        state = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if state[0] == TCP_CLOSE:
            self.transport.abort()
        else:
            self._probe_timer = self.loop.call_later(PROBE_SECONDS, self._look_for_reset)

    def _long_head(self) -> Refusal:
        return _head_refusal("head_bytes", f"the request head is larger than {self._bounds.head_bytes:,} bytes")

    def _many_headers(self) -> Refusal:
        return _head_refusal("headers", f"the request has more than {self._bounds.headers:,} headers")


class _RefusedError(Exception):
    """Stops the parser. The parser's own error has it as its context."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


MALFORMED = Refusal("malformed", HTTPStatus.BAD_REQUEST, "the bytes received are not a valid HTTP/1.1 request")
LONG_FRAMING = Refusal("framing", HTTPStatus.BAD_REQUEST, "the chunks of the request body are too small")
PIPELINED = Refusal(
    "pipelined", HTTPStatus.BAD_REQUEST, "too many pipelined requests; wait for responses before sending more"
)
LATE_HEAD = Refusal("head_seconds", HTTPStatus.REQUEST_TIMEOUT, "the request head did not arrive in time")
UNREAD_BODY = Refusal("unread_body", HTTPStatus.REQUEST_TIMEOUT, "the client kept sending the body after the response")
UNREAD_ANSWER = Refusal("write_seconds", HTTPStatus.REQUEST_TIMEOUT, "the client did not read the response in time")
REFUSED_CONNECTION = Refusal(
    "connections", HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open; try again shortly"
)
HEAD_CODES = {HTTPStatus.REQUEST_TIMEOUT: "head_too_slow", HTTPStatus.SERVICE_UNAVAILABLE: OverloadedError.code}


def _head_refusal(reason: Reason, detail: str) -> Refusal:
    return Refusal(reason, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)


def _answer(refusal: Refusal) -> bytes:
    """The bytes of a complete response."""
    status = refusal.status
    headers = {"Connection": "close"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    response = problem(status, HEAD_CODES.get(status) or CODES[status], status.phrase, refusal.detail, headers)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
