"""A service to which something happens that nobody planned: it goes on answering, or ends and says why."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import psutil
import pytest

from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.keys.store import open_key_store
from tests.keys import make_key
from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server, free_ports
from tests.service import Server, command, serving, until

OPEN = {"LOGO_API_KEYS": ""}


def search(server: Server, catalog: SampleCatalog, number: int = 3) -> httpx2.Response:
    picture = (catalog.images / catalog.files[number]).read_bytes()
    return server.post("/v1/search", files={"file": picture}, timeout=30)


def found(server: Server, catalog: SampleCatalog, number: int = 3) -> bool:
    answer = search(server, catalog, number)
    return answer.status_code == 200 and answer.json()["results"][0]["id"] == f"EM/{number:06}"


def own_copy(catalog: SampleCatalog, folder: Path) -> SampleCatalog:
    """A catalog that a test may spoil."""
    shutil.copytree(catalog.root, folder / "catalogs")
    return SampleCatalog(folder / "catalogs", catalog.images, catalog.files)


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, be it that nobody has asked for its status yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_workers_do_not_outlive_a_killed_master(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, **OPEN, LOGO_HANG_SECONDS="4") as server:
        workers = [psutil.Process(worker) for worker in server.workers()]
        server.process.kill()
        server.process.wait()
        until(lambda: all(gone(worker) for worker in workers))
        port = server.url.rpartition(":")[2]
    # The port is free: the service can be started again there.
    (tmp_path / "again").mkdir()
    with serving(sample_catalog, tmp_path / "again", **OPEN, LOGO_PORT=port) as server:
        assert found(server, sample_catalog)


def test_a_worker_that_hangs_is_replaced(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(
        sample_catalog, tmp_path, **OPEN, LOGO_HANG_SECONDS="10"
    ) as server:  # longer than a start on a busy machine
        # A worker that stops before its first heartbeat counts as starting, for which there is no limit. The heartbeats
        # begin when the startup is complete, before the first request.
        until(lambda: server.log.read_text().count("Application startup complete.") == 2)
        for number in range(20):
            assert found(server, sample_catalog, number)
        victim, other = server.workers()
        os.kill(victim, signal.SIGSTOP)
        until(lambda: len(server.workers()) == 2 and victim not in server.workers())
        assert other in server.workers()
        until(lambda: server.log.read_text().count('"event": "ready"') == 3)
        for number in range(20):
            assert found(server, sample_catalog, number)


def test_a_catalog_that_is_deleted_while_it_is_open(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """Those who have it go on; a worker that dies meanwhile comes back when there is a catalog again."""
    catalog = own_copy(sample_catalog, tmp_path)
    with serving(catalog, tmp_path, **OPEN) as server:
        until(lambda: server.log.read_text().count('"event": "ready"') == 2)
        live = Catalog(catalog.root).current()
        live.rename(tmp_path / "elsewhere")
        shutil.copytree(tmp_path / "elsewhere", tmp_path / "kept")
        shutil.rmtree(tmp_path / "elsewhere")
        assert all(found(server, catalog, number) for number in range(20))
        victim, survivor = server.workers()
        os.kill(victim, signal.SIGKILL)
        until(lambda: server.log.read_text().count("which does not exist") >= 2)  # tried, and tried again
        assert survivor in server.workers()
        assert server.process.poll() is None
        (tmp_path / "kept").rename(live)
        until(lambda: server.log.read_text().count('"event": "ready"') == 3)
        assert all(found(server, catalog, number) for number in range(20))
        assert survivor in server.workers()


def test_a_key_file_that_is_half_written_when_a_worker_dies(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    good = f"team:{hashlib.sha256(b'a-key').hexdigest()}\n"
    keys.write_text(good)
    with serving(sample_catalog, tmp_path, LOGO_API_KEYS_FILE=str(keys)) as server:
        until(lambda: server.log.read_text().count('"event": "ready"') == 2)
        keys.write_text(good[:20])
        victim, survivor = server.workers()
        os.kill(victim, signal.SIGKILL)
        until(lambda: server.log.read_text().count('"worker_not_started"') >= 2)
        assert survivor in server.workers()
        keys.write_text(good)
        until(lambda: server.log.read_text().count('"event": "ready"') == 3)
        assert survivor in server.workers()
        answer = server.get("/v1/logos/EM/000001", headers={"X-API-Key": "a-key"})
        assert answer.status_code == 200


def test_keys_in_a_bucket_that_stalls_are_given_up_soon(
    sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path
) -> None:
    """A start with the copy of the keys takes seconds, and not minutes."""
    catalog = own_copy(sample_catalog, tmp_path)
    settings = s3_settings(s3_server.endpoint, s3_server, LOGO_KEYS=f"s3://{s3_server.bucket}/{tmp_path.name}")
    place = open_key_store(
        Settings.model_validate(
            {name.removeprefix("LOGO_").lower(): value for name, value in settings.items() if value}
        )
    )
    key = make_key(place, "team")

    def status(server: Server) -> int:
        return server.get("/v1/logos/EM/000001", headers={"X-API-Key": key}).status_code

    with serving(catalog, tmp_path, **settings) as server:
        assert status(server) == 200
    with (
        trouble(SlowTrouble) as endpoint,
        serving(catalog, tmp_path, **{**settings, "LOGO_S3_ENDPOINT": endpoint}, LOGO_HANG_SECONDS="30") as server,
    ):
        assert status(server) == 200


def test_a_service_that_cannot_start_at_all_ends_and_says_why(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    catalog = own_copy(sample_catalog, tmp_path)
    # The sizes are right, so the master starts; the workers find what is in it.
    index = Catalog(catalog.root).current() / "index.faiss"
    index.write_bytes(bytes(index.stat().st_size))
    done = subprocess.run(
        command("serve"),
        env={**os.environ, "LOGO_CATALOGS": str(catalog.root), "LOGO_PORT": str(free_ports(1)[0]), "LOGO_WORKERS": "2"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "index.faiss" in done.stderr


class Trouble(BaseHTTPRequestHandler):
    """An S3 server that answers 503, or nothing for a long time."""

    seconds = 0.0

    def do_GET(self) -> None:
        time.sleep(self.seconds)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class SlowTrouble(Trouble):
    seconds = 60.0


@contextmanager
def trouble(handler: type[Trouble]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def s3_settings(endpoint: str, server: S3Server, **more: str) -> dict[str, str]:
    return {
        "LOGO_IMAGES_DIR": "",
        "LOGO_S3_BUCKET": server.bucket,
        "LOGO_S3_ENDPOINT": endpoint,
        "LOGO_S3_ACCESS_KEY": server.access_key,
        "LOGO_S3_SECRET_KEY": server.secret_key,
        **OPEN,
        **more,
    }


@pytest.mark.parametrize("handler", [Trouble, SlowTrouble])
def test_a_store_that_is_slow_or_refuses_delays_no_start_and_no_search(
    sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path, handler: type[Trouble]
) -> None:
    with (
        trouble(handler) as endpoint,
        serving(
            sample_catalog, tmp_path, **s3_settings(endpoint, s3_server), LOGO_CATALOG_URL=f"s3://{s3_server.bucket}/x"
        ) as server,
    ):
        assert all(found(server, sample_catalog, number) for number in range(20))
        assert search(server, sample_catalog).json()["results"][0]["image_url"].startswith(endpoint)
        until(lambda: '"image_store_unavailable"' in server.log.read_text(), patience=90)
        assert all(found(server, sample_catalog, number) for number in range(20))


def test_a_wrong_secret_is_said_and_stops_no_search(
    sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path
) -> None:
    settings = s3_settings(s3_server.endpoint, s3_server, LOGO_S3_SECRET_KEY="wrong")
    with serving(sample_catalog, tmp_path, **settings) as server:
        assert all(found(server, sample_catalog, number) for number in range(20))
        until(lambda: '"image_store_unavailable"' in server.log.read_text())
        line = next(line for line in server.log.read_text().splitlines() if '"image_store_unavailable"' in line)
        assert "LOGO_S3_SECRET_KEY" in json.loads(line)["error"]
        assert s3_server.access_key not in server.log.read_text()


@pytest.mark.parametrize("days", [-4000, 4000])
def test_a_clock_that_is_off_stops_no_search(sample_catalog: SampleCatalog, tmp_path: Path, days: int) -> None:
    """The whole service lives in another time than the catalog and its clients."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {days * 86_400}\n"
        "real_ns = time.time_ns\n"
        f"time.time_ns = lambda: real_ns() + {days * 86_400 * 10**9}\n"
    )
    with serving(sample_catalog, tmp_path, **OPEN, PYTHONPATH=f"{shim}:{Path.cwd()}") as server:
        assert all(found(server, sample_catalog, number) for number in range(20))
        url = search(server, sample_catalog).json()["results"][0]["image_url"]
        expires = int(base64.urlsafe_b64decode(url.split("/")[5].split(".")[0] + "==").split(b":")[0])
        assert abs(expires - time.time() - days * 86_400) < 1000  # it does live in that time
        assert httpx2.get(url).status_code == 200
        assert server.get("/metrics").status_code == 200
