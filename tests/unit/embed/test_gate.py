from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from logo_similarity.embed import gate as gate_module
from logo_similarity.embed.gate import Gate
from logo_similarity.errors import NotReadyError, OverloadedError, SearchTimeoutError
from logo_similarity.metrics import STUCK_THREADS
from tests.logs import logs_of


def gate(*, threads: int = 1, max_queue: int = 8, queue_seconds: float = 60, run_seconds: float = 60) -> Gate:
    return Gate(threads=threads, max_queue=max_queue, queue_seconds=queue_seconds, run_seconds=run_seconds)


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


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until the condition holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - any state, not an event
            await asyncio.sleep(0.001)


def is_full(opened: Gate) -> bool:
    """Asked anew each time: to the type checker a property stays what it was."""
    return opened.full


def stuck_threads() -> float:
    (family,) = STUCK_THREADS.collect()
    return family.samples[0].value


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
        await until(lambda: opened.inside == 3)
        assert opened.full
        with pytest.raises(OverloadedError) as refusal:
            await opened.run(lambda: True)
        assert 1 <= refusal.value.retry_after <= 3
        release.set()
        assert await asyncio.gather(*tasks) == [True, True, True]
        assert await opened.run(lambda: True)
        opened.close()

    asyncio.run(scenario())


def test_a_reservation_holds_a_place_but_not_for_long() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=1), threading.Event()  # room for two
        with patch.object(gate_module, "RESERVATION_SECONDS", 600):
            with opened.reserve():
                assert not is_full(opened)
                with opened.reserve() as second:
                    assert is_full(opened)
                    opened.release(second)
                    opened.release(second)
                    assert not is_full(opened)  # nor more than one place more
                opened.reserve()
                assert is_full(opened)
            task = asyncio.create_task(opened.run(waiting_for(release)))
            await until(lambda: opened.inside == 1)
            assert is_full(opened)  # one runs, one is reserved
        with patch.object(gate_module, "RESERVATION_SECONDS", 0):
            assert not is_full(opened)  # no job came for the reservation
        release.set()
        assert await task
        assert await opened.run(lambda: True)
        opened.close()

    asyncio.run(scenario())


def test_a_place_is_never_free_between_the_reservation_and_the_job() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=0), threading.Event()  # room for one
        with opened.reserve() as reservation:
            task = asyncio.create_task(opened.run(waiting_for(release), reservation))
            while not opened.inside:
                assert is_full(opened)
                await asyncio.sleep(0)
            assert is_full(opened)
            release.set()
            assert await task
        opened.close()

    asyncio.run(scenario())


def test_a_job_takes_the_reserved_place_and_no_second_one() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=1), threading.Event()  # room for two
        task = asyncio.create_task(opened.run(waiting_for(release), opened.reserve()))
        await until(lambda: opened.inside == 1)
        assert not is_full(opened)
        release.set()
        assert await task
        opened.close()

    asyncio.run(scenario())


def test_unused_reservations_keep_no_job_out() -> None:
    """A thousand requests are let in whose jobs never come: the next ones are served all the same."""

    async def scenario() -> None:
        opened = gate(max_queue=1)
        with patch.object(gate_module, "RESERVATION_SECONDS", 600):
            for _ in range(1_000):
                opened.reserve()
            assert is_full(opened)
            assert await opened.run(lambda: True)
        with patch.object(gate_module, "RESERVATION_SECONDS", 0):
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


def test_a_waiting_job_is_refused_at_its_deadline_while_every_thread_is_busy_and_never_runs() -> None:
    async def scenario() -> None:
        opened, release, ran = gate(queue_seconds=0.5), threading.Event(), threading.Event()
        opened.start()
        first = asyncio.create_task(opened.run(waiting_for(release)))
        await until(lambda: opened.inside == 1)
        with pytest.raises(OverloadedError, match="waited") as refusal:
            await opened.run(marking(ran))
        assert 1 <= refusal.value.retry_after <= 3
        assert not first.done()  # the only thread is busy still
        await until(lambda: opened.inside == 1)
        release.set()
        assert await first
        assert await opened.run(lambda: True)
        assert not ran.is_set()
        opened.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("queue_seconds", "run_seconds"), [(60, 0.05), (0.5, 0.7)])
def test_a_job_that_runs_too_long_is_answered_and_its_thread_is_stuck_until_it_ends(
    queue_seconds: float, run_seconds: float
) -> None:
    async def scenario() -> None:
        opened = gate(threads=2, queue_seconds=queue_seconds, run_seconds=run_seconds)
        opened.start()
        releases = threading.Event(), threading.Event()
        with logs_of(gate_module) as logs:
            for number, release in enumerate(releases):
                opened.check_ready()
                with pytest.raises(SearchTimeoutError):
                    await opened.run(waiting_for(release))
                assert opened.stuck == number + 1
            with pytest.raises(NotReadyError):
                opened.check_ready()
            opened.check_open()  # it is not closed
            assert stuck_threads() == 2
            releases[0].set()
            await until(lambda: opened.stuck == 1)
            opened.check_ready()
            assert await opened.run(lambda: True)
            releases[1].set()
            await until(lambda: opened.stuck == 0)
        assert stuck_threads() == 0
        assert opened.inside == 0
        assert Counter(line["event"] for line in logs) == {"search_thread_stuck": 2, "search_thread_free": 2}
        opened.close()

    asyncio.run(scenario())


def test_a_job_that_waited_is_bounded_from_its_own_beginning() -> None:
    """By a clock of the test: the timers of the gate are far away, and the test makes their checks."""

    async def scenario() -> None:
        opened, ends = gate(queue_seconds=6_000, run_seconds=600), [threading.Event(), threading.Event()]
        now = 0.0
        with (
            patch.object(gate_module, "time", SimpleNamespace(monotonic=lambda: now)),
            patch.object(
                asyncio.get_running_loop(), "call_later", wraps=asyncio.get_running_loop().call_later
            ) as timers,
        ):
            jobs = [asyncio.create_task(opened.run(waiting_for(end))) for end in ends]
            await until(lambda: opened.inside == 2)
            _, waiting = [call.args[2:] for call in timers.call_args_list if call.args[1] == opened._check]
            ticket, _ = waiting
            now = 601.0
            opened._check(*waiting)
            assert not ticket.outcome.done(), "bounded before it began"
            ends[0].set()
            assert await jobs[0]
            await until(lambda: ticket.started is not None)
            now = 601.0 + 599
            opened._check(*waiting)
            assert not ticket.outcome.done(), "bounded from its acceptance"
            now = 601.0 + 600
            opened._check(*waiting)
            with pytest.raises(SearchTimeoutError):
                await jobs[1]
            ends[1].set()
            await until(lambda: opened.inside == 0)
        opened.close()

    asyncio.run(scenario())


def test_a_stuck_thread_counts_although_its_caller_left() -> None:
    async def scenario() -> None:
        opened, begun, release = gate(run_seconds=0.05), threading.Event(), threading.Event()
        task = asyncio.create_task(opened.run(marking(begun, release)))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: opened.stuck == 1)
        release.set()
        await until(lambda: opened.stuck == 0)
        opened.close()

    asyncio.run(scenario())


def test_a_job_within_its_bounds_is_looked_at_again_and_left_alone() -> None:
    """The queue's deadline passes while it runs, and the one of its run is far away."""

    async def scenario() -> None:
        opened, release = gate(queue_seconds=0.5), threading.Event()
        opened.start()
        task = asyncio.create_task(opened.run(waiting_for(release)))
        await until(lambda: opened.inside == 1)
        with pytest.raises(OverloadedError):
            await opened.run(lambda: True)
        assert not task.done()
        release.set()
        assert await task
        opened.close()

    asyncio.run(scenario())


def test_a_waiting_job_whose_caller_left_is_never_run() -> None:
    async def scenario() -> None:
        opened, release = gate(max_queue=100), threading.Event()
        ran: list[int] = []
        first = asyncio.create_task(opened.run(waiting_for(release)))
        left = [asyncio.create_task(opened.run(noting(ran, n))) for n in range(50)]
        await until(lambda: opened.inside == 51)
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
        await until(lambda: opened.inside == 2)
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
        opened = Gate(
            threads=2,
            max_queue=8,
            queue_seconds=60,
            run_seconds=60,
            initializer=lambda: seen.add(threading.get_ident()),
        )
        both = threading.Barrier(2)
        await asyncio.gather(opened.run(lambda: both.wait(30)), opened.run(lambda: both.wait(30)))
        assert len(seen) == 2
        opened.close()

    asyncio.run(scenario())
