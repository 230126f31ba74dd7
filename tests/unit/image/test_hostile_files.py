"""Small files made to cost gigabytes or minutes, each by a trick that one reader of headers or another falls for."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.errors import BadImageError
from logo_similarity.image.header import read_header
from tests.pictures import encode, quarters

WIDTH, HEIGHT = 64, 48
ROOT = Path(__file__).parents[3]

CHILD = """
import resource, sys
from pathlib import Path
from logo_similarity.errors import BadImageError
from logo_similarity.image.decode import decode

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = Path(sys.argv[1]).read_bytes()
before = peak()
try:
    decode(data)
except BadImageError:
    pass
print((peak() - before) // 1024)
"""


def jpeg_of_a_hidden_size() -> bytes:
    """Shows 64 x 48 to a reader that takes FF 00 for a segment with a length; libjpeg decodes 8,000 x 8,000."""
    jpeg = cv2.imencode(".jpg", np.zeros((8000, 8000), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 10])[1].tobytes()
    at = jpeg.index(b"\xff\xc0")
    end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    true = jpeg[at:end]
    false = true[:5] + struct.pack(">HH", HEIGHT, WIDTH) + true[9:]
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(false))
    hidden = b"\xff\x00" + struct.pack(">H", 2 + len(true) + len(comment)) + true + comment + false
    return bytes(jpeg[:at] + hidden + jpeg[end:])


def jpeg_of_endless_fill() -> bytes:
    """Quadratic for a pattern that tries again behind each byte: hours."""
    return b"\xff\xd8" + b"\xff" * 9_000_000


def png_of_a_long_chunk() -> bytes:
    """OpenCV allocates and clears what a chunk claims to hold."""
    png = bytearray(encode(quarters(), "PNG"))
    at = png.index(b"IDAT")
    png[at - 4 : at] = struct.pack(">I", 0x7000_0000)
    return bytes(png)


def png_of_a_long_end() -> bytes:
    png = encode(quarters(), "PNG")
    return png[:-12] + struct.pack(">I", 0x7000_0000) + png[-8:]


def png_of_half_a_million_chunks() -> bytes:
    png = encode(quarters(), "PNG")
    return png[:33] + (bytes(4) + b"teXt" + bytes(4)) * 500_000 + png[33:]


def tiff_of_shared_tags() -> bytes:
    """Two hundred private tags that all point at the same eight megabytes: libtiff copies them for each."""
    return tiff([(50_000 + i, 7, 8_000_000, 8) for i in range(200)], padding=8_000_000)


def tiff_of_a_huge_tile() -> bytes:
    return tiff([(322, 4, 1, 16_000), (323, 4, 1, 16_000)])


def tiff_of_two_widths() -> bytes:
    """The first ones count for libtiff; a reader that skips signed numbers sees the others."""
    return tiff([], width=(256, 9, 1, 9000), height=(257, 9, 1, 9000), tail=[(256, 4, 1, WIDTH), (257, 4, 1, HEIGHT)])


def tiff(
    extra: list[tuple[int, int, int, int]],
    *,
    width: tuple[int, int, int, int] = (256, 4, 1, WIDTH),
    height: tuple[int, int, int, int] = (257, 4, 1, HEIGHT),
    tail: list[tuple[int, int, int, int]] | None = None,
    padding: int = 0,
) -> bytes:
    """A grey TIFF of one strip: tags as (tag, type, count, value)."""
    pixels = bytes(WIDTH * HEIGHT + padding)
    common = [(258, 4, 1, 8), (259, 4, 1, 1), (262, 4, 1, 1), (273, 4, 1, 8), (277, 4, 1, 1), (278, 4, 1, HEIGHT)]
    tags = [width, height, *(tail or []), *common, (279, 4, 1, WIDTH * HEIGHT), *extra]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + directory + bytes(4)


ATTACKS = (
    jpeg_of_a_hidden_size, jpeg_of_endless_fill, png_of_a_long_chunk, png_of_a_long_end,
    png_of_half_a_million_chunks, tiff_of_shared_tags, tiff_of_a_huge_tile,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_costs_next_to_nothing(attack: Callable[[], bytes], tmp_path: Path) -> None:
    file = tmp_path / "attack"
    file.write_bytes(attack())
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(file)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) < 50  # megabytes


def test_of_a_repeated_tag_the_first_counts_whatever_its_type() -> None:
    with pytest.raises(BadImageError, match="header cannot be read"):
        read_header(tiff_of_two_widths())
