"""The real service as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests.samples import SampleCatalog
from tests.seaweedfs import free_ports

KEY = "a-key-that-must-not-be-logged"
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"X-API-Key": KEY}, timeout=PATIENCE, verify=False)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """The answer on a connection of its own, so that any worker may give it."""
        return httpx2.get(self.url + path, verify=False, **options)  # reading the certificates takes 20 ms

    def post(self, path: str, **options: Any) -> httpx2.Response:
        """The same for POST."""
        return httpx2.post(self.url + path, verify=False, **options)

    @property
    def metrics(self) -> Path:
        """The folder in which its workers share their metrics."""
        (folder,) = self.log.with_name("metrics").glob("logo-similarity-metrics-*")
        return folder

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event so far."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == name]

    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "logo_similarity.cli", *words]


def until(condition: Callable[..., object], patience: float = PATIENCE) -> None:
    """Wait for a condition that must become true; fail after `patience` seconds, a bound for a test that hangs."""
    deadline = time.monotonic() + patience
    while True:
        try:
            if condition():
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, f"not true within {patience:.0f} s"
        time.sleep(0.05)


@contextmanager
def serving(catalog: SampleCatalog, folder: Path, **settings: str) -> Iterator[Server]:
    """`logo-similarity serve` on a catalog until the end of the block; `settings` override the settings of all tests."""
    with running(command("serve"), catalog, folder, settings) as server:
        yield server


@contextmanager
def running(words: list[str], catalog: SampleCatalog, folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    """The same with another command that runs it."""
    port = settings.get("LOGO_PORT") or str(free_ports(1)[0])
    environment = {
        **os.environ,
        "LOGO_CATALOGS": str(catalog.root),
        "LOGO_IMAGES_DIR": str(catalog.images),
        "LOGO_PORT": port,
        "LOGO_WORKERS": "2",
        "LOGO_THREADS": "1",
        "LOGO_API_KEYS": KEY,
        "LOGO_METRICS_DIR": str(folder / "metrics"),
        **settings,
    }
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(words, env=environment, stderr=file)
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        with server.client() as client:
            until(lambda: process.poll() is not None or client.get("/readyz").status_code == 200)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
