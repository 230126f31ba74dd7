from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.errors import (
    BadImageError,
    ImageTooComplexError,
    UnsupportedFormatError,
)
from logo_similarity.image.decode import decode, decode_checked
from logo_similarity.image.header import read_header
from tests import hostile_images as hostile
from tests.pictures import FORMATS, encode, encode_turned, noise, png, png_bomb, png_chunk, quarters

EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
"""Of no entries. A WebP with a side note has the long header."""

NO_IMAGES = {
    "text": b"hello, this is text",
    "zeros": bytes(1000),
    "one byte": b"\xff",
    "html": b"<!doctype html><html><body>404</body></html>",
    "riff": b"RIFF\x24\0\0\0WAVEfmt ",
    "bare png": b"\x89PNG\r\n\x1a\n",
    "bare jpeg": b"\xff\xd8\xff",
    "bare gif": b"GIF89a",
    "bare bmp": b"BM",
    "bare tiff": b"II*\0",
    "bare bigtiff": b"MM\0+",
    "bigtiff whose directory lies beyond everything": b"MM\0+\0\x08\0\0" + b"\xff" * 8,
    "bare webp": b"RIFF\0\0\0\0WEBP",
    "bare avif": b"\0\0\0\x14ftypavif\0\0\0\0mif1",
    "bare heic": b"\0\0\0\x14ftypheic\0\0\0\0mif1",
    "bare jpeg 2000": b"\xff\x4f\xff\x51",
    "bare jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    "bare pnm": b"P6\n",
    "bare pcx": b"\n\5\1",
    "bare ico": b"\0\0\1\0",
}

OTHER_FORMATS = {
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
    "SVG with a declaration": b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<svg width="10" height="10"/>',
    "SVG with a document type": b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd"><svg/>',
    "HEIF": b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
    "a film of HEIC pictures": b"\0\0\0\x18ftyphevc\0\0\0\0mif1hevc",
    "MP4": b"\0\0\0\x18ftypisom\0\0\x02\0isommp41",
    "PDF": b"%PDF-1.7\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "EPS": b"\xc5\xd0\xd3\xc6\x1e\0\0\0",
    "Photoshop": b"8BPS\0\x01\0\0",
    "JXL": b"\0\0\0\x0cJXL \r\n\x87\n",
    "JXL codestream": b"\xff\x0a\xfa\x7f",
    "HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 16 +X 16\n",
    "HDR of another program": b"#?RGBE\n",
    "OpenEXR": b"v/1\x01\x02\0\0\0",
    "Sun raster": b"\x59\xa6\x6a\x95" + bytes(28),
    "PFM": b"PF\n16 16\n-1.0\n",
    "grey PFM": b"Pf\n16 16\n-1.0\n",
    "PAM": b"P7\nWIDTH 16\nHEIGHT 16\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + bytes(16 * 16 * 3),
    "gzip": b"\x1f\x8b\x08\0",
    "ZIP": b"PK\x03\x04\x14\0",
}


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(48, 64), (9, 300), (257, 16)])
def test_size_and_format_are_told(file_format: str, height: int, width: int) -> None:
    header = read_header(encode(noise(height, width), file_format))
    assert header.format.name == file_format
    assert (header.width, header.height) == (width, height)


@pytest.mark.parametrize("options", [{"lossless": False}, {"lossless": True}, {"lossless": False, "exif": EXIF}])
def test_size_of_each_kind_of_webp(options: dict[str, object]) -> None:
    header = read_header(encode(noise(), "WEBP", **options))
    assert (header.width, header.height) == (64, 48)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_size_of_a_turned_image_is_that_of_the_stored_pixels(file_format: str) -> None:
    header = read_header(encode_turned(quarters(48, 64), file_format, 6))
    assert (header.width, header.height) == (48, 64)


def frame(marker: int) -> bytes:
    """A JPEG whose frame header has this marker."""
    data = encode(quarters(), "JPEG")
    at = data.index(b"\xff\xc0")
    return data[: at + 1] + bytes([marker]) + data[at + 2 :]


@pytest.mark.parametrize("marker", range(0xC0, 0xD0))
def test_only_huffman_coded_frames_of_a_jpeg_have_a_bounded_time(marker: int) -> None:
    if marker in {0xC4, 0xC8, 0xCC}:  # tables, a reserved one, and conditioning: not frames
        with pytest.raises(BadImageError):
            read_header(frame(marker))
    else:
        header = read_header(frame(marker))
        assert (header.width, header.height) == (64, 48)
        assert math.isfinite(header.cost.seconds) is (marker in {0xC0, 0xC1, 0xC2})


@pytest.mark.parametrize("marker", [0x00, 0x01, *range(0xD0, 0xD8)])
def test_a_marker_without_a_length_hides_no_frame_of_a_jpeg(marker: int) -> None:
    data = encode(quarters(), "JPEG")
    header = read_header(data[:2] + bytes([0xFF, marker]) + data[2:])
    assert (header.width, header.height) == (64, 48)


@pytest.mark.parametrize("marker", [0xD8, 0xD9, 0xDA])
def test_no_frame_of_a_jpeg_follows_another_start_an_end_or_a_scan(marker: int) -> None:
    data = encode(quarters(), "JPEG")
    with pytest.raises(BadImageError):
        read_header(data[:2] + bytes([0xFF, marker, 0, 4, 0, 0]) + data[2:])


def jpeg_of_scans(count: int) -> bytes:
    return hostile.jpeg(16, 16, [hostile.scan("empty")] * (count - 1), progressive=False)


def test_more_than_100_scans_of_a_jpeg_are_left_to_a_child_and_more_than_1000_refused() -> None:
    assert math.isfinite(read_header(jpeg_of_scans(100)).cost.seconds)
    assert math.isinf(read_header(jpeg_of_scans(101)).cost.seconds)
    assert read_header(jpeg_of_scans(1000)).width == 16
    with pytest.raises(ImageTooComplexError, match="1,001 scans"):
        read_header(jpeg_of_scans(1001))


@pytest.mark.parametrize("film", [True, False])
def test_a_picture_with_a_thumbnail_or_an_appended_film_is_not_refused(film: bool) -> None:
    data = encode(quarters(), "JPEG")
    others = hostile.scan("empty") * 200
    segment = b"\xff\xe5" + struct.pack(">H", 2 + len(others)) + others
    assert read_header(data + others if film else data[:2] + segment + data[2:]).width == 64


def tiff(tags: dict[int, tuple[int, int, bytes]]) -> bytes:
    """A little-endian TIFF of nothing but a directory: type, count and value of each tag."""
    entries = b"".join(struct.pack("<HHI4s", tag, *entry) for tag, entry in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def tiff_of_tiles(side: int) -> bytes:
    sides = {256: 5000, 257: 5000, 322: side, 323: 16}
    return tiff({tag: (4, 1, struct.pack("<I", value)) for tag, value in sides.items()})


def test_tiles_of_a_tiff_have_at_most_4096_pixels_a_side_and_count_whole() -> None:
    header = read_header(tiff_of_tiles(4096))
    assert (header.width, header.height) == (5000, 5000)
    assert header.cost.memory >= 2 * 8192 * 5008
    with pytest.raises(BadImageError):
        read_header(tiff_of_tiles(4097))


@pytest.mark.parametrize(("bits", "accepted"), [(16, True), (17, False), (32, True), (33, False), (64, False)])
def test_samples_of_a_tiff_have_at_most_16_bits_or_32(bits: int, accepted: bool) -> None:
    one = {tag: (4, 1, struct.pack("<I", value)) for tag, value in {256: 64, 257: 48}.items()}
    data = tiff({**one, 258: (3, 1, struct.pack("<HH", bits, 0))})
    if accepted:
        assert read_header(data).cost.memory > 2 * 64 * 48 * 2
    else:
        with pytest.raises(BadImageError, match=f"{bits} bits a sample"):
            read_header(data)


def test_the_largest_of_several_sample_sizes_counts() -> None:
    one = {tag: (4, 1, struct.pack("<I", value)) for tag, value in {256: 64, 257: 48}.items()}
    small = tiff({**one, 258: (3, 2, struct.pack("<HH", 8, 16))})
    assert (
        read_header(small).cost.memory == read_header(tiff({**one, 258: (3, 1, struct.pack("<HH", 16, 0))})).cost.memory
    )
    with pytest.raises(BadImageError, match="64 bits a sample"):
        read_header(tiff({**one, 258: (3, 2, struct.pack("<HH", 8, 64))}))


WIDTH, HEIGHT = 65, 40
PIXELS = WIDTH * HEIGHT
PADDED = 96 * 64
"""Pixels of a JPEG in whole blocks of 32 x 32."""


def assert_cost(data: bytes, *, memory: int, nanoseconds: float) -> None:
    """The memory is without the 4 MB of the picture that decoding returns."""
    cost = read_header(data).cost
    assert cost.memory == memory + 4_000_000
    assert cost.seconds == pytest.approx(nanoseconds * 1e-9)


def jpeg(components: int, scans: tuple[int, ...], *, frame: int = 0xC0, segments: bytes = b"") -> bytes:
    """The headers of a JPEG, with scans of this many components."""
    header = struct.pack(">BBHBHHB", 0xFF, frame, 8 + 3 * components, 8, HEIGHT, WIDTH, components)
    scan_headers = [b"\xff\xda" + struct.pack(">HB", 6 + 2 * count, count) + bytes(2 * count + 3) for count in scans]
    return b"\xff\xd8" + segments + header + bytes(3 * components) + b"".join(scan_headers) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("frame", "components", "scans", "coefficients"),
    [
        (0xC0, 1, (1,), False),
        (0xC1, 3, (3,), False),
        (0xC0, 4, (4,), False),
        (0xC0, 3, (1, 1, 1), True),
        (0xC0, 3, (3, 1), True),
        (0xC0, 3, (1,), True),
        (0xC2, 3, (3,), True),
        (0xC2, 4, (4, 1), True),
    ],
)
def test_cost_of_a_jpeg(frame: int, components: int, scans: tuple[int, ...], coefficients: bool) -> None:
    data = jpeg(components, scans, frame=frame)
    held = 2 * components * PADDED if coefficients else max(3, components) * PIXELS
    nanoseconds = 20 * PIXELS + 40 * len(data) + len(scans) * PADDED / 2
    assert_cost(data, memory=3 * PIXELS + held, nanoseconds=nanoseconds)


def test_each_exif_block_and_profile_of_a_jpeg_takes_memory() -> None:
    exif, profile, comment = b"\xff\xe1\0\x02", b"\xff\xe2\0\x02", b"\xff\xfe\0\x02"
    data = jpeg(3, (3,), segments=2 * exif + profile + comment)
    nanoseconds = 20 * PIXELS + 40 * len(data) + PADDED / 2
    assert_cost(data, memory=6 * PIXELS + 3 * 112, nanoseconds=nanoseconds)


@pytest.mark.parametrize(("length", "accepted"), [(0, False), (1, False), (2, True), (3, True)])
def test_the_length_of_a_jpeg_segment_counts_its_own_two_bytes(length: int, accepted: bool) -> None:
    data = jpeg(3, (3,), segments=b"\xff\xfe" + length.to_bytes(2, "big") + bytes(max(0, length - 2)))
    if accepted:
        assert read_header(data).width == WIDTH
    else:
        with pytest.raises(BadImageError, match="damaged"):
            read_header(data)


def test_the_frame_is_one_of_the_first_10_000_segments_of_a_jpeg() -> None:
    comment = b"\xff\xfe\0\x02"
    assert read_header(jpeg(3, (3,), segments=9_999 * comment)).width == WIDTH
    with pytest.raises(BadImageError, match="damaged"):
        read_header(jpeg(3, (3,), segments=10_000 * comment))


@pytest.mark.parametrize(("depth", "colour", "pixel_bytes"), [(1, 0, 1), (8, 2, 3), (16, 6, 8)])
def test_cost_of_a_png(depth: int, colour: int, pixel_bytes: int) -> None:
    data = png(WIDTH, HEIGHT, bytes(100), depth=depth, colour=colour)
    nanoseconds = 7 * pixel_bytes * PIXELS + len(data) + 3000 * 100
    assert_cost(data, memory=2 * pixel_bytes * PIXELS, nanoseconds=nanoseconds)


def webp(kind: bytes, header: bytes, size: int) -> bytes:
    """A WebP whose first chunk has this header, with zeros up to `size` bytes."""
    return (b"RIFF\0\0\0\0WEBP" + kind + bytes(4) + header).ljust(size, b"\0")


def lossless(width: int, height: int, size: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14), size)


def extended(width: int, height: int, size: int, *, flags: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X", bytes([flags, 0, 0, 0]) + sides, size)


def lossy(width: int, height: int, size: int) -> bytes:
    return webp(b"VP8 ", bytes(6) + struct.pack("<HH", width, height), size)


@pytest.mark.parametrize(
    ("data", "width", "height", "groups"),
    [
        (lossy(WIDTH, HEIGHT, 1000), WIDTH, HEIGHT, 0),
        (lossy(WIDTH | 1 << 14, HEIGHT | 2 << 14, 1000), WIDTH, HEIGHT, 0),  # the upper bits are a scale
        (lossy(16_383, 16_383, 1000), 16_383, 16_383, 0),
        (lossless(WIDTH, HEIGHT, 1000), WIDTH, HEIGHT, 17 * 10),  # one for each 4 x 4 pixels
        (lossless(WIDTH, HEIGHT, 201), WIDTH, HEIGHT, 100),  # and for each two bytes
        (lossless(2001, 1999, 200_000), 2001, 1999, 65_536),
        (lossless(16_384, 16_384, 1000), 16_384, 16_384, 500),
        (extended(WIDTH, HEIGHT, 1000, flags=0x10), WIDTH, HEIGHT, 17 * 10),
        (extended(70_001, 9, 1000, flags=0), 70_001, 9, 500),
        (extended(9, 70_001, 1000, flags=0), 9, 70_001, 500),
        (extended(WIDTH, HEIGHT, 30, flags=0), WIDTH, HEIGHT, 15),
    ],
)
def test_size_and_cost_of_a_webp(data: bytes, width: int, height: int, groups: int) -> None:
    header = read_header(data)
    assert (header.width, header.height) == (width, height)
    pixels = width * height
    nanoseconds = 60 * pixels + 40 * len(data) + 40_000 * groups
    assert_cost(data, memory=14 * pixels + 14_000 * groups, nanoseconds=nanoseconds)


def test_an_animated_webp_is_left_to_a_child() -> None:
    animated = extended(WIDTH, HEIGHT, 1000, flags=0x02)
    assert_cost(animated, memory=14 * PIXELS + 14_000 * 170, nanoseconds=math.inf)


def test_cost_of_a_gif() -> None:
    data = b"GIF89a" + struct.pack("<HH", WIDTH, HEIGHT) + bytes(10) + b"\x21\xf9\4"
    assert_cost(data, memory=13 * PIXELS, nanoseconds=25 * PIXELS + 15_000 * len(data))


def test_an_animated_gif_is_left_to_a_child() -> None:
    data = b"GIF89a" + struct.pack("<HH", WIDTH, HEIGHT) + bytes(10) + 2 * b"\x21\xf9\4"
    assert_cost(data, memory=13 * PIXELS, nanoseconds=math.inf)


@pytest.mark.parametrize(("width", "height"), [(1, 2), (2, 1)])
def test_a_side_of_one_pixel_is_a_size(width: int, height: int) -> None:
    header = read_header(png(width, height, b""))
    assert (header.width, header.height) == (width, height)


@pytest.mark.parametrize("height", [HEIGHT, -HEIGHT])
def test_cost_of_a_bmp(height: int) -> None:
    data = b"BM" + bytes(12) + struct.pack("<Iii", 40, WIDTH, height) + bytes(28)
    assert read_header(data).height == HEIGHT
    assert_cost(data, memory=12 * PIXELS, nanoseconds=15 * PIXELS + 40 * len(data))


@pytest.mark.parametrize(
    ("samples", "bits", "tile", "pixels"),
    [
        (3, 8, None, PIXELS),
        (1, 1, None, PIXELS),
        (4, 16, None, PIXELS),
        (3, 8, (32, 16), 96 * 48),
        (3, 8, (65, 40), PIXELS),
    ],
)
def test_cost_of_a_tiff(samples: int, bits: int, tile: tuple[int, int] | None, pixels: int) -> None:
    values = {256: WIDTH, 257: HEIGHT, 258: bits, 262: 2 if samples > 1 else 1, 277: samples}
    values |= dict(zip((322, 323), tile or (), strict=False))
    data = tiff({tag: (4, 1, struct.pack("<I", value)) for tag, value in values.items()})
    assert_cost(data, memory=2 * pixels * samples * (2 if bits > 8 else 1), nanoseconds=math.inf)


@pytest.mark.parametrize(("samples", "bits", "sample_bytes"), [(1, 4, 1), (1, 9, 2), (1, 32, 4), (5, 8, 1)])
def test_cost_of_a_tiff_that_opencv_does_not_decode(samples: int, bits: int, sample_bytes: int) -> None:
    """The picture and the file are held beside the samples."""
    values = {256: WIDTH, 257: HEIGHT, 258: bits, 262: 2 if samples > 1 else 1, 277: samples}
    data = tiff({tag: (4, 1, struct.pack("<I", value)) for tag, value in values.items()})
    assert_cost(data, memory=2 * PIXELS * samples * sample_bytes + 4 * PIXELS + len(data), nanoseconds=math.inf)


@pytest.mark.parametrize("tag", [322, 323])
def test_a_tiff_that_states_one_side_of_a_tile_has_strips(tag: int) -> None:
    sides = {256: 65, 257: 40, tag: 4096}
    data = tiff({tag: (4, 1, struct.pack("<I", value)) for tag, value in sides.items()})
    assert_cost(data, memory=2 * PIXELS, nanoseconds=math.inf)


@pytest.mark.parametrize(("channels", "pixel_bytes"), [(3, 19), (4, 34)])
def test_cost_of_an_avif(channels: int, pixel_bytes: int) -> None:
    data = encode(np.full((48, 64, channels), 100, np.uint8), "AVIF")
    assert_cost(data, memory=pixel_bytes * 64 * 48, nanoseconds=math.inf)


@pytest.mark.parametrize("byte_order", ["II", "MM"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_of_either_byte_order_and_size(byte_order: str, *, big: bool) -> None:
    data = encode(quarters(), "TIFF", big_tiff=big) if byte_order == "II" else big_endian_tiff(big=big)
    assert read_header(data).width == 64
    np.testing.assert_array_equal(decode(data)[..., 0], quarters()[..., 0])


def big_endian_tiff(*, big: bool) -> bytes:
    """Uncompressed RGB in one strip."""
    pixels = quarters()
    header, entry, width = (16, ">HHQ", 8) if big else (8, ">HHI", 4)
    count_bytes = 8 if big else 2
    tags = ((256, 64), (257, 48), (258, 8), (259, 1), (262, 2), (273, None), (277, 3), (278, 48), (279, pixels.nbytes))
    offset = header + count_bytes + len(tags) * (struct.calcsize(entry) + width) + width
    body = len(tags).to_bytes(count_bytes, "big")
    for tag, value in tags:
        stored = offset if value is None else value
        body += struct.pack(entry, tag, 4, 1) + struct.pack(">I", stored).ljust(width, b"\0")
    start = b"MM\0+\0\x08\0\0" + (16).to_bytes(8, "big") if big else b"MM\0*" + (8).to_bytes(4, "big")
    return start + body + bytes(width) + pixels.tobytes()


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_refused(name: str) -> None:
    with pytest.raises(BadImageError) as caught:
        decode(NO_IMAGES[name])
    assert (type(caught.value), caught.value.status) == (BadImageError, 422)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(BadImageError, match="empty") as caught:
        decode(b"")
    assert (type(caught.value), caught.value.status) == (BadImageError, 422)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(seed: int) -> None:
    with pytest.raises(BadImageError) as caught:
        decode(np.random.default_rng(seed).bytes(5000))
    assert caught.value.status == 422


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats_are_refused_by_their_first_bytes(name: str) -> None:
    with pytest.raises(UnsupportedFormatError, match="JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF") as caught:
        read_header(OTHER_FORMATS[name])
    assert caught.value.status == 415


@pytest.mark.parametrize("file_format", ["SGI", "EPS"])
def test_real_files_of_other_formats_are_refused(file_format: str) -> None:
    data = encode(quarters(64, 64), file_format)
    with pytest.raises(BadImageError):
        decode(data)


def test_bmp_of_os2_is_refused() -> None:
    whole = encode(quarters(), "BMP")
    data = whole[:14] + struct.pack("<IHHHH", 12, 64, 48, 1, 24) + whole[54:]
    with pytest.raises(UnsupportedFormatError, match="OS/2"):
        decode(data)


CHILD = """
import sys
from pathlib import Path
from logo_similarity.errors import ImageTooLargeError
from logo_similarity.image.decode import decode, decode_checked

def peak_kilobytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

data = Path(sys.argv[1]).read_bytes()
before = peak_kilobytes()
try:
    decode(data)
except ImageTooLargeError:
    print(peak_kilobytes() - before)
"""


def gif_bomb() -> bytes:
    data = bytearray(encode(quarters(), "GIF"))
    data[6:10] = struct.pack("<HH", 20_000, 20_000)
    return bytes(data)


def bmp_bomb() -> bytes:
    data = bytearray(encode(quarters(), "BMP"))
    data[18:26] = struct.pack("<ii", 20_000, -20_000)
    return bytes(data)


def jpeg_bomb() -> bytes:
    data = encode(quarters(), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 20_000, 20_000) + data[at + 4 :]


def jpeg_bomb_behind_a_stuffed_marker() -> bytes:
    """A small size stands where a reader that trusts one FF before a marker looks for it."""
    decoy = b"\xff\xc0\x00\x11\x08\x00\x30\x00\x40\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    stuffed = b"\xff\xff\xff\xfe" + struct.pack(">H", 2 + len(decoy)) + decoy
    return jpeg_bomb()[:2] + stuffed + jpeg_bomb()[2:]


def tiff_bomb() -> bytes:
    data = encode(quarters(), "TIFF")
    for tag, value in ((256, 64), (257, 48)):
        for kind, code in ((3, "H"), (4, "I")):
            old = struct.pack("<HHI", tag, kind, 1) + struct.pack("<" + code, value).ljust(4, b"\0")
            data = data.replace(old, struct.pack("<HHII", tag, 4, 1, 20_000))
    return data


def webp_bomb() -> bytes:
    data = bytearray(encode(quarters(), "WEBP", lossless=True, exif=EXIF))
    assert data[12:16] == b"VP8X"
    data[24:30] = (15_999).to_bytes(3, "little") * 2
    return bytes(data)


def avif_bomb() -> bytes:
    data = encode(quarters(), "AVIF")
    return data.replace(
        b"ispe" + bytes(4) + struct.pack(">II", 64, 48), b"ispe" + bytes(4) + struct.pack(">II", 20_000, 20_000)
    )


BOMBS = (
    png_bomb, jpeg_bomb, jpeg_bomb_behind_a_stuffed_marker, gif_bomb, bmp_bomb, tiff_bomb, webp_bomb, avif_bomb,
)  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_without_memory(bomb: Callable[[], bytes], tmp_path: Path) -> None:
    file = tmp_path / "bomb"
    file.write_bytes(bomb())
    assert file.stat().st_size < 60_000
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(file)],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert int(done.stdout) < 50_000


@pytest.mark.parametrize(("width", "height"), [(640, 480), (16, 16), (64, 480), (640, 48), (0, 48), (64, 0)])
def test_a_png_whose_header_lies_is_refused(width: int, height: int) -> None:
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in quarters()[..., 0]))
    assert decode(png(64, 48, rows)).shape == (48, 64, 3)
    with pytest.raises(BadImageError) as caught:
        decode(png(width, height, rows))
    assert caught.value.status == 422


def test_a_damaged_png_header_is_refused() -> None:
    whole = encode(quarters(), "PNG")
    second = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4000, 4000, 8, 2, 0, 0, 0))
    wrong_checksum = whole[:20] + (64).to_bytes(4, "big") + whole[24:]
    with pytest.raises(BadImageError):
        decode(wrong_checksum)
    with pytest.raises(BadImageError):  # the guards go by the first one
        decode_checked(whole[:33] + second + whole[33:], read_header(whole[:33] + second + whole[33:]))


def test_a_webp_whose_two_sizes_differ_is_refused() -> None:
    data = bytearray(encode(quarters(), "WEBP", lossless=True, exif=EXIF))
    data[24:30] = (15).to_bytes(3, "little") * 2
    with pytest.raises(BadImageError):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("PNG", encode(noise(), "PNG")[:500]),
        ("JPEG", encode(quarters(), "JPEG")[:100]),
        ("WebP", encode(quarters(), "WEBP", lossless=True, exif=EXIF)[:28]),
        ("AVIF", encode(quarters(), "AVIF")[:-20]),
        *((name, NO_IMAGES[f"bare {name.lower()}"]) for name in ("PNG", "JPEG", "GIF", "BMP", "TIFF")),
    ],
)
def test_the_message_for_a_file_that_ends_too_early_is_that_it_is_cut_off(name: str, data: bytes) -> None:
    with pytest.raises(BadImageError, match=f"^the {name} file is cut off: "):
        decode(data)


def test_a_message_names_the_format_and_nothing_of_the_server() -> None:
    with pytest.raises(BadImageError) as caught:
        decode(encode(quarters(), "PNG")[:50])
    assert "PNG" in str(caught.value)
    assert "/" not in str(caught.value)


def test_limits_hold_for_the_pixels_as_stored() -> None:
    tall = encode_turned(quarters(8, 300), "JPEG", 6)
    header = read_header(tall)
    assert (header.width, header.height) == (8, 300)
    assert decode(tall).shape == (8, 300, 3)
