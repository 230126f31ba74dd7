"""A run of the watches that is killed at any stage neither loses nor repeats an alert."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.catalog.versions import Catalog
from tests.watching import NEW, WatchedDesk

pytestmark = pytest.mark.slow
STAGES = (
    "state read",
    "first watch searched",
    "first alert written",
    "second alert written",
    "state written",
    "committed",
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """Two watches, of which one has a webhook, and a version with two new marks and a change that was not watched yet."""
    desk = WatchedDesk(tmp_path_factory.mktemp("desk"))
    desk.fill()
    desk.watch(NEW, webhook="https://hooks.example/a")
    desk.watch(NEW + 1, marks=("US-3",))
    desk.add(desk.mark(NEW), desk.mark(NEW + 1), desk.mark(3, 2, status="ended"))
    return desk


def run(desk: WatchedDesk, stage: str) -> int:
    words = [str(desk.root), str(desk.watches.path.parent), stage]
    return subprocess.run([sys.executable, "-m", "tests.faults.watch_and_die", *words], check=False).returncode


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_run_again(desk: WatchedDesk, tmp_path: Path, stage: str) -> None:
    for folder in (desk.root, desk.watches.path.parent):
        shutil.copytree(folder, tmp_path / folder.name)
    copy = WatchedDesk(tmp_path)
    assert run(copy, stage) == -signal.SIGKILL
    done = copy.alerts()
    assert len(done) == (3 if stage == "committed" else 0)
    assert run(copy, "never") == 0
    assert run(copy, "never") == 0
    assert sorted(copy.alerts()) == [("changed", "US-3"), ("similar", f"US-{NEW}"), ("similar", f"US-{NEW + 1}")]
    assert [delivery.alert.logo_id for delivery in copy.watches.due_deliveries(0)] == [f"US-{NEW}"]
    assert copy.watches.watched_version() == Catalog(copy.root).current().name
