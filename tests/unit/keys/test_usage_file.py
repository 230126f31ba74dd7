"""The file of the counts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logo_similarity.errors import ConfigError
from logo_similarity.keys.usage import DAY, Usage
from logo_similarity.keys.usage_file import SQLiteStorage, open_usage_file, read_usage_file
from tests.unit.keys.conftest import Clock
from tests.unit.keys.test_usage import admitted, key


@pytest.fixture
def usage(tmp_path: Path, clock: Clock) -> Iterator[Usage]:
    opened = open_usage_file(tmp_path / "usage.db")
    yield opened
    opened.close()


@pytest.fixture
def storage(tmp_path: Path, clock: Clock) -> Iterator[SQLiteStorage]:
    opened = SQLiteStorage(tmp_path / "usage.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("jump", [-86_400 * 400, -3600, 3600, 86_400 * 400])
def test_a_clock_that_is_set_neither_locks_a_key_out_nor_frees_it(usage: Usage, clock: Clock, jump: int) -> None:
    limited = key(rate="5/second", quota=20)
    assert admitted(usage, limited, 9) == 5
    clock.now += jump
    assert admitted(usage, limited, 9) == 5
    clock.now += 2
    assert admitted(usage, limited, 9) == 5


def test_counts_survive_the_process(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from tests.unit.keys.test_usage import key, open_usage_file\n"
        "usage = open_usage_file(pathlib.Path(sys.argv[1]))\n"
        "for _ in range(5): usage.admit(key(quota=7))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "usage.db")], check=False).returncode == -9
    opened = open_usage_file(tmp_path / "usage.db")
    assert admitted(opened, key(quota=7), 5) == 2
    opened.close()


def test_processes_count_together_and_none_too_many(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tests.unit.keys.test_usage import admitted, key\n"
        "from logo_similarity.keys import usage_file\n"
        "usage_file.LOCK_SECONDS = 60  # on a busy machine a process may hold the lock for long\n"
        "usage = usage_file.open_usage_file(pathlib.Path(sys.argv[1]))\n"
        "print(admitted(usage, key(rate='900/hour', quota=500), 300))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "usage.db")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    done = [int(process.communicate()[0]) for process in running]
    assert sum(done) == 500


def test_old_counts_are_thrown_away(tmp_path: Path, clock: Clock) -> None:
    opened = open_usage_file(tmp_path / "usage.db")
    limited = key(rate="1/hour")
    opened.admit(limited)
    opened.close()
    clock.now += 3_599
    opened = open_usage_file(tmp_path / "usage.db")
    assert (admitted(opened, limited, 1), opened.today(limited)) == (0, 1)
    opened.close()
    clock.now += 3 * DAY
    open_usage_file(tmp_path / "usage.db").close()
    with sqlite3.connect(tmp_path / "usage.db") as connection:
        for table in ("counters", "hits"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


def test_a_counter_begins_again_after_its_expiry(storage: SQLiteStorage, clock: Clock) -> None:
    assert storage.get_expiry("key") == clock.now
    assert [storage.incr("key", 60, amount=3), storage.incr("key", 60)] == [3, 4]
    assert storage.get_expiry("key") == clock.now + 60
    clock.now += 60
    assert (storage.get("key"), storage.incr("key", 60)) == (4, 5)
    clock.now += 1
    assert (storage.get("key"), storage.incr("key", 60)) == (0, 1)
    assert storage.get_expiry("key") == clock.now + 60


def test_entries_are_added_together_or_not_at_all(storage: SQLiteStorage, clock: Clock) -> None:
    assert storage.acquire_entry("key", limit=5, expiry=60, amount=3)
    assert not storage.acquire_entry("key", limit=5, expiry=60, amount=3)
    assert storage.get_moving_window("key", limit=5, expiry=60) == (clock.now, 3)
    assert storage.acquire_entry("key", limit=5, expiry=60, amount=2)
    began = clock.now
    clock.now += 59
    assert storage.get_moving_window("key", limit=5, expiry=60) == (began, 5)
    clock.now += 1
    assert storage.get_moving_window("key", limit=5, expiry=60) == (clock.now, 0)


def test_counting_continues_after_a_full_disk(storage: SQLiteStorage) -> None:
    storage._connection.execute("PRAGMA max_page_count = 10")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        storage.acquire_entry("key", limit=10_000, expiry=60, amount=10_000)
    storage._connection.execute("PRAGMA max_page_count = 1000000")
    assert storage.acquire_entry("key", limit=5, expiry=60)


def test_a_failed_statement_ends_the_transaction(storage: SQLiteStorage) -> None:
    with pytest.raises(sqlite3.Error):
        storage.acquire_entry(object(), limit=5, expiry=60)  # type: ignore[arg-type]
    assert storage.acquire_entry("key", limit=5, expiry=60)


def test_counts_can_be_cleared(storage: SQLiteStorage) -> None:
    assert storage.check()
    assert storage.base_exceptions is sqlite3.Error
    for name in ("one", "other"):
        storage.incr(name, 60)
        storage.acquire_entry(name, limit=5, expiry=60)
    storage.clear("one")
    assert [storage.get(name) for name in ("one", "other")] == [0, 1]
    counts = [storage.get_moving_window(name, limit=5, expiry=60)[1] for name in ("one", "other")]
    assert counts == [0, 1]
    assert storage.reset() == 2  # rows
    assert storage.get("other") == 0


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "usage.db"):
        with pytest.raises(ConfigError, match="LOGO_USAGE_DB"):
            open_usage_file(path)


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    path.write_bytes(b"no database" * 1000)
    opened = open_usage_file(path)
    assert admitted(opened, key(quota=3), 5) == 3
    opened.close()
    assert (tmp_path / "usage.db.damaged").read_bytes() == b"no database" * 1000
    again = open_usage_file(path)
    assert again.today(key(quota=3)) == 3
    again.close()


def test_who_only_looks_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    one, other = key("one", quota=2), key("other")
    with pytest.raises(ConfigError, match=r"usage\.db does not exist; set LOGO_USAGE_DB or LOGO_CATALOGS"):
        read_usage_file(path, [one])
    opened = open_usage_file(path)
    admitted(opened, one, 5)
    files = {found.name for found in tmp_path.iterdir()}
    assert read_usage_file(path, [one, other]) == {"one": 2, "other": 0}
    assert {found.name for found in tmp_path.iterdir()} == files
    opened.close()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=r"usage\.db cannot be read"):
        read_usage_file(path, [one])
