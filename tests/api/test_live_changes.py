"""The changes of one worker: their turns, damaged segments, and what the log says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from logo_similarity.api import changes as changes_module
from logo_similarity.api.changes import LiveChanges
from logo_similarity.api.runtime import open_live_replica
from logo_similarity.build.changing import LogoChange, read_record
from logo_similarity.catalog.live_folder import LOCK, LiveFolder, locked
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError, FolderBusyError, NotWritableError, OverloadedError
from logo_similarity.metrics import CHANGES_PULLED
from logo_similarity.storage import LocalStore
from tests.importing import FILES, Desk
from tests.logs import logs_of


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.build(*(desk.record(f"US-{n}", 2, n, text=f"text {n}") for n in range(4)))
    return desk


@pytest.fixture
def engine(desk: Desk) -> Iterator[SearchEngine]:
    with SearchEngine.open(desk.root) as engine:
        yield engine


def changes_of(desk: Desk, refusal: str | None = None) -> LiveChanges:
    store = LocalStore(desk.store, secret="secret", link_seconds=60)
    return LiveChanges(Catalog(desk.root), store, refusal, turns=1, waiting=1)


def create(changes: LiveChanges, engine: SearchEngine, number: int) -> None:
    logo_id = f"US-{number}"
    record = read_record({"text": f"text {number}"}, logo_id, sparse=False)
    image = FILES[number].read_bytes()
    changes.apply(engine, LogoChange(operation="create", logo_id=logo_id, record=record, image=image, day=None), None)


def test_changes_leave_threads_to_searches(desk: Desk) -> None:
    changes = changes_of(desk)

    async def take(seconds: float, over: asyncio.Event, begun: asyncio.Event) -> None:
        async with changes.turn(seconds):
            begun.set()
            await over.wait()

    async def scenario() -> None:
        over, begun, second = asyncio.Event(), asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(take(60, over, begun))
        await begun.wait()
        with pytest.raises(OverloadedError):  # its turn does not come
            await take(0, over, second)
        waiting = asyncio.create_task(take(60, over, second))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):  # too many are waiting
            await take(60, over, asyncio.Event())
        assert not second.is_set()
        over.set()
        await asyncio.gather(first, waiting)
        assert second.is_set()

    asyncio.run(scenario())


def test_damaged_segments_are_written_again(desk: Desk, engine: SearchEngine) -> None:
    changes = changes_of(desk)
    assert changes.opened(engine) is engine
    create(changes, engine, 9)
    changes.flush(engine)
    folder = LiveFolder.of(desk.root, engine.version)
    state = folder.read()
    assert state is not None
    (segment,) = folder.segments(state)
    (segment / "index.faiss").write_bytes(b"cut")
    with pytest.raises(CatalogError):
        changes.opened(engine)
    assert folder.marker() is None
    changes.flush(engine)
    assert changes.opened(engine).logo("US-9") is not None
    changes.close()


def test_many_changes_are_logged_once(desk: Desk, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "MANY_CHANGES", 1)
    changes = changes_of(desk)
    with logs_of(changes_module) as lines:
        for number in (9, 10, 11):
            create(changes, engine, number)
            changes.flush(engine)
    assert [(line["event"], line["changes"]) for line in lines] == [("many_changes", 2)]
    assert "compact" in lines[0]["hint"]
    changes.close()


def test_a_service_that_accepts_no_changes_writes_nothing(desk: Desk, engine: SearchEngine) -> None:
    changes = changes_of(desk, "it follows another")
    with pytest.raises(NotWritableError, match="it follows another"):
        create(changes, engine, 9)
    changes.flush(engine)
    changes.merge(engine)
    assert not list(desk.root.glob("overlay.db*"))
    assert not (desk.root / "live").exists()


def test_a_version_is_opened_with_the_changes_that_are_here_while_the_bucket_is_down(
    desk: Desk, engine: SearchEngine
) -> None:
    primary = changes_of(desk)
    create(primary, engine, 9)
    primary.flush(engine)
    primary.close()
    settings = load_settings(
        s3_endpoint="http://127.0.0.1:9", s3_access_key="key", s3_secret_key="secret", catalog_url="s3://bucket/x"
    )
    catalog = Catalog(desk.root)
    replica = open_live_replica(settings, Trial())
    changes = LiveChanges(catalog, None, "it follows another", turns=1, waiting=1, replica=replica)
    failed = CHANGES_PULLED.labels("failed")
    before = failed._value.get()
    with logs_of(changes_module) as lines:
        changes.refresh(engine)
    assert [line["event"] for line in lines] == ["changes_not_pulled"]
    assert failed._value.get() == before + 1
    assert changes.opened(engine).logo("US-9") is not None


def test_a_version_is_opened_when_another_worker_has_written_its_changes(desk: Desk, engine: SearchEngine) -> None:
    changes = changes_of(desk)
    create(changes, engine, 9)
    with ThreadPoolExecutor(1) as pool:
        with locked(desk.root, LOCK):
            refreshing = pool.submit(changes.refresh, engine)
            with pytest.raises(FolderBusyError):
                changes.flush(engine)
            assert not refreshing.done()
        refreshing.result()
    assert changes.opened(engine).logo("US-9") is not None
    changes.close()
