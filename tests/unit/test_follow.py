from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

from logo_similarity import follow
from logo_similarity.errors import FolderBusyError, StoreError
from logo_similarity.follow import Follower
from tests.logs import logs_of

Line = MutableMapping[str, Any]


def followed(*outcomes: Exception | None) -> tuple[int, list[Line]]:
    """Failures counted and lines logged while a follower looks once for each outcome."""
    failures, coming, over = list[int](), iter(outcomes), asyncio.Event()

    async def look() -> None:
        outcome = next(coming, over)
        if outcome is over:
            over.set()
        elif isinstance(outcome, Exception):
            raise outcome

    async def scenario() -> list[Line]:
        follower = Follower(
            look,
            seconds=0,
            event="not_read",
            count_failure=lambda: failures.append(1),
            level=logging.WARNING,
            details=lambda: {"stays": "old"},
        )
        with logs_of(follow) as lines:
            task = asyncio.create_task(follower.follow())
            await asyncio.wait({task, asyncio.create_task(over.wait())}, return_when=asyncio.FIRST_COMPLETED)
            assert not task.done(), "a failure ended the following"
            task.cancel()
        return lines

    lines = asyncio.run(scenario())
    return len(failures), lines


def test_every_failure_is_counted_and_logged_once_while_its_message_stays() -> None:
    count, lines = followed(*[StoreError("down")] * 3, StoreError("refused"), None, StoreError("refused"))
    assert count == 5
    assert [(line["event"], line["error"], line["stays"]) for line in lines] == [
        ("not_read", "down", "old"),
        ("not_read", "refused", "old"),
        ("not_read", "refused", "old"),
    ]
    assert {line["log_level"] for line in lines} == {"warning"}


def test_an_unexpected_error_is_logged_with_its_trace() -> None:
    count, lines = followed(ZeroDivisionError("division by zero"), OSError(28, "No space left on device"))
    assert count == 2
    assert [isinstance(line["exc_info"], ZeroDivisionError) for line in lines] == [True, False]


def test_a_busy_folder_is_neither_a_failure_nor_an_end_of_one() -> None:
    count, lines = followed(StoreError("down"), FolderBusyError("busy"), StoreError("down"))
    assert count == 2
    assert [line["error"] for line in lines] == ["down"]


def test_a_follower_that_is_woken_looks_at_once() -> None:
    async def scenario() -> None:
        wake, seen = asyncio.Event(), asyncio.Event()

        async def look() -> None:
            seen.set()

        follower = Follower(look, seconds=3600, event="not_read", count_failure=int, wake=wake)
        task = asyncio.create_task(follower.follow())
        for _ in range(2):
            wake.set()
            await asyncio.wait_for(seen.wait(), 60)
            seen.clear()
            assert not wake.is_set()
        task.cancel()

    asyncio.run(scenario())
