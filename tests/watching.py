"""A catalog that is imported into and watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from logo_similarity.build.importing import ImportResult
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.versions import _TRIED, Catalog
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.version import __version__
from logo_similarity.watch.model import ANONYMOUS, NewWatch, Watch
from logo_similarity.watch.run import RunSummary, add_watch, run
from logo_similarity.watch.store import WatchStore
from logo_similarity.watch.webhook import WebhookRules
from tests.importing import FILES, Desk, Row

LOGOS = 70
"""Enough for expected numbers."""
NEW = 100
"""Number of a sample that is not among them."""


class WatchedDesk(Desk):
    """A desk with watches. The logo `US-n` has the sample n as its image, and the text `Text n`."""

    options = BuildOptions(
        threads=2, trial=lambda _version: None
    )  # with the default encoder, whose scores mean something

    rules = WebhookRules(frozenset({"hooks.example"}))

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.watches = WatchStore(folder / "watches")

    def fill(self) -> None:
        self.build(*(self.mark(number) for number in range(LOGOS)))

    def mark(self, number: int, date: int = 1, **values: Any) -> Any:
        return self.record(f"US-{number}", date, number, **{"text": f"Text {number}", "status": "pending", **values})

    def build(self, *rows: Row, facets: tuple[str, ...] = ()) -> None:
        super().build(*rows, facets=facets)
        self._admit()

    def add(self, *rows: Row, **options: Any) -> ImportResult:
        result = super().add(*rows, **options)
        self._admit()
        return result

    def _admit(self) -> None:
        """Spare the services of tests the trial of the live version, which takes seconds."""
        folder = Catalog(self.root)
        folder._mark(_TRIED, folder.current().name, __version__)

    @contextmanager
    def engine(self) -> Iterator[SearchEngine]:
        with SearchEngine.open(self.root, device="cpu").with_changes(self.root) as engine:
            yield engine

    def watch(
        self,
        *images: int,
        owner: str = ANONYMOUS,
        marks: tuple[str, ...] = (),
        webhook: str | None = None,
        **query: Any,
    ) -> Watch:
        """Watch for the pictures of some samples."""
        pictures = [FILES[number].read_bytes() for number in images]
        asked = Query(image=next(iter(pictures), None), more_images=tuple(pictures[1:]), **query)
        new = NewWatch(name="Ours", query=asked, marks=marks, webhook=webhook)
        with self.engine() as engine:
            watch, _ = add_watch(self.watches, engine, owner, new, rules=self.rules, most=None)
        return watch

    def run(self, *inactive: str) -> RunSummary:
        with self.watches.running(), self.engine() as engine:
            return run(self.watches, engine, lambda owner: owner not in inactive)

    def alerts(self, watch: Watch | None = None) -> list[tuple[str, str]]:
        """Kind and logo of the alerts, oldest first."""
        alerts = self.watches.alerts(watch=None if watch is None else watch.id, limit=1000)
        return [(alert.kind.value, alert.logo_id) for alert in reversed(alerts)]
