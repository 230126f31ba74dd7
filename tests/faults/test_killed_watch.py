"""A killed run of the watches neither loses nor repeats an alert; a webhook may get one twice, with the same id."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.catalog.versions import Catalog
from logo_similarity.watch.webhook import WebhookRules
from tests.watching import NEW, WatchedDesk
from tests.webhooks import Receiver, receiving

pytestmark = pytest.mark.slow
STAGES = (
    "state read",
    "first watch searched",
    "first alert written",
    "second alert written",
    "state written",
    "committed",
    "alert sent",
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    desk = WatchedDesk(tmp_path_factory.mktemp("desk"))
    desk.fill()
    return desk


def run(desk: WatchedDesk, stage: str, receiver: Receiver) -> int:
    words = [str(desk.root), str(desk.watches.path.parent), stage, receiver.authority]
    return subprocess.run([sys.executable, "-m", "tests.faults.watch_and_die", *words], check=False).returncode


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_run_again(filled: WatchedDesk, tmp_path: Path, stage: str) -> None:
    """Two watches, of which one has a webhook, and a version with two new marks and a change."""
    for folder in (filled.root, filled.store):
        shutil.copytree(folder, tmp_path / folder.name)
    desk = WatchedDesk(tmp_path)
    with receiving() as receiver:
        desk.rules = WebhookRules(frozenset({receiver.authority}), http=True, private=True)
        desk.watch(NEW, webhook=f"http://{receiver.authority}/")
        desk.watch(NEW + 1, marks=("US-3",))
        desk.add(desk.mark(NEW), desk.mark(NEW + 1), desk.mark(3, 2, status="ended"))
        assert run(desk, stage, receiver) == -signal.SIGKILL
        assert len(desk.alerts()) == (3 if stage in {"committed", "alert sent"} else 0)
        assert run(desk, "never", receiver) == 0
        assert run(desk, "never", receiver) == 0
    assert sorted(desk.alerts()) == [("changed", "US-3"), ("similar", f"US-{NEW}"), ("similar", f"US-{NEW + 1}")]
    assert desk.watches.watched_version() == Catalog(desk.root).current().name
    assert [alert["logo_id"] for alert in receiver.alerts()] == [f"US-{NEW}"] * (2 if stage == "alert sent" else 1)
    assert len({headers["x-logo-delivery"] for headers, _ in receiver.received}) == 1
    assert desk.watches.due_deliveries(1e12) == []
