"""A real service to measure: `logo-similarity serve` on given cores, and a client that checks its answers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.answers import check_hits
from benchmarks.machine import ROOT
from benchmarks.make_register import SAMPLES

START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Software:
    """A checkout of the project, and the Python that runs it."""

    checkout: Path
    python: Path

    @classmethod
    def own(cls) -> Software:
        """This checkout in the environment of `make demo`, which a user has, and not in that of the benchmarks."""
        python = ROOT / ".venv" / "bin" / "python"
        return cls(ROOT, python if python.exists() else Path(sys.executable))


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return list(psutil.Process(self.process.pid).children())

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of one event so far."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        master = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in (master, *master.children(recursive=True))]
        return float(sum(cpu.user + cpu.system for cpu in times))

    def get(self, path: str) -> bytes:
        """The body of the answer to a GET request.

        Raises:
            ConnectionError: its status is not 200.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status != 200:
            raise ConnectionError(f"{path}: {response.status}")
        return body


@contextmanager
def running(
    catalogs: Path,
    *,
    workers: int,
    threads: int,
    cores: set[int] | None,
    images: Path = SAMPLES / "images",
    software: Software | None = None,
    start_seconds: float = START_SECONDS,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """The service on `cores` (None: all), ready; stopped at the end of the block.

    Args:
        catalogs: folder of the catalog, absolute.
        workers: worker processes.
        threads: search threads of each worker.
        cores: numbers of the cores that it may use.
        images: folder of the images, absolute.
        software: the checkout to run; None: this one.
        start_seconds: the longest time until it is ready.
        settings: further environment variables; None: there are none.

    Raises:
        RuntimeError: it is not ready within `start_seconds`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "--catalogs": catalogs,
        "--images": images,
        "--port": port,
        "--workers": workers,
        "--threads": threads,
    }
    words = [str(word) for pair in options.items() for word in pair]
    software = software or Software.own()
    command = [str(software.python), "-m", "logo_similarity.cli", "serve", *words]
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or everywhere)  # inherited by the child
    # No cache: repeated queries with the same image must search.
    environment = {**os.environ, "PYTHONPATH": str(software.checkout), "LOGO_CACHE_HITS": "0", **(settings or {})}
    scratch = tempfile.TemporaryDirectory()
    log = Path(scratch.name) / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=software.checkout, stderr=stderr, env=environment)
    os.sched_setaffinity(0, everywhere)
    service = Service(port, process, log)
    try:
        deadline = time.monotonic() + start_seconds
        while True:
            try:
                service.get("/readyz")
                if len(service.workers()) == workers:
                    break
            except (ConnectionError, OSError):
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: {log.read_text()[-1000:]}")
            time.sleep(0.1)
        yield service
    finally:
        process.terminate()
        process.wait(60)
        scratch.cleanup()


class Client:
    """A client with one connection that checks every answer."""

    def __init__(self, service: Service) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)

    def search(
        self, image: Path, *, top_k: int = 100, rerank: bool = True, parts: str = "auto"
    ) -> tuple[float, dict[str, Any]]:
        """Search with the file of a logo of the catalog.

        Args:
            image: the file.
            top_k: see `domain.Query`, as the others.
            rerank: see there.
            parts: see there.

        Returns:
            Milliseconds until the answer was read, and the answer.

        Raises:
            ValueError: the answer is an error, or not the right one.
        """
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="query.jpg"\r\n\r\n'
        body = head.encode() + image.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        started = time.perf_counter()
        path = f"/v1/search?top_k={top_k}&rerank={str(rerank).lower()}&parts={parts}"
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        milliseconds = (time.perf_counter() - started) * 1000
        answer = json.loads(content)
        if response.status != 200:
            raise ValueError(f"{image.name}: {response.status} {content[:200]!r}")
        check_hits(answer["results"], image.stem, top_k)
        if not all(hit["image_url"] for hit in answer["results"]):
            raise ValueError(f"{image.name}: a hit without a link")
        return milliseconds, answer
