from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from logo_similarity.image import png
from logo_similarity.image.decode import decode
from tests.pictures import encode, noise, png_chunk, quarters


def still_picture(data: bytes) -> bytes:
    return png.still_picture(data, png.read_facts(data))


def test_a_text_that_only_looks_like_a_transparent_grey_is_none() -> None:
    whole = encode(quarters()[..., 0], "PNG")
    data = whole[:33] + png_chunk(b"tEXt", b"Title\0tRNS\0\xc8") + whole[33:]
    assert png.read_facts(data).transparent_grey is None


def test_the_transparent_colour_of_a_picture_that_is_not_grey_is_no_grey() -> None:
    assert png.read_facts(encode(quarters()[..., 0], "PNG", transparency=30)).transparent_grey == 30
    assert png.read_facts(encode(quarters(), "PNG", transparency=(30, 160, 60))).transparent_grey is None


def test_the_animation_is_left_out_and_the_still_picture_kept() -> None:
    still = encode(quarters(), "PNG")
    moving = encode(quarters(), "PNG", save_all=True, append_images=[Image.fromarray(noise())])
    assert still_picture(still) is still
    left = still_picture(moving)
    assert not any(kind in left for kind in (b"acTL", b"fcTL", b"fdAT"))
    np.testing.assert_array_equal(decode(left), quarters())


PIXELS = [  # colour type, bit depth, whether a chunk says what is transparent; bytes of a pixel
    *((0, depth, False, 1) for depth in (1, 2, 4, 8)),
    *((3, depth, transparent, 4) for depth in (1, 2, 4, 8) for transparent in (False, True)),
    *((0, 8, True, 6), (0, 16, False, 2), (0, 16, True, 12)),
    *((2, 8, False, 3), (2, 8, True, 4), (2, 16, False, 6), (2, 16, True, 8)),
    *((4, 8, False, 4), (4, 16, False, 8), (6, 8, False, 4), (6, 16, False, 8)),
]


@pytest.mark.parametrize(("colour", "depth", "transparent", "pixel_bytes"), PIXELS)
def test_no_pixel_takes_more_than_is_counted_for_it(
    colour: int, depth: int, transparent: bool, pixel_bytes: int
) -> None:
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, depth, colour, 0, 0, 0)),
        (b"PLTE", bytes(3)),
        (b"tRNS", bytes(2 * samples) if colour != 3 else b"\0"),
        (b"IDAT", zlib.compress((b"\0" + bytes(samples * depth)) * 8)),
        (b"IEND", b""),
    ]
    wanted = {b"IHDR", b"IDAT", b"IEND"} | ({b"PLTE"} if colour == 3 else set()) | ({b"tRNS"} if transparent else set())
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks if kind in wanted)
    facts = png.read_facts(data)
    assert facts.pixel_bytes == pixel_bytes
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.nbytes <= pixel_bytes * 64


def test_all_compressed_pixels_of_a_png_are_counted() -> None:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)),
        (b"tIME", bytes(7)),
        (b"IDAT", bytes(100)),
        (b"IDAT", bytes(20)),
        (b"tEXt", b"Title\0IDAT"),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)
    assert png.read_facts(data).compressed_bytes == 120


@pytest.mark.parametrize(("length", "kept"), [(1024, True), (1025, False)])
def test_a_chunk_that_changes_nothing_is_kept_up_to_1024_bytes(length: int, kept: bool) -> None:
    whole = encode(quarters(), "PNG")
    data = whole[:33] + png_chunk(b"hIST", bytes(length)) + whole[33:]
    assert still_picture(data) == (data if kept else whole)


def test_a_repeated_chunk_is_left_out() -> None:
    whole = encode(quarters(), "PNG")
    gamma = png_chunk(b"gAMA", bytes(4))
    assert still_picture(whole[:33] + gamma + gamma + whole[33:]) == whole[:33] + gamma + whole[33:]


def test_what_follows_the_end_is_left_out_with_the_texts() -> None:
    whole = encode(quarters(), "PNG")
    assert still_picture(whole[:33] + png_chunk(b"tEXt", b"Title\0a") + whole[33:] + b"more") == whole


def test_the_last_chunk_claims_no_more_than_there_is() -> None:
    data = bytearray(encode(quarters(), "PNG"))
    data[-12:-8] = struct.pack(">I", 0x7000_0000)
    with pytest.raises(EOFError, match="past the end"):
        png.read_facts(bytes(data))


@pytest.mark.parametrize("missing", range(1, 5))
def test_a_png_without_its_last_bytes_is_cut_off(missing: int) -> None:
    """The checksum of the last chunk belongs to the file."""
    with pytest.raises(EOFError, match="past the end"):
        png.read_facts(encode(quarters(), "PNG")[:-missing])


def test_a_png_of_more_than_20_000_chunks_is_refused() -> None:
    whole = encode(quarters(), "PNG")
    data = [whole[:33] + png_chunk(b"tEXt", b"") * count + whole[33:] for count in (19_997, 19_998)]
    assert png.read_facts(data[0]).width == 64
    with pytest.raises(ValueError, match="too many chunks"):
        png.read_facts(data[1])
