"""A service whose workers are killed, and one that answers for a long time. `make faults` runs the long forms."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.clients import CLIENTS, Clients
from tests.samples import SampleCatalog
from tests.service import serving, until

KILLS = int(os.environ.get("LOGO_TEST_KILLS", "3"))
REQUESTS = int(os.environ.get("LOGO_TEST_REQUESTS", "600"))
OPEN = {"LOGO_API_KEYS": "", "LOGO_CACHE_HITS": "500"}


def test_killed_workers_cost_at_most_what_they_were_at(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, **OPEN) as server, Clients(server.url, sample_catalog) as clients:
        until(lambda: server.log.read_text().count('"event": "ready"') == 2)
        for kill in range(KILLS):
            asked = clients.outcomes["good"]
            until(lambda asked=asked: clients.outcomes["good"] > asked + 20)
            victim = server.workers()[kill % 2]
            psutil.Process(victim).kill()
            until(lambda kill=kill: server.log.read_text().count('"event": "ready"') == 3 + kill)
            assert server.get("/metrics").status_code == 200
        asked = clients.outcomes["good"]
        until(lambda: clients.outcomes["good"] > asked + 100)
    lost = clients.outcomes.pop("cut off", 0)
    assert set(clients.outcomes) == {"good"}
    assert lost <= KILLS * CLIENTS


def test_memory_stays_flat(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """After a third of the requests, which fill the cache and the allocators, nothing grows any more."""
    with serving(sample_catalog, tmp_path, **OPEN) as server, Clients(server.url, sample_catalog) as clients:

        def used_after(requests: int) -> int:
            until(lambda: clients.outcomes["good"] >= requests, patience=60 + REQUESTS / 20)
            return sum(psutil.Process(worker).memory_info().rss for worker in server.workers())

        early = used_after(REQUESTS // 3)
        late = used_after(REQUESTS)
        threads = [psutil.Process(worker).num_threads() for worker in server.workers()]
        files = [psutil.Process(worker).num_fds() for worker in server.workers()]
    assert set(clients.outcomes) == {"good"}
    assert late < 1.05 * early
    assert max(threads) < 40
    assert max(files) < 100


@pytest.mark.parametrize("sent", [b"", b"POST /v1/search HTTP/1.1\r\n", b"GET /readyz HTTP/1.1\r\nHost: x\r\n"])
def test_connections_that_say_nothing_keep_nobody_out(
    sample_catalog: SampleCatalog, tmp_path: Path, sent: bytes
) -> None:
    import socket

    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    with serving(sample_catalog, tmp_path, **OPEN) as server:
        host, port = server.url.removeprefix("http://").split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(300)]
        try:
            for one in silent:
                one.sendall(sent)
            for _ in range(20):
                answer = server.post("/v1/search", files={"file": picture})
                assert answer.status_code == 200
        finally:
            for one in silent:
                one.close()
