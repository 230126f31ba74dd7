"""axe-core finds no serious fault on any view of the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from benchmarks.render_icons import fetch_package
from tests.browsing import Visit, choose, settled, tiles
from tests.samples import SampleCatalog

AXE = "4.14.1"


def faults(page: Page) -> list[str]:
    """Serious faults, with the elements that have them."""
    page.evaluate((fetch_package("axe-core", AXE) / "axe.min.js").read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault(visit: Visit, page_catalog: SampleCatalog, scheme: str) -> None:
    page = visit(color_scheme=scheme).open()
    page.locator(".sample").first.wait_for()
    assert faults(page) == []
    choose(page, page_catalog.images / page_catalog.files[5])
    tiles(page).nth(1).click()
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    page.locator("summary", has_text="Owner").click()
    page.get_by_role("checkbox", name="registered").check()
    expect(page.locator("#chips button")).to_have_count(1)
    settled(page)  # results are dimmed during a search
    page.locator("#results").focus()
    page.keyboard.press("k")
    assert faults(page) == []
    page.keyboard.press("Enter")
    page.locator("#detail .legend").wait_for()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert faults(page) == []
