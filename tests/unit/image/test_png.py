from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from logo_similarity.image import png
from logo_similarity.image.decode import decode
from tests.pictures import encode, noise, png_chunk, quarters


@pytest.mark.parametrize(("depth", "grey"), [(1, 0), (2, 1), (4, 5), (8, 85), (16, 0x5555)])
def test_the_transparent_grey_is_found_at_every_depth(depth: int, grey: int) -> None:
    """Left half in that grey, right half white: laid on black, since white is all that is left."""
    row = "".join(format(value, f"0{depth}b") for value in [grey] * 8 + [2**depth - 1] * 8)
    rows = (b"\0" + int(row, 2).to_bytes(len(row) // 8, "big")) * 16
    pixels = decode(_grey_png(16, depth, rows, grey))
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 8:] == 255).all()


def test_a_text_that_only_looks_like_a_transparent_grey_is_none() -> None:
    whole = encode(quarters()[..., 0], "PNG")
    data = whole[:33] + png_chunk(b"tEXt", b"Title\0tRNS\0\xc8") + whole[33:]
    assert png.transparent_grey(data) is None


def test_the_animation_is_left_out_and_the_still_picture_kept() -> None:
    still = encode(quarters(), "PNG")
    moving = encode(quarters(), "PNG", save_all=True, append_images=[Image.fromarray(noise())])
    assert png.still_picture(still) is still
    left = png.still_picture(moving)
    assert not any(kind in left for kind in (b"acTL", b"fcTL", b"fdAT"))
    np.testing.assert_array_equal(decode(left), quarters())


def _grey_png(side: int, depth: int, rows: bytes, transparent: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", transparent)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)
