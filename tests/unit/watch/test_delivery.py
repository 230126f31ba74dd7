from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logo_similarity.errors import NotFoundError
from logo_similarity.watch import webhook
from logo_similarity.watch.delivery import MOST_ROUNDS, deliver
from logo_similarity.watch.store import DeliveryState
from logo_similarity.watch.webhook import WebhookRules
from tests.watching import NEW, WatchedDesk
from tests.webhooks import Receiver, receiving


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    WatchedDesk(folder).fill()
    return folder


@pytest.fixture
def desk(filled: Path, tmp_path: Path, receiver: Receiver) -> WatchedDesk:
    """A watch with a webhook and two alerts that are due."""
    for name in ("catalogs", "store"):
        shutil.copytree(filled / name, tmp_path / name)
    desk = WatchedDesk(tmp_path)
    desk.rules = WebhookRules(frozenset({receiver.authority, "127.0.0.1:1"}), http=True, private=True)
    desk.watch(NEW, webhook=f"http://{receiver.authority}/hook")
    desk.add(desk.mark(NEW), desk.record("EM-1", 1, NEW))
    desk.run()
    return desk


def send(desk: WatchedDesk, *inactive: str) -> tuple[int, int]:
    with desk.watches.running():
        return deliver(desk.watches, desk.rules, lambda owner: owner not in inactive)


def states(desk: WatchedDesk) -> list[str]:
    alerts = [alert.id for alert in desk.watches.alerts(limit=10)]
    return [state.value for state, _ in desk.watches.deliveries(alerts).values()]


def test_each_alert_is_sent_once(desk: WatchedDesk, receiver: Receiver) -> None:
    assert send(desk) == (2, 0)
    assert send(desk) == (0, 0)
    assert {alert["logo_id"] for alert in receiver.alerts()} == {f"US-{NEW}", "EM-1"}
    first = receiver.alerts()[0]
    assert first["kind"] == "similar"
    assert first["metadata"]["text"] in {f"Text {NEW}", None}
    assert first["watch"]["name"] == "Ours"
    assert "filename" not in first
    assert receiver.received[0][0]["x-logo-delivery"] == first["delivery"]
    assert len({alert["delivery"] for alert in receiver.alerts()}) == 2


def test_a_failure_is_repeated_with_the_same_id_and_given_up_in_the_end(
    desk: WatchedDesk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.statuses = [404] * 1000
    assert send(desk) == (0, 1)  # the second alert of the watch waits
    assert receiver.alerts()[0]["logo_id"] in {f"US-{NEW}", "EM-1"}
    assert send(desk) == (0, 1)  # the first one is not due
    assert send(desk) == (0, 0)
    now = time.time()
    for round_ in range(MOST_ROUNDS * 2):
        monkeypatch.setattr(time, "time", lambda later=now + (round_ + 1) * 90_000: later)
        send(desk)
    assert states(desk) == ["failed", "failed"]
    assert len(receiver.received) == 2 * MOST_ROUNDS
    assert len({alert["delivery"] for alert in receiver.alerts()}) == 2


def test_a_host_in_trouble_delays_no_other(desk: WatchedDesk, receiver: Receiver) -> None:
    desk.watches.remove(desk.watches.watches()[0].id)
    for address in ("http://127.0.0.1:1/a", "http://127.0.0.1:1/b", f"http://{receiver.authority}/c"):
        desk.watch(NEW + 1, webhook=address)
    desk.add(desk.mark(NEW + 1))
    desk.run()
    assert send(desk) == (1, 1)
    assert states(desk).count("delivered") == 1


def test_the_alerts_of_an_inactive_key_are_not_sent(desk: WatchedDesk, receiver: Receiver) -> None:
    assert send(desk, "anonymous") == (0, 0)
    assert send(desk) == (2, 0)


def test_a_host_that_is_no_longer_allowed_gets_nothing(desk: WatchedDesk, receiver: Receiver) -> None:
    desk.rules = WebhookRules(frozenset())
    assert send(desk) == (0, 1)
    assert receiver.received == []
    outcomes = [outcome for _, outcome in desk.watches.deliveries([1, 2]).values() if outcome]
    assert len(outcomes) == 1
    assert "LOGO_WEBHOOK_HOSTS" in outcomes[0]


def test_a_removed_watch_sends_nothing(desk: WatchedDesk, receiver: Receiver) -> None:
    (watch,) = desk.watches.watches()
    desk.watches.remove(watch.id)
    assert send(desk) == (0, 0)
    with pytest.raises(NotFoundError):
        desk.watches.watch(watch.id)
    assert DeliveryState.PENDING not in states(desk)
