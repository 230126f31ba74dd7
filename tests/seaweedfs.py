"""A real S3 server: SeaweedFS from PyPI, on loopback, with one access key and one bucket."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import obstore
from obstore.store import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTS = ("master", "volume", "filer", "s3")
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server: its endpoint, its bucket and its only key."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


class _StoppedEarlyError(Exception):
    """The server ended before it answered, most likely because another process took one of its ports."""


@contextlib.contextmanager
def run_seaweedfs(folder: Path) -> Iterator[S3Server]:
    """A server with its files in `folder`, ready; ended after the block."""
    for attempt in (1, 2, 3):
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(_started(folder / str(attempt)))
            except _StoppedEarlyError:
                if attempt == 3:
                    raise
                continue
            yield server
            return


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[S3Server]:
    folder.mkdir(parents=True)
    ports = free_ports(2 * len(_PARTS))
    http = dict(zip(_PARTS, ports, strict=False))
    grpc = dict(zip(_PARTS, ports[len(_PARTS) :], strict=True))
    # A new key: no other server on the same port could answer it.
    server = S3Server(f"http://127.0.0.1:{http['s3']}", "logos", secrets.token_hex(8), secrets.token_hex(16))
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(_command(folder, server, http, grpc), stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_for_bucket(server, process, log)
            yield server
        finally:
            # Not TERM, which can take minutes: no file of this server is needed again.
            process.kill()
            process.wait()
            for part in _PARTS:
                Path(f"/tmp/seaweedfs-{part}-grpc-{grpc[part]}.sock").unlink(missing_ok=True)


def _command(folder: Path, server: S3Server, http: dict[str, int], grpc: dict[str, int]) -> list[str]:
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir()
    command = [str(Path(sysconfig.get_path("scripts")) / "weed"), "-logtostderr=true", "server"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}", "-filer", "-s3", f"-s3.config={config}"]
    command += [f"-{part}.port={http[part]}" for part in _PARTS]
    command += [f"-{part}.port.grpc={grpc[part]}" for part in _PARTS]
    # The other services have fixed ports, on which a second server would fail.
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-{part}.localSocket={folder / part}.sock" for part in ("filer", "s3")]
    command += ["-s3.autoCreateBucket=false", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    return command


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for_bucket(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Request the bucket and a first object in it until the server has created both.

    obstore has no call that creates a bucket, but it signs the request. The object makes the server allocate its volumes,
    which takes seconds if the first requests come at once.
    """
    store = S3Store(
        server.bucket,
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        virtual_hosted_style_request=False,
    )
    urls = list(obstore.sign(store, "PUT", ["", "first-object"], timedelta(minutes=5)))
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _StoppedEarlyError(f"SeaweedFS ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.put(urls[0], trust_env=False, timeout=_START_SECONDS).is_success:
                urls.pop(0)
                if not urls:
                    return
        time.sleep(0.05)
    raise TimeoutError(f"SeaweedFS did not answer within {_START_SECONDS:.0f} s:\n{log.read_text()[-4000:]}")
