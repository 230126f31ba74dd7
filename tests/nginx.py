"""A real nginx with `deploy/nginx/nginx.conf`, in front of two addresses."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.seaweedfs import free_ports
from tests.service import until

CONFIGURATION = Path(__file__).parent.parent / "deploy" / "nginx" / "nginx.conf"


@dataclass(frozen=True, slots=True)
class Nginx:
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take_out(self, replica: str) -> None:
        """Reload the configuration without this replica, and wait until no request to it is in flight."""
        configuration = self.folder / "nginx.conf"
        configuration.write_text(configuration.read_text().replace(f"server {replica} ", f"server {replica} down "))
        master = psutil.Process(int((self.folder / "nginx.pid").read_text()))
        before = set(master.children())
        subprocess.run(["nginx", "-c", str(configuration), "-p", str(self.folder), "-s", "reload"], check=True)
        until(lambda: before.isdisjoint(master.children()))

    @property
    def access_log(self) -> str:
        return (self.folder / "access.log").read_text()

    @property
    def error_log(self) -> str:
        return (self.folder / "nginx.log").read_text()


@contextmanager
def balancing(folder: Path, replicas: tuple[str, str], changes: Mapping[str, str] | None = None) -> Iterator[Nginx]:
    """An nginx in front of two addresses; `changes` replaces more texts of the configuration, which must contain them."""
    (port,) = free_ports(1)
    text = CONFIGURATION.read_text()
    replacements = {
        "127.0.0.1:8001": replicas[0],
        "127.0.0.1:8002": replicas[1],
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "/run/nginx.pid": str(folder / "nginx.pid"),
        "access_log /dev/stdout": f"access_log {folder}/access.log",
        "rate=100r/s": "rate=10000r/s",  # all clients here have one address
        **(changes or {}),
    }
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    words = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    subprocess.run([*words, "-t", "-q"], check=True)
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([*words, "-g", "daemon off;"], stderr=log)
    nginx = Nginx(port, folder)
    try:
        until(lambda: process.poll() is not None or _listens(port))
        assert process.poll() is None, nginx.error_log
        yield nginx
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
