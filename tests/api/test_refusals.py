from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from logo_similarity.api import refusals
from logo_similarity.api.refusals import MAX_CLIENTS, RefusalLog
from tests.logs import logs_of

pytestmark = pytest.mark.anyio


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until a condition holds that a timer of the log makes true."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_the_first_refusal_is_logged_at_once_and_the_others_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "SECONDS", 0.01)
    log = RefusalLog("refused", route="/v1/search")
    with logs_of(refusals) as lines:
        log.add("full", "192.0.2.1")
        assert len(lines) == 1
        for reason, client in (("full", "192.0.2.1"), ("slow", "192.0.2.2"), ("full", "192.0.2.2"), ("full", None)):
            log.add(reason, client)
        assert len(lines) == 1
        await turns_until(lambda: len(lines) == 2)
    expected = {"event": "refused", "route": "/v1/search", "log_level": "warning"}
    assert lines == [
        {**expected, "count": 1, "reasons": {"full": 1}, "clients": {"192.0.2.1": 1}},
        {**expected, "count": 4, "reasons": {"full": 3, "slow": 1}, "clients": {"192.0.2.2": 2, "192.0.2.1": 1}},
    ]


async def test_an_interval_without_refusals_logs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "SECONDS", 0)
    log = RefusalLog("refused")
    with logs_of(refusals) as lines:
        log.add("full", None)
        await turns_until(lambda: not log._waiting)
        assert len(lines) == 1
        log.add("slow", None)
        assert len(lines) == 2  # at once again
    assert [line["reasons"] for line in lines] == [{"full": 1}, {"slow": 1}]


async def test_a_flood_from_many_addresses_is_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "SECONDS", 0.01)
    log = RefusalLog("refused")
    with logs_of(refusals) as lines:
        log.add("full", None)
        for number in range(MAX_CLIENTS + 1):
            log.add("full", f"client {number}")
        assert len(log._clients) == MAX_CLIENTS
        for _ in range(9):
            log.add("full", f"client {MAX_CLIENTS}")  # one too many
        for number in range(6):
            for _ in range(number + 1):
                log.add("full", f"client {number}")
        await turns_until(lambda: len(lines) == 2)
    assert lines[1]["count"] == MAX_CLIENTS + 1 + 9 + 21
    assert lines[1]["clients"] == {f"client {number}": number + 2 for number in (5, 4, 3, 2, 1)}
