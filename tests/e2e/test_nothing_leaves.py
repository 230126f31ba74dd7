"""An installation from build to shutdown: it connects to nothing, asks no DNS server, and writes only to its own folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.samples import SAMPLES
from tests.seaweedfs import free_ports
from tests.service import PATIENCE, until

NO_NETWORK = Path(__file__).parents[1] / "no_network.py"
KILLED = -signal.SIGSYS
IDLE_SECONDS = float(os.environ.get("LOGO_TEST_IDLE_SECONDS", "15"))
"""How long no process of the idle service may end. The telemetry of ONNX Runtime 1.32 asks DNS after nine seconds."""


@dataclass(frozen=True, slots=True)
class Place:
    """A user's machine, as far as a command sees it: a home, a folder for temporary files, a working directory."""

    home: Path
    temporary: Path
    work: Path
    register: Path

    @property
    def environment(self) -> dict[str, str]:
        # No more than this: some telemetry is off on machines that look like a CI.
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.temporary)}

    def command(self, network: str, *words: str) -> list[str]:
        return [sys.executable, str(NO_NETWORK), network, "-m", "logo_similarity.cli", *words]

    def run(self, *words: str) -> str:
        """The output of a command that may use no network at all."""
        done = subprocess.run(
            self.command("none", *words), env=self.environment, cwd=self.work, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode != KILLED, f"{words[0]} reached for the network"
        assert done.returncode == 0, done.stderr
        return done.stdout

    def left_behind(self) -> list[Path]:
        """What there is outside the working directory."""
        return sorted([*self.home.rglob("*"), *self.temporary.rglob("*")])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """With a register of forty logos, labelled for `evaluate`."""
    place = Place(*(tmp_path / name for name in ("home", "temporary", "work", "register")))
    for folder in (place.home, place.temporary, place.work, place.register / "images"):
        folder.mkdir(parents=True)
    labels = {}
    for number, row in enumerate(json.loads((SAMPLES / "results.json").read_text())[:40]):
        shutil.copy(SAMPLES / "images" / row["file"], place.register / "images")
        labels[row["file"]] = {"brand": f"brand {number // 2}", "kind": "mark", "set": "one", "split": "public"}
    (place.register / "labels.json").write_text(json.dumps(labels))
    return place


@pytest.mark.slow
def test_a_whole_life_stays_on_the_machine(place: Place) -> None:
    images = place.register / "images"
    query = min(images.iterdir())
    assert json.loads(place.run("build", str(images), "--json"))["count"] == 40
    assert json.loads(place.run("search", str(query), "--json"))["results"][0]["score"] > 0.99
    place.run("search", str(query), "--case", "case.json")
    place.run("report", "case.json", "--out", "report.pdf", "--images", str(images))
    assert json.loads(place.run("evaluate", str(place.register), "--copies", "2", "--json"))["pictures"] == 40
    place.run("catalog", "verify")
    place.run("plan")
    place.run("doctor")
    assert place.left_behind() == []

    (port,) = free_ports(1)
    log = place.work.parent / "log"
    with log.open("wb") as errors:
        service = subprocess.Popen(
            place.command("accept", "serve", "--port", str(port), "--images", str(images)),
            env=place.environment, cwd=place.work, stderr=errors,
        )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            until(lambda: service.poll() is not None or client.get("/readyz").status_code == 200)
            best = client.post("/v1/search?top_k=1", files={"file": query.read_bytes()}).json()["results"][0]
            assert client.get(best["image_url"]).content == query.read_bytes()
            case = (place.work / "case.json").read_bytes()
            assert client.post("/v1/report", files={"case": case}).content.startswith(b"%PDF")
        processes = psutil.Process(service.pid).children(recursive=True)
        ended, _ = psutil.wait_procs(processes, timeout=IDLE_SECONDS)
        assert ended == [], log.read_text()
        service.terminate()
        assert service.wait(PATIENCE) == 0, log.read_text()
    finally:
        service.kill()
    assert "SIGSYS" not in log.read_text(), "a worker reached for the network"
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()]  # no library writes lines of its own
    assert place.left_behind() == []
    assert sorted(path.name for path in place.work.iterdir()) == ["case.json", "catalogs", "report.pdf"]


@pytest.mark.parametrize(
    ("network", "code"),
    [
        ("none", "socket.socket()"),
        ("none", "socket.getaddrinfo('logo.invalid', 443)"),
        ("accept", "socket.getaddrinfo('logo.invalid', 443)"),
        ("accept", "socket.create_connection(socket.create_server(('127.0.0.1', 0)).getsockname())"),
        ("accept", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
        ("accept", "socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)"),
    ],
)
def test_whatever_reaches_for_the_network_is_killed(network: str, code: str) -> None:
    """The test above proves something only while this holds."""
    words = [sys.executable, str(NO_NETWORK), network, "-c"]
    assert subprocess.run([*words, f"import socket; {code}"], check=False).returncode == KILLED
    assert subprocess.run([*words, f"import socket; lambda: {code}"], check=False).returncode == 0
