"""Bounded access to the search threads: reservations, a queue with a deadline, and a bound on each running job."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

import structlog

from logo_similarity.errors import LogoSimilarityError, NotReadyError, OverloadedError, SearchTimeoutError
from logo_similarity.metrics import STUCK_THREADS

Result = TypeVar("Result")
RESERVATION_SECONDS = 0.5
RETRY_SECONDS = (1, 2, 3)
"""Values of Retry-After for refused clients, chosen at random so that they do not all retry at the same time."""

log = structlog.get_logger(__name__)


class Gate:
    """Runs jobs on a fixed number of threads, with bounds on the number of waiting jobs, and on waiting and run times.

    A job is a complete search: decode, embed, search, re-rank. Every accepted job has exactly one outcome. A job whose
    caller is cancelled before the job starts is never run. A thread cannot be interrupted: if a job runs for too long,
    its caller gets an error, and its thread counts as stuck until the job returns.

    All methods must be called from the thread of the event loop.
    """

    def __init__(
        self,
        *,
        threads: int,
        max_queue: int,
        queue_seconds: float,
        run_seconds: float,
        initializer: Callable[[], object] = lambda: None,
    ) -> None:
        """Open the gate.

        Args:
            threads: number of jobs that run at the same time.
            max_queue: number of jobs that may wait.
            queue_seconds: a job that has not started after this time is refused and never run.
            run_seconds: the caller of a job that runs longer gets an error.
            initializer: called once in each thread.
        """
        self.threads = threads
        self._capacity = threads + max_queue
        self._queue_seconds = queue_seconds
        self._run_seconds = run_seconds
        self._inside = 0
        self._stuck = 0
        self._reserved: dict[Reservation, float] = {}
        self._closed = False
        self._pool = ThreadPoolExecutor(threads, "search", initializer=initializer)

    def start(self) -> None:
        """Start all threads now, so that no search waits for a thread to start."""
        barrier = threading.Barrier(self.threads)
        for future in [self._pool.submit(barrier.wait) for _ in range(self.threads)]:
            future.result()

    @property
    def inside(self) -> int:
        """Jobs that run or wait."""
        return self._inside

    @property
    def stuck(self) -> int:
        """Threads whose job has been running for longer than `run_seconds`."""
        return self._stuck

    def check_open(self) -> None:
        """Raise NotReadyError if the gate is closed."""
        if self._closed:
            raise NotReadyError("the service is stopping")

    def check_ready(self) -> None:
        """Raise NotReadyError if the gate is closed, or if every thread is stuck."""
        self.check_open()
        if self._stuck >= self.threads:
            raise NotReadyError(
                f"every search thread of this worker has been busy with one search for over {self._run_seconds:g} s"
            )

    @property
    def full(self) -> bool:
        """Whether another job would be refused, counting reservations. Checked before the body of a request is read."""
        while self._reserved:
            oldest = next(iter(self._reserved))
            if self._reserved[oldest] >= time.monotonic() - RESERVATION_SECONDS:
                break
            del self._reserved[oldest]
        return self._inside + len(self._reserved) >= self._capacity

    def reserve(self) -> Reservation:
        """Reserve a place for a job that is expected soon, so that no more requests are admitted than can be queued.

        A reservation expires after `RESERVATION_SECONDS`: a client that sends its body slowly must not keep others out.
        """
        reservation = Reservation(self)
        self._reserved[reservation] = time.monotonic()
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Release a reservation. Has no effect if it has expired, was released before, or was used by `run`."""
        self._reserved.pop(reservation, None)

    async def run(self, job: Callable[[], Result], reservation: Reservation | None = None) -> Result:
        """Run `job` in a thread and return its result. Cancelling the caller removes a waiting job from the queue.

        Args:
            job: the search.
            reservation: place reserved for the job. The job takes it over in one step, so that no other request can.

        Raises:
            OverloadedError: the queue is full, or the job did not start in time.
            SearchTimeoutError: the job did not finish in time.
            NotReadyError: the gate is closed.
        """
        self.check_open()
        if reservation is not None:
            self.release(reservation)
        if self._inside >= self._capacity:
            raise OverloadedError("too many searches are waiting; try again shortly", retry_after=_retry_after())
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        ticket = _Ticket(job, outcome)
        self._inside += 1
        future = self._pool.submit(ticket.run)
        ticket.timer = loop.call_later(min(self._queue_seconds, self._run_seconds), self._check, ticket, future)
        # The place becomes free when the thread has finished the job, even if the caller was cancelled before.
        future.add_done_callback(lambda _: _call_soon(loop, self._finish, ticket, future))
        try:
            return await outcome
        except asyncio.CancelledError:
            future.cancel()
            raise

    def close(self) -> None:
        """Refuse new jobs, cancel waiting ones, and return when the running ones have finished."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _check(self, ticket: _Ticket[Result], future: Future[Result]) -> None:
        """Apply the deadline of the job's current state, or schedule the next check."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        if future.done():
            return
        if ticket.started is None and now < ticket.accepted + self._queue_seconds:
            wait = min(ticket.accepted + self._queue_seconds - now, self._run_seconds)
        elif future.cancel():
            ticket.fail(
                OverloadedError(
                    f"the search waited {self._queue_seconds:g} s for a free thread; try again shortly",
                    retry_after=_retry_after(),
                )
            )
            return
        else:
            wait = (ticket.started or now) + self._run_seconds - now
        if wait > 0:
            ticket.timer = loop.call_later(wait, self._check, ticket, future)
            return
        ticket.stuck = True
        self._stuck += 1
        STUCK_THREADS.inc()
        log.error("search_thread_stuck", seconds=self._run_seconds, stuck=self._stuck, threads=self.threads)
        ticket.fail(SearchTimeoutError(f"the search did not finish within {self._run_seconds:g} s"))

    def _finish(self, ticket: _Ticket[Result], future: Future[Result]) -> None:
        self._inside -= 1
        ticket.timer.cancel()
        if ticket.stuck:
            self._stuck -= 1
            STUCK_THREADS.dec()
            seconds = round(time.monotonic() - (ticket.started or ticket.accepted), 1)
            log.warning("search_thread_free", seconds=seconds, stuck=self._stuck, threads=self.threads)
        if ticket.outcome.done():
            return
        if future.cancelled():  # by `close`: a job with a waiting caller is cancelled in no other way
            ticket.fail(NotReadyError("the service is stopping"))
        elif (error := future.exception()) is not None:
            ticket.outcome.set_exception(error)
        else:
            ticket.outcome.set_result(future.result())


class Reservation:
    """A place reserved for one job: released at the end of the `with` block, or used by `Gate.run`."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.release(self)


class _Ticket(Generic[Result]):
    """One accepted job and its outcome."""

    __slots__ = ("_job", "accepted", "outcome", "started", "stuck", "timer")

    timer: asyncio.TimerHandle
    started: float | None

    def __init__(self, job: Callable[[], Result], outcome: asyncio.Future[Result]) -> None:
        self._job = job
        self.outcome = outcome
        self.accepted = time.monotonic()
        self.started = None
        self.stuck = False

    def run(self) -> Result:
        self.started = time.monotonic()
        return self._job()

    def fail(self, error: LogoSimilarityError) -> None:
        if not self.outcome.done():  # the caller may have been cancelled
            self.outcome.set_exception(error)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop is closed; the counts no longer matter
        loop.call_soon_threadsafe(callback, *arguments)


def _retry_after() -> int:
    return random.choice(RETRY_SECONDS)  # noqa: S311 - not secret
