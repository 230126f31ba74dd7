"""Visitors of the page: a real browser that reaches nothing but the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page

HOSTILE_TEXT = "<img src=x onerror=alert(1)>"
HOSTILE_COMPANY = '"><script>alert(2)</script>'


@dataclass(slots=True)
class Visitor:
    """A browser profile on the page, and everything that it should not have done."""

    context: BrowserContext
    url: str
    problems: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Texts in messages of the console that a test causes on purpose."""

    def open(self, fragment: str = "", *, page: Page | None = None) -> Page:
        """The page in a new tab, or in the tab of `page`, with this fragment of the address."""
        if page is None:
            page = self.context.new_page()
            page.set_default_timeout(10_000)
            page.on("console", lambda message: self._note(message.type, message.text + message.location["url"]))
            page.on("pageerror", lambda error: self._note("error", str(error)))
            page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))
            page.on("filechooser", lambda _: None)  # from now on: one that is opened first would be cancelled
            page.on("request", lambda request: self._check(request.url))
        page.goto(f"{self.url}/{fragment}")
        page.locator("#scope:not(:empty), dialog[open], #message:not([hidden])").first.wait_for()
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(one in text for one in self.expected):
            self.problems.append(f"{kind}: {text}")

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.url:
            self.problems.append(f"request to {url}")


Visit = Callable[..., Visitor]
"""Makes a visitor of a service, by default the one without keys; options are those of Playwright's contexts."""


def choose(page: Page, *files: Path) -> None:
    """Choose files as the query, and wait for the results."""
    with page.expect_file_chooser() as chooser, page.expect_response("**/v1/search"):
        page.keyboard.press("u")
        chooser.value.set_files(files)
    tiles(page).first.wait_for()
    settled(page)


def settled(page: Page) -> None:
    """Wait until no search is running."""
    page.locator("body:not([data-busy])").wait_for()


def tiles(page: Page) -> Locator:
    return page.locator("#results").get_by_role("option")
