"""`deploy/nginx/nginx.conf` against hostile clients and replicas that die; sockets stand in for the replicas.

Needs nginx (`make faults-tools`), so `make faults` runs it and `make test` does not.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.nginx import balancing
from tests.seaweedfs import free_ports
from tests.service import PATIENCE, until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Replica:
    """Takes one request after the other, keeps each, and answers it with these bytes: with none, it dies while it works."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                head, _, body = request.partition(b"\r\n\r\n")
                lengths = [
                    int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"Content-Length:")
                ]
                while len(body) < sum(lengths):
                    body += connection.recv(65536)
                self.requests.append(head)
                connection.sendall(self._answer)


@contextmanager
def replicas(*answers: bytes) -> Iterator[list[Replica]]:
    opened = [Replica(answer) for answer in answers]
    try:
        yield opened
    finally:
        for replica in opened:
            replica.close()


def test_a_search_that_ended_one_replica_is_not_sent_to_the_next(tmp_path: Path) -> None:
    with replicas(b"", b"") as pair, balancing(tmp_path, (pair[0].address, pair[1].address)) as nginx:
        for count in range(1, 5):
            answer = httpx2.post(nginx.url + "/v1/search", content=b"image")
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert answer.headers["Retry-After"] == "2"
            assert sum(len(replica.requests) for replica in pair) == count


def test_a_search_goes_to_the_other_replica_where_one_refuses_the_connection(tmp_path: Path) -> None:
    (closed,) = free_ports(1)
    with replicas(ANSWER) as (replica,), balancing(tmp_path, (f"127.0.0.1:{closed}", replica.address)) as nginx:
        for _ in range(4):
            assert httpx2.post(nginx.url + "/v1/search", content=b"image").status_code == 200
        assert len(replica.requests) == 4
        assert str(closed) in nginx.access_log


def test_a_client_cannot_choose_the_address_that_the_service_logs(tmp_path: Path) -> None:
    with replicas(ANSWER, ANSWER) as pair, balancing(tmp_path, (pair[0].address, pair[1].address)) as nginx:
        httpx2.get(nginx.url + "/v1/logos/1", headers={"X-Forwarded-For": "203.0.113.7"})
        (head,) = pair[0].requests + pair[1].requests
        lines = head.decode().splitlines()
        assert [line for line in lines if line.startswith("X-Forwarded-For")] == ["X-Forwarded-For: 127.0.0.1"]
        assert "203.0.113.7" not in head.decode()


def test_an_endless_head_is_refused_and_reaches_no_replica(tmp_path: Path) -> None:
    with replicas(ANSWER, ANSWER) as pair, balancing(tmp_path, (pair[0].address, pair[1].address)) as nginx:
        for line in (b"X: " + b"a" * 1000, b"X: " + b"a" * 100_000):  # many headers, and one that is too long
            with socket.create_connection(("127.0.0.1", nginx.port), timeout=PATIENCE) as client:
                sent = client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
                answer = b""
                while not answer and sent < 1_000_000:
                    try:
                        sent += client.send(line + b"\r\n")
                        if sent > 90_000:
                            answer = client.recv(65536)
                    except ConnectionError:
                        break
                assert sent < 1_000_000
                assert b" 431 " in answer.splitlines()[0]
                assert b"head_too_large" in answer
        assert pair[0].requests + pair[1].requests == []
        assert httpx2.get(nginx.url + "/healthz").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nX: ", b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
    ids=["nothing", "head", "body"],
)
def test_a_client_that_does_not_go_on_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    faster = {
        "client_header_timeout 10s": "client_header_timeout 1s",
        "client_body_timeout 30s": "client_body_timeout 1s",
    }
    with (
        replicas(ANSWER, ANSWER) as pair,
        balancing(tmp_path, (pair[0].address, pair[1].address), faster) as nginx,
        ExitStack() as clients,
    ):
        opened = []
        for _ in range(50):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", nginx.port), timeout=PATIENCE))
            client.sendall(sent)
            opened.append(client)
        assert httpx2.get(nginx.url + "/healthz").status_code == 200
        for client in opened:
            assert b" 200 " not in _read_to_the_end(client)
        assert [head.split()[1] for replica in pair for head in replica.requests] == [b"/healthz"]


def test_one_address_has_a_bounded_number_of_requests_under_way(tmp_path: Path) -> None:
    fewer = {"limit_conn connections_of_address 100": "limit_conn connections_of_address 5"}
    head = b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with (
        replicas(ANSWER, ANSWER) as pair,
        balancing(tmp_path, (pair[0].address, pair[1].address), fewer) as nginx,
        ExitStack() as clients,
    ):
        for _ in range(5):  # their bodies do not come
            client = clients.enter_context(socket.create_connection(("127.0.0.1", nginx.port)))
            client.sendall(head)
        until(lambda: httpx2.get(nginx.url + "/healthz").status_code == 429)
        answer = httpx2.get(nginx.url + "/healthz")
        assert answer.json()["code"] == "rate_limited"
        assert answer.headers["Retry-After"] == "1"
        assert {head.split()[1] for replica in pair for head in replica.requests} <= {b"/healthz"}


def _read_to_the_end(client: socket.socket) -> bytes:
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received
