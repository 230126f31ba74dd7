"""The page in a real browser, on a real service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from benchmarks.chromium import OPTIONS, find_chromium
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from tests.browsing import HOSTILE_COMPANY, HOSTILE_TEXT, Visit, Visitor
from tests.samples import SAMPLES, SampleCatalog
from tests.service import Server, serving


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder run in one process: they share the browser, the catalog and the service."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for the session: Playwright's event loop would be in the way of later tests that start one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*OPTIONS])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_catalog(tmp_path_factory: pytest.TempPathFactory) -> SampleCatalog:
    """A catalog of 120 real logos with all register fields; the names of the first are hostile."""
    folder = tmp_path_factory.mktemp("page")
    images = folder / "images"
    images.mkdir()
    rows = json.loads((SAMPLES / "results.json").read_text())[:120]
    with (folder / "marks.jsonl").open("w") as table:
        for number, row in enumerate(rows):
            shutil.copy(SAMPLES / "images" / row["file"], images / row["file"])
            mark: dict[str, Any] = {
                "logo_id": f"EM/{number:06}",
                "filename": row["file"],
                "text": row["text"],
                "company": f"Company {number // 10}",
                "vienna_codes": ["26.01.01", f"27.05.{number % 20 + 1:02}"],
                "nice_classes": [9, number % 45 + 1],
                "status": "ended" if number % 4 == 0 else "registered",
                "office": "US" if number % 3 == 0 else "EM",
                "application_date": f"20{number % 20:02}-01-31",
            }
            if number == 0:
                mark |= {"text": HOSTILE_TEXT, "company": HOSTILE_COMPANY, "website": "javascript:alert(3)"}
            table.write(json.dumps(mark) + "\n")
    build_catalog(open_source(folder / "marks.jsonl"), folder / "catalogs", BuildOptions(threads=2))
    return SampleCatalog(folder / "catalogs", images, tuple(row["file"] for row in rows))


@pytest.fixture(scope="session")
def service(page_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service without keys."""
    settings = {"LOGO_API_KEYS": "", "LOGO_WORKERS": "1", "LOGO_THREADS": "2", "LOGO_MAX_UPLOAD_BYTES": "300000"}
    settings["LOGO_RECORD_URL"] = "https://office.example/{office}/{id}"
    with serving(page_catalog, tmp_path_factory.mktemp("service"), **settings) as server:
        yield server


@pytest.fixture
def visit(chromium: Browser, service: Server) -> Iterator[Visit]:
    """Makes visitors; options are those of Playwright's contexts. After the test, none may have had a problem."""
    visitors: list[Visitor] = []

    def make(url: str = service.url, **options: Any) -> Visitor:
        settings = {"locale": "en-GB", "viewport": {"width": 1280, "height": 900}, "accept_downloads": True, **options}
        visitors.append(Visitor(chromium.new_context(**settings), url))
        return visitors[-1]

    yield make
    problems = [problem for visitor in visitors for problem in visitor.problems]
    for visitor in visitors:
        visitor.context.close()
    assert problems == []
