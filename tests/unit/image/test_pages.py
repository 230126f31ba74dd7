"""Files of several pictures: the first full-size page of a TIFF that is not blank, and the first such frame of a GIF."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from logo_similarity.image import tiff
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits, Pixels, decode
from tests.pictures import Array, encode, noise, quarters

BLANK = np.full((48, 64, 3), 250, np.uint8)
REDUCED, MASK = 1, 4
CONTAINED = Decoder()


def pages(*pictures: tuple[Array, int], big: bool = False) -> bytes:
    """A TIFF of some pages, each with its type (NewSubfileType)."""
    images = [Image.fromarray(picture) for picture, _ in pictures]
    data = bytearray(
        encode(images[0], "TIFF", save_all=True, append_images=images[1:], tiffinfo={254: 7}, big_tiff=big)
    )
    kinds = iter(kind for _, kind in pictures)
    at = -1
    marker = struct.pack("<HHQ" if big else "<HHI", 254, 4, 1)
    while (at := data.find(marker, at + 1)) >= 0:
        data[at + len(marker) : at + len(marker) + 4] = struct.pack("<I", next(kinds))
    assert next(kinds, None) is None
    return bytes(data)


def shown(data: bytes) -> Pixels:
    pixels = decode(data)
    np.testing.assert_array_equal(CONTAINED.decode(data), pixels)
    return pixels


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", [REDUCED, MASK])
def test_a_smaller_copy_or_a_mask_is_not_the_picture(kind: int, big: bool) -> None:
    small = np.ascontiguousarray(quarters()[::2, ::2])
    np.testing.assert_array_equal(shown(pages((small, kind), (noise(), 0), big=big)), noise())


def test_a_blank_page_is_skipped() -> None:
    np.testing.assert_array_equal(shown(pages((BLANK, 0), (BLANK, 2), (noise(), 2), (quarters(), 2))), noise())


@pytest.mark.parametrize(("difference", "is_ink"), [(24, False), (25, True)])
def test_ink_differs_from_paper_by_more_than_24_levels(difference: int, is_ink: bool) -> None:
    pale = BLANK.copy()
    pale[10:20, 10:20, 1] -= difference
    np.testing.assert_array_equal(shown(pages((pale, 0), (noise(), 0))), pale if is_ink else noise())


def test_the_first_page_is_shown_if_all_are_blank_or_a_later_one_is_damaged() -> None:
    grey = np.full_like(BLANK, 90)
    np.testing.assert_array_equal(shown(pages((grey, 0), (BLANK, 0))), grey)
    data = pages((grey, 0), (noise(), 0))
    following = len(data) - data[::-1].index(struct.pack("<HHI", 256, 4, 1)[::-1])
    np.testing.assert_array_equal(shown(data[:following]), grey)


def test_a_page_over_the_limits_is_not_shown() -> None:
    data = pages((BLANK, 0), (noise(480, 640), 0))
    np.testing.assert_array_equal(decode(data, ImageLimits(max_pixels=64 * 48)), BLANK)
    assert decode(data).shape == (480, 640, 3)


def test_a_circle_of_pages_ends() -> None:
    data = bytearray(pages((BLANK, 0), (BLANK, 0)))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    data[start + 2 + 12 * count :][:4] = b""
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    assert len(list(tiff.pages(bytes(data)))) == 20
    np.testing.assert_array_equal(shown(bytes(data)), BLANK)


def animation(*frames: Array | Image.Image) -> bytes:
    images = [frame if isinstance(frame, Image.Image) else Image.fromarray(frame) for frame in frames]
    # Pillow would join equal frames of equal duration.
    return encode(
        images[0],
        "GIF",
        save_all=True,
        append_images=images[1:],
        duration=[100 + 10 * number for number in range(len(images))],
    )


def test_a_blank_frame_of_a_gif_is_skipped() -> None:
    assert np.abs(shown(animation(BLANK, BLANK, quarters(), noise())).astype(int) - quarters()).max() <= 2


def test_the_first_frame_of_a_gif_with_ink_is_the_one_that_opencv_decodes() -> None:
    assert np.abs(shown(animation(quarters(), noise())).astype(int) - quarters()).max() <= 2


def test_the_first_frame_is_shown_if_all_are_blank() -> None:
    np.testing.assert_array_equal(shown(animation(BLANK, BLANK - 20)), BLANK)


def test_a_transparent_frame_is_blank() -> None:
    clear = Image.new("RGBA", (64, 48))
    assert np.abs(shown(animation(clear, quarters())).astype(int) - quarters()).max() <= 2


def test_frames_are_looked_at_up_to_the_twenty_first() -> None:
    blanks = [BLANK - number for number in range(21)]
    assert shown(animation(*blanks[:20], quarters())).std() > 20
    assert shown(animation(*blanks, quarters())).std() < 1


@pytest.mark.parametrize(("left", "side"), [(40, 64), (0, 80), (0, 60_000)])
def test_a_gif_frame_beyond_its_canvas_ends_the_search(left: int, side: int) -> None:
    data = bytearray(animation(BLANK, quarters()))
    at = data.rindex(b",\0\0\0\0" + struct.pack("<HH", 64, 48))
    data[at + 1 : at + 9] = struct.pack("<HHHH", left, 0, side, 48 if left else side)
    np.testing.assert_array_equal(shown(bytes(data)), BLANK)
