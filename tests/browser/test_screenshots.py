"""The pictures of the page in the documentation can be drawn again, and are those that the script draws."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from scripts import screenshots
from tests.samples import SampleCatalog
from tests.service import Server


def paper(path: Path) -> int:
    """Lightness of the page between the header's words and its field, 0 to 255."""
    with Image.open(path) as image:
        return int(image.convert("L").getpixel((220, 20)))  # type: ignore[arg-type]


def test_both_pictures_are_drawn(
    chromium: Browser, service: Server, page_catalog: SampleCatalog, tmp_path: Path
) -> None:
    screenshots.draw(chromium, service.url, page_catalog.images / page_catalog.files[5], tmp_path)
    for name in screenshots.NAMES:
        drawn, published = tmp_path / name, screenshots.DOCS / name
        with Image.open(drawn) as image, Image.open(published) as other:
            assert image.size == other.size == (1440, 900)
        assert paper(drawn) == paper(published)
        assert 20_000 < published.stat().st_size < 250_000
    results, hit = (tmp_path / name for name in screenshots.NAMES)
    assert (paper(results) > 200, paper(hit) > 200) == (True, False)
    assert screenshots.MARK.exists()
