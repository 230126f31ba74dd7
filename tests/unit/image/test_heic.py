"""Boxes and HEVC headers written by hand, and files of another program."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from logo_similarity.errors import BadImageError, ImageTooLargeError
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.header import read_header
from logo_similarity.image.heic import read_heic
from tests.hostile_images import heic, sequence_parameter_set
from tests.pictures import encode, quarters


@pytest.mark.parametrize("sides", [(1, 1), (64, 48), (4032, 3024), (8192, 4320), (65_535, 65_535)])
@pytest.mark.parametrize("layers", [0, 1, 6])
@pytest.mark.parametrize("chroma", [0, 1, 2, 3])
def test_the_size_in_the_data(sides: tuple[int, int], layers: int, chroma: int) -> None:
    unit = b"\x42\1" + sequence_parameter_set(*sides, layers=layers, chroma=chroma)
    plain = b"\x42\1" + sequence_parameter_set(8, 8)
    data = heic((64, 48), (8, 8)).replace(struct.pack(">H", len(plain)) + plain, struct.pack(">H", len(unit)) + unit)
    at = data.index(b"hvcC")
    for kind in (b"hvcC", b"ipco", b"iprp", b"meta"):
        place = data.index(kind) - 4
        size = int.from_bytes(data[place : place + 4]) + len(unit) - len(plain)
        data = data[:place] + size.to_bytes(4) + data[place + 4 :]
    assert data.index(b"hvcC") == at
    assert read_heic(data).coded_pixels == max(sides[0] * sides[1], 64 * 48)


@pytest.mark.parametrize(("stated", "coded"), [((640, 480), (64, 48)), ((64, 48), (640, 480))])
def test_the_larger_of_the_two_sizes_costs(stated: tuple[int, int], coded: tuple[int, int]) -> None:
    header = read_header(heic(stated, coded))
    assert (header.width, header.height) == stated
    assert header.cost.memory == 10 * 640 * 480 + 4_000_000
    assert read_header(heic(stated, coded, alpha=True)).cost.memory == 14 * 640 * 480 + 4_000_000


def test_a_cropped_picture_has_the_size_that_is_shown() -> None:
    """HEVC pads its pictures, and the encoder states how to crop them."""
    data = encode(quarters(9, 30), "HEIC")
    assert b"clap" in data
    facts = read_heic(data)
    assert (facts.width, facts.height) == (30, 9)
    assert facts.coded_pixels > 30 * 9
    assert decode(data).shape == (9, 30, 3)


def test_pixels_are_limited_by_the_header() -> None:
    data = encode(quarters(), "HEIC")
    with pytest.raises(ImageTooLargeError, match="LOGO_MAX_PIXELS"):
        decode(data, ImageLimits(max_pixels=64 * 48 - 1))


def test_grey_and_alpha_and_what_is_no_picture() -> None:
    grey = quarters()[..., 0]
    assert np.abs(decode(encode(grey, "HEIC")).astype(int) - grey[..., None]).max() <= 4
    with pytest.raises(BadImageError, match="damaged or cut off"):
        decode(heic((64, 48), (64, 48)))
    for size in (40, 80, 120):
        with pytest.raises(BadImageError):
            decode(heic((64, 48), (64, 48))[:size])


def test_a_file_without_a_size_is_damaged() -> None:
    data = heic((64, 48), (64, 48)).replace(b"ispe", b"free")
    with pytest.raises(BadImageError, match="header cannot be read"):
        read_header(data)
