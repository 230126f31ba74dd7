"""Damaged PNG and JPEG files of which most is readable, and Apple's kind of PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from logo_similarity.errors import BadImageError
from logo_similarity.image import repair
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import Pixels, decode
from logo_similarity.image.formats import Format
from tests.pictures import encode, encode_turned, noise, png, png_chunk, quarters

PICTURE = noise(160, 96)
CONTAINED = Decoder()


def decoded(data: bytes) -> tuple[Pixels, list[str]]:
    """The picture and its damage, the same from a child."""
    damage: list[str] = []
    pixels = decode(data, on_damage=damage.append)
    damage_in_child: list[str] = []
    np.testing.assert_array_equal(CONTAINED.decode(data, damage_in_child.append), pixels)
    assert damage_in_child == damage
    return pixels, damage


def test_a_whole_file_has_no_damage() -> None:
    for file_format in ("PNG", "JPEG"):
        assert decoded(encode(PICTURE, file_format))[1] == []


@pytest.mark.parametrize("share", [0.99, 0.9, 0.6])
def test_the_rows_of_a_cut_png_that_are_readable(share: float) -> None:
    data = encode(PICTURE, "PNG")
    pixels, damage = decoded(data[: int(share * len(data))])
    assert share - 0.05 < len(pixels) / len(PICTURE) < share + 0.05
    np.testing.assert_array_equal(pixels, PICTURE[: len(pixels)])
    assert len(damage) == 1
    assert "% of its pixels are readable" in damage[0]


@pytest.mark.parametrize("share", [0.99, 0.9, 0.6])
def test_the_rows_of_a_cut_jpeg_that_are_readable(share: float) -> None:
    data = encode(PICTURE, "JPEG")
    pixels, damage = decoded(data[: int(share * len(data))])
    assert share - 0.15 < len(pixels) / len(PICTURE) < share + 0.05
    certain = len(pixels) - 16  # the last block that was begun may be wrong
    np.testing.assert_array_equal(pixels[:certain], decode(data)[:certain])
    assert damage == ["the JPEG file is cut off"]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_file_of_which_less_than_half_is_readable_is_refused(file_format: str) -> None:
    data = encode(PICTURE, file_format)
    with pytest.raises(BadImageError, match=f"the {file_format} file is .*cut off"):
        decode(data[: int(0.4 * len(data))])


def test_a_progressive_jpeg_has_fewer_details() -> None:
    smooth = Image.fromarray(quarters(16, 16)).resize((160, 160), Image.Resampling.BICUBIC)
    data = encode(smooth, "JPEG", progressive=True, quality=75)
    pixels, damage = decoded(data[: int(0.9 * len(data))])
    assert pixels.shape == (160, 160, 3)
    assert np.abs(pixels.astype(int) - decode(data)).mean() < 5
    assert damage


def test_a_jpeg_without_its_end_is_whole() -> None:
    data = encode(PICTURE, "JPEG")
    pixels, damage = decoded(data[:-2])
    np.testing.assert_array_equal(pixels, decode(data))
    assert damage


@pytest.mark.parametrize(("orientation", "side"), [(1, "top"), (3, "bottom"), (6, "right"), (8, "left")])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_cut_file_is_turned_upright(file_format: str, orientation: int, side: str) -> None:
    """What is left is that side of the upright picture."""
    data = encode_turned(PICTURE, file_format, orientation)
    pixels, _ = decoded(data[: int(0.8 * len(data))])
    upright, (height, width) = decode(data), pixels.shape[:2]
    wanted = {
        "top": upright[:height],
        "bottom": upright[-height:],
        "left": upright[:, :width],
        "right": upright[:, -width:],
    }[side]
    assert wanted.shape == pixels.shape != upright.shape
    assert (wanted != pixels).mean() < 0.15  # the last blocks that were begun may be wrong


def test_a_png_without_its_end_is_whole() -> None:
    pixels, damage = decoded(encode(PICTURE, "PNG")[:-12])
    np.testing.assert_array_equal(pixels, PICTURE)
    assert damage == ["the PNG file has wrong checksums or lacks its end"]


@pytest.mark.parametrize("chunk", [b"IHDR", b"IDAT", b"IEND"])
def test_a_wrong_checksum_of_a_png(chunk: bytes) -> None:
    data = bytearray(encode(PICTURE, "PNG"))
    at = data.index(chunk)
    data[at + 4 + int.from_bytes(data[at - 4 : at])] ^= 1
    np.testing.assert_array_equal(decode(bytes(data)), PICTURE)


def test_compressed_data_are_read_up_to_the_damaged_byte() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in PICTURE)
    stored = zlib.compress(rows, 0)  # blocks of 64 kB: the length of the second one is at a known place
    damaged = bytearray(zlib.compress(rows[:40_000], 0)[:-4])
    damaged[2] = 0  # not the last block
    damaged += b"\xff" * 20
    assert len(stored) > len(damaged)
    pixels, damage = decoded(png(96, 160, bytes(damaged), colour=2))
    assert len(pixels) == 40_000 // (1 + 96 * 3)
    np.testing.assert_array_equal(pixels, PICTURE[: len(pixels)])
    assert "86 % of its pixels are readable" in damage[0]


def test_rows_from_an_unknown_filter_on_are_left_out() -> None:
    rows = bytearray(b"".join(b"\0" + row.tobytes() for row in PICTURE))
    rows[100 * (1 + 96 * 3)] = 5
    pixels, damage = decoded(png(96, 160, zlib.compress(bytes(rows)), colour=2))
    np.testing.assert_array_equal(pixels, PICTURE[:100])
    assert "62 %" in damage[0]
    rows[70 * (1 + 96 * 3)] = 5
    with pytest.raises(BadImageError):
        decode(png(96, 160, zlib.compress(bytes(rows)), colour=2))


def interlaced() -> bytes:
    """Adam7, 13 x 11 pixels of grey: the passes of a picture whose sides are no multiples of eight."""
    grey = PICTURE[:11, :13, 0]
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + row.tobytes() for x, y, across, down in passes for row in grey[y::down, x::across])
    header = struct.pack(">IIBBBBB", 13, 11, 8, 0, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)


def test_a_cut_interlaced_png_keeps_its_size() -> None:
    data = interlaced()
    np.testing.assert_array_equal(decode(data)[..., 0], PICTURE[:11, :13, 0])
    np.testing.assert_array_equal(decoded(data[:-12])[0][..., 0], PICTURE[:11, :13, 0])
    pixels, damage = decoded(data[:-40])
    assert pixels.shape == (11, 13, 3)
    np.testing.assert_array_equal(pixels[:8:2, :, 0], PICTURE[:8:2, :13, 0])
    assert damage


def apple(pixels: Pixels) -> bytes:
    """The kind of PNG that Xcode writes: BGRA, multiplied by alpha, without the head of the compressed data."""
    alpha = pixels[..., 3:].astype(int)
    stored = np.dstack(((pixels[..., 2::-1] * alpha + 127) // 255, alpha)).astype(np.uint8)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = packer.compress(b"".join(b"\0" + row.tobytes() for row in stored)) + packer.flush()
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 6, 0, 0, 0)
    chunks = ((b"CgBI", b"\x50\0\x20\2"), (b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, part) for kind, part in chunks)


def test_apples_png() -> None:
    picture = np.dstack((quarters(), np.full((48, 64), 255, np.uint8)))
    picture[:16] = 0
    picture[16:24, :, 3] = 128
    pixels, damage = decoded(apple(picture))
    expected = decode(encode(picture, "PNG"))
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert damage == []
    cut, damage = decoded(apple(np.dstack((noise(), np.full((48, 64), 255, np.uint8))))[:-2000])
    np.testing.assert_array_equal(cut, noise()[: len(cut)])
    assert damage


def test_a_repaired_png_is_no_larger_than_pictures_may_be() -> None:
    data = encode(PICTURE, "PNG")[:-12]
    format_, most = Format.PNG, 160 * 96
    assert repair.repaired(data, format_, most) is not None
    assert repair.repaired(data, format_, most - 1) is None


def test_other_formats_are_not_repaired() -> None:
    for file_format in ("WEBP", "GIF", "BMP", "TIFF"):
        with pytest.raises(BadImageError):
            decode(encode(PICTURE, file_format)[:-40])
