"""Decoding of untrusted files: plain ones in this process, all others in a child process with limits."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import IO, NoReturn, Self

import numpy as np
import structlog

from logo_similarity.errors import (
    BadImageError,
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooSmallError,
    OverloadedError,
    UnsupportedFormatError,
)
from logo_similarity.image import repair
from logo_similarity.image.child import PIXELS, PIXELS_HEAD, REFUSED, REFUSED_HEAD, REQUEST, STARTED
from logo_similarity.image.decode import ImageLimits, Pixels, check_bytes, checked_header, decode_checked
from logo_similarity.image.formats import OPENCV_FORMATS, Format, drawing_of, recognise, trimmed
from logo_similarity.image.header import KEPT_PIXELS, Header

PLAIN_MEMORY = 64_000_000
PLAIN_SECONDS = 0.25
"""The most that a file decoded without a child may cost, by its header."""

_BY_HEADER = OPENCV_FORMATS - {Format.TIFF, Format.AVIF}
"""Formats whose headers bound the time. The child reads the headers of all others too."""
_START_SECONDS = 10.0
_WALL_PER_CPU = 5
"""Seconds to wait for each second of CPU time that a child may use, in addition to its start: the machine is shared."""
_LONGEST_REFUSAL = 1 << 16
_LONGEST_DAMAGE = 1000
_ERRORS = {
    error.__name__: error
    for error in (BadImageError, ImageTooComplexError, ImageTooLargeError, ImageTooSmallError, UnsupportedFormatError)
}
# One thread and one arena: each further one maps 64 MB that would count against the child's memory.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

log = structlog.get_logger(__name__)


class Decoder:
    """Decodes image files that may be hostile, each within the bounds of `ImageLimits`. Safe to use from many threads.

    A file that is cheap by its header is decoded in this process. All others are sent to a child process, one for each
    thread that decodes such a file at the same time. Children stay for the next files; one that was killed is replaced
    when it is needed.
    """

    def __init__(self, limits: ImageLimits | None = None) -> None:
        self.limits = limits or ImageLimits()
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._closed = False
        weakref.finalize(self, _end_all, self._idle)  # the last user of a catalog version does not call `close`

    def decode(self, data: bytes, on_damage: Callable[[str], None] = lambda _: None) -> Pixels:
        """The same pixels as `image.decode.decode`, and the same calls of `on_damage`.

        Raises:
            BadImageError: as `image.decode.decode`; ImageTooComplexError also if decoding took too long.
            OverloadedError: the machine was too busy to decode the file in time.
        """
        check_bytes(data, self.limits)
        data = trimmed(data)
        image_format = None if drawing_of(data) is not None else recognise(data)
        if image_format in _BY_HEADER:
            try:
                header = checked_header(data, self.limits)
                if _is_plain(header):
                    return decode_checked(data, header)
            except BadImageError as error:
                if type(error) is not BadImageError or image_format not in repair.FORMATS:
                    raise
        return self._decode_in_child(data, on_damage)

    def warm_up(self, children: int) -> None:
        """Start this many children, so that the first files do not wait for them."""
        for _ in range(children):
            self._take_back(_Child(self.limits))

    def close(self) -> None:
        """End the children. Those that decode a file end after it."""
        with self._lock:
            self._closed = True
            _end_all(self._idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode_in_child(self, data: bytes, on_damage: Callable[[str], None]) -> Pixels:
        child = self._take()
        try:
            return child.decode(data, on_damage)
        finally:
            self._take_back(child)

    def _take(self) -> _Child:
        """An idle child, or a new one."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                break
            if child.runs():
                return child
            child.end()  # it was killed while it was idle
        try:
            return _Child(self.limits)
        except OSError as error:
            log.error("decoder_not_started", error=str(error))  # noqa: TRY400 - the traceback adds nothing
            raise OverloadedError("the image cannot be decoded now; try again shortly", retry_after=2) from None

    def _take_back(self, child: _Child) -> None:
        with self._lock:
            keep = child.runs() and not self._closed
            if keep:
                self._idle.append(child)
        if not keep:
            child.end()


def _end_all(children: list[_Child]) -> None:
    while children:
        children.pop().end()


def _is_plain(header: Header) -> bool:
    return header.cost.memory <= PLAIN_MEMORY and header.cost.seconds <= PLAIN_SECONDS


class _Child:
    """One `python -m logo_similarity.image.child`."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        numbers = (limits.max_bytes, limits.max_pixels, limits.max_memory, limits.max_seconds, limits.min_side)
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "logo_similarity.image.child", *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, sys.path))},  # no secrets
            process_group=0,  # Ctrl+C on a terminal is for the parent, which ends the child
        )
        self._to, self._from = (pipe.fileno() for pipe in self._pipes())
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._started = False

    def decode(self, data: bytes, on_damage: Callable[[str], None]) -> Pixels:
        seconds = self._limits.seconds(len(data))
        deadline = time.monotonic() + _START_SECONDS + _WALL_PER_CPU * seconds
        try:
            self._started = self._started or self._receive(1, deadline) == STARTED
            self._send(REQUEST.pack(len(data)), deadline)
            self._send(data, deadline)
            answer = self._answer(deadline, on_damage)
        except (_EndedError, TimeoutError) as error:
            self._explain(error, seconds)
        except BaseException:
            self.end()  # in the middle of an exchange
            raise
        if isinstance(answer, BadImageError):
            raise answer
        return answer

    def runs(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    def _answer(self, deadline: float, on_damage: Callable[[str], None]) -> Pixels | BadImageError:
        """The child's answer. A child that a file took over may answer anything: an invalid answer ends it."""
        kind = bytes(self._receive(1, deadline))
        if kind == PIXELS:
            height, width, length = PIXELS_HEAD.unpack(self._receive(PIXELS_HEAD.size, deadline))
            if not 0 < height * width <= KEPT_PIXELS or length > _LONGEST_DAMAGE:
                raise _EndedError
            damage = self._receive(length, deadline).decode(errors="replace")
            pixels = np.frombuffer(self._receive(3 * height * width, deadline), np.uint8).reshape(height, width, 3)
            if damage:
                on_damage(damage)
            return pixels
        (size,) = REFUSED_HEAD.unpack(self._receive(REFUSED_HEAD.size, deadline))
        if kind != REFUSED or size > _LONGEST_REFUSAL:
            raise _EndedError
        try:
            refusal = json.loads(self._receive(size, deadline))
            return _ERRORS[refusal["error"]](refusal["message"])
        except (ValueError, LookupError, TypeError):
            raise _EndedError from None

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            pipe.close()

    def _pipes(self) -> Iterator[IO[bytes]]:
        """Standard input and output of the child."""
        return (pipe for pipe in (self._process.stdin, self._process.stdout) if pipe is not None)

    def _explain(self, error: Exception, seconds: float) -> NoReturn:
        """Kill the child and raise the error that its end means for the file."""
        self.end()
        if isinstance(error, TimeoutError):
            log.warning("decode_timed_out", seconds=_START_SECONDS + _WALL_PER_CPU * seconds)
            raise OverloadedError(
                "the image was not decoded in time, because the service is busy; try again shortly", retry_after=2
            ) from None
        status = self._process.returncode
        if not self._started:
            log.error("decoder_failed", status=status)
            raise OverloadedError("the image cannot be decoded now; try again shortly", retry_after=2) from None
        if -status in (signal.SIGPROF, signal.SIGXCPU):
            raise ImageTooComplexError(
                f"decoding the image takes more than {seconds:.2f} s of CPU time (LOGO_DECODE_SECONDS); "
                "send it as a plain JPEG or PNG"
            ) from None
        log.warning("decoder_died", status=status)
        raise BadImageError("the image is damaged: it crashed the decoder") from None

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._to, select.POLLOUT, deadline)
            try:
                view = view[os.write(self._to, view) :]
            except BlockingIOError:
                continue
            except OSError:
                raise _EndedError from None

    def _receive(self, size: int, deadline: float) -> bytearray:
        received = bytearray(size)
        view = memoryview(received)
        while view:
            self._wait(self._from, select.POLLIN, deadline)
            count = os.readv(self._from, [view])
            if count == 0:
                raise _EndedError
            view = view[count:]
        return received

    @staticmethod
    def _wait(pipe: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(pipe, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError


class _EndedError(Exception):
    """The child ended in the middle of an exchange, or its answer is not valid."""
