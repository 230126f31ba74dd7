"""The unit for systemd: accepted, hardened, and not so hardened that the service could not run.

Needs systemd-analyze and strace (`make faults-tools`), so `make faults` runs it and `make test` does not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil

from logo_similarity.config import Settings
from tests.samples import SampleCatalog
from tests.seaweedfs import free_ports
from tests.service import PATIENCE, command, until

UNIT = Path(__file__).parent.parent.parent / "deploy" / "systemd" / "logo-similarity.service"
# As MemoryDenyWriteExecute= has the kernel do it: prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN).
DENY_WRITE_EXECUTE = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def options() -> list[tuple[str, str]]:
    """Names and values, in the order of the unit."""
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def environment() -> dict[str, str]:
    given = [value.partition("=")[::2] for name, value in options() if name == "Environment"]
    return dict(given)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub("ExecStart=.*", "ExecStart=/bin/true", UNIT.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    exposure = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]  # 2.0 of 10
    subprocess.run(exposure, stdout=subprocess.DEVNULL, check=True)


def test_a_stop_has_time_for_the_drain() -> None:
    defaults = Settings.model_fields
    drain, graceful = float(environment()["LOGO_DRAIN_SECONDS"]), defaults["graceful_seconds"].default
    assert float(dict(options())["TimeoutStopSec"]) >= drain + graceful + 15


def test_a_whole_life_needs_nothing_that_the_unit_forbids(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    calls = tmp_path / "calls"
    given = {
        **os.environ,
        **environment(),
        "LOGO_CATALOGS": str(sample_catalog.root),
        "LOGO_IMAGES_DIR": str(sample_catalog.images),
        "LOGO_PORT": str(port),
        "LOGO_WORKERS": "2",
        "LOGO_THREADS": "1",
    }
    traced = ["strace", "-f", "-qq", "-c", "-o", str(calls), *command("serve")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", DENY_WRITE_EXECUTE, *traced], env=given, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: process.poll() is not None or httpx2.get(url + "/readyz").status_code == 200)
        assert process.poll() is None, (tmp_path / "log").read_text()
        image = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
        answer = httpx2.post(url + "/v1/search", files={"file": image}, timeout=PATIENCE)
        assert answer.status_code == 200
        assert httpx2.get(answer.json()["results"][0]["image_url"]).status_code == 200
        assert httpx2.get(url + "/metrics").status_code == 200
    finally:
        (master,) = psutil.Process(process.pid).children()
        master.terminate()
        process.wait(PATIENCE)
    made = {line.split()[-1] for line in calls.read_text().splitlines() if re.match(r"\s*\d", line)} - {"total"}
    assert {"accept4", "mmap", "execve"} <= made
    assert made - set(_allowed()) == set()


def _allowed() -> set[str]:
    """System calls of the unit's filters, each of which adds to those before it, or takes away."""
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"],
        env={**os.environ, "SYSTEMD_COLORS": "0"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    groups: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.lstrip().startswith("#"):
            members.append(line.strip())
    allowed: set[str] = set()
    for name, value in options():
        if name == "SystemCallFilter":
            calls = set(_members(groups, value.removeprefix("~")))
            allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


def _members(groups: dict[str, list[str]], name: str) -> Iterator[str]:
    for member in groups[name]:
        if member.startswith("@"):
            yield from _members(groups, member)
        else:
            yield member
