from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.config import load_settings
from logo_similarity.domain import PartsMode, Query
from logo_similarity.errors import ConfigError, NotFoundError, WatchLimitError
from logo_similarity.filters import Filter
from logo_similarity.watch.model import Event, Kind, NewWatch
from logo_similarity.watch.news import RegisterState
from logo_similarity.watch.store import WatchStore, open_watch_store

STATE = RegisterState("v1", np.array([3, 2**63], np.uint64), np.array([5, 6], np.uint64))
WORDS = NewWatch(name="Ours", query=Query(words="Kranich"))


@pytest.fixture
def store(tmp_path: Path) -> WatchStore:
    return WatchStore(tmp_path / "watches")


def event(watch: str, logo_id: str = "US-1", key: str = "a") -> Event:
    return Event(
        watch=watch,
        kind=Kind.SIMILAR,
        logo_id=logo_id,
        key=key,
        filename="x.jpg",
        detail={"metadata": {}},
        values={"status": "pending"},
    )


def test_a_watch_is_read_as_it_was_written(store: WatchStore) -> None:
    query = Query(
        image=b"one", more_images=(b"two",), words="Kranich", filter=Filter.where(status="ended", nice_classes=[9, 42]),
        parts=PartsMode.ONLY, greyscale=True, max_expect=0.5, top_k=7, min_score=0.25,
    )  # fmt: skip
    new = NewWatch(name="Ünsere", query=query, marks=("US-1",), webhook="https://hooks.example/")
    watch, secret = store.add("team", new, {"US-1": {"status": None}}, STATE, most=None)
    assert secret is not None
    assert (watch.name, watch.owner, watch.marks, watch.webhook) == ("Ünsere", "team", ("US-1",), new.webhook)
    assert (watch.pictures, watch.alerts, watch.problem) == (2, 0, None)
    assert store.query(watch.id) == query
    assert [(mark.own, mark.values) for mark in store.marks(watch.id)] == [(True, {"status": None})]


def test_the_state_survives(store: WatchStore) -> None:
    assert store.needs_state()
    store.add("team", WORDS, {}, STATE, most=None)
    assert not store.needs_state()
    state = store.state()
    assert state is not None
    assert (state.version, state.ids.tolist(), state.contents.tolist()) == ("v1", [3, 2**63], [5, 6])


def test_the_state_of_removed_watches_is_no_beginning(store: WatchStore) -> None:
    watch, _ = store.add("team", WORDS, {}, STATE, most=None)
    store.remove(watch.id)
    assert store.needs_state()
    store.add("team", WORDS, {}, None, most=None)
    assert store.state() is None


def test_everything_of_a_watch_goes_with_it(store: WatchStore) -> None:
    new = NewWatch(name="x", query=Query(image=b"one"), webhook="https://hooks.example/")
    watch, _ = store.add("team", new, {"US-9": {}}, STATE, most=None)
    assert store.commit(STATE, [event(watch.id)], {}) == 1
    store.remove(watch.id)
    connection = sqlite3.connect(store.path)
    for table in ("watches", "pictures", "marks", "alerts", "deliveries"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()


def test_an_event_is_stored_once_and_not_for_a_removed_watch(store: WatchStore) -> None:
    watch, _ = store.add("team", WORDS, {}, STATE, most=None)
    same, other = event(watch.id), event(watch.id, key="b")
    assert store.commit(STATE, [same, other, same, event("removed")], {}) == 2
    assert store.commit(STATE, [same], {watch.id: "why"}) == 0
    assert store.watch(watch.id).problem == "why"


def test_an_owner_may_have_so_many(store: WatchStore) -> None:
    store.add("team", WORDS, {}, STATE, most=1)
    with pytest.raises(WatchLimitError, match="at most 1 watch can be kept"):
        store.add("team", WORDS, {}, STATE, most=1)
    store.add("other", WORDS, {}, STATE, most=1)


def test_nothing_exists_before_the_first_watch(store: WatchStore) -> None:
    assert (store.watches(), store.alerts(limit=1), store.due_deliveries(1e12), store.marks("x")) == ([], [], [], [])
    assert (store.state(), store.watched_version(), store.revoke_feed("team")) == (None, None, False)
    for call in (store.watch, store.remove, store.query, store.feed_owner):
        with pytest.raises(NotFoundError):
            call("x")
    assert not store.path.exists()


def test_the_file_is_for_its_owner_alone(store: WatchStore) -> None:
    store.new_feed("team")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_commits_wait_for_the_disk(store: WatchStore) -> None:
    store.new_feed("team")
    with store._database.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_token_of_a_feed_is_not_stored(store: WatchStore) -> None:
    token = store.new_feed("team")
    assert store.feed_owner(token) == "team"
    assert all(token.encode() not in path.read_bytes() for path in store.path.parent.iterdir())
    with pytest.raises(NotFoundError):
        store.feed_owner(token[:-1])


def test_a_file_of_a_later_version_is_refused(store: WatchStore) -> None:
    store.new_feed("team")
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(ConfigError, match=r"LOGO_WATCHES_DIR: .*watches\.db has format 2"):
        store.watches()


def test_a_damaged_file_is_an_error_that_names_it(store: WatchStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"garbage" * 2_000)
    with pytest.raises(ConfigError, match=r"LOGO_WATCHES_DIR: .*watches\.db cannot be used"):
        store.watches()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        WatchStore(tmp_path / "file" / "watches").new_feed("team")


def test_where_it_is(tmp_path: Path) -> None:
    assert open_watch_store(load_settings(catalogs=tmp_path)).path == tmp_path / ".watches" / "watches.db"
    assert open_watch_store(load_settings(watches_dir=tmp_path)).path == tmp_path / "watches.db"
