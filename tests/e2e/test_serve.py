"""The real command, with gunicorn, two workers and real connections."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from logo_similarity import __version__
from logo_similarity.catalog.versions import Catalog
from tests.samples import SampleCatalog
from tests.seaweedfs import free_ports
from tests.service import KEY, PATIENCE, Server, command, serving, until


@pytest.fixture(scope="module")
def server(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(sample_catalog, tmp_path_factory.mktemp("serve")) as running:
        yield running


def search(client: httpx2.Client, catalog: SampleCatalog, number: int = 0) -> httpx2.Response:
    data = (catalog.images / catalog.files[number]).read_bytes()
    return client.post("/v1/search", files={"file": ("query.jpg", data)}, params={"top_k": 3})


def searches_counted(server: Server) -> float:
    text = server.get("/metrics").text
    found = re.search(
        r'^logo_requests_total\{method="POST",route="/v1/search",status="200"\} (\S+)$', text, re.MULTILINE
    )
    return float(found[1]) if found else 0.0


def test_it_finds_and_its_links_lead_to_the_picture(server: Server, sample_catalog: SampleCatalog) -> None:
    with server.client() as client:
        best = search(client, sample_catalog, 4).json()["results"][0]
        assert best["id"] == "EM/000004"
        assert best["score"] >= 0.999
        picture = httpx2.get(best["image_url"])
        assert picture.content == (sample_catalog.images / sample_catalog.files[4]).read_bytes()


def test_a_link_of_one_worker_opens_in_the_other(server: Server, sample_catalog: SampleCatalog) -> None:
    with server.client() as client:
        url = search(client, sample_catalog).json()["results"][0]["image_url"]
    for _ in range(20):
        assert httpx2.get(url).status_code == 200  # a connection of its own each time


def examined(url: str, key: str = KEY) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit status of `doctor --url`, and the state and detail of each check."""
    done = subprocess.run(
        command("doctor", "--json", "--url", url),
        env={**os.environ, "LOGO_API_KEYS": key}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, {line["what"]: (line["state"], line["detail"]) for line in json.loads(done.stdout)}


def test_the_doctor_examines_it_from_outside(server: Server) -> None:
    status, findings = examined(server.url)
    assert status == 0
    assert {state for state, _ in findings.values()} == {"ok"}
    assert "200 logos" in findings["search"][1]
    assert "bytes fetched" in findings["image link"][1]
    assert "loopback" in findings["metrics"][1]
    # By an address that is not loopback, /metrics must not be reachable.
    status, findings = examined(server.url.replace("127.0.0.1", "0.0.0.0"))
    assert status == 1
    assert {what for what, (state, _) in findings.items() if state == "failed"} == {"metrics"}
    status, findings = examined(server.url, "lsk_wrong")
    assert status == 1
    assert "X-API-Key" in findings["search"][1]
    status, findings = examined("http://127.0.0.1:9")
    assert (status, set(findings)) == (1, {"service"})
    assert "is not reachable" in findings["service"][1]
    _, findings = examined("file:///etc/passwd")
    assert "is not an HTTP address" in findings["service"][1]


def test_the_doctor_warns_of_a_service_without_keys_and_images(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, LOGO_API_KEYS="", LOGO_IMAGES_DIR="", LOGO_WORKERS="1") as server:
        status, findings = examined(server.url)
    assert status == 0
    assert {what for what, (state, _) in findings.items() if state != "ok"} == {"image link", "keys"}
    assert findings["keys"][0] == findings["image link"][0] == "warning"
    assert "anyone who can connect can search" in findings["keys"][1]


def test_metrics_are_those_of_all_workers(server: Server, sample_catalog: SampleCatalog) -> None:
    before = searches_counted(server)
    for number in range(24):
        with server.client() as client:
            assert search(client, sample_catalog, number).status_code == 200
    assert {searches_counted(server) - before for _ in range(10)} == {24}


def test_counters_of_alerts_are_there_before_the_first_event(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """`increase()` does not see the step from no series to 1."""
    with serving(sample_catalog, tmp_path) as fresh:
        lines = fresh.get("/metrics").text.splitlines()
    for series in (
        'logo_catalog_swaps_total{outcome="refused"}',
        'logo_catalog_swaps_total{outcome="swapped"}',
        'logo_catalog_pulls_total{outcome="failed"}',
        'logo_refused_total{code="overloaded"}',
        'logo_refused_total{code="body_too_large"}',
        'logo_requests_total{method="POST",route="/v1/search",status="500"}',
        'logo_requests_total{method="GET",route="/v1/logos/{logo_id:path}",status="500"}',
        "logo_keys_unread_total",
        "logo_usage_lost_total",
        "logo_usage_server_failures_total",
        'logo_watch_runs_total{outcome="failed"}',
        'logo_watch_deliveries_total{outcome="failed"}',
    ):
        assert f"{series} 0.0" in lines


def test_metrics_name_the_build_and_every_process(server: Server) -> None:
    text = server.get("/metrics").text
    assert re.search(
        rf'^logo_build_info{{faiss="[\d.]+",onnxruntime="[\d.]+",python="3[\d.]+",version="{__version__}"}} 1.0$',
        text, re.MULTILINE,
    )  # fmt: skip
    own = {server.process.pid: "master"} | dict.fromkeys(server.workers(), "worker")
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "start_time_seconds"):
        found = re.findall(rf'^process_{name}{{pid="(\d+)",process="(\w+)"}} (\S+)$', text, re.MULTILINE)
        assert {int(pid): process for pid, process, _ in found} == own
        assert all(float(value) > 0 for _, _, value in found)
    started = dict(re.findall(r'^process_start_time_seconds{pid="(\d+)",.*} (\S+)$', text, re.MULTILINE))
    for pid in own:
        assert abs(float(started[str(pid)]) - psutil.Process(pid).create_time()) < 1


def test_the_master_loads_no_library_that_cannot_be_forked(server: Server) -> None:
    def mapped(process: int) -> str:
        return Path(f"/proc/{process}/maps").read_text()

    assert not re.search(r"faiss|onnxruntime|cv2|openblas", mapped(server.process.pid))
    for worker in server.workers():
        assert "faiss" in mapped(worker)
        assert "onnxruntime" in mapped(worker)


def test_workers_start_no_threads_of_the_libraries(server: Server, sample_catalog: SampleCatalog) -> None:
    with server.client() as client:
        search(client, sample_catalog)
    # The main thread, one search thread, the threads of asyncio's own pool; OpenMP or OpenCV would add one for each core.
    variables = [Path(f"/proc/{worker}/environ").read_bytes() for worker in server.workers()]
    assert all(psutil.Process(worker).num_threads() < 12 for worker in server.workers())
    assert variables


def test_a_killed_worker_is_replaced_and_the_metrics_live_on(server: Server, sample_catalog: SampleCatalog) -> None:
    for number in range(10):
        with server.client() as client:
            assert search(client, sample_catalog, number).status_code == 200
    counted = searches_counted(server)
    assert counted >= 10
    victim, survivor = server.workers()
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(server.workers()) == 2 and victim not in server.workers())
    assert survivor in server.workers()
    (server.metrics / "counter_999999.db").touch()  # what a worker leaves that is killed as it starts
    until(lambda: server.get("/readyz").status_code == 200)
    for number in range(10):
        with server.client() as client:
            until(lambda number=number, client=client: search(client, sample_catalog, number).status_code == 200)
    assert searches_counted(server) == counted + 10


def test_workers_that_die_leave_no_more_files_of_metrics(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path) as server:
        until(lambda: server.log.read_text().count('"event": "ready"') == 2)
        for ready in range(3, 6):
            os.kill(server.workers()[0], signal.SIGKILL)
            until(lambda ready=ready: server.log.read_text().count('"event": "ready"') == ready)
        until(lambda: len(server.workers()) == 2)
        writers = {path.stem.rpartition("_")[2] for path in server.metrics.glob("*.db")}
        assert writers == {"master", "0", "1"}
        listed = {int(path.name.removeprefix("worker-")) for path in server.metrics.glob("worker-*")}
        assert listed == set(server.workers())


def test_neither_keys_nor_signatures_are_logged(server: Server, sample_catalog: SampleCatalog) -> None:
    with server.client() as client:
        url = search(client, sample_catalog).json()["results"][0]["image_url"]
    assert httpx2.get(url).status_code == 200
    assert server.get("/v1/logos/x", headers={"X-API-Key": "wrong-key"}).status_code == 401
    text = server.log.read_text()
    assert '"route": "/v1/search"' in text
    assert KEY not in text
    assert "wrong-key" not in text
    assert url.split("/")[5] not in text


def test_a_slow_body_is_ended(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, LOGO_BODY_SECONDS="0.5", LOGO_WORKERS="1") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            head = f"POST /v1/search HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 100000\r\n"
            connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
            answer = connection.makefile("rb").read()  # until the server closes
        assert answer.startswith(b"HTTP/1.1 408")


def test_sigterm_lets_accepted_requests_finish(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    statuses: list[int] = []
    with serving(sample_catalog, tmp_path) as server:
        clients = [server.client() for _ in range(20)]
        for client in clients:
            client.get("/healthz")  # connected

        def ask(client: httpx2.Client) -> None:
            try:
                statuses.append(search(client, sample_catalog).status_code)
            except httpx2.TransportError:
                statuses.append(0)  # came too late to be accepted

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        until(lambda: len(statuses) > 0)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert server.process.wait(PATIENCE) == 0
        for client in clients:
            client.close()
    begun = [line for line in server.log.read_text().splitlines() if '"/v1/search"' in line]
    assert begun
    assert statuses.count(200) == len(begun)  # what a worker took on was answered, and the answer arrived
    assert set(statuses) <= {200, 503, 0}


FLIP, CUT = "flipped", "cut"


@pytest.mark.parametrize("damage", [FLIP, CUT])
@pytest.mark.parametrize(
    "name", ["manifest.json", "index.faiss", "metadata.db", "rejected.jsonl", "model/model.json", "model/model.onnx"]
)
def test_a_damaged_catalog_is_refused_by_name(
    sample_catalog: SampleCatalog, tmp_path: Path, name: str, damage: str
) -> None:
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    version = Catalog(tmp_path / "catalogs").current()
    content = bytearray((version / name).read_bytes()) or bytearray(b"?")
    if damage == FLIP:
        content[len(content) // 2] ^= 4
    (version / name).write_bytes(content if damage == FLIP or len(content) == 1 else content[:-1])
    commands = [["catalog", "verify"], ["catalog", "activate", version.name]]
    if damage == CUT or name == "manifest.json":
        commands.append(["serve"])  # it reads no gigabytes to find a flipped byte in them
    for words in commands:
        done = subprocess.run(
            command(*words),
            env={**os.environ, "LOGO_CATALOGS": str(tmp_path / "catalogs")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert name in done.stderr
        assert "Traceback" not in done.stderr


def test_versions_that_are_all_damaged_are_all_named(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    live = Catalog(sample_catalog.root).current()
    other = tmp_path / "catalogs" / f"{live.name[:-1]}x"
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    shutil.copytree(live, other)
    for name in (live.name, other.name):
        index = tmp_path / "catalogs" / name / "index.faiss"
        os.truncate(index, index.stat().st_size - 1)
    done = subprocess.run(
        command("serve"), env={**os.environ, "LOGO_CATALOGS": str(tmp_path / "catalogs")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.index(live.name) < line.index(other.name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LOGO_HOST": "0.0.0.0"}, "LOGO_API_KEYS"),
        ({"LOGO_PORT": "http"}, "LOGO_PORT"),
        ({"LOGO_CATALOGS": "/nowhere"}, "logo-similarity build"),
        ({"LOGO_DEVICE": "tpu"}, "LOGO_DEVICE"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(settings: dict[str, str], message: str) -> None:
    done = subprocess.run(command("serve"), env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LOGO_API_KEYS_FILE": "/nowhere"}, "LOGO_API_KEYS_FILE"),
        ({"LOGO_KEYS": "/"}, "LOGO_KEYS"),
        ({"LOGO_KEYS": "http://x/y"}, "s3://bucket/prefix"),
        ({"LOGO_CATALOG_URL": "nowhere"}, "s3://bucket/prefix"),
        ({"LOGO_DEVICE": "cuda"}, "LOGO_DEVICE"),
        ({"LOGO_HOST": "nonsense.invalid", "LOGO_API_KEYS": "k"}, "LOGO_HOST"),
        ({"LOGO_HOST": "192.0.2.1", "LOGO_API_KEYS": "k"}, "LOGO_HOST"),
        ({"LOGO_OTLP_ENDPOINT": "collector"}, "http://host:port"),
        ({"LOGO_PUBLIC_URL": "logos.example"}, "http://host:port"),
        ({"LOGO_S3_BUCKET": "b", "LOGO_LINK_SECONDS": "9999999"}, "LOGO_LINK_SECONDS"),
    ],
    ids=str,
)
def test_what_no_worker_could_start_with_is_one_line(
    sample_catalog: SampleCatalog, settings: dict[str, str], message: str
) -> None:
    (port,) = free_ports(1)
    done = subprocess.run(
        command("serve"),
        env={**os.environ, "LOGO_CATALOGS": str(sample_catalog.root), "LOGO_PORT": str(port), **settings},
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_port_that_is_taken_is_named(sample_catalog: SampleCatalog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("serve", "--port", port), env={**os.environ, "LOGO_CATALOGS": str(sample_catalog.root)},
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert port in line
    assert "--port" in line


@pytest.mark.parametrize(
    "target",
    [
        "/v1/logos/EM/000001",
        "/v1/files/../logos/EM/000001",
        "/v1/files/..%2flogos/EM%2f000001",
        "/v1/files/x/../../logos/EM/000001",
        "/healthz/../v1/logos/EM/000001",
        "//v1/logos/EM/000001",
        "/%76%31/logos/EM/000001",
        "/v1/logos/EM/000001?/healthz",
        "/healthz;/v1/logos/EM/000001",
        "http://x/v1/logos/EM/000001",
        "/v1/image/EM/000001",
        "/openapi.json/../v1/logos/EM/000001",
    ],
)
def test_no_spelling_of_a_path_goes_round_the_key(server: Server, target: str) -> None:
    answer = exchange(server, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 403", b"HTTP/1.1 404"))
    assert b"Company" not in answer


@pytest.mark.parametrize("route", ["logos", "image"])
@pytest.mark.parametrize(
    "name",
    [
        b"..", b"../../etc/passwd", b"%2e%2e", b"%2E%2E%2F%2E%2E%2Fetc%2Fpasswd", b"%252e%252e%252f", b"%00",
        b"EM/000001%00", b"%ff%fe", b"%", b"\\..\\", b"EM%2F%2F000001", b"a" * 50_000, "é".encode(), b"%0d%0aX: y",
    ],
)  # fmt: skip
def test_hostile_ids_as_they_come_over_the_wire(server: Server, route: str, name: bytes) -> None:
    head = f" HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n".encode()
    answer = exchange(server, b"GET /v1/" + route.encode() + b"/" + name + head)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 422"))
    assert b"\nX: y" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: " + b"9" * 5_000,
        b"Content-Length: " + b"9" * 18,
        b"Content-Length: -1",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\nZZ\r\n",
    ],
)
def test_hostile_lengths_are_refused(server: Server, lines: bytes) -> None:
    head = f"POST /v1/search HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n".encode()
    assert exchange(server, head + lines + b"\r\n\r\n").startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_an_upload_that_a_stop_finds_half_done_is_answered(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    head = (
        f"POST /v1/search?top_k=1 HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n"
    )
    with serving(sample_catalog, tmp_path, LOGO_WORKERS="1", LOGO_METRICS_DIR="", TMPDIR=str(tmp_path)) as server:
        assert list(tmp_path.glob("logo-similarity-metrics-*/*.db"))
        with connected(server) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1_000).startswith(b"HTTP/1.1 100")  # sent when the worker begins to read the body
            connection.sendall(body[:100])
            server.process.send_signal(signal.SIGTERM)
            until(lambda: not listening(server))
            until(lambda: "Waiting for connections to close" in server.log.read_text())
            connection.sendall(body[100:])
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"EM/000000"' in answer
        assert server.process.wait(PATIENCE) == 0
    assert list(tmp_path.glob("logo-similarity-metrics-*")) == []


def test_only_what_an_earlier_run_left_is_deleted(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    stale, foreign = metrics / "logo-similarity-metrics-stale", metrics / "logo-similarity-metrics-without-a-lock"
    for folder in (stale, foreign):
        folder.mkdir(parents=True)
        (folder / "counter_1.db").write_bytes(b"not metrics")
    (stale / "lock").touch()
    for name in ("register.db", ".usage.db", "counter_1.db"):
        (metrics / name).write_bytes(b"another program's data")
    settings = {"LOGO_WORKERS": "1", "LOGO_API_KEYS": "", "LOGO_HOST": "0.0.0.0", "LOGO_ALLOW_ANONYMOUS": "true"}
    kept = {"register.db", ".usage.db", "counter_1.db", foreign.name}
    with serving(sample_catalog, tmp_path, **settings) as server:
        page = server.get("/metrics")
        assert page.status_code == 200
        assert "logo_catalog_logos" in page.text
        assert server.get("/v1/logos/EM/000001").status_code == 200  # without a key
        (own,) = {path.name for path in metrics.iterdir()} - kept
        # A second service that starts meanwhile leaves the folder of this one alone.
        (tmp_path / "second").mkdir()
        with serving(sample_catalog, tmp_path / "second", **settings, LOGO_METRICS_DIR=str(metrics)):
            assert (metrics / own).is_dir()
            assert server.get("/metrics").status_code == 200
    assert {path.name for path in metrics.iterdir()} == kept
    assert (metrics / "register.db").read_bytes() == b"another program's data"


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def listening(server: Server) -> bool:
    try:
        connected(server).close()
    except OSError:
        return False
    return True


def exchange(server: Server, request: bytes) -> bytes:
    """The answer to exactly these bytes, which a client library would put in order first."""
    with connected(server) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()
