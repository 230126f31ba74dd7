"""Every address that a service connects to, by strace: those of its settings alone. `make faults` runs it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx2
import pytest

from logo_similarity.catalog.replica import publish_version
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.storage.objects import ObjectFolder
from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server, free_ports
from tests.service import PATIENCE, command, until

TRACE = (
    "strace",
    "-D",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-e",
    "trace=connect,sendto,sendmsg,sendmmsg",
    "-e",
    "signal=none",
)
ADDRESS = re.compile(r'sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
WATCHED_SECONDS = 15
"""The telemetry of ONNX Runtime 1.32 asks DNS for its collector after nine seconds."""
CREDENTIALS_OF_THE_MACHINE = ("169.254.169.254", 80)


@contextmanager
def traced(folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """A service of one worker under strace, which is its child (-D): its process, its address, the log of strace."""
    (port,) = free_ports(1)
    log = folder / "strace"
    words = [*TRACE, "-o", str(log), *command("serve", "--port", str(port), "--workers", "1")]
    # No variables of AWS: the credentials come from our settings or from the machine.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (folder / "log").open("wb") as errors:
        service = subprocess.Popen(words, env={**plain, **settings}, stderr=errors)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: service.poll() is not None or httpx2.get(url + "/readyz").status_code == 200)
        assert service.poll() is None, (folder / "log").read_text()
        yield service, url, log
    finally:
        service.terminate()
        service.wait(PATIENCE)


def addresses(log: Path) -> set[tuple[str, int]]:
    return {(host, int(port)) for port, host in ADDRESS.findall(log.read_text())}


def place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@contextmanager
def collector() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_service_connects_to_its_bucket_and_its_collector_alone(
    built: Catalog, settings: Settings, s3_server: S3Server, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    publish_version(built.current(), ObjectFolder(str(settings.catalog_url), settings))
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    with collector() as traces:
        with traced(
            tmp_path, LOGO_CATALOGS=str(tmp_path / "catalogs"), LOGO_CATALOG_URL=str(settings.catalog_url),
            LOGO_S3_BUCKET=s3_server.bucket, LOGO_S3_ENDPOINT=s3_server.endpoint,
            LOGO_S3_ACCESS_KEY=s3_server.access_key, LOGO_S3_SECRET_KEY=s3_server.secret_key,
            LOGO_OTLP_ENDPOINT=traces,
        ) as (service, url, log):  # fmt: skip
            answer = httpx2.post(url + "/v1/search?top_k=1", files={"file": picture}, timeout=PATIENCE)
            assert "X-Amz-Signature" in answer.json()["results"][0]["image_url"]
            with pytest.raises(subprocess.TimeoutExpired):  # it keeps running, idle
                service.wait(WATCHED_SECONDS)
        assert addresses(log) == {place(s3_server.endpoint), place(traces)}


def test_only_a_bucket_without_keys_asks_the_machine_for_credentials(
    s3_server: S3Server, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    bucket = {"LOGO_S3_BUCKET": s3_server.bucket, "LOGO_S3_ENDPOINT": s3_server.endpoint}
    with traced(tmp_path, LOGO_CATALOGS=str(sample_catalog.root), **bucket) as (_, _, log):
        until(lambda: CREDENTIALS_OF_THE_MACHINE in addresses(log))
    assert addresses(log) <= {place(s3_server.endpoint), CREDENTIALS_OF_THE_MACHINE}
