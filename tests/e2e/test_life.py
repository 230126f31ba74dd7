"""How a service drains, stops, dies and comes back: real processes under load."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest

from logo_similarity.catalog.versions import Catalog
from tests.clients import Clients
from tests.samples import SampleCatalog
from tests.service import PATIENCE, Server, command, serving, until

OPEN = {"LOGO_API_KEYS": ""}


def search(server: Server, catalog: SampleCatalog, number: int = 3) -> httpx2.Response:
    """On a connection of its own."""
    picture = (catalog.images / catalog.files[number]).read_bytes()
    return server.post("/v1/search?top_k=1", files={"file": picture}, timeout=PATIENCE)


def refuses(server: Server) -> bool:
    """Whether the port is closed."""
    host, port = server.url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def events(server: Server) -> list[str]:
    lines = server.log.read_text().splitlines()
    return [json.loads(line).get("event", "") for line in lines if line.startswith("{")]


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_service_drains_before_it_closes_the_port(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with (
        serving(sample_catalog, tmp_path, **OPEN, LOGO_DRAIN_SECONDS="600") as server,
        Clients(server.url, sample_catalog) as clients,
    ):
        until(lambda: clients.outcomes["good"] > 20)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)
        # Each is a new connection, which either of the workers accepts.
        answers = [server.get("/readyz") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["code"] for answer in answers} == {"not_ready"}
        assert {search(server, sample_catalog, number).status_code for number in range(20)} == {200}
        assert server.get("/healthz").status_code == 200
        # A client that keeps its connection is told to look for another one.
        until(lambda: server.get("/healthz").headers.get("Connection") == "close")
        # A worker that dies meanwhile is replaced, and the new one drains as well.
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: events(server).count("ready") == 3)
        assert {server.get("/readyz").status_code for _ in range(20)} == {503}
        cut = clients.outcomes["cut off"]
        good = clients.outcomes["good"]
        until(lambda: clients.outcomes["good"] > good + 20)
        assert clients.outcomes["cut off"] == cut
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)  # the second one ends the drain
        assert server.process.wait(PATIENCE) == 0
    assert events(server).count("draining") == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGQUIT])
def test_an_interrupt_ends_the_drain(sample_catalog: SampleCatalog, tmp_path: Path, sign: signal.Signals) -> None:
    with serving(sample_catalog, tmp_path, **OPEN, LOGO_DRAIN_SECONDS="600", LOGO_GRACEFUL_SECONDS="600") as server:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "draining" in events(server))
        server.process.send_signal(sign)
        assert server.process.wait(PATIENCE) == 0
        assert refuses(server)


def test_nothing_is_refused_until_the_drain_is_over(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """Clients on new connections, one after the other: all are answered until the port is closed, and then none."""
    outcomes: list[int] = []
    with serving(sample_catalog, tmp_path, **OPEN, LOGO_DRAIN_SECONDS="2") as server:

        def ask() -> None:
            while True:
                try:
                    outcomes.append(search(server, sample_catalog).status_code)
                except httpx2.TransportError:
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(outcomes) > 8)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "draining" in events(server))
        before = len(outcomes)
        for thread in threads:
            thread.join()
        assert server.process.wait(PATIENCE) == 0
        until(lambda: refuses(server))
    assert set(outcomes) == {200}
    assert len(outcomes) > before + 8  # it went on to answer
    assert len([line for line in events(server) if line == "request"]) >= len(outcomes)


@contextmanager
def killed_master(
    catalog: SampleCatalog, folder: Path, **settings: str
) -> Iterator[tuple[Server, list[psutil.Process]]]:
    """A service whose master has just been killed while its workers were at work."""
    with (
        serving(catalog, folder, **OPEN, LOGO_METRICS_DIR="", TMPDIR=str(folder), **settings) as server,
        Clients(server.url, catalog) as clients,
    ):
        until(lambda: clients.outcomes["good"] > 20)
        workers = [psutil.Process(worker) for worker in server.workers()]
        server.process.kill()
        server.process.wait()
        yield server, workers


def test_a_killed_master_frees_the_port_and_its_folder(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """With the default settings, under load."""
    with killed_master(sample_catalog, tmp_path) as (server, workers):
        (stale,) = tmp_path.glob("logo-similarity-metrics-*")
        (tmp_path / "again").mkdir()
        port = server.url.rpartition(":")[2]
        # At once: a service that finds the port taken ends with an error.
        with serving(
            sample_catalog, tmp_path / "again", **OPEN, LOGO_PORT=port, LOGO_METRICS_DIR="", TMPDIR=str(tmp_path)
        ) as second:
            until(lambda: all(ended(worker) for worker in workers))  # one of them may have answered so far
            until(lambda: search(second, sample_catalog).status_code == 200)
            assert second.process.poll() is None
    assert "master_died" in events(server)
    # No process holds it any more: the next start deletes it.
    with serving(sample_catalog, tmp_path, **OPEN, LOGO_METRICS_DIR="", TMPDIR=str(tmp_path)):
        (folder,) = tmp_path.glob("logo-similarity-metrics-*")
        assert folder != stale


def test_a_worker_that_hangs_keeps_no_port_of_a_dead_master(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, **OPEN) as server:
        until(lambda: len(server.workers()) == 2)
        hanging, other = (psutil.Process(worker) for worker in server.workers())
        for one in (other, hanging):  # the last one stays so
            hanging.resume()
            other.resume()
            one.suspend()
            until(lambda: server.get("/healthz").status_code == 200)  # so the remaining one has started
        try:
            server.process.kill()
            server.process.wait()
            until(lambda: refuses(server))
            assert not ended(hanging)
        finally:
            hanging.kill()


def test_requests_in_flight_outlive_the_master(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    head = (
        f"POST /v1/search?top_k=1 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n"
    )
    with serving(sample_catalog, tmp_path, **OPEN, LOGO_WORKERS="1") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1_000).startswith(b"HTTP/1.1 100")  # the worker reads the body
            server.process.kill()
            until(lambda: refuses(server))
            connection.sendall(body)
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"EM/000000"' in answer


def test_the_port_is_closed_while_no_worker_is_ready(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """A live file is cut short: a page that is not there any more kills whoever touches it (SIGBUS)."""
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    catalog = SampleCatalog(tmp_path / "catalogs", sample_catalog.images, sample_catalog.files)
    version = Catalog(catalog.root).current()
    with serving(catalog, tmp_path, **OPEN) as server:
        until(lambda: events(server).count("ready") == 2)
        contents = {name: (version / name).read_bytes() for name in ("index.faiss", "patches.npy")}
        for name in contents:
            os.truncate(version / name, 0)

        def dead() -> bool:
            with suppress(httpx2.TransportError):
                search(server, catalog)
            return "no_worker_ready" in events(server)

        until(dead)
        assert all(refuses(server) for _ in range(20))
        # The workers that are tried meanwhile do not open it.
        tried = events(server).count("Application startup failed. Exiting.")
        until(lambda: events(server).count("Application startup failed. Exiting.") > tried + 1)
        assert refuses(server)
        assert server.process.poll() is None
        for name, content in contents.items():
            (version / name).write_bytes(content)
        until(lambda: search(server, catalog).status_code == 200)
        until(lambda: len(server.workers()) == 2)


def test_a_worker_that_is_replaced_closes_no_port(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, **OPEN) as server:
        until(lambda: events(server).count("ready") == 2)
        victim, _ = server.workers()
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in server.workers())
        assert not refuses(server)
        assert search(server, sample_catalog).status_code == 200
        until(lambda: events(server).count("ready") == 3)
    assert "no_worker_ready" not in events(server)


def test_a_service_says_its_version_and_settings_it_does_not_know(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    with serving(sample_catalog, tmp_path, **OPEN, LOGO_PROT="8", LOGO_TEST_ANYTHING="1") as server:
        first, *others = (json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{"))
        assert first["event"] == "starting"
        assert first["version"]
        assert [line["hint"] for line in others if line["event"] == "unknown_setting"] == [
            "LOGO_PROT is not a setting; did you mean LOGO_PORT?"
        ]


def test_a_folder_of_images_that_is_not_there_stops_the_start(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    done = subprocess.run(
        command("serve", "--images", str(tmp_path / "nope")),
        env={**os.environ, "LOGO_CATALOGS": str(sample_catalog.root)},
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{tmp_path / 'nope'} is not a folder" in line
    assert "--images" in line
