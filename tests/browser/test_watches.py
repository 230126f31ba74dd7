"""Watches on the page, and an alert of a mark that an import brings."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browsing import Visit, choose
from tests.samples import SampleCatalog
from tests.service import command, serving


@pytest.fixture
def register(page_catalog: SampleCatalog, tmp_path: Path) -> SampleCatalog:
    """A catalog of its own, which a test may change."""
    root, images = tmp_path / "catalogs", tmp_path / "images"
    shutil.copytree(page_catalog.root, root)
    shutil.copytree(page_catalog.images, images)
    return SampleCatalog(root, images, page_catalog.files)


def test_a_search_is_watched_and_a_new_mark_is_reported(visit: Visit, register: SampleCatalog, tmp_path: Path) -> None:
    image = register.images / register.files[5]
    with serving(register, tmp_path, LOGO_API_KEYS="", LOGO_WORKERS="1", LOGO_POLL_SECONDS="0.2") as server:
        page = visit(server.url).open()
        choose(page, image)
        page.keyboard.press("w")
        page.get_by_role("button", name="Watch this search").click()
        section = page.locator("#watches")
        watched = section.get_by_role("listitem")
        expect(watched).to_contain_text("no alerts")

        (tmp_path / "new").mkdir()
        shutil.copy(image, tmp_path / "new" / "mark.jpg")
        row = {"logo_id": "US/NEW", "filename": "mark.jpg", "text": "Look-alike"}
        (tmp_path / "new" / "new.jsonl").write_text(json.dumps(row))
        source = str(tmp_path / "new" / "new.jsonl")
        imported = subprocess.run(
            command("import", source, "--catalogs", str(register.root), "--store", str(register.images)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert imported.returncode == 0, imported.stderr
        while not server.events("watches_run"):
            assert server.process.poll() is None
            page.wait_for_timeout(100)

        page.reload()
        watched.get_by_role("button").click()
        dialog = page.locator("#watch-dialog")
        expect(dialog).to_contain_text("Look-alike")
        expect(dialog).to_contain_text("near-identical")
        dialog.get_by_role("button", name="Look-alike").click()
        expect(page.locator("#detail")).to_contain_text("US/NEW")
        page.keyboard.press("Escape")
        watched.get_by_role("button").click()
        dialog.get_by_role("button", name="Delete").click()
        expect(watched).to_have_count(0)
