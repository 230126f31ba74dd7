"""A real service against clients that hold connections: no proxy stands in front of it."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.samples import SampleCatalog
from tests.service import PATIENCE, Server, serving, until

CONNECTIONS = 20
OPEN = {"LOGO_API_KEYS": "", "LOGO_CACHE_HITS": "0"}


@pytest.fixture(scope="module")
def server(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    bounds = {"LOGO_MAX_CONNECTIONS": str(CONNECTIONS), "LOGO_HEAD_SECONDS": "120", "LOGO_KEEP_ALIVE_SECONDS": "120"}
    with serving(sample_catalog, tmp_path_factory.mktemp("serve"), **OPEN, **bounds) as running:
        yield running


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def exchange(server: Server, request: bytes, *, half_close: bool = False) -> bytes:
    with connect(server) as connection:
        connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    opened: dict[str, Any] = json.loads(body)
    return opened


def upload(picture: bytes, path: bytes = b"/v1/search?top_k=1") -> bytes:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (path, len(body))
    return head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + body


@pytest.mark.parametrize("sent", [b"", b"GET /readyz HTTP/1.1\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_searches_succeed_beside_more_idle_connections_than_the_bound(
    server: Server, sample_catalog: SampleCatalog, sent: bytes
) -> None:
    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    with ExitStack() as stack:
        for _ in range(10 * CONNECTIONS):
            silent = stack.enter_context(connect(server))
            silent.sendall(sent)
        for _ in range(20):
            answer = server.post("/v1/search", files={"file": picture}, timeout=PATIENCE)
            assert answer.status_code == 200
            assert answer.json()["results"][0]["id"] == "EM/000003"
    page = server.get("/metrics").text
    assert 'logo_connections_refused_total{reason="idle"}' in page
    assert server.events("connections_refused")
    assert {client for line in server.events("connections_refused") for client in line["clients"]} == {"127.0.0.1"}


def test_a_head_past_its_bounds_is_refused(server: Server) -> None:
    answer = problem(exchange(server, b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 65_600))
    assert (answer["status"], answer["code"]) == (431, "head_too_large")
    answer = problem(exchange(server, b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n"))
    assert (answer["status"], answer["code"]) == (431, "head_too_large")
    answer = problem(exchange(server, b"nonsense\r\n\r\n"))
    assert (answer["status"], answer["code"]) == (400, "malformed_request")


def test_a_slow_head_is_ended(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, **OPEN, LOGO_HEAD_SECONDS="0.5", LOGO_WORKERS="1") as server:
        answer = problem(exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n"))
        assert (answer["status"], answer["code"]) == (408, "head_too_slow")
        assert exchange(server, b"") == b""


def test_a_half_closed_client_gets_its_answer(server: Server, sample_catalog: SampleCatalog) -> None:
    picture = (sample_catalog.images / sample_catalog.files[5]).read_bytes()
    answer = exchange(server, upload(picture), half_close=True)
    assert b"HTTP/1.1 200 OK" in answer
    assert b'"EM/000005"' in answer
    assert exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", half_close=True).startswith(b"HTTP/1.1 200")


def test_pipelined_searches_are_answered_in_order(server: Server, sample_catalog: SampleCatalog) -> None:
    pictures = [(sample_catalog.images / name).read_bytes() for name in sample_catalog.files[:3]]
    answer = exchange(server, b"".join(map(upload, pictures)), half_close=True)
    positions = [answer.find(f'"EM/{number:06}"'.encode()) for number in range(3)]
    assert -1 not in positions
    assert positions == sorted(positions)


def limit_of(worker: int) -> int:
    limits = Path(f"/proc/{worker}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    return int(line.split()[3])


def test_the_limit_of_descriptors_is_raised_for_the_connections(server: Server) -> None:
    needed = 2 * CONNECTIONS + 256
    assert {limit_of(worker) >= needed for worker in server.workers()} == {True}


@pytest.mark.parametrize(("soft", "hard", "limit"), [(128, 5_000, 1_280), (128, 310, 310)])
def test_the_connections_fit_in_the_descriptors(
    sample_catalog: SampleCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, limit: int
) -> None:
    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    limits = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    monkeypatch.setattr(subprocess, "Popen", partial(subprocess.Popen, preexec_fn=limits))
    with ExitStack() as stack:
        server = stack.enter_context(serving(sample_catalog, tmp_path, **OPEN, LOGO_WORKERS="1"))
        (worker,) = server.workers()
        assert limit_of(worker) == limit
        assert bool(server.events("descriptor_limit_low")) == (hard == limit)
        for _ in range(600):
            stack.enter_context(connect(server))
        for _ in range(5):
            answer = server.post("/v1/search", files={"file": picture}, timeout=PATIENCE)
            assert answer.status_code == 200
        assert len(list(Path(f"/proc/{worker}/fd").iterdir())) < limit


@pytest.mark.parametrize(("proxies", "seen"), [("127.0.0.0/8", "198.51.100.9"), ("192.0.2.1", "127.0.0.1")])
def test_only_a_trusted_proxy_names_the_client(
    sample_catalog: SampleCatalog, tmp_path: Path, proxies: str, seen: str
) -> None:
    settings = {"LOGO_TRUSTED_PROXIES": proxies, "LOGO_WORKERS": "1", "FORWARDED_ALLOW_IPS": "*"}
    with serving(sample_catalog, tmp_path, **settings) as server:
        headers = {"X-Forwarded-For": "203.0.113.5, 198.51.100.9"}
        assert server.get("/v1/logos/x", headers=headers).status_code == 401
        until(lambda: bool(server.events("request")))
        assert [(line["client"], line["route"]) for line in server.events("request")] == [
            (seen, "/v1/logos/{logo_id:path}")
        ]
