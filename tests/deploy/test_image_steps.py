"""The very steps of `deploy/Dockerfile` in a fresh directory: its files, its lock, another user, code that can't be written.

Takes a minute and the way to PyPI, so `make faults` runs it and `make test` does not. Needs root, as a build of an image does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.samples import SampleCatalog
from tests.seaweedfs import free_ports
from tests.service import PATIENCE, until

ROOT = Path(__file__).parent.parent.parent
USER = 10001


def python_for_all() -> str:
    """An interpreter that the other user may run, too: this one, or the system's where this one lies in somebody's home."""
    for found in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        code = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
        try:
            done = subprocess.run([found, "-c", code], user=USER, group=USER, extra_groups=[], cwd="/", check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return found
    raise AssertionError(f"user {USER} may run no Python 3.11 with venv: apt-get install python3-venv")


def copied() -> list[str]:
    """What the Dockerfile copies from the project."""
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    return [word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]]


def test_the_image_serves_as_another_user_from_code_that_it_cannot_write(
    sample_catalog: SampleCatalog,
) -> None:
    place = Path("/tmp") / f"logo-similarity-image-{os.getpid()}"  # below a folder that any user may enter
    try:
        source, venv, catalogs = place / "src", place / "opt", place / "catalogs"
        source.mkdir(parents=True)
        for name in copied():
            kind = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            kind(ROOT / name, source / name)
        subprocess.run([python_for_all(), "-m", "venv", venv], check=True)
        pip = [str(venv / "bin" / "pip"), "install", "--quiet"]
        subprocess.run([*pip, "--require-hashes", "--requirement", source / "requirements.lock"], check=True)
        subprocess.run([*pip, "--no-deps", source], check=True)
        shutil.rmtree(source)  # nothing of the project is left but what was installed
        shutil.copytree(sample_catalog.root, catalogs)
        subprocess.run(["chown", "-R", str(USER), catalogs], check=True)
        subprocess.run(["chmod", "-R", "a+rX,a-w", venv], check=True)
        (port,) = free_ports(1)
        environment = {
            "PATH": f"{venv}/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LOGO_CATALOGS": str(catalogs),
            "LOGO_PORT": str(port),
        }
        log = (place / "log").open("w+")
        process = subprocess.Popen(
            ["taskset", "-c", "0", venv / "bin" / "logo-similarity", "serve"],
            env=environment, user=USER, group=USER, extra_groups=[], cwd="/", stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: process.poll() is not None or httpx2.get(url + "/readyz").status_code == 200)
            assert process.poll() is None, (place / "log").read_text()
            picture = (sample_catalog.images / sample_catalog.files[2]).read_bytes()
            answer = httpx2.post(url + "/v1/search", files={"file": picture}, timeout=PATIENCE).json()
            assert answer["results"][0]["id"] == "EM/000002"
        finally:
            process.terminate()
            process.wait(PATIENCE)
            log.close()
        installed = subprocess.run(
            [venv / "bin" / "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
        )
        assert "pytest" not in installed.stdout
        assert "ruff" not in installed.stdout
    finally:
        shutil.rmtree(place, ignore_errors=True)
