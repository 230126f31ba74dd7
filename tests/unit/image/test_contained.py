from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from logo_similarity.errors import (
    BadImageError,
    ImageTooComplexError,
    ImageTooLargeError,
    OverloadedError,
    UnsupportedFormatError,
)
from logo_similarity.image import contained
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.header import read_header
from logo_similarity.plan import decoder_limit
from tests.hostile_images import BOMBS, avif, strip_tiff
from tests.pictures import encode, noise, quarters
from tests.service import until

Children = Callable[[], list[psutil.Process]]


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with Decoder() as made:
        yield made


def decoding_children() -> list[psutil.Process]:
    """Live children of this process that decode."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "logo_similarity.image.child" in child.cmdline()
    ]


@pytest.fixture
def children() -> Children:
    """Lists those that were started since the test began: services of other tests have their own."""
    before = decoding_children()
    return lambda: [child for child in decoding_children() if child not in before]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_pixels_are_those_of_decoding_here(decoder: Decoder, file_format: str) -> None:
    for picture in (quarters(), noise()):
        data = encode(picture, file_format)
        np.testing.assert_array_equal(decoder.decode(data), decode(data))


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (1024, 8), (8, 1024)])
def test_the_shortest_and_the_longest_sides_come_back_from_a_child(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 90, np.uint8)
    with Decoder(ImageLimits(min_side=1)) as decoder:
        np.testing.assert_array_equal(decoder.decode(encode(picture, "TIFF")), picture)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_plain_file_needs_no_child(decoder: Decoder, file_format: str, children: Children) -> None:
    decoder.decode(encode(quarters(), file_format))
    assert not children()


@pytest.mark.parametrize("bound", ["memory", "seconds"])
def test_a_file_that_costs_more_than_a_plain_one_is_decoded_in_a_child(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, children: Children, bound: str
) -> None:
    data = encode(quarters(), "PNG")
    cost = getattr(read_header(data).cost, bound)
    monkeypatch.setattr(contained, f"PLAIN_{bound.upper()}", cost)
    decoder.decode(data)
    assert not children()
    monkeypatch.setattr(contained, f"PLAIN_{bound.upper()}", 0.99 * cost)
    decoder.decode(data)
    assert len(children()) == 1


def test_a_large_picture_is_decoded_in_a_child(children: Children) -> None:
    picture = np.full((4000, 4000, 4), 200, np.uint8)
    data = cv2.imencode(".png", picture)[1].tobytes()
    with Decoder(ImageLimits(max_seconds=20)) as decoder:
        np.testing.assert_array_equal(decoder.decode(data), decode(data))
        (child,) = children()
        assert child.num_threads() == 1


def test_one_child_serves_one_file_after_another_and_ends_with_its_decoder(children: Children) -> None:
    with Decoder() as decoder:
        decoder.warm_up(1)
        (child,) = children()
        for _ in range(3):
            decoder.decode(encode(quarters(), "TIFF"))
        assert children() == [child]
    assert not children()


def test_a_child_ends_when_nothing_refers_to_its_decoder_any_more(children: Children) -> None:
    decoder = Decoder()
    decoder.decode(encode(quarters(), "TIFF"))
    assert len(children()) == 1
    del decoder
    assert not children()


def test_threads_do_not_get_each_others_pictures(decoder: Decoder, children: Children) -> None:
    pictures = [np.full((64, 64 + 8 * number, 3), 20 * number, np.uint8) for number in range(4)]
    files = [encode(picture, "TIFF") for picture in pictures]
    wrong: list[int] = []

    def ask(number: int) -> None:
        wrong.extend(number for _ in range(20) if not np.array_equal(decoder.decode(files[number]), pictures[number]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert len(children()) <= 4


def test_refusals_are_those_of_decoding_here(decoder: Decoder) -> None:
    small, large = Decoder(ImageLimits(max_pixels=100)), encode(quarters(), "TIFF")
    with small, pytest.raises(ImageTooLargeError, match="LOGO_MAX_PIXELS"):
        small.decode(large)
    with pytest.raises(BadImageError, match="TIFF file is damaged"):
        decoder.decode(large[:200])
    with pytest.raises(UnsupportedFormatError, match="PostScript"):
        decoder.decode(b"%!PS")
    assert decoder.decode(large).shape


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_decoded(children: Children) -> None:
    with Decoder(ImageLimits(max_seconds=0.1)) as decoder:
        with pytest.raises(ImageTooComplexError, match="LOGO_DECODE_SECONDS"):
            decoder.decode(avif(2500, 2500))
        assert not children()
        assert decoder.decode(encode(quarters(), "TIFF")).shape


def test_a_file_that_takes_too_much_memory_is_refused_by_its_header(decoder: Decoder) -> None:
    wide = strip_tiff(6000, 4000, 4, 16, b"")
    with pytest.raises(ImageTooComplexError, match="LOGO_DECODE_MEMORY"):
        decoder.decode(wide)


def test_a_child_cannot_take_more_memory_than_it_may(decoder: Decoder, children: Children) -> None:
    """Whatever a header says: the kernel bounds what a child maps."""
    decoder.warm_up(1)
    (child,) = children()
    decoder.decode(encode(quarters(), "TIFF"))  # it has set its limits now
    limit, _ = child.rlimit(psutil.RLIMIT_AS)
    assert limit - child.memory_info().vms <= decoder_limit(256_000_000, 25_000_000)
    child.rlimit(psutil.RLIMIT_AS, (child.memory_info().vms + 30_000_000, limit))
    with pytest.raises(ImageTooComplexError, match="LOGO_DECODE_MEMORY"):
        decoder.decode(encode(np.zeros((4000, 4000, 4), np.uint8), "PNG"))
    with pytest.raises(BadImageError, match="AVIF file is damaged"):  # libavif does not report the reason
        decoder.decode(avif(2600, 2600))
    assert children() == [child]
    assert decoder.decode(encode(quarters(), "TIFF")).shape


def test_the_cpu_time_that_was_used_before_is_not_counted() -> None:
    code = """
import os, resource, signal
from logo_similarity.image.child import _allow_seconds
def used():
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
zeros = os.open("/dev/zero", os.O_RDONLY)
while resource.getrusage(resource.RUSAGE_SELF).ru_stime < 1.5:
    os.read(zeros, 1 << 20)
before = used()
_allow_seconds(3.0)
limit, _ = resource.getrlimit(resource.RLIMIT_CPU)
assert int(before + 3) + 2 <= limit <= int(used() + 3) + 2, limit
assert 2 < signal.getitimer(signal.ITIMER_PROF)[0] <= 3.1
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_child_that_dies_costs_one_file(decoder: Decoder, children: Children) -> None:
    data = encode(quarters(), "TIFF")
    decoder.decode(data)
    (child,) = children()
    child.suspend()  # so that it has not answered yet when it is killed

    def kill_at_work() -> None:
        until(lambda: not decoder._idle)
        child.kill()

    killer = threading.Thread(target=kill_at_work)
    killer.start()
    with pytest.raises(BadImageError, match="crashed the decoder"):
        decoder.decode(data)
    killer.join()
    assert decoder.decode(data).shape


def test_an_exchange_has_no_time_left_after_its_deadline() -> None:
    """A negative time would wait without a limit."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end), os.fdopen(write_end):
        for deadline in (0.0, time.monotonic()):
            with pytest.raises(TimeoutError):
                contained._Child._wait(read_end, select.POLLIN, deadline)
        os.write(write_end, b"x")
        contained._Child._wait(read_end, select.POLLIN, 0.0)


def test_an_interrupted_exchange_ends_the_child(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    """Otherwise the next file would get the pixels of this one."""
    data = encode(quarters(), "TIFF")
    decoder.decode(data)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(contained._Child, "_answer", interrupt)
        with pytest.raises(KeyboardInterrupt):
            decoder.decode(data)
    assert not children()
    np.testing.assert_array_equal(decoder.decode(encode(noise(), "TIFF")), noise())


def test_a_child_that_was_killed_while_it_was_idle_costs_none(decoder: Decoder, children: Children) -> None:
    data = encode(quarters(), "TIFF")
    decoder.decode(data)
    (child,) = children()
    child.kill()
    child.wait(10)
    assert decoder.decode(data).shape


def test_a_child_that_cannot_start_is_not_the_files_fault(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(quarters(), "TIFF")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(OverloadedError, match="cannot be decoded now"):
        decoder.decode(data)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(OverloadedError, match="cannot be decoded now"):
        decoder.decode(data)
    monkeypatch.undo()
    assert decoder.decode(data).shape


@pytest.mark.parametrize(
    "answer",
    [
        *(b"P" + struct.pack("<II", height, width) for height, width in ((0, 0), (8, 0), (0, 8))),
        *(b"P" + struct.pack("<II", *sides) for sides in ((3001, 3000), (9_000_001, 1), (1 << 16, 1 << 16))),
        *(b"P" + b"\xff" * 8, b"X" + bytes(8), b"R\xff\xff\xff\xff", b"R\2\0\0\0[]", b"R\2\0\0\0{}"),
    ],
)
def test_a_child_that_answers_nonsense_is_ended(decoder: Decoder, answer: bytes, tmp_path: Path) -> None:
    """A file may have taken it over."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os\nos.write(1, {b'S' + answer!r})\nos.read(0, 1 << 20)\n")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.executable", str(program))
        decoder.warm_up(1)
    with pytest.raises(BadImageError, match="crashed the decoder"):
        decoder.decode(encode(quarters(), "TIFF"))
    assert decoder.decode(encode(quarters(), "TIFF")).shape


def test_a_child_ends_with_its_parent() -> None:
    """Be it killed: the child's input ends then."""
    code = """
import sys, time
from logo_similarity.image.contained import Decoder
decoder = Decoder()
decoder.warm_up(1)
print(decoder._idle[0]._process.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    child.wait(30)
    assert not child.is_running()


def test_the_childs_environment_holds_no_secrets(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    monkeypatch.setenv("LOGO_S3_SECRET_KEY", "hush")
    decoder.warm_up(1)
    (child,) = children()
    assert b"hush" not in Path(f"/proc/{child.pid}/environ").read_bytes()


@pytest.mark.parametrize(("bomb", "refusal"), BOMBS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_bomb_is_refused_or_costs_nothing(
    decoder: Decoder, bomb: Callable[[], bytes], refusal: str | None, children: Children
) -> None:
    if refusal is None:
        assert decoder.decode(bomb()).shape == (48, 64, 3)
        assert not children()
    else:
        with pytest.raises(BadImageError, match=refusal):
            decoder.decode(bomb())
    assert decoder.decode(encode(quarters(), "TIFF")).shape
