from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from PIL import Image

from logo_similarity.errors import BadImageError, ImageTooLargeError
from logo_similarity.image.av1 import frame_size
from logo_similarity.image.avif import read_avif
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.header import read_header
from tests.pictures import encode, noise


def avif(width: int, height: int) -> bytes:
    return encode(Image.fromarray(np.zeros((height, width, 3), np.uint8)), "AVIF")


def announcing(data: bytes, width: int, height: int) -> bytes:
    """The same file, with another size in its box."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@pytest.mark.parametrize(("width", "height"), [(8, 8), (64, 48), (101, 33), (600, 400), (1, 3000), (4097, 20)])
def test_the_decoder_sees_what_the_box_says(width: int, height: int) -> None:
    facts = read_avif(avif(width, height))
    assert (facts.width, facts.height) == (width, height)


def test_the_alpha_of_an_avif_is_counted_as_a_second_picture() -> None:
    opaque, clear = avif(64, 48), encode(np.full((48, 64, 4), 100, np.uint8), "AVIF")
    assert [read_avif(data).has_alpha for data in (opaque, clear)] == [False, True]
    assert read_header(clear).cost.memory > read_header(opaque).cost.memory


def test_a_box_that_lies_does_not_get_past_the_limit() -> None:
    liar = announcing(avif(600, 400), 64, 64)
    facts = read_avif(liar)
    assert (facts.width, facts.height) == (600, 400)
    with pytest.raises(ImageTooLargeError):
        decode(liar, ImageLimits(max_pixels=100_000))
    with pytest.raises(BadImageError):
        decode(liar)


def test_every_flipped_byte_is_survived() -> None:
    data = encode(Image.fromarray(noise(48, 40)), "AVIF")
    for position in range(min(len(data), 600)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            with contextlib.suppress(BadImageError):
                assert decode(bytes(damaged)).ndim == 3


def test_data_without_a_sequence_header() -> None:
    for data in (b"", bytes(50), b"\x12\x00" * 30, b"\x0a\x0b\x00", b"\xff" * 20):
        with pytest.raises(ValueError, match=r"sequence header|length"):
            frame_size(data, 0)
