"""A Chromium for the tests of the page and for its pictures in the documentation."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.render_icons import NPM_CACHE

SPARTICUZ = "153.0.0"
# Chromium as Debian builds it asks Google for updates and fields trials; nothing of that belongs to the page.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-domain-reliability", "--disable-sync", "--no-first-run",
)  # fmt: skip


def find_chromium() -> str:
    """Path of a Chromium: Debian's, which is installed if necessary and possible, else npm's @sparticuz/chromium."""
    installed = shutil.which("chromium")
    if installed is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment)
        command = ["apt-get", "install", "-qqy", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
        subprocess.run(command, check=False, env=environment)
        installed = shutil.which("chromium")
    return installed or fetch_chromium(NPM_CACHE / f"sparticuz-chromium-{SPARTICUZ}")


def fetch_chromium(folder: Path) -> str:
    """Path of the Chromium in the npm package @sparticuz/chromium, which is installed into `folder`."""
    package = folder / "node_modules" / "@sparticuz" / "chromium"
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(folder), "--no-fund", "--no-audit", "--loglevel=error"]
        subprocess.run([*command, f"@sparticuz/chromium@{SPARTICUZ}"], check=True)
    script = "import('@sparticuz/chromium').then((m) => m.default.executablePath()).then((path) => console.log(path))"
    done = subprocess.run(["node", "-e", script], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.split()[-1]
