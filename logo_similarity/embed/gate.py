"""The way into the worker threads: a bounded queue that refuses at the door, and answers everybody it let in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from logo_similarity.errors import NotReadyError, OverloadedError

Result = TypeVar("Result")
EXPECTED_SECONDS = 0.5
RETRY_SECONDS = (1, 2, 3)
"""When a refused client should come again: spread, so that they do not all come back at once."""


class Gate:
    """Runs jobs on a fixed number of threads, with a bound on how many wait and on how long.

    One job does a whole search: decode, embed, search. Every accepted job has exactly one outcome; a job whose caller went
    away before it began is never run.
    """

    def __init__(
        self,
        *,
        threads: int,
        max_queue: int,
        queue_seconds: float,
        initializer: Callable[[], object] = lambda: None,
    ) -> None:
        """Open the gate.

        Args:
            threads: jobs that run at once.
            max_queue: jobs that may wait beyond those.
            queue_seconds: a job that waited longer is refused instead of run.
            initializer: run once in each thread.
        """
        self.threads = threads
        self._capacity = threads + max_queue
        self._queue_seconds = queue_seconds
        self._inside = 0
        self._expected: dict[int, float] = {}
        self._tickets = itertools.count()
        self._closed = False
        self._pool = ThreadPoolExecutor(threads, "search", initializer=initializer)

    def start(self) -> None:
        """Start all threads now; else each starts with the first job that finds the others at work."""
        together = threading.Barrier(self.threads)
        for started in [self._pool.submit(together.wait) for _ in range(self.threads)]:
            started.result()

    @property
    def inside(self) -> int:
        """Jobs that run or wait."""
        return self._inside

    def check_open(self) -> None:
        """Raise NotReadyError where the gate is closed."""
        if self._closed:
            raise NotReadyError("the service is stopping")

    @property
    def full(self) -> bool:
        """Whether there is no place for a further job: to refuse a request before its body is read."""
        while self._expected:
            oldest = next(iter(self._expected))
            if self._expected[oldest] >= time.monotonic() - EXPECTED_SECONDS:
                break
            del self._expected[oldest]
        return self._inside + len(self._expected) >= self._capacity

    def expect(self) -> int:
        """Hold a place for a job that will soon come, so that not more are let in at the door than there is room for.

        Only for a moment: who sends a body slowly must not keep others out.

        Returns:
            A ticket, for `run`, or to be given back when it is known that no job will come.
        """
        ticket = next(self._tickets)
        self._expected[ticket] = time.monotonic()
        return ticket

    def give_back(self, ticket: int) -> None:
        """Hold that place no longer."""
        self._expected.pop(ticket, None)

    async def run(self, job: Callable[[], Result], ticket: int | None = None) -> Result:
        """The result of `job`, run in a thread. Cancelling the caller takes a waiting job out of the queue.

        The place that its `ticket` held becomes the job's own at one blow: in between, others would be let in for it.

        Raises:
            OverloadedError: the queue is full, or the job waited too long.
            NotReadyError: the gate is closed.
        """
        self.check_open()
        if ticket is not None:
            self.give_back(ticket)
        if self._inside >= self._capacity:
            raise OverloadedError("too many searches are waiting; try again shortly", retry_after=_retry_after())
        loop = asyncio.get_running_loop()
        accepted = time.monotonic()

        def guarded() -> Result:
            waited = time.monotonic() - accepted
            if waited > self._queue_seconds:
                raise OverloadedError(
                    f"the search waited {waited:.1f} s for a free thread; try again shortly", retry_after=_retry_after()
                )
            return job()

        self._inside += 1
        future = self._pool.submit(guarded)
        # The place is free when the thread is done with the job, which a caller that went away does not wait for.
        future.add_done_callback(lambda _: self._leave(loop))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if self._closed and future.cancelled():
                raise NotReadyError("the service is stopping") from None
            raise

    def close(self) -> None:
        """Refuse new jobs, end those that wait, and return when the running ones are done."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
            loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self._inside -= 1


def _retry_after() -> int:
    return random.choice(RETRY_SECONDS)  # noqa: S311 - no secret
