"""A service without a proxy, beside clients that send heads without end or hold connections. `make faults` runs the long form."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.samples import SampleCatalog
from tests.service import PATIENCE, serving

SECONDS = float(os.environ.get("LOGO_TEST_SECONDS", "15"))
ATTACKERS = 6
OPEN = {"LOGO_API_KEYS": "", "LOGO_CACHE_HITS": "0"}
log = logging.getLogger(__name__)
HEAD = b"POST /v1/search HTTP/1.1\r\nHost: x\r\n"


class Attackers:
    """Clients that send the same piece again and again, and connect again as soon as they are refused."""

    def __init__(self, url: str, start: bytes, piece: bytes, pause: float) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._address = host, int(port)
        self._start, self._piece, self._pause = start, piece, pause
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._attack) for _ in range(ATTACKERS)]
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _attack(self) -> None:
        while not self._over.is_set():
            self.counts["connections"] += 1
            try:
                with socket.create_connection(self._address, timeout=PATIENCE) as connection:
                    connection.sendall(self._start)
                    while not self._over.wait(self._pause):
                        self.counts["bytes"] += connection.send(self._piece)
            except OSError:
                self.counts["cut off"] += 1


@pytest.mark.parametrize(
    ("start", "piece", "pause", "seconds"),
    [
        (HEAD + b"X: ", b"a" * 65_536, 0.0, SECONDS),
        (HEAD, b"X: y\r\n" * 10_000, 0.0, SECONDS / 5),
        (HEAD, b"X", 1.0, SECONDS),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 65_536, 0.0, SECONDS / 5),
    ],
    ids=["endless header", "many headers", "slow head", "endless trailer"],
)
def test_searches_succeed_beside_endless_heads(
    sample_catalog: SampleCatalog,
    tmp_path: Path,
    start: bytes,
    piece: bytes,
    pause: float,
    seconds: float,
) -> None:
    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    statuses: Counter[int] = Counter()
    slowest = 0.0
    with serving(sample_catalog, tmp_path, **OPEN) as server:

        def memory() -> int:
            return sum(psutil.Process(worker).memory_info().rss for worker in server.workers())

        before, workers = memory(), server.workers()
        with Attackers(server.url, start, piece, pause) as attackers:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                answer = server.post("/v1/search", files={"file": picture}, timeout=PATIENCE)
                statuses[answer.status_code] += 1
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(max(0, 1 - (time.monotonic() - began)))
        grown = memory() - before
        assert server.workers() == workers
    log.warning(
        "%s searches, the slowest took %.3f s; %s; memory grew by %s bytes",
        statuses.total(), slowest, dict(attackers.counts), grown,
    )  # fmt: skip
    assert set(statuses) == {200}
    assert pause or attackers.counts["cut off"] >= ATTACKERS
    assert grown < 100_000_000
