"""The protocol's bounds over real sockets, with an application that waits, answers at length, or does not read its body."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn import Server as Uvicorn
from uvicorn.server import ServerState

from logo_similarity.api import refusals
from logo_similarity.api.connections import MAX_PIPELINED, ConnectionBounds, bounded_protocol
from logo_similarity.config import load_settings
from logo_similarity.metrics import CONNECTIONS_REFUSED
from tests.logs import logs_of
from tests.service import PATIENCE, until

BOUNDS = replace(ConnectionBounds.of(load_settings()), head_seconds=600, idle_seconds=600, write_seconds=600)
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Application:
    """`/wait` answers when it is told to, `/echo` returns its body, `/large` is long, `/early` does not read its body."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.begun = 0
        self.answered: list[str] = []
        self.left = 0
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        path, body = scope["path"], b""
        if path == "/wait":
            await receive()
            gone = asyncio.ensure_future(receive())
            while not self.release.is_set() and not gone.done():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.01)
            if gone.done():
                assert gone.result()["type"] == "http.disconnect"
                self.left += 1
                return
            gone.cancel()
        elif path == "/echo":
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.left += 1
                    return
                body += message["body"]
                more = message["more_body"]
            self.headers = list(scope["headers"])
        elif path == "/large":
            body = bytes(50_000_000)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
        self.answered.append(path)


@contextmanager
def serving(bounds: ConnectionBounds) -> Iterator[tuple[Application, Callable[[], socket.socket]]]:
    app, listener = Application(), socket.create_server(("127.0.0.1", 0))
    config = Config(app, http=bounded_protocol(bounds), ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
    server = Uvicorn(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(listener.getsockname(), timeout=PATIENCE))
        opened[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened[-1]

    try:
        until(lambda: server.started)
        yield app, connect
    finally:
        app.release.set()
        for connection in opened:
            connection.close()
        server.should_exit = True
        thread.join()


def rest(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionResetError:  # closed with bytes of ours unread
        pass
    return received


def refused(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head.lower()
    assert json.loads(body)["code"] == code


def let_head_seconds_pass(connect: Callable[[], socket.socket]) -> None:
    """Return when a head that begins now has had its time, and with it every timer of that length that began before."""
    connection = connect()
    connection.sendall(b"GET / HT")
    refused(rest(connection), 408, "head_too_slow")


def counted(reason: str) -> float:
    (family,) = CONNECTIONS_REFUSED.collect()
    values = [sample.value for sample in family.samples if sample.labels == {"reason": reason}]
    return values[0] if values else 0.0


def send_all_it_takes(connection: socket.socket, piece: bytes, limit: int) -> int:
    """Send until the server closes; the number of bytes it accepted, which may be in buffers on the way."""
    sent = 0
    try:
        while sent < limit:
            sent += connection.send(piece)
    except (ConnectionResetError, BrokenPipeError):
        pass
    return sent


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(resource.RLIM_INFINITY, 500), (5_000, 500), (1_256, 500), (1_255, 499), (258, 1), (100, 1)],
)
def test_connections_fit_the_limit_on_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, resource.RLIM_INFINITY))
    assert ConnectionBounds.of(load_settings(max_connections=500)).connections == connections


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 1_000),
        (b"GET /", b"a" * 1_000),
        (b"GET / HTTP/1.1\r\n", b"a" * 1_000),
        (b"", b"\r\n" * 500),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 100),
    ],
    ids=["value", "request line", "name", "blank lines", "many"],
)
def test_an_endless_head_is_refused(start: bytes, piece: bytes) -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(start)
        assert send_all_it_takes(connection, piece, 100_000_000) < 20_000_000
        assert app.begun == 0


def test_a_large_head_is_refused_with_a_problem() -> None:
    with serving(BOUNDS) as (_, connect):
        connection = connect()
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 65_600)
        refused(rest(connection), 431, "head_too_large")
        connection = connect()
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 65_600 + b"\r\n\r\n")  # complete, in one piece
        refused(rest(connection), 431, "head_too_large")
        connection = connect()
        connection.sendall(b"GET /" + b"a" * 65_600 + b" HTTP/1.1\r\n\r\n")
        refused(rest(connection), 431, "head_too_large")


def test_a_head_at_the_bounds_is_accepted() -> None:
    with serving(BOUNDS) as (_, connect):
        connection = connect()
        lines = b"X: %s\r\n" % (b"y" * 600)
        connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n" + lines * 99 + b"\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 200")
        before = counted("headers")
        connection = connect()
        connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n" + b"X: y\r\n" * 100 + b"\r\n")
        refused(rest(connection), 431, "head_too_large")
        assert counted("headers") == before + 1


def test_a_head_in_small_pieces_between_bodies_is_not_counted_together() -> None:
    """A connection that sends a hundred requests of some size, each in pieces, has not sent one large head."""
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 3_000 + b"\r\nContent-Length: 5\r\n\r\n"
        answers = connection.makefile("rb")
        for _ in range(100):
            connection.sendall(head[:1_500])
            connection.sendall(head[1_500:] + b"he")
            connection.sendall(b"llo")
            assert answers.readline().startswith(b"HTTP/1.1 200")
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(5) == b"hello"
        assert app.begun == 100


@pytest.mark.parametrize("first", [True, False])
def test_a_slow_head_is_answered_408(first: bool) -> None:
    with serving(replace(BOUNDS, head_seconds=0.3)) as (_, connect):
        connection = connect()
        if not first:
            connection.sendall(GET % b"/")
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HT")
        refused(rest(connection), 408, "head_too_slow")


def test_a_head_that_goes_on_byte_by_byte_has_no_more_time() -> None:
    with serving(replace(BOUNDS, head_seconds=0.5)) as (_, connect):
        connection = connect()
        connection.settimeout(0.05)
        connection.sendall(b"GET /")
        answer = b""
        for _ in range(1_000):
            try:
                connection.sendall(b"a")
                answer += connection.recv(1_000)
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
            if answer:
                break
        refused(answer, 408, "head_too_slow")


def test_idle_connections_are_closed_without_an_answer() -> None:
    with serving(replace(BOUNDS, head_seconds=0.2, idle_seconds=0.2)) as (_, connect):
        assert rest(connect()) == b""
        connection = connect()
        connection.sendall(GET % b"/")
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1


def test_the_longest_idle_connection_makes_room() -> None:
    with serving(replace(BOUNDS, connections=3)) as (_, connect), logs_of(refusals) as logs:
        before = counted("idle")
        connections = [connect() for _ in range(3)]
        for connection in connections:  # known to be accepted; the first is the one that has waited longest
            connection.sendall(GET % b"/")
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        fourth = connect()
        assert rest(connections[0]) == b""
        fourth.sendall(GET % b"/")
        assert fourth.recv(1_000).startswith(b"HTTP/1.1 200")
        connections[1].sendall(GET % b"/")
        assert connections[1].recv(1_000).startswith(b"HTTP/1.1 200")
        assert counted("idle") == before + 1
    (line,) = [line for line in logs if line["event"] == "connections_refused"]
    assert line["reasons"] == {"idle": 1}
    assert line["clients"] == {"127.0.0.1": 1}


def test_a_connection_too_many_is_refused_while_all_others_are_busy() -> None:
    with serving(replace(BOUNDS, connections=2)) as (app, connect):
        busy = [connect() for _ in range(2)]
        for connection in busy:
            connection.sendall(GET % b"/wait")
        until(lambda: app.begun == 2)
        refused(rest(connect()), 503, "overloaded")
        app.release.set()
        for connection in busy:
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        again = connect()
        again.sendall(GET % b"/")
        assert again.recv(1_000).startswith(b"HTTP/1.1 200")


def test_refusals_are_logged_once_a_second() -> None:
    with logs_of(refusals) as logs, serving(BOUNDS) as (_, connect):
        for _ in range(50):
            connection = connect()
            connection.sendall(b"nonsense\r\n\r\n")
            refused(rest(connection), 400, "malformed_request")
        until(lambda: sum(line["count"] for line in logs if line["event"] == "connections_refused") == 50)
    assert len([line for line in logs if line["event"] == "connections_refused"]) < 25


@pytest.mark.parametrize("data", [b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET \x80 HTTP/1.1\r\n\r\n"])
def test_protocol_errors_are_problems(data: bytes) -> None:
    with serving(BOUNDS) as (_, connect):
        connection = connect()
        connection.sendall(data)
        refused(rest(connection), 400, "malformed_request")


def test_a_malformed_body_is_a_problem_and_the_application_notices() -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(CHUNKED + b"5\r\nhello\r\n")
        until(lambda: app.begun == 1)
        connection.sendall(b"ZZ\r\n")
        refused(rest(connection), 400, "malformed_request")
        until(lambda: app.left == 1)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"0\r\nX: ", b"a" * 1_000),
        (b"0\r\n", b"X: y\r\n" * 100),
        (b"5;", b"a" * 1_000),
        (b"", b"1;" + b"a" * 100 + b"\r\nx\r\n"),
        (b"", b"1\r\nx\r\n" * 100),
    ],
    ids=["trailer", "many trailers", "extension", "extensions", "tiny chunks"],
)
def test_endless_framing_of_a_body_is_refused(start: bytes, piece: bytes) -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(CHUNKED + start)
        assert send_all_it_takes(connection, piece, 100_000_000) < 20_000_000
        until(lambda: app.left == 1)


def test_chunks_of_some_bytes_are_accepted_and_trailers_are_no_headers() -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(CHUNKED + b"7\r\n1234567\r\n" * 100_000 + b"0\r\nX-API-Key: secret\r\n\r\n")
        answer = connection.makefile("rb")
        while answer.readline() != b"\r\n":
            pass
        assert answer.read(700_000) == b"1234567" * 100_000
        assert [name for name, _ in app.headers] == [b"host", b"transfer-encoding"]
        connection.sendall(GET % b"/")
        assert answer.readline().startswith(b"HTTP/1.1 200")  # the connection goes on


def test_a_body_that_goes_on_after_its_answer_is_cut_off() -> None:
    with serving(replace(BOUNDS, unread_bytes=1_000_000)) as (_, connect):
        connection = connect()
        connection.sendall(CHUNKED.replace(b"/echo", b"/early"))
        assert send_all_it_takes(connection, b"3e8\r\n" + bytes(1_000) + b"\r\n", 100_000_000) < 20_000_000
        assert rest(connection).count(b"HTTP/1.1") <= 1
    with serving(replace(BOUNDS, head_seconds=0.2)) as (_, connect):
        connection = connect()
        connection.sendall(CHUNKED.replace(b"/echo", b"/early") + b"5\r\nhello\r\n")
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1


def test_the_next_request_follows_a_body_that_was_not_read() -> None:
    with serving(replace(BOUNDS, head_seconds=0.5)) as (_, connect):
        connection = connect()
        answer = connection.makefile("rb")
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert answer.readline().startswith(b"HTTP/1.1 200")
        connection.sendall(bytes(100_000))
        let_head_seconds_pass(connect)  # the time that the rest of the body had
        connection.sendall((GET % b"/").replace(b"Host", b"Connection: close\r\nHost"))
        assert b"HTTP/1.1 200" in answer.read()


def test_the_head_behind_a_request_in_progress_has_its_time() -> None:
    with serving(replace(BOUNDS, head_seconds=0.5)) as (app, connect):
        connection = connect()
        connection.sendall(GET % b"/wait")
        until(lambda: app.begun == 1)
        connection.sendall(b"GET / HT")
        let_head_seconds_pass(connect)  # its own begins when the answer has been sent
        app.release.set()
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        refused(answer[answer.index(b"HTTP/1.1 408") :], 408, "head_too_slow")


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with serving(replace(BOUNDS, write_seconds=0.3)) as (_, connect):
        before = counted("write_seconds")
        connection = connect()
        connection.sendall(GET % b"/large")
        until(lambda: counted("write_seconds") == before + 1)
        assert len(rest(connection)) < 50_000_000


@pytest.mark.anyio
@pytest.mark.parametrize("waiting", [0, 1])
async def test_the_write_timeout_starts_with_the_first_byte_that_waits(waiting: int) -> None:
    """How much waits in a real transport is up to the kernel."""
    aborted, loop = asyncio.Event(), asyncio.get_running_loop()
    config = Config(Application(), ws="none", lifespan="off", log_config=None)
    protocol = bounded_protocol(replace(BOUNDS, write_seconds=0))(config, ServerState(), {}, loop)
    protocol.transport = SimpleNamespace(get_write_buffer_size=lambda: waiting, abort=aborted.set)  # type: ignore[assignment]
    protocol._guard_write()
    assert (protocol._write_timer is not None) == bool(waiting)
    if waiting:
        async with asyncio.timeout(PATIENCE):
            await aborted.wait()


def test_a_client_that_reads_slowly_but_steadily_gets_it_all() -> None:
    with serving(replace(BOUNDS, write_seconds=2)) as (_, connect):
        connection = connect()
        connection.sendall((GET % b"/large").replace(b"Host", b"Connection: close\r\nHost"))
        received, pieces = 0, 0
        while piece := connection.recv(1_000_000):
            received += len(piece)
            pieces += 1
            threading.Event().wait(0.08)  # a slow client: more than twice the time for one step in all
        assert received > 50_000_000
        assert pieces > 40


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_half_closed_client_gets_its_answer(version: bytes) -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(b"POST /echo HTTP/" + version + b"\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        connection.shutdown(socket.SHUT_WR)
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nhello")
        slow = connect()
        slow.sendall((GET % b"/wait").replace(b"1.1", version))
        slow.shutdown(socket.SHUT_WR)
        if version == b"1.1":
            assert slow.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        app.release.set()
        assert rest(slow).startswith(b"HTTP/1.1 200")
        assert app.left == 0


def test_a_client_that_has_gone_is_noticed() -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(GET % b"/wait")
        until(lambda: app.begun == 1)
        connection.close()
        until(lambda: app.left == 1)
        pipelined = connect()
        pipelined.sendall(GET % b"/wait" + GET % b"/")
        until(lambda: app.begun == 2)
        pipelined.close()
        until(lambda: app.left == 2)
        incomplete = connect()
        incomplete.sendall(CHUNKED)
        until(lambda: app.begun == 3)
        incomplete.shutdown(socket.SHUT_WR)  # no more body can come
        assert rest(incomplete) == b""
        until(lambda: app.left == 3)


def test_pipelined_requests_are_answered_in_order() -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall((GET % b"/wait") + (GET % b"/") * (MAX_PIPELINED - 1) + GET % b"/last")
        connection.shutdown(socket.SHUT_WR)
        until(lambda: app.begun == 1)
        app.release.set()
        assert rest(connection).replace(b"100 Continue", b"").count(b"HTTP/1.1 200") == MAX_PIPELINED + 1
        assert app.answered == ["/wait", *["/"] * (MAX_PIPELINED - 1), "/last"]


def test_a_flood_of_pipelined_requests_is_cut_off() -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(GET % b"/wait" + (GET % b"/") * 1_000)
        until(lambda: app.begun == 1)
        assert send_all_it_takes(connection, b"", 0) == 0
        app.release.set()
        assert rest(connection).count(b"HTTP/1.1 200") == MAX_PIPELINED + 1
        assert app.begun == MAX_PIPELINED + 1


def test_nonsense_behind_a_request_does_not_disturb_its_answer() -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(GET % b"/wait" + b"nonsense\r\n\r\n")
        until(lambda: app.begun == 1)
        app.release.set()
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1


def test_a_malformed_body_behind_a_request_in_progress_is_dropped() -> None:
    with serving(BOUNDS) as (app, connect):
        connection = connect()
        connection.sendall(GET % b"/wait" + GET % b"/" + CHUNKED + b"ZZ\r\n")
        until(lambda: app.begun == 1)
        app.release.set()
        assert rest(connection).count(b"HTTP/1.1 200") == 2
        assert app.answered == ["/wait", "/"]


def test_an_upgrade_is_answered_as_a_plain_request() -> None:
    with serving(BOUNDS) as (_, connect):
        connection = connect()
        connection.sendall(
            (GET % b"/").replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost") + b"PRI * HTTP/2.0"
        )
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1
