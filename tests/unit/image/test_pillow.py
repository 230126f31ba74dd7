"""Kinds of JPEG 2000, PNM, TGA, PCX and ICO that `test_decode` does not have."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from logo_similarity.errors import BadImageError
from logo_similarity.image.decode import decode
from logo_similarity.image.header import read_header
from tests.pictures import Array, encode, ico, noise, quarters

PICTURE = quarters()
SHADES = PICTURE[..., 1]
IMAGE = Image.fromarray(PICTURE)


def assert_shows(data: bytes, wanted: Array, tolerance: int = 0) -> None:
    got = decode(data)
    assert got.shape == (*wanted.shape[:2], 3)
    wanted = wanted if wanted.ndim == 3 else np.dstack((wanted,) * 3)
    assert np.abs(got.astype(int) - wanted).max() <= tolerance


@pytest.mark.parametrize("options", [{"no_jp2": True}, {"tile_size": (32, 32)}, {"irreversible": True}])
def test_jpeg_2000(options: dict[str, Any]) -> None:
    assert_shows(encode(IMAGE, "JPEG2000", **options), PICTURE, 16 if "irreversible" in options else 0)


def test_jpeg_2000_of_16_bits() -> None:
    assert_shows(encode(Image.fromarray(SHADES.astype(np.uint16) * 257), "JPEG2000"), SHADES)


def test_a_jpeg_2000_without_its_end_is_cut_off() -> None:
    for no_jp2 in (False, True):
        with pytest.raises(BadImageError, match="cut off"):
            decode(encode(noise(), "JPEG2000", no_jp2=no_jp2)[:-1])


def text(numbers: Array) -> bytes:
    return b" ".join(b"%d" % number for number in numbers.ravel())


PNM = {
    "P1": (b"P1 64 48\n" + text((SHADES < 100).astype(np.uint8)), np.where(SHADES < 100, 0, 255)),
    "P1 without blanks": (b"P1\n64 48\n" + b"01" * 32 * 48, np.tile(np.array([255, 0]), (48, 32))),
    "P2": (b"P2\n64 48 255\n" + text(SHADES), SHADES),
    "P2 of few greys": (b"P2\n64 48\n15\n" + text(SHADES // 17), SHADES // 17 * 17),
    "P3": (b"P3\n64 48\n255\n" + text(PICTURE), PICTURE),
    "P3 with comments": (b"P3 # kind\n# size\n64 #\n 48\n255 " + text(PICTURE) + b"# end", PICTURE),
    "P4": (b"P4 64 48\n" + np.packbits(SHADES < 100, axis=1).tobytes(), np.where(SHADES < 100, 0, 255)),
    "P5": (b"P5 64 48 255\n" + SHADES.tobytes(), SHADES),
    "P5 of few greys": (b"P5 64 48 15\n" + (SHADES // 17).tobytes(), SHADES // 17 * 17),
    "P5 of 16 bits": (b"P5\n64 48\n65535\n" + (SHADES.astype(">u2") * 257).tobytes(), SHADES),
    "P6 of 10 bits": (b"P6\n64 48\n1023\n" + (PICTURE.astype(int) * 1023 // 255).astype(">u2").tobytes(), PICTURE),
}


@pytest.mark.parametrize("name", PNM)
def test_pnm(name: str) -> None:
    data, wanted = PNM[name]
    assert_shows(data, wanted.astype(np.uint8), 1)


@pytest.mark.parametrize(
    "data",
    [
        b"P5 64 48 255\n" + SHADES.tobytes()[:-1],
        b"P5 64 48 0\n" + SHADES.tobytes(),
        b"P5 64 48 65536\n" + SHADES.tobytes() * 2,
        b"P2 64 48 255\n" + text(SHADES)[:-9],
        b"P2 64 48 255\n" + text(SHADES).replace(b" ", b" x", 1),
        b"P6 64 48",
        b"P6 64x48 255\n",
        b"P6 9999999 1 255\n",
        b"P5 0 48 255\n",
    ],
)
def test_a_damaged_pnm_is_refused(data: bytes) -> None:
    with pytest.raises(BadImageError):
        decode(data)


@pytest.mark.parametrize("compression", [None, "tga_rle"])
@pytest.mark.parametrize("orientation", [1, -1])
def test_tga(compression: str | None, orientation: int) -> None:
    """Compressed or not, from the top or the bottom."""
    assert_shows(encode(IMAGE, "TGA", compression=compression, orientation=orientation), PICTURE)


def test_tga_of_15_bits() -> None:
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 16, 16, 16, 0x20)
    assert_shows(header + struct.pack("<H", 31 << 10) * 256, np.full((16, 16, 3), (255, 0, 0), np.uint8))


def dib_icon(side: int, level: int) -> bytes:
    """A picture as in a BMP, whose height counts the mask below it."""
    header = struct.pack("<IiiHHIIiiII", 40, side, 2 * side, 1, 24, 0, 0, 0, 0, 0, 0)
    mask_row = -(-side // 32) * 4
    return header + bytes([level]) * (3 * side * side) + bytes(mask_row * side)


def icon(*pictures: tuple[bytes, int]) -> bytes:
    start, entries = 6 + 16 * len(pictures), b""
    for picture, side in pictures:
        entries += struct.pack("<BBBBHHII", side & 255, side & 255, 0, 0, 1, 24, len(picture), start)
        start += len(picture)
    return struct.pack("<HHH", 0, 1, len(pictures)) + entries + b"".join(picture for picture, _ in pictures)


def test_the_largest_picture_of_an_icon() -> None:
    small, large = encode(noise(16, 16), "PNG"), encode(noise(32, 32), "PNG")
    for pictures in ((small, large), (large, small)):
        assert_shows(ico(*pictures), noise(32, 32))
    assert_shows(icon((small, 16), (dib_icon(48, 90), 48)), np.full((48, 48), 90, np.uint8))


def test_an_icon_of_256_pixels_has_a_zero_for_its_side() -> None:
    assert_shows(icon((dib_icon(256, 7), 256)), np.full((256, 256), 7, np.uint8))


@pytest.mark.parametrize("count", [0, 257])
def test_an_icon_of_no_or_too_many_pictures_is_damaged(count: int) -> None:
    with pytest.raises(BadImageError, match="header cannot be read"):
        read_header(struct.pack("<HHH", 0, 1, count) + bytes(16 * count))


def test_an_icon_whose_picture_is_beyond_its_end_is_cut_off() -> None:
    with pytest.raises(BadImageError, match="cut off"):
        decode(ico(encode(noise(), "PNG"))[:-1])


def test_a_dib_larger_than_an_icon_may_be_is_damaged() -> None:
    with pytest.raises(BadImageError, match="header cannot be read"):
        read_header(icon((dib_icon(257, 7), 257)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_pcx(mode: str) -> None:
    picture = IMAGE.convert(mode)
    assert_shows(encode(picture, "PCX"), np.asarray(picture.convert("RGB")))


def test_jpeg_inks_in_a_tiff() -> None:
    assert_shows(encode(IMAGE.convert("CMYK"), "TIFF", compression="jpeg", quality=95), PICTURE, 40)
