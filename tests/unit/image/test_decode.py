from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from logo_similarity.config import Settings
from logo_similarity.errors import BadImageError, ImageTooComplexError, ImageTooLargeError, ImageTooSmallError
from logo_similarity.image.decode import ImageLimits, Pixels, decode
from logo_similarity.image.header import KEPT_PIXELS, read_header
from tests.pictures import FORMATS, encode, encode_turned, noise, png, png_chunk, quarters

WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (200, 30, 40)
NEAR = {"JPEG": 8, "AVIF": 8, "GIF": 2, "HEIC": 4}
"""How far a pixel may be off, where the format itself is not exact."""


def assert_near(got: Pixels, wanted: np.ndarray[Any, Any], tolerance: int) -> None:
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert_values_near(got, wanted, tolerance)


def assert_values_near(got: Pixels, wanted: np.ndarray[Any, Any], tolerance: int) -> None:
    assert got.shape == wanted.shape
    assert int(np.abs(got.astype(int) - wanted.astype(int)).max()) <= tolerance


def mark(colour: tuple[int, int, int], hidden: tuple[int, int, int] = (90, 0, 90), alpha: int = 255) -> Image.Image:
    """A square in a transparent 32 x 32 picture; other colours lie unseen under the transparency."""
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[..., :3] = hidden
    picture[8:24, 8:24] = (*colour, alpha)
    return Image.fromarray(picture)


def on(background: tuple[int, int, int], colour: tuple[int, int, int]) -> Pixels:
    picture = np.full((32, 32, 3), background, np.uint8)
    picture[8:24, 8:24] = colour
    return picture


@pytest.mark.parametrize(("size", "seconds"), [(0, 1.0), (500, 1.5), (1000, 2.0), (5000, 2.0)])
def test_a_short_file_has_half_of_the_time_and_a_long_one_all(size: int, seconds: float) -> None:
    assert ImageLimits(max_bytes=1000, max_seconds=2.0).seconds(size) == pytest.approx(seconds)


def test_a_picture_that_takes_more_memory_than_allowed_is_refused() -> None:
    data = encode(quarters(), "PNG")
    memory = read_header(data).cost.memory
    assert decode(data, ImageLimits(max_memory=memory)).shape == (48, 64, 3)
    with pytest.raises(ImageTooComplexError, match="at most 4 MB are allowed"):
        decode(data, ImageLimits(max_memory=memory - 1))


def test_the_limits_by_default_are_those_of_the_settings() -> None:
    assert ImageLimits() == ImageLimits.of(Settings.model_construct())


def test_too_many_bytes_are_refused() -> None:
    data = encode(quarters(), "PNG")
    assert decode(data, ImageLimits(max_bytes=len(data))).shape == (48, 64, 3)
    with pytest.raises(ImageTooLargeError) as caught:
        decode(data, ImageLimits(max_bytes=len(data) - 1))
    assert caught.value.status == 413


@pytest.mark.parametrize("file_format", FORMATS)
def test_too_many_pixels_are_refused(file_format: str) -> None:
    data = encode(quarters(), file_format)
    assert decode(data, ImageLimits(max_pixels=64 * 48)).shape == (48, 64, 3)
    with pytest.raises(ImageTooLargeError) as caught:
        decode(data, ImageLimits(max_pixels=64 * 48 - 1))
    assert caught.value.status == 413


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 100), (100, 7)])
def test_too_few_pixels_are_refused(file_format: str, height: int, width: int) -> None:
    with pytest.raises(ImageTooSmallError) as caught:
        decode(encode(noise(height, width), file_format))
    assert caught.value.status == 422


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_smallest_picture_is_decoded(file_format: str) -> None:
    assert decode(encode(noise(8, 8), file_format)).shape == (8, 8, 3)


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_gives_the_same_rgb(file_format: str) -> None:
    picture = quarters()
    assert_near(decode(encode(picture, file_format)), picture, NEAR.get(file_format, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_orientation_is_undone(file_format: str, orientation: int) -> None:
    picture = quarters()
    assert_near(decode(encode_turned(picture, file_format, orientation)), picture, NEAR.get(file_format, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_undone_with_alpha(file_format: str, orientation: int) -> None:
    upright = np.dstack((quarters(), np.full((48, 64), 255, np.uint8)))
    upright[:16, :16, 3] = 0
    wanted = upright[..., :3].copy()
    wanted[:16, :16] = 255
    got = decode(encode_turned(upright, file_format, orientation))
    # The lossy codecs blur the edge of the transparency: compare what lies inside.
    assert_values_near(got[:12, :12], wanted[:12, :12], NEAR.get(file_format, 0))
    assert_values_near(got[24:], wanted[24:], NEAR.get(file_format, 0))
    assert_values_near(got[:, 32:], wanted[:, 32:], NEAR.get(file_format, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_on_an_image_that_is_shrunk(orientation: int) -> None:
    got = decode(encode_turned(quarters(3600, 4000), "PNG", orientation))
    assert_near(got, quarters(2846, 3162), 64)  # an odd number of pixels: the quarters meet within one


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_impossible_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for file_format in ("JPEG", "PNG", "WEBP"):
        assert_near(decode(encode(quarters(), file_format, exif=exif)), quarters(), NEAR.get(file_format, 0))


def test_a_damaged_side_note_does_not_refuse_the_picture() -> None:
    whole = encode(quarters(), "PNG")
    after_header = 8 + 25
    for note in (b"", b"II", b"MM\0*\0\0\0\x08", b"II*\0\xff\xff\xff\xff", b"nonsense" * 4):
        data = whole[:after_header] + png_chunk(b"eXIf", note) + whole[after_header:]
        assert_near(decode(data), quarters(), 0)


ALPHA_FORMATS = ("PNG", "WEBP", "TIFF", "AVIF", "HEIC", "JPEG2000", "TGA", "ICO")


@pytest.mark.parametrize("file_format", ALPHA_FORMATS)
def test_transparency_is_laid_on_white(file_format: str) -> None:
    assert_near(decode(encode(mark(RED), file_format)), on(WHITE, RED), NEAR.get(file_format, 1))


def test_transparency_of_a_bmp_that_declares_it_is_laid_on_white() -> None:
    picture = cv2.cvtColor(np.asarray(mark(RED)), cv2.COLOR_RGBA2BGRA)
    assert_near(decode(by_opencv(picture, ".bmp")), on(WHITE, RED), 1)


@pytest.mark.parametrize("file_format", ALPHA_FORMATS)
def test_transparency_of_a_near_white_logo_is_laid_on_black(file_format: str) -> None:
    got = decode(encode(mark((250, 248, 240), hidden=WHITE), file_format))
    assert_near(got, on(BLACK, (250, 248, 240)), NEAR.get(file_format, 1))


@pytest.mark.parametrize(("level", "background"), [(229, WHITE), (230, BLACK)])
def test_near_white_begins_at_230_of_the_darkest_channel(level: int, background: tuple[int, int, int]) -> None:
    colour = (255, level, 255)
    assert_near(decode(encode(mark(colour), "PNG")), on(background, colour), 1)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_half_transparent_pixels_are_mixed_with_the_background(file_format: str) -> None:
    assert_near(decode(encode(mark(RED, alpha=128), file_format)), on(WHITE, (227, 142, 147)), 2)
    assert_near(decode(encode(mark((250, 250, 250), alpha=128), file_format)), on(BLACK, (125, 125, 125)), 2)


@pytest.mark.parametrize("file_format", ALPHA_FORMATS)
@pytest.mark.parametrize("hidden", [BLACK, RED, WHITE])
def test_nothing_but_transparency_is_white(file_format: str, hidden: tuple[int, int, int]) -> None:
    data = encode(mark(hidden, hidden=hidden, alpha=0), file_format)
    assert_near(decode(data), np.full((32, 32, 3), 255), NEAR.get(file_format, 0))


def test_an_opaque_near_white_picture_stays() -> None:
    picture = np.full((20, 30, 4), 250, np.uint8)
    picture[..., 3] = 255
    assert_near(decode(encode(picture, "PNG")), picture[..., :3], 0)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize(("grey", "background"), [(60, WHITE), (250, BLACK)])
def test_grey_with_alpha(file_format: str, grey: int, background: tuple[int, int, int]) -> None:
    picture = mark((grey, grey, grey), hidden=BLACK).convert("LA")
    assert_near(decode(encode(picture, file_format)), on(background, (grey, grey, grey)), 1)


@pytest.mark.parametrize(
    "file_format", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "HEIC", "JPEG2000", "PNM", "TGA", "PCX", "ICO"]
)
def test_grey(file_format: str) -> None:
    grey = quarters()[..., 0]
    assert_near(decode(encode(grey, file_format)), np.dstack((grey,) * 3), NEAR.get(file_format, 0))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "GIF", "BMP", "TGA", "PCX", "ICO"])
def test_palette(file_format: str) -> None:
    picture = Image.fromarray(quarters()).quantize(4)
    assert_near(decode(encode(picture, file_format)), np.asarray(picture.convert("RGB")), 0)


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_palette_with_a_transparent_colour(file_format: str) -> None:
    indices = np.zeros((32, 32), np.uint8)
    indices[8:24, 8:24] = 1
    picture = Image.fromarray(indices)
    picture.putpalette([90, 0, 90, *RED])
    assert_near(decode(encode(picture, file_format, transparency=0)), on(WHITE, RED), 0)


def test_grey_png_with_a_transparent_grey() -> None:
    picture = on((200, 200, 200), (40, 40, 40))[..., 0]
    assert_near(decode(encode(picture, "PNG", transparency=200)), on(WHITE, (40, 40, 40)), 0)


def grey_png(side: int, depth: int, rows: bytes, transparent: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", transparent)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)


@pytest.mark.parametrize(("depth", "grey"), [(1, 0), (2, 1), (4, 5), (8, 85), (16, 0x5555)])
def test_the_transparent_grey_is_found_at_every_depth(depth: int, grey: int) -> None:
    """Left half in that grey, right half white: laid on black, since white is all that is left."""
    row = "".join(format(value, f"0{depth}b") for value in [grey] * 8 + [2**depth - 1] * 8)
    rows = (b"\0" + int(row, 2).to_bytes(len(row) // 8, "big")) * 16
    pixels = decode(grey_png(16, depth, rows, grey))
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 8:] == 255).all()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "GIF", "PNM", "PCX", "ICO"])
def test_one_bit(file_format: str) -> None:
    bits = on(WHITE, BLACK)
    picture = Image.fromarray(bits[..., 0]).convert("1")
    assert_near(decode(encode(picture, file_format)), bits, 0)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(file_format: str) -> None:
    picture = Image.fromarray(quarters()).convert("CMYK")
    assert_near(decode(encode(picture, file_format)), quarters(), 10 if file_format == "JPEG" else 2)


def by_opencv(pixels: np.ndarray[Any, Any], extension: str, *options: int) -> bytes:
    written, buffer = cv2.imencode(extension, pixels, list(options))
    assert written
    return bytes(buffer.tobytes())


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bits(extension: str) -> None:
    picture = quarters()
    deep = picture[..., ::-1].astype(np.uint16) * 257  # BGR, as OpenCV writes it
    assert_near(decode(by_opencv(deep, extension)), picture, 0)
    assert_near(decode(by_opencv(deep[..., 2], extension)), np.dstack((picture[..., 0],) * 3), 0)
    opaque = np.dstack((deep, np.full((48, 64), 65_535, np.uint16)))
    opaque[:24, :32, 3] = 0
    picture[:24, :32] = 255
    assert_near(decode(by_opencv(opaque, extension)), picture, 0)


def test_sixteen_bits_are_rounded_to_the_nearest_of_eight() -> None:
    picture = np.full((8, 8), 200 * 257 + 128, np.uint16)
    picture[4:] += 1
    decoded = decode(by_opencv(picture, ".png"))
    assert (decoded[:4] == 200).all()
    assert (decoded[4:] == 201).all()


def test_a_picture_that_opencv_rejects_is_damaged() -> None:
    """It decodes at most 2**30 pixels."""
    limits = ImageLimits(max_pixels=1 << 31, max_memory=1 << 40)
    with pytest.raises(BadImageError, match="the PNG file is damaged"):
        decode(png(40_000, 40_000, b""), limits)


@pytest.mark.parametrize("depth", [10, 12])
def test_avif_of_more_than_eight_bits(depth: int) -> None:
    picture = quarters()
    deep = (picture[..., ::-1].astype(np.uint32) * (2**depth - 1) // 255).astype(np.uint16)
    data = by_opencv(deep, ".avif", cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 95)
    inside = np.s_[4:20, 4:28]  # OpenCV halves the colour's resolution: edges blur
    assert_values_near(decode(data)[inside], picture[inside], 10)


def test_unused_fourth_byte_of_a_bmp_is_not_transparency() -> None:
    picture = np.dstack((quarters(), np.zeros((48, 64), np.uint8)))
    assert_near(decode(encode(picture, "BMP")), quarters(), 0)  # a short header: no alpha declared
    declared = by_opencv(cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA), ".bmp")
    assert_near(decode(declared), quarters(), 0)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "AVIF", "PNG", "TIFF"])
def test_only_the_first_picture_counts(file_format: str) -> None:
    later = [Image.fromarray(noise(seed=seed)) for seed in range(3)]
    data = encode(quarters(), file_format, save_all=True, append_images=later)
    assert_near(decode(data), quarters(), NEAR.get(file_format, 0))


@pytest.mark.parametrize(("height", "width", "shrunk"), [(1800, 6000, (1643, 5477)), (5000, 4000, (3354, 2683))])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_a_big_picture_is_shrunk(file_format: str, height: int, width: int, shrunk: tuple[int, int]) -> None:
    got = decode(encode(quarters(height, width), file_format), ImageLimits(max_bytes=1 << 30))
    assert got.shape == (*shrunk, 3)
    assert 0.999 * KEPT_PIXELS < shrunk[0] * shrunk[1] <= KEPT_PIXELS
    # The lossy codecs blur the edges between the quarters; the middle of each is left.
    rows, columns = [shrunk[0] // 4, shrunk[0] * 3 // 4], [0, shrunk[1] - 1]
    assert_values_near(got[np.ix_(rows, columns)], quarters(2, 2), NEAR.get(file_format, 0))


def test_shrinking_averages_every_pixel() -> None:
    picture = np.zeros((4800, 5000, 3), np.uint8)
    picture[::2] = 200  # sampling would see one kind of line only
    got = decode(encode(picture, "BMP"), ImageLimits(max_bytes=1 << 30, max_memory=1 << 30))
    assert got.min() > 20
    assert got.max() < 180


def test_hidden_colours_do_not_bleed_into_a_shrunk_picture() -> None:
    picture = np.zeros((4000, 4000, 4), np.uint8)  # black lies under the transparency
    picture[1000:3000, 1000:3000] = (*RED, 255)
    got = decode(encode(picture, "PNG"))
    assert got.shape == (3000, 3000, 3)
    # Every pixel is a mixture of red and white: none is darker than red.
    assert (got >= np.array(RED) - 1).all()
    assert tuple(got[1500, 1500]) == RED
    assert tuple(got[10, 10]) == WHITE


def test_a_picture_at_the_limit_is_not_resampled() -> None:
    picture = noise(1000, KEPT_PIXELS // 1000)
    assert_near(decode(encode(picture, "PNG"), ImageLimits(max_bytes=1 << 30)), picture, 0)


def test_progressive_jpeg() -> None:
    assert_near(decode(encode(quarters(), "JPEG", progressive=True)), quarters(), NEAR["JPEG"])


def test_repeated_decoding_is_the_same_and_leaves_the_bytes_alone() -> None:
    for file_format in FORMATS:
        data = encode(noise(), file_format)
        kept = bytes(bytearray(data))
        first = decode(data)
        assert first.flags.writeable
        untouched = first.copy()
        decode(encode(noise(seed=1), file_format))
        np.testing.assert_array_equal(first, untouched)
        np.testing.assert_array_equal(decode(data), untouched)
        assert data == kept
