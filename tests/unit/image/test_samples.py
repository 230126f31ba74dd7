"""TIFF images whose samples OpenCV reads wrongly or not at all, written by hand (TIFF 6.0)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from logo_similarity.errors import BadImageError
from logo_similarity.image import samples, tiff
from logo_similarity.image.decode import decode
from tests.pictures import Array, encode, quarters, tiff_file, turned
from tests.pictures import tiff as tiff_of

GREY, RGB, PALETTE, CMYK = 1, 2, 3, 5
WHITE_IS_ZERO = 0
NONE, DEFLATE, LZMA = 1, 8, 34925
PICTURE = quarters(40, 56)
SHADES = PICTURE[..., 1:2]
OPAQUE = np.full((40, 56, 1), 255, np.uint8)


def scaled(levels: Array, bits: int) -> NDArray[Any]:
    """The levels as numbers of this many bits, and the levels that are left of them."""
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    numbers: NDArray[Any] = (levels.astype(np.uint64) * (2**bits - 1) // 255).astype(kind)
    return numbers


def assert_shows(data: bytes, wanted: Array, tolerance: int = 0) -> None:
    """The samples are read by this package, and the picture is right."""
    facts = tiff.read_facts(data)
    assert samples.is_readable(facts)
    assert not samples.opencv_reads(facts)
    got = decode(data).astype(int)
    assert got.shape == (*wanted.shape[:2], 3)
    assert np.abs(got - wanted).max() <= tolerance


def of_bits(bits: int) -> int:
    """How far a level may be off: half of what the samples cannot tell apart."""
    return 255 // (2**bits - 1) if bits < 8 else 1


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 9, 11, 13, 15])
@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_of_any_number_of_bits(bits: int, order: str) -> None:
    assert_shows(tiff_of(scaled(SHADES, bits), bits, GREY, order=order), SHADES, of_bits(bits))


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14, 16, 32])
@pytest.mark.parametrize("tile", [None, (32, 16)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_whose_white_is_zero(bits: int, tile: tuple[int, int] | None, order: str) -> None:
    data = tiff_of(2**bits - 1 - scaled(SHADES, bits), bits, WHITE_IS_ZERO, tile=tile, order=order)
    assert_shows(data, SHADES, of_bits(bits))


@pytest.mark.parametrize("compression", [NONE, DEFLATE, LZMA])
@pytest.mark.parametrize("tile", [None, (16, 16), (64, 48)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("samples_more", [0, 1])
def test_colours_of_16_bits_in_planes(
    compression: int, tile: tuple[int, int] | None, order: str, samples_more: int
) -> None:
    picture = np.dstack((PICTURE, OPAQUE)) if samples_more else PICTURE
    extras = [2] if samples_more else None
    data = tiff_of(
        scaled(picture, 16), 16, RGB, separate=True, compression=compression, tile=tile, order=order, extras=extras
    )
    assert_shows(data, PICTURE)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("unused", [0, 90, 255])
@pytest.mark.parametrize("count", [1, 2])
def test_samples_of_no_meaning_are_no_alpha(bits: int, unused: int, count: int) -> None:
    rest = np.full((40, 56, count), unused, np.uint8)
    assert_shows(tiff_of(scaled(np.dstack((PICTURE, rest)), bits), bits, RGB, extras=[0] * count), PICTURE)


def test_an_alpha_behind_a_sample_of_no_meaning() -> None:
    alpha = OPAQUE.copy()
    alpha[:10] = 0
    wanted = PICTURE.copy()
    wanted[:10] = 255
    assert_shows(tiff_of(np.dstack((PICTURE, OPAQUE // 2, alpha)), 8, RGB, extras=[0, 2]), wanted)


def test_a_fourth_sample_that_is_not_declared_is_alpha_unless_it_is_zero_everywhere() -> None:
    undeclared = np.dstack((PICTURE, OPAQUE * 0))
    np.testing.assert_array_equal(decode(tiff_of(undeclared, 8, RGB)), PICTURE)
    undeclared[5:, :, 3] = 255
    assert (decode(tiff_of(undeclared, 8, RGB))[:5] == 255).all()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("separate", [False, True])
def test_inks(bits: int, separate: bool) -> None:
    inks = np.dstack((255 - PICTURE, OPAQUE * 0))
    with_spot = scaled(np.dstack((inks, SHADES)), bits)
    assert_shows(tiff_of(with_spot, bits, CMYK, extras=[0], separate=separate), PICTURE)
    if bits == 16:
        assert_shows(tiff_of(scaled(inks, bits), bits, CMYK, separate=separate), PICTURE)


def test_black_ink_darkens_the_others() -> None:
    inks = np.zeros((16, 16, 5), np.uint8)
    inks[..., 0], inks[..., 3] = 51, 102
    got = decode(tiff_of(inks, 8, CMYK, extras=[0]))
    np.testing.assert_array_equal(got[0, 0], [122, 153, 153])  # (1 - .2) (1 - .4) and 1 - .4 of 255


def test_inks_with_alpha() -> None:
    alpha = OPAQUE.copy()
    alpha[:10] = 0
    wanted = PICTURE.copy()
    wanted[:10] = 255
    assert_shows(tiff_of(np.dstack((255 - PICTURE, OPAQUE * 0, alpha)), 8, CMYK, extras=[2]), wanted)


@pytest.mark.parametrize(("extra", "level"), [(2, 100), (1, 50)])
def test_grey_with_alpha_of_16_bits(extra: int, level: int) -> None:
    """Half transparent, on white; an associated alpha has been multiplied into the grey."""
    numbers = np.dstack((np.full((16, 16), level * 257), np.full((16, 16), 128 * 257))).astype(np.uint16)
    numbers[8:] = 65535
    wanted = np.full((16, 16, 3), 255, np.uint8)
    wanted[:8] = 177
    assert_shows(tiff_of(numbers, 16, GREY, extras=[extra]), wanted, 1)


@pytest.mark.parametrize(
    ("numbers", "sample_format"),
    [
        (SHADES.astype(np.uint32), 1),
        (SHADES.astype(np.uint32) * 257, 1),
        (SHADES.astype(np.uint32) * 0x01010101, 1),
        (SHADES.astype(np.int16), 2),
        ((SHADES.astype(np.int32) * 32767 // 255).astype(np.int16), 2),
        (SHADES.astype(np.int32), 2),
        (SHADES.astype(np.float32) / 255, 3),
        (SHADES.astype(np.float32), 3),
        (SHADES.astype(np.float16) / 255, 3),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_white_of_samples_without_a_fixed_one(numbers: NDArray[Any], sample_format: int, order: str) -> None:
    data = tiff_of(numbers, 8 * numbers.dtype.itemsize, GREY, sample_format=sample_format, order=order)
    assert_shows(data, SHADES, 1)


def test_the_lowest_of_negative_samples_is_black_and_the_highest_white() -> None:
    numbers = np.zeros((16, 16, 1), np.int16)
    numbers[:4], numbers[4:8] = -2000, 6000
    got = decode(tiff_of(numbers, 16, GREY, sample_format=2))[..., 0]
    assert [int(got[row, 0]) for row in (0, 4, 8)] == [0, 255, 64]


def test_no_number_and_infinity_do_no_harm() -> None:
    numbers = (SHADES / 255).astype(np.float32)
    numbers[0, :3, 0] = np.nan, np.inf, -np.inf
    assert (decode(tiff_of(numbers, 32, GREY, sample_format=3))[1:] == SHADES[1:]).all()


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_palettes(bits: int) -> None:
    colours = np.array([(200, 30, 40), (30, 160, 60), (20, 40, 190), (240, 200, 90)])[: 2**bits]
    numbers = np.zeros((16, 16, 1), np.uint16 if bits == 16 else np.uint8)
    numbers[:, 8:] = len(colours) - 1
    palette = np.zeros((3, 2**bits), int)
    palette[:, : len(colours)] = colours.T * 257
    data = tiff_of(numbers, bits, PALETTE, more={320: (3, palette.ravel().tolist())})
    assert_shows(data, colours[numbers[..., 0]].astype(np.uint8))


@pytest.mark.parametrize("values", [[], [0] * 11, [0] * 13])
def test_a_palette_of_another_size_is_damage(values: list[int]) -> None:
    data = tiff_of(np.zeros((16, 16, 1), np.uint8), 2, PALETTE, more={320: (3, values)} if values else {})
    with pytest.raises(BadImageError, match="damaged"):
        decode(data)


@pytest.mark.parametrize("compression", ["zstd", "lzma"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P"])
def test_compressions_that_opencv_lacks(compression: str, mode: str) -> None:
    picture = Image.fromarray(PICTURE).convert(mode)
    data = encode(picture, "TIFF", compression=compression)
    assert_shows(data, np.asarray(picture.convert("RGB")), 1)


@pytest.mark.parametrize(("sample_format", "bits"), [(1, 16), (3, 32)])
@pytest.mark.parametrize("tile", [None, (32, 16)])
def test_predictors(sample_format: int, bits: int, tile: tuple[int, int] | None) -> None:
    """Differences within each row of a strip or tile: of samples, or of the bytes of floating-point numbers."""
    across = (tile or (56, 0))[0]
    if sample_format == 1:
        numbers = scaled(PICTURE, 16)
        stored = numbers.copy()
        for left in range(0, 56, across):
            part = numbers[:, left : left + across]
            stored[:, left + 1 : left + across] = part[:, 1:] - part[:, :-1]
        data = tiff_of(
            stored, bits, RGB, extras=None, separate=True, compression=DEFLATE, tile=tile, more={317: (3, [2])}
        )
    else:
        shares = np.zeros((48 if tile else 40, -(-56 // across) * across, 3), np.float32)
        shares[:40, :56] = PICTURE / np.float32(255)
        parts = shares.reshape(len(shares), -1, across, 3)
        by_byte = parts.astype(">f4").view(np.uint8).reshape(*parts.shape[:2], -1, 4).swapaxes(2, 3)
        stored_bytes = by_byte.reshape(*parts.shape[:2], -1, 3)
        stored_bytes = np.diff(stored_bytes, axis=2, prepend=np.zeros_like(stored_bytes[:, :, :1]))
        chunks = [
            stored_bytes[top : top + 16, part].tobytes() for top in range(0, 40, 16) for part in range(parts.shape[1])
        ]
        tags = {
            256: (4, [56]), 257: (4, [40]), 258: (3, [32] * 3), 259: (3, [1]), 262: (3, [RGB]), 277: (3, [3]),
            317: (3, [3]), 339: (3, [3] * 3), **({322: (4, [32]), 323: (4, [16])} if tile else {278: (4, [16])}),
        }  # fmt: skip
        data = tiff_file(tags, chunks, tiled=tile is not None)
    assert_shows(data, PICTURE, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(orientation: int) -> None:
    stored = np.ascontiguousarray(turned(PICTURE, orientation))
    assert_shows(tiff_of(scaled(stored, 16), 16, RGB, separate=True, more={274: (3, [orientation])}), PICTURE)


@pytest.mark.parametrize("length", [0.3, 0.9])
def test_a_cut_file_is_refused(length: float) -> None:
    data = tiff_of(scaled(PICTURE, 16), 16, RGB, separate=True, compression=DEFLATE)
    with pytest.raises(BadImageError, match="cut off"):
        decode(data[: int(length * len(data))])


def test_fewer_strips_than_the_picture_needs_are_damage() -> None:
    tags = {256: (4, [16]), 257: (4, [32]), 258: (3, [4]), 262: (3, [1]), 277: (3, [1]), 278: (4, [16])}
    assert decode(tiff_file(tags, [bytes(128)] * 2)).shape == (32, 16, 3)
    with pytest.raises(BadImageError, match="damaged"):
        decode(tiff_file(tags, [bytes(128)]))
