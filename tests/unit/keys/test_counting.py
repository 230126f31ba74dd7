"""Counting beside the event loop."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from logo_similarity.errors import QuotaSpentError
from logo_similarity.keys import counting
from logo_similarity.keys.counting import NotCountedError, UsageCounter
from logo_similarity.keys.document import Key
from logo_similarity.keys.usage import Usage
from logo_similarity.keys.usage_file import open_usage_file

pytestmark = pytest.mark.anyio
PATIENCE = 60


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[UsageCounter]:
    opened = file_counter(tmp_path / "usage.db")
    opened.open()
    yield opened
    opened.close()


def file_counter(path: Path) -> UsageCounter:
    return UsageCounter(lambda: open_usage_file(path), str(path))


def key(quota: int | None = None) -> Key:
    return Key(id="team", name="team", created=dt.datetime.now(dt.UTC), quota=quota, secrets=())


def damage(folder: Path) -> None:
    for path in folder.glob("usage.db*"):
        path.write_bytes(b"garbage" * 2_000)


async def outcomes(counter: UsageCounter, one: Key, times: int) -> list[str]:
    done = await asyncio.gather(*(counter.admit(one) for _ in range(times)), return_exceptions=True)
    return ["admitted" if outcome is None else type(outcome).__name__ for outcome in done]


async def test_requests_at_once_are_counted_one_by_one(counter: UsageCounter) -> None:
    assert sorted(await outcomes(counter, key(quota=7), 20)) == ["QuotaSpentError"] * 13 + ["admitted"] * 7
    assert counter.today(key(quota=7)) == 7
    with pytest.raises(QuotaSpentError, match="7 requests a day"):
        await counter.admit(key(quota=7))


async def test_the_event_loop_turns_while_a_count_waits(counter: UsageCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    began, release = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        began.set()
        assert release.wait(PATIENCE)

    monkeypatch.setattr(Usage, "admit", slow)
    monkeypatch.setattr(counting, "COUNT_SECONDS", PATIENCE)
    counted = asyncio.create_task(counter.admit(key()))
    assert await asyncio.to_thread(began.wait, PATIENCE)
    release.set()  # never reached if the loop waited for the count
    await counted


async def test_a_file_that_another_process_holds_is_given_up_for_a_while(
    counter: UsageCounter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "PAUSE_SECONDS", 3600)
    calls: list[Key] = []
    real = Usage.admit

    def watched(usage: Usage, one: Key) -> None:
        calls.append(one)
        real(usage, one)

    monkeypatch.setattr(Usage, "admit", watched)
    other = sqlite3.connect(tmp_path / "usage.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert set(await outcomes(counter, key(quota=1), 20)) == {"NotCountedError"}
    other.execute("ROLLBACK")
    other.close()
    assert len(calls) == 1  # the others did not wait for the lock
    with pytest.raises(NotCountedError, match="locked"):
        await counter.admit(key(quota=1))
    assert len(calls) == 1
    counter._resume = 0.0  # the pause is over
    assert await outcomes(counter, key(quota=1), 1) == ["admitted"]
    assert await outcomes(counter, key(quota=1), 1) == ["QuotaSpentError"]


async def test_a_disk_that_stalls_holds_no_request_for_long(
    counter: UsageCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def stalled(*_: object) -> None:
        assert release.wait(PATIENCE)

    monkeypatch.setattr(Usage, "admit", stalled)
    monkeypatch.setattr(counting, "COUNT_SECONDS", 0.01)
    assert set(await outcomes(counter, key(), 3)) == {"NotCountedError"}
    release.set()


async def test_a_damaged_file_is_closed_until_it_is_opened_anew(counter: UsageCounter, tmp_path: Path) -> None:
    damage(tmp_path)
    assert await outcomes(counter, key(quota=1), 1) == ["NotCountedError"]
    assert not counter.is_open
    assert counter.today(key()) is None
    counter.open()
    assert await outcomes(counter, key(quota=1), 1) == ["admitted"]
    assert await outcomes(counter, key(quota=1), 1) == ["QuotaSpentError"]


async def test_closing_closes_the_file(tmp_path: Path) -> None:
    counter = file_counter(tmp_path / "usage.db")
    counter.close()  # not open yet
    counter = file_counter(tmp_path / "usage.db")
    counter.open()
    await counter.admit(key())
    assert (tmp_path / "usage.db-wal").exists()
    counter.close()
    assert not (tmp_path / "usage.db-wal").exists()  # SQLite deletes it with the last connection
    with pytest.raises(NotCountedError):
        await counter.admit(key())


def test_a_disk_that_stalls_does_not_hold_the_process(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, threading, pathlib; from logo_similarity.keys import counting\n"
        "from tests.unit.keys.test_counting import file_counter, key\n"
        "counting.Usage.admit, counting.COUNT_SECONDS = lambda *_: threading.Event().wait(), 0.01\n"
        "counter = file_counter(pathlib.Path(sys.argv[1]))\n"
        "counter.open()\n"
        "try: asyncio.run(counter.admit(key()))\n"
        "except counting.NotCountedError: print('not counted')\n"
        "counter.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "usage.db")], stdout=subprocess.PIPE, timeout=PATIENCE, check=True
    )
    assert done.stdout == b"not counted\n"
