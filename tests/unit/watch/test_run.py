"""Watches on real versions of a catalog, and imports between them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from logo_similarity.build.flushing import Flusher
from logo_similarity.catalog.versions import Catalog
from logo_similarity.domain import Query, Removal
from logo_similarity.errors import BadImageError, ConfigError, FolderBusyError, InvalidRequestError, NotFoundError
from logo_similarity.filters import Filter
from logo_similarity.watch import store
from logo_similarity.watch.model import NewWatch
from logo_similarity.watch.run import add_watch
from logo_similarity.watch.store import WatchStore
from tests.changing import Office
from tests.importing import FILES
from tests.watching import NEW, WatchedDesk


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    WatchedDesk(folder).fill()
    return folder


@pytest.fixture
def desk(filled: Path, tmp_path: Path) -> WatchedDesk:
    shutil.copytree(filled / "catalogs", tmp_path / "catalogs")
    shutil.copytree(filled / "store", tmp_path / "store")
    return WatchedDesk(tmp_path)


def test_a_new_mark_with_the_picture_is_reported_once(desk: WatchedDesk) -> None:
    watch = desk.watch(NEW)
    assert desk.run().alerts == 0
    desk.add(desk.mark(NEW), desk.mark(NEW + 1))
    summary = desk.run()
    assert (summary.new, summary.changed, summary.watches, summary.alerts) == (2, 0, 1, 1)
    assert desk.alerts(watch) == [("similar", f"US-{NEW}")]
    assert desk.run().before == summary.version
    assert desk.alerts() == [("similar", f"US-{NEW}")]


def test_numbers_are_those_of_a_search_of_the_whole_catalog(desk: WatchedDesk) -> None:
    desk.watch(NEW, max_expect=1e9)
    desk.add(desk.mark(NEW), desk.mark(NEW + 1))
    desk.run()
    alerts = {alert.logo_id: alert for alert in desk.watches.alerts(limit=10)}
    assert alerts.keys() == {f"US-{NEW}", f"US-{NEW + 1}"}
    with desk.engine() as engine:
        hits = engine.search(Query(image=FILES[NEW].read_bytes(), top_k=1000)).hits
    for hit in hits:
        if hit.logo.logo_id in alerts:
            detail = alerts[hit.logo.logo_id].detail
            assert detail["expect"] == pytest.approx(hit.expect)
            assert detail["score"] == round(hit.score, 4)
            assert detail["reason"] == "new"


def test_live_changes_are_reported_once_and_not_again_when_they_are_folded(desk: WatchedDesk) -> None:
    watch, own = desk.watch(NEW), desk.watch(3, marks=("US-3",))
    office = Office(desk)
    office.change("create", f"US-{NEW}", NEW, text="live")
    office.change("update", "US-3", status="ended")
    Flusher(desk.root, office.overlay, office.base).flush()
    summary = desk.run()
    assert (summary.version, summary.before) == (f"{office.base.name}+2", office.base.name)
    assert (summary.new, summary.changed) == (1, 1)
    assert desk.alerts(watch) == [("similar", f"US-{NEW}")]
    assert desk.alerts(own) == [("changed", "US-3")]
    assert desk.run().before == summary.version
    office.change("delete", f"US-{NEW}")
    Flusher(desk.root, office.overlay, office.base).flush()
    assert (desk.run().new, len(desk.alerts())) == (0, 3)  # the reported mark is watched, too
    office.overlay.close()


def test_marks_that_were_there_before_are_not_reported(desk: WatchedDesk) -> None:
    desk.watch(3)
    desk.add(desk.mark(NEW))
    desk.run()
    assert desk.alerts() == []


def test_the_first_watch_begins_with_the_version_that_is_live(desk: WatchedDesk) -> None:
    desk.add(desk.mark(NEW))
    desk.watch(NEW)
    desk.add(desk.mark(NEW + 1))
    assert desk.run().new == 1
    assert desk.alerts() == []


def test_after_the_last_watch_is_removed_the_next_one_is_a_new_beginning(desk: WatchedDesk) -> None:
    desk.watches.remove(desk.watch(3).id)
    desk.add(desk.mark(NEW))
    desk.watch(NEW)
    desk.run()
    assert desk.alerts() == []


def test_what_a_pruned_version_had_is_still_known(desk: WatchedDesk) -> None:
    desk.watch(NEW)
    desk.add(desk.mark(NEW))
    assert len(Catalog(desk.root).prune(1)) == 1
    assert desk.run().alerts == 1


@pytest.mark.parametrize("same_image", [True, False])
def test_a_changed_mark_is_reported_if_its_image_was_not(desk: WatchedDesk, same_image: bool) -> None:
    desk.watch(NEW)
    desk.add(desk.mark(NEW))
    desk.run()
    image = NEW if same_image else NEW + 1
    desk.add(desk.record(f"US-{NEW}", 2, image, text="another text"))
    assert desk.run().changed == 1
    assert desk.alerts() == [("similar", f"US-{NEW}")]
    desk.add(desk.record("US-3", 2, NEW))
    desk.run()
    assert desk.alerts() == [("similar", f"US-{NEW}"), ("similar", "US-3")]
    assert desk.watches.alerts(limit=1)[0].detail["reason"] == "changed"


def test_every_mark_with_the_same_image_is_reported(desk: WatchedDesk) -> None:
    desk.watch(3)
    desk.add(*(desk.record(f"EM-{number}", 1, 3) for number in range(15)))
    desk.run()
    assert sorted(desk.alerts()) == sorted(("similar", f"EM-{number}") for number in range(15))


def test_words_are_a_reason_of_their_own(desk: WatchedDesk) -> None:
    desk.watch(NEW, words="Kranich")
    desk.add(desk.mark(NEW, text="something"), desk.mark(NEW + 1, text="Kranisch"), desk.mark(NEW + 2, text="Kran"))
    desk.run()
    alerts = {alert.logo_id: alert.detail for alert in desk.watches.alerts(limit=10)}
    assert alerts.keys() == {f"US-{NEW}", f"US-{NEW + 1}"}
    assert alerts[f"US-{NEW}"]["word_similarity"] is None
    assert alerts[f"US-{NEW + 1}"]["score"] is None
    assert alerts[f"US-{NEW + 1}"]["word_similarity"] > 0.8


def test_only_marks_that_pass_the_filter_are_reported(desk: WatchedDesk) -> None:
    desk.watch(3, filter=Filter.where(status="registered"))
    desk.add(desk.record("EM-1", 1, 3, status="pending"), desk.record("EM-2", 1, 3, status="registered"))
    desk.run()
    assert desk.alerts() == [("similar", "EM-2")]
    desk.add(desk.record("EM-1", 2, 3, status="registered"))
    desk.run()
    assert desk.alerts() == [("similar", "EM-2"), ("similar", "EM-1")]


def test_top_k_bounds_the_alerts_of_a_run(desk: WatchedDesk) -> None:
    desk.watch(3, top_k=2)
    desk.add(*(desk.record(f"EM-{number}", 1, 3) for number in range(5)))
    assert desk.run().alerts == 2


def test_own_marks_are_monitored_and_not_similar(desk: WatchedDesk) -> None:
    desk.watch(3, marks=("US-3",))
    desk.add(desk.mark(3, 2, status="registered"), desk.mark(4, 2, status="registered"), desk.mark(5, 2))
    desk.run()
    (alert,) = desk.watches.alerts(limit=10)
    assert (alert.kind, alert.logo_id) == ("changed", "US-3")
    assert (alert.detail["before"]["status"], alert.detail["after"]["status"]) == ("pending", "registered")
    assert alert.detail["own"]


def test_a_mark_that_was_reported_is_monitored(desk: WatchedDesk) -> None:
    desk.watch(NEW)
    desk.add(desk.mark(NEW))
    desk.run()
    desk.add(desk.mark(NEW, 2, status="pending", goods="Bread"))
    assert desk.run().alerts == 0
    for number, company in enumerate(("Baker", "Butcher", "Baker"), 3):
        desk.add(desk.mark(NEW, number, status="registered", company=company))
        assert desk.run().alerts == 1
    first, *_, last = reversed(desk.watches.alerts(limit=10)[:-1])
    assert (first.detail["before"]["status"], first.detail["after"]["company"]) == ("pending", "Baker")
    assert (last.detail["before"]["company"], last.detail["after"]["company"]) == ("Butcher", "Baker")


def test_a_mark_that_leaves_the_register_and_comes_back(desk: WatchedDesk) -> None:
    desk.watch(3, marks=("US-3",))
    desk.add(Removal("US-3", "here"))
    desk.run()
    assert desk.watches.alerts(limit=1)[0].detail["after"] is None
    desk.add(desk.mark(3, 9))
    desk.run()
    assert [alert.detail["before"] for alert in desk.watches.alerts(limit=1)] == [None]
    assert len(desk.alerts()) == 2


def test_the_watches_of_an_inactive_key_rest(desk: WatchedDesk) -> None:
    desk.watch(NEW, owner="gone")
    desk.watch(NEW, owner="here")
    desk.add(desk.mark(NEW))
    assert desk.run("gone").alerts == 1
    assert [len(desk.watches.alerts(owner=owner, limit=9)) for owner in ("gone", "here")] == [0, 1]


def test_a_watch_that_cannot_be_searched_for_stops_no_other(desk: WatchedDesk) -> None:
    broken = desk.watch(logo_id="US-3", marks=("US-4",))
    desk.watch(NEW)
    desk.add(desk.mark(NEW), Removal("US-3", "here"), desk.mark(4, 2, status="ended"))
    summary = desk.run()
    assert (summary.watches, summary.problems) == (1, 1)
    assert "US-3" in (desk.watches.watch(broken.id).problem or "")
    assert desk.alerts() == [("changed", "US-4"), ("similar", f"US-{NEW}")]
    desk.add(desk.mark(3, 9))
    assert desk.run().problems == 0
    assert desk.watches.watch(broken.id).problem is None


def test_a_small_catalog_reports_near_identical_pictures_only(tmp_path: Path) -> None:
    desk = WatchedDesk(tmp_path)
    desk.build(*(desk.mark(number) for number in range(5)))
    desk.watch(NEW)
    desk.add(desk.mark(NEW), *(desk.mark(number) for number in range(10, 20)))
    desk.run()
    assert desk.alerts() == [("similar", f"US-{NEW}")]


def test_a_version_that_is_activated_again_repeats_no_alert(desk: WatchedDesk) -> None:
    desk.watch(NEW, marks=("US-3",))
    first = Catalog(desk.root).current().name
    desk.add(desk.mark(NEW))
    desk.run()
    second = Catalog(desk.root).current().name
    for name in (first, second):
        Catalog(desk.root).flip(name)
        desk.run()
    assert [alert for alert in desk.alerts() if alert[0] == "similar"] == [("similar", f"US-{NEW}")]


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (lambda desk: desk.watch(logo_id="US-none"), NotFoundError, "US-none"),
        (lambda desk: desk.watch(3, marks=("US-none",)), NotFoundError, "US-none"),
        (lambda desk: desk.watch(words="!"), InvalidRequestError, "no letter"),
        (lambda desk: desk.watch(3, filter=Filter.where(office="EM")), InvalidRequestError, "no office"),
        (lambda desk: desk.watch(3, propose=True), InvalidRequestError, "propose"),
        (lambda desk: desk.watch(3, marks=("US-3",) * 101), InvalidRequestError, "101 own marks"),
    ],
)
def test_a_watch_that_could_never_run_is_refused(
    desk: WatchedDesk, break_it: Callable[[WatchedDesk], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        break_it(desk)
    assert desk.watches.watches() == []


def test_a_file_that_is_no_picture_is_refused(desk: WatchedDesk) -> None:
    new = NewWatch(name="x", query=Query(image=b"no picture"))
    with desk.engine() as engine, pytest.raises(BadImageError):
        add_watch(desk.watches, engine, "key", new, rules=desk.rules, most=None)


def test_one_process_runs_at_a_time(desk: WatchedDesk) -> None:
    with desk.watches.running(), pytest.raises(FolderBusyError), WatchStore(desk.watches.path.parent).running():
        pass


def test_without_watches_nothing_is_read(desk: WatchedDesk) -> None:
    assert desk.run().before is None
    assert desk.watches.state() is None


def test_a_run_that_cannot_be_stored_is_repeated(desk: WatchedDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.watch(NEW)
    desk.add(desk.mark(NEW))

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_write_state", full)
        with pytest.raises(ConfigError, match="disk is full"):
            desk.run()
    assert desk.alerts() == []
    assert desk.run().alerts == 1
