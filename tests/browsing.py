"""Visitors of the page: a real browser that reaches nothing but the service."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page

from benchmarks.render_icons import NPM_CACHE

HOSTILE_TEXT = "<img src=x onerror=alert(1)>"
HOSTILE_COMPANY = '"><script>alert(2)</script>'
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
