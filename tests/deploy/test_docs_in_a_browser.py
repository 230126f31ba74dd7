"""The documentation page in a real browser that reaches nothing but the service. `make faults` runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.samples import SampleCatalog
from tests.service import PATIENCE, serving

BROWSER = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=20000",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


@pytest.mark.parametrize("width", [1280, 380])
def test_the_page_shows_every_operation_and_its_form(sample_catalog: SampleCatalog, tmp_path: Path, width: int) -> None:
    with serving(sample_catalog, tmp_path, LOGO_WORKERS="1") as server:
        described = server.get("/openapi.json").json()["paths"]
        address = f"{server.url}/docs#/search/search_v1_search_post"
        options = [f"--window-size={width},1000", f"--user-data-dir={tmp_path / 'profile'}"]
        done = subprocess.run(
            [*BROWSER, *options, "--dump-dom", address], capture_output=True, text=True, check=True, timeout=PATIENCE
        )
    shown = {re.sub(r"\u200b|<[^>]+>", "", path) for path in re.findall(r'data-path="([^"]+)"', done.stdout)}
    assert shown == set(described)
    assert 'type="file"' in done.stdout  # the form of the search, which the address opens
    assert ">Execute<" in done.stdout
    assert "Content Security Policy" not in done.stderr
    assert "Failed to load resource" not in done.stderr
