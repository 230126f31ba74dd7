"""Draw `docs/page.png` and `docs/page-hit.png`: the page with a search of the sample catalog, and with one hit opened.

`make screenshots` runs it. It builds the catalog of `make demo` anew: an earlier one may lack what the page shows.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.chromium import OPTIONS, find_chromium
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from scripts.update_readme import ROOT, SAMPLES

DOCS = ROOT / "docs"
MARK = SAMPLES / "synthetic" / "images" / "XX-000045.jpg"
"""The query: a mark of several parts, of which other drawings exist."""
NAMES = ("page.png", "page-hit.png")
VIEWPORT = {"width": 1440, "height": 900}
COLOURS = 255
PATIENCE = 60.0


@contextmanager
def served(catalogs: Path, images: Path) -> Iterator[str]:
    """Address of a service on a catalog, until the end of the block.

    Raises:
        SystemExit: it does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--catalogs", str(catalogs), "--images", str(images)]
    environment = {**os.environ, "LOGO_PORT": str(port), "LOGO_WORKERS": "1", "LOGO_API_KEYS": ""}
    process = subprocess.Popen([sys.executable, "-m", "logo_similarity.cli", "serve", *options], env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the service did not start; its log says why")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz") as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def draw(browser: Browser, url: str, mark: Path, folder: Path) -> None:
    """Search for a mark on the page and write both pictures: the results, light, and the second one opened, dark."""
    results, hit = (folder / name for name in NAMES)
    context = browser.new_context(viewport=VIEWPORT, locale="en-GB", reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    page.locator("#start .drop").wait_for()
    with page.expect_file_chooser() as chooser:
        page.locator("#start .drop").click()
    chooser.value.set_files(mark)
    tiles = page.locator("#results").get_by_role("option")
    tiles.first.wait_for()
    page.locator("body:not([data-busy])").wait_for()
    page.locator("#filters details[open] .row .count").first.wait_for()
    page.locator("#results").evaluate("(grid) => grid.blur()")
    _write(page, results)
    page.emulate_media(color_scheme="dark")
    tiles.nth(1).click()
    page.keyboard.press("k")
    page.locator("#detail .legend .toggle, #detail .legend .quiet:not(:empty)").first.wait_for()
    page.locator("#toast.shown").evaluate("(toast) => toast.classList.remove('shown')")
    _write(page, hit)
    context.close()


def _write(page: Page, path: Path) -> None:
    """The window with all its pictures, with few colours: a third of the size."""
    page.evaluate(
        "Promise.all([...document.images].filter((one) => one.checkVisibility() && one.loading !== 'lazy')"
        ".map((one) => one.decode().catch(() => {})))"
    )
    page.wait_for_load_state("networkidle")
    with Image.open(io.BytesIO(page.screenshot(animations="disabled"))) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Draw both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        catalogs = Path(folder)
        build_catalog(open_source(SAMPLES / "marks.jsonl", images=SAMPLES), catalogs, BuildOptions())
        with served(catalogs, SAMPLES) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*OPTIONS])
            draw(browser, url, MARK, DOCS)
            browser.close()
    for name in NAMES:
        print(f"docs/{name}: {(DOCS / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
