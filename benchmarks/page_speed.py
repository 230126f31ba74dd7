"""How soon the page shows the first results, and how smoothly it scrolls through a thousand, in a real browser.

    python -m benchmarks.page_speed

A Chromium without a graphics card draws the page of a service on the sample catalog. The first tile counts as shown in the
frame after it was added to the page; the time counts from the last byte of the answer. The page is then scrolled through
1,000 results, and the time between frames is measured; a frame of more than 25 ms was late.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.chromium import OPTIONS, find_chromium
from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, sample_catalog
from benchmarks.service import running

VISITS = 20
VIEWPORT = {"width": 1440, "height": 900}
LATE_MS = 25
PIXELS_A_FRAME = 40
"""At 60 frames a second, some three screens a second."""

NOTE_FIRST_TILE = """() => {
  window.shown = new Promise((resolve) => {
    const look = () => {
      if (!document.querySelector("#results .tile")) return;
      watcher.disconnect();
      requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))); // after the frame with the tile
    };
    const watcher = new MutationObserver(look);
    watcher.observe(document.body, { childList: true, subtree: true });
  });
}"""
SINCE_ANSWER = """async () => {
  const shown = await window.shown;
  const answer = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/v1/search")).at(-1);
  return shown - answer.responseEnd;
}"""
SCROLL = """(pixels) => new Promise((resolve) => {
  const main = document.querySelector("main");
  const times = [];
  const step = (time) => {
    times.push(time);
    const before = main.scrollTop;
    main.scrollTop += pixels;
    if (main.scrollTop === before) resolve(times);
    else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
SIZES = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
  .filter(({ name }) => !name.includes("/v1/")).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""


def measure() -> dict[str, object]:
    """Milliseconds to the first tile, frames of a scroll through 1,000 tiles, and bytes of the page."""
    images = sorted((SAMPLES / "images").glob("*.jpg"))
    chosen = [images[place] for place in np.linspace(0, len(images) - 1, VISITS).astype(int)]
    with (
        running(sample_catalog().absolute(), workers=1, threads=1, cores=None) as service,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*OPTIONS])
        first_tiles = []
        for number, mark in enumerate(chosen):
            context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{service.port}/")
            first_tiles.append(_search(page, mark))
            if number == 0:
                page_bytes = int(page.evaluate(SIZES))
                intervals = np.diff(_scroll(page))
            context.close()
        version = browser.version
        browser.close()
    return write_result(
        "page_speed",
        {
            "browser": f"Chromium {version}",
            "page_bytes": page_bytes,
            "first_tile_ms": {
                "p50": round(statistics.median(first_tiles), 1),
                "worst": round(max(first_tiles), 1),
            },
            "scrolling_1000_tiles": {
                "frames": len(intervals),
                "frames_a_second": round(1000 / float(intervals.mean()), 1),
                "p95_ms": round(float(np.quantile(intervals, 0.95)), 1),
                "late": round(float(np.mean(intervals > LATE_MS)), 4),
            },
        },
    )


def _search(page: Page, mark: Path) -> float:
    """Search for a mark; milliseconds from the last byte of the answer to the first tile."""
    page.locator("#start .drop").wait_for()
    page.evaluate(NOTE_FIRST_TILE)
    with page.expect_file_chooser() as chooser:
        page.locator("#start .drop").click()
    chooser.value.set_files(mark)
    return float(page.evaluate(SINCE_ANSWER))


def _scroll(page: Page) -> list[Any]:
    """The times of the frames of a scroll through 1,000 tiles."""
    page.locator("body:not([data-busy])").wait_for()
    page.locator(".grid-end button").last.click()
    page.locator("#results .tile").nth(999).wait_for(state="attached")
    page.locator("body:not([data-busy])").wait_for()
    times: list[Any] = page.evaluate(SCROLL, PIXELS_A_FRAME)
    return times


if __name__ == "__main__":
    print(measure())
