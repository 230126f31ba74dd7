from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from unittest.mock import patch

import pytest

from logo_similarity.embed.gate import Gate
from logo_similarity.errors import NotReadyError, OverloadedError


def gate(*, threads: int = 1, max_queue: int = 8, queue_seconds: float = 60) -> Gate:
    return Gate(threads=threads, max_queue=max_queue, queue_seconds=queue_seconds)


def waiting_for(event: threading.Event) -> Callable[[], bool]:
    return lambda: event.wait(30)


def marking(begun: threading.Event, release: threading.Event | None = None) -> Callable[[], bool]:
    def job() -> bool:
        begun.set()
        return release is None or release.wait(30)

    return job


def noting(seen: list[int], number: int) -> Callable[[], bool]:
    def job() -> bool:
        seen.append(number)
        return True

    return job


async def started(tasks: list[asyncio.Task[bool]]) -> None:
    """Let the tasks run up to where they wait for their thread."""
    for _ in range(3 * len(tasks)):
        await asyncio.sleep(0)


def is_full(opened: Gate) -> bool:
    """Asked anew each time: to the type checker a property stays what it was."""
    return opened.full


def test_every_job_gets_its_own_result() -> None:
    async def scenario() -> None:
        opened = gate(threads=2, max_queue=100)
        assert await asyncio.gather(*(opened.run(lambda n=n: n * n) for n in range(50))) == [n * n for n in range(50)]  # type: ignore[misc]
        opened.close()

    asyncio.run(scenario())


def test_refuses_past_its_capacity_and_recovers() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=2), threading.Event()
        tasks = [asyncio.create_task(opened.run(waiting_for(release))) for _ in range(3)]
        await started(tasks)
        assert opened.inside == 3
        assert opened.full
        with pytest.raises(OverloadedError) as refusal:
            await opened.run(lambda: True)
        assert 1 <= refusal.value.retry_after <= 3
        release.set()
        assert await asyncio.gather(*tasks) == [True, True, True]
        assert await opened.run(lambda: True)
        opened.close()

    asyncio.run(scenario())


def test_a_place_is_held_for_who_was_let_in_but_not_for_long() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=1), threading.Event()  # room for two
        first = opened.expect()
        assert not is_full(opened)
        second = opened.expect()
        assert is_full(opened)
        opened.give_back(second)
        opened.give_back(second)
        assert not is_full(opened)  # nor more than one place more
        opened.expect()
        assert is_full(opened)
        opened.give_back(first)
        task = asyncio.create_task(opened.run(waiting_for(release)))
        await started([task])
        assert is_full(opened)  # one runs, one is expected
        with patch("logo_similarity.embed.gate.EXPECTED_SECONDS", 0.0):
            assert not is_full(opened)  # who was expected did not come
        release.set()
        assert await task
        assert await opened.run(lambda: True)
        opened.close()

    asyncio.run(scenario())


def test_a_place_is_never_free_between_the_ticket_and_the_job() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=0), threading.Event()  # room for one
        ticket = opened.expect()
        task = asyncio.create_task(opened.run(waiting_for(release), ticket))
        while not opened.inside:
            assert is_full(opened)
            await asyncio.sleep(0)
        assert is_full(opened)
        release.set()
        assert await task
        opened.close()

    asyncio.run(scenario())


def test_a_job_takes_the_place_of_its_ticket_and_no_second_one() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=1), threading.Event()  # room for two
        task = asyncio.create_task(opened.run(waiting_for(release), opened.expect()))
        await started([task])
        assert not is_full(opened)
        release.set()
        assert await task
        opened.close()

    asyncio.run(scenario())


def test_nobody_takes_anothers_place_for_ever() -> None:
    """A thousand are let in that never come: the next ones are served all the same."""

    async def scenario() -> None:
        opened = gate(max_queue=1)
        with patch("logo_similarity.embed.gate.EXPECTED_SECONDS", 0.01):
            for _ in range(1_000):
                opened.expect()
            assert is_full(opened)
            assert await opened.run(lambda: True)
            await asyncio.sleep(0.02)
            assert not is_full(opened)
        opened.close()

    asyncio.run(scenario())


def test_an_exception_reaches_its_caller_and_ends_nothing() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        opened = gate()
        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                await opened.run(fail)
        assert await opened.run(lambda: "next") == "next"
        opened.close()

    asyncio.run(scenario())


def test_a_job_that_waited_too_long_is_refused_and_not_run() -> None:
    async def scenario() -> None:
        opened, release, ran = gate(queue_seconds=0.05), threading.Event(), threading.Event()
        first = asyncio.create_task(opened.run(waiting_for(release)))
        late = asyncio.create_task(opened.run(marking(ran)))
        await asyncio.sleep(0.2)
        release.set()
        assert await first
        with pytest.raises(OverloadedError, match="waited"):
            await late
        assert not ran.is_set()
        opened.close()

    asyncio.run(scenario())


def test_a_waiting_job_whose_caller_left_is_never_run() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=100), threading.Event()
        ran: list[int] = []
        first = asyncio.create_task(opened.run(waiting_for(release)))
        left = [asyncio.create_task(opened.run(noting(ran, n))) for n in range(50)]
        await started([first, *left])
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        release.set()
        assert await first
        assert await opened.run(lambda: True)
        assert ran == []
        opened.close()

    asyncio.run(scenario())


def test_a_running_job_keeps_its_place_when_its_caller_left() -> None:
    async def scenario() -> None:
        opened, begun, release = gate(max_queue=1), threading.Event(), threading.Event()
        running = asyncio.create_task(opened.run(marking(begun, release)))
        await asyncio.to_thread(begun.wait, 30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert opened.inside == 1
        release.set()
        assert await opened.run(lambda: True)
        opened.close()

    asyncio.run(scenario())


def test_closing_answers_those_who_wait() -> None:
    async def scenario() -> None:
        opened, begun, release = gate(), threading.Event(), threading.Event()
        running = asyncio.create_task(opened.run(marking(begun, release)))
        await asyncio.to_thread(begun.wait, 30)
        waiting = asyncio.create_task(opened.run(lambda: True))
        await started([waiting])
        closing = asyncio.create_task(asyncio.to_thread(opened.close))
        with pytest.raises(NotReadyError):
            await waiting
        release.set()
        assert await running
        await closing
        with pytest.raises(NotReadyError):
            await opened.run(lambda: True)

    asyncio.run(scenario())


def test_each_thread_is_initialised() -> None:
    async def scenario() -> None:
        seen: set[int] = set()
        opened = Gate(threads=2, max_queue=8, queue_seconds=60, initializer=lambda: seen.add(threading.get_ident()))
        both = threading.Barrier(2)
        await asyncio.gather(opened.run(lambda: both.wait(30)), opened.run(lambda: both.wait(30)))
        assert len(seen) == 2
        opened.close()

    asyncio.run(scenario())
