"""A real Milvus server, 2.3.5 from PyPI, with keys and TLS; and Milvus Lite, which has neither."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import secrets
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import milvus
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from tests.seaweedfs import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 120.0
_PORTS = (
    "root_coord_port", "proxy_port", "proxy_internal_port", "query_coord_port", "query_node_port", "index_coord_port",
    "index_node_port", "data_coord_port", "data_node_port", "etcd_port", "etcd_peer_port", "metrics_port",
)  # fmt: skip


@dataclass(slots=True)
class MilvusServer:
    """A server that can be stopped, paused and started again with its data."""

    executable: Path
    folder: Path
    ports: dict[str, int]
    authority: Path
    """The certificate that it is verified with."""
    token: str = "root:Milvus"
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.ports['proxy_port']}"

    def settings(self, database: str = "default") -> dict[str, str]:
        """The settings with which a database of it is used."""
        return {
            "index_url": self.url,
            "index_token": self.token,
            "index_ca": str(self.authority),
            "index_database": database,
        }

    def client(self, database: str = "default") -> MilvusClient:
        """A client of a database."""
        return MilvusClient(
            self.url,
            token=self.token,
            db_name=database,
            server_pem_path=str(self.authority),
            dedicated=True,
            timeout=10,
        )

    def new_database(self) -> str:
        """The name of a new, empty database."""
        name = f"test_{secrets.token_hex(8)}"
        with contextlib.closing(self.client()) as client:
            client.create_database(name)
        return name

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "ETCD_CONFIG_PATH": str(self.folder / "etcd.yaml"),
            "LD_LIBRARY_PATH": str(self.executable.parent),
            "METRICS_PORT": str(self.ports["metrics_port"]),
            "COMMON_SESSION_TTL": "5",  # after a restart, the server waits for the end of its former session
            "MILVUS_RUN_DIR": str(self.folder / "run"),
        }
        command = [str(self.executable), "run", "standalone"]
        with (self.folder / "milvus.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(MilvusException, httpx2.TransportError):
                health = httpx2.get(f"http://127.0.0.1:{self.ports['metrics_port']}/healthz", trust_env=False)
                if health.text == "OK":
                    with contextlib.closing(self.client()) as client:
                        client.list_collections(timeout=10)
                        return
            time.sleep(0.1)
        raise RuntimeError(f"Milvus did not start:\n{(self.folder / 'milvus.log').read_text()[-4000:]}")

    def stop(self) -> None:
        """End it without giving it time for anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """For the block, it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def run_milvus(folder: Path) -> Iterator[MilvusServer]:
    """A server with its files in `folder`, ready; ended after the block."""
    server = _configured(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def run_milvus_lite(folder: Path) -> Iterator[str]:
    """The address of a Milvus Lite server with its files in `folder`; ended after the block."""
    (port,) = free_ports(1)
    command = [str(Path(sysconfig.get_path("scripts")) / "milvus-lite"), "server", "--data-dir", str(folder)]
    url = f"http://127.0.0.1:{port}"
    with (folder.parent / f"{folder.name}.log").open("wb") as output:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while True:
                try:
                    MilvusClient(url, dedicated=True).close()
                    break
                except MilvusException:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise
                time.sleep(0.1)
            yield url
        finally:
            process.kill()
            process.wait()


def _configured(folder: Path) -> MilvusServer:
    """A server that was not started, with its executable and its configuration in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    certificate, key = folder / "server.pem", folder / "server.key"
    _write_certificate(certificate, key)
    config = milvus.MilvusServerConfig(data_dir=str(folder), **ports)
    config.set("authorization_enabled", val=True)
    config.set("tls_mode", 1)
    config.set("server_pem_path", str(certificate))
    config.set("server_key_path", str(key))
    config.resolve()
    client, peer = (f"http://127.0.0.1:{ports[port]}" for port in ("etcd_port", "etcd_peer_port"))
    etcd = {
        "listen-client-urls": client, "advertise-client-urls": client, "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer, "initial-cluster": f"default={peer}",
    }  # fmt: skip
    (folder / "etcd.yaml").write_text(yaml.safe_dump(etcd))
    return MilvusServer(_unpacked(), folder, ports, certificate)


def _unpacked() -> Path:
    """The executable, which the package has compressed; it is unpacked once, into the virtual environment."""
    folder = Path(sys.prefix) / "share" / f"milvus-{milvus.__version__}"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        milvus._initialize_data_files(str(partial))
        with contextlib.suppress(OSError):  # another process was faster
            partial.rename(folder)
    return folder / "bin" / "milvus"


def _write_certificate(certificate: Path, key: Path) -> None:
    """A certificate of 127.0.0.1 that signs itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
