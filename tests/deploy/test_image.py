"""The image, built by buildah from `deploy/Dockerfile` on a base of Debian, and run as its configuration says.

Needs some minutes, root, buildah and debootstrap (`make faults-tools`), Debian's packages and PyPI, so `make faults` runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.samples import SampleCatalog
from tests.seaweedfs import free_ports
from tests.service import KEY, PATIENCE, until

ROOT = Path(__file__).parent.parent.parent
CERTIFICATES = os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt")
BASE = "FROM scratch\nADD base.tar /\n"
# What a container engine does: a root that cannot be written to, /catalogs from outside, a /tmp in memory, another user.
RUN = """
set -eu
root=$1 catalogs=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$catalogs" "$root/catalogs"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot --userspec="$user:$user" "$root" /usr/bin/env -i "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """Its files, and its configuration in OCI's format."""

    root: Path
    config: dict[str, Any]


class Buildah:
    """buildah with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self._words = ["buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self._words += ["--storage-driver", "vfs"]

    def __call__(self, *words: str | Path) -> str:
        done = subprocess.run([*self._words, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    folder = Path("/tmp") / f"logo-similarity-image-{os.getpid()}"  # below a folder that any user may enter
    folder.mkdir()
    buildah = Buildah(folder)
    try:
        mirror = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages"],
            capture_output=True, text=True, check=True,
        ).stdout.split()[0]  # fmt: skip
        packages = "--include=python3,python3-venv,ca-certificates"
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, "bookworm", folder / "base", mirror],
            stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        (folder / "context").mkdir()
        (folder / "Dockerfile").write_text(BASE)
        subprocess.run(["tar", "-C", folder / "base", "-cf", folder / "context" / "base.tar", "."], check=True)
        shutil.rmtree(folder / "base")
        build = ("build", "--isolation", "chroot")
        buildah(*build, "--tag", "python:debian", "--file", folder / "Dockerfile", folder / "context")
        index = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        (folder / "pip.conf").write_text(
            "[global]\ncert = /run/secrets/ca\n" + (f"index-url = {index}\n" if index else "")
        )
        buildah(
            *build, "--pull-never", "--build-arg", "PYTHON=debian", "--build-arg", "VERSION=1.2.3",
            "--secret", f"id=pip,src={folder / 'pip.conf'}", "--secret", f"id=ca,src={CERTIFICATES}",
            "--tag", "logo-similarity:test", "--file", ROOT / "deploy" / "Dockerfile", ROOT,
        )  # fmt: skip
        container = buildah("from", "--pull-never", "logo-similarity:test")
        config = json.loads(buildah("inspect", "--type", "image", "logo-similarity:test"))["OCIv1"]["config"]
        yield Image(Path(buildah("mount", container)), config)
    finally:
        subprocess.run(["umount", "--recursive", "--quiet", folder / "store"], check=False)
        shutil.rmtree(folder)


def test_it_searches_as_another_user_with_a_read_only_root_on_one_core(
    image: Image, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    catalogs = tmp_path / "catalogs"
    shutil.copytree(sample_catalog.root, catalogs)
    subprocess.run(["chown", "-R", image.config["User"], catalogs], check=True)
    given = [*image.config["Env"], "LOGO_HOST=127.0.0.1", f"LOGO_PORT={port}", f"LOGO_API_KEYS={KEY}"]
    words = ["taskset", "-c", "0", "unshare", "--mount", "sh", "-c", RUN, "run", str(image.root), str(catalogs)]
    words += [image.config["User"], *given, *image.config["Entrypoint"], *image.config["Cmd"]]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: process.poll() is not None or httpx2.get(url + "/readyz").status_code == 200)
        assert process.poll() is None, log.read_text()
        picture = (sample_catalog.images / sample_catalog.files[2]).read_bytes()
        answer = httpx2.post(
            url + "/v1/search", files={"file": picture}, headers={"X-API-Key": KEY}, timeout=PATIENCE
        ).json()
        assert answer["results"][0]["id"] == "EM/000002"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_it_holds_only_what_serves(image: Image) -> None:
    installed = {path.name.split("-")[0] for path in (image.root / "opt/logo-similarity/lib").rglob("*.dist-info")}
    assert {"logo_similarity", "onnxruntime"} <= installed
    assert {"pytest", "ruff", "hatchling"}.isdisjoint(installed)
    assert not (image.root / "opt/build").exists()
    assert not (image.root / "src").exists()
    assert not (image.root / "etc/pip.conf").exists()
    assert "/run/secrets/ca" not in json.dumps(image.config)


def test_it_says_what_it_is(image: Image) -> None:
    assert image.config["User"] == "10001"
    assert image.config["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert "ORT_DISABLE_TELEMETRY=1" in image.config["Env"]
    assert (image.root / "opt/logo-similarity").stat().st_uid == 0
