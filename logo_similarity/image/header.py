"""The header of an image file: format, size and a bound on the cost of decoding, read before any pixel is decoded."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

from logo_similarity.errors import BadImageError, ImageTooComplexError, UnsupportedFormatError
from logo_similarity.image import png, samples, tiff
from logo_similarity.image.avif import AvifFacts, read_avif
from logo_similarity.image.formats import ACCEPTED, Format, recognise
from logo_similarity.image.pillow_headers import IconFacts, PnmFacts, read_sizes
from logo_similarity.image.png import PngFacts
from logo_similarity.image.tiff import TiffFacts

Facts = PngFacts | TiffFacts | AvifFacts | IconFacts | PnmFacts | None
"""What was parsed of a container and is needed again to decode it; None for formats whose decoder needs nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The most that decoding can take, by the header. An estimate for TIFF and AVIF: a child enforces the bound."""

    memory: int
    """Bytes at the peak, the file itself not counted."""
    seconds: float
    """CPU time; infinite if the header does not bound it."""


@dataclass(frozen=True, slots=True)
class Header:
    """Format, size in pixels as stored, cost of decoding, and the facts of the container."""

    format: Format
    width: int
    height: int
    cost: Cost
    facts: Facts


_Parsed = tuple[int, int, Cost, Facts]
"""Width, height, cost without the picture that comes out, facts."""


# JPEG markers (ITU-T T.81, table B.1): one or more FF, then the byte that identifies the marker.
_NOT_FF = re.compile(rb"[^\xff]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})  # no length follows
_JPEG_NO_FRAME_AFTER = frozenset({0xD8, 0xD9, 0xDA})
_JPEG_SCAN = b"\xff\xda"
_JPEG_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
"""Frames whose scans take a bounded time for each pixel and byte. Arithmetic coding and lossless frames do not."""
_MOST_SEGMENTS = 10_000
KEPT_PIXELS = 9_000_000
"""Larger images are shrunk to this many pixels when they are decoded. Encoders use a few hundred pixels a side, but the
mark may be small on its page, and is cut from this picture."""
_KEPT_BYTES = 3
"""For each of these pixels."""
_LEAST_KEPT = 4_000_000
"""Bytes for what is small, whatever the file."""
_USUAL_SCANS = 100
"""Encoders write about ten. Each scan goes through all pixels, however few its bytes."""
_MOST_SCANS = 1000
"""The two bytes that begin a scan also occur in thumbnails, and by chance in appended films: 150 in ten megabytes."""
_JPEG_SAVED = (b"\xff\xe1", b"\xff\xe2")
_JPEG_SAVED_BYTES = 112
"""For each segment of EXIF or a profile, however short: libjpeg keeps them in a list."""
_GROUP_BYTES, _GROUP_SECONDS = 14_000, 40e-6
"""For each group of Huffman tables of a lossless WebP. Each block of 4 x 4 pixels may have its own group."""
_LARGEST_TILE = 4096
_GIF_CONTROL = b"\x21\xf9\x04"
"""Start of the block that precedes each frame of an animation."""


def read_header(data: bytes) -> Header:
    """Parse the header with the code of this package: the guards must see the size that the decoder will see.

    The libraries for this were tried and are not used: one skips JPEG segments differently from libjpeg (a file could
    show it 64 x 48 and decode to 12,000 x 12,000), one copies the data of every TIFF tag, as often as tags point at it.

    Raises:
        UnsupportedFormatError: not one of the accepted formats.
        BadImageError: not an image, or a header that is damaged or cut off.
        ImageTooComplexError: a JPEG of too many scans.
    """
    image_format = recognise(data)
    try:
        reader = _READERS.get(image_format)
        width, height, cost, facts = _read_for_pillow(image_format, data) if reader is None else reader(data)
    except (EOFError, IndexError, struct.error) as error:
        raise BadImageError(
            f"the {image_format.title} file is cut off: it ends before the data that it announces"
        ) from error
    except ValueError as error:
        raise BadImageError(f"the {image_format.title} file is damaged: its header cannot be read") from error
    if width < 1 or height < 1:
        raise BadImageError(f"the {image_format.title} file is damaged: its header states no size")
    # When decoding ends, the stored picture is left, which is half of its peak at most. The one that is kept comes next.
    kept = max(_LEAST_KEPT, _KEPT_BYTES * min(width * height, KEPT_PIXELS) - cost.memory // 2)
    return Header(image_format, width, height, Cost(cost.memory + kept, cost.seconds), facts)


def _cost(pixels: int, data: bytes, *, memory: float, pixel: float, byte: float) -> Cost:
    """A cost in proportion to pixels and bytes: `memory` bytes and `pixel` ns for each pixel, `byte` ns for each byte.

    The rates are those that `benchmarks.decode_cost` measures for the most expensive file of each kind, rounded up.
    """
    return Cost(round(memory * pixels), (pixel * pixels + byte * len(data)) * 1e-9)


def _read_jpeg(data: bytes) -> _Parsed:
    frame, width, height, components = _jpeg_frame(data)
    # Never fewer than the file has, wherever they are hidden: a marker is these two bytes.
    scans = data.count(_JPEG_SCAN)
    if scans > _MOST_SCANS:
        raise ImageTooComplexError(f"the JPEG file has {scans:,} scans; at most {_MOST_SCANS:,} are accepted")
    pixels = width * height
    # Blocks of 8 x 8 at up to four samples a direction. The coefficients of all blocks are kept unless one scan holds
    # all components.
    padded = -(-width // 32) * -(-height // 32) * 1024
    at_once = frame != 0xC2 and scans == 1 and data[data.index(_JPEG_SCAN) + 4] == components
    coefficients = 0 if at_once else 2 * components * padded
    cost = _cost(pixels, data, memory=3, pixel=20, byte=40)
    saved = _JPEG_SAVED_BYTES * sum(map(data.count, _JPEG_SAVED))
    memory = cost.memory + max(pixels * max(3, components), coefficients) + saved
    bounded = frame in _JPEG_HUFFMAN and scans <= _USUAL_SCANS
    return width, height, Cost(memory, cost.seconds + scans * padded * 0.5e-9 if bounded else math.inf), None


def _jpeg_frame(data: bytes) -> tuple[int, int, int, int]:
    """Marker, width, height and components of the first frame header, found as in libjpeg (jdmarker.c, next_marker)."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        fill = data.find(b"\xff", at)
        code = _NOT_FF.search(data, fill) if fill >= 0 else None
        if code is None:
            raise EOFError("no frame header")
        marker, at = code[0][0], code.end()
        if marker in _JPEG_FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            return marker, width, height, components
        if marker in _JPEG_BARE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _JPEG_NO_FRAME_AFTER or length < 2:
            break
        at += length
    raise ValueError("no frame header")


def _read_png(data: bytes) -> _Parsed:
    facts = png.read_facts(data)
    # Compressed data may continue after the last row. All of it is inflated, up to a thousand times its size.
    cost = _cost(facts.width * facts.height, data, memory=2 * facts.pixel_bytes, pixel=7 * facts.pixel_bytes, byte=1)
    return facts.width, facts.height, Cost(cost.memory, cost.seconds + 3e-6 * facts.compressed_bytes), facts


def _read_webp(data: bytes) -> _Parsed:
    width, height, animated = _webp_facts(data)
    cost = _cost(width * height, data, memory=14, pixel=60, byte=40)
    # Alpha is lossless in lossy files too.
    groups = 0 if data[12:16] == b"VP8 " else min(-(-width // 4) * -(-height // 4), 1 << 16, len(data) // 2)
    seconds = cost.seconds + _GROUP_SECONDS * groups
    return width, height, Cost(cost.memory + _GROUP_BYTES * groups, math.inf if animated else seconds), None


def _webp_facts(data: bytes) -> tuple[int, int, bool]:
    """Width, height and whether the file is animated."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, False  # the two upper bits are a scale
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, False
    if kind == b"VP8X":
        if len(data) < 30:
            raise EOFError("no size")
        width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        return width, height, bool(data[20] & 2)
    raise ValueError("an unknown first chunk")


def _read_gif(data: bytes) -> _Parsed:
    width, height = struct.unpack_from("<HH", data, 6)
    # OpenCV rebuilds its table for each code that clears it, and three bytes hold eight such codes.
    cost = _cost(width * height, data, memory=13, pixel=25, byte=15_000)
    animated = data.count(_GIF_CONTROL) > 1
    return width, height, Cost(cost.memory, math.inf if animated else cost.seconds), None


def _read_bmp(data: bytes) -> _Parsed:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:  # OpenCV reads those of 24 bits as grey
        raise UnsupportedFormatError(f"BMP of OS/2 is not among the accepted formats: {ACCEPTED}")
    width, height = struct.unpack_from("<ii", data, 18)
    height = abs(height)  # negative: rows are stored from the top
    return width, height, _cost(width * height, data, memory=12, pixel=15, byte=40), None


def _read_tiff(data: bytes) -> _Parsed:
    facts = tiff.read_facts(data)
    pixels = facts.width * facts.height
    if facts.tile is not None:  # tiles are decoded whole, those at the edges too
        if max(facts.tile) > _LARGEST_TILE:
            raise ValueError("tiles too large")
        width, height = facts.tile
        pixels = -(-facts.width // width) * width * -(-facts.height // height) * height
    if facts.bits > 16 and not samples.is_readable(facts):
        raise BadImageError(f"TIFF images of {facts.bits} bits a sample are not accepted; use 8 or 16 bits")
    memory = 2 * pixels * facts.samples * -(-facts.bits // 8)
    if not samples.opencv_reads(facts):
        memory += 4 * pixels + len(data)
    return facts.width, facts.height, Cost(memory, math.inf), facts


def _read_avif(data: bytes) -> _Parsed:
    facts = read_avif(data)
    pixel_bytes = 34 if facts.has_alpha else 19  # alpha is a second picture
    return facts.width, facts.height, Cost(pixel_bytes * facts.width * facts.height, math.inf), facts


def _read_for_pillow(image_format: Format, data: bytes) -> _Parsed:
    sizes = read_sizes(image_format, data)
    return sizes.width, sizes.height, Cost(sizes.memory, math.inf), sizes.facts


_READERS = {
    Format.JPEG: _read_jpeg,
    Format.PNG: _read_png,
    Format.WEBP: _read_webp,
    Format.GIF: _read_gif,
    Format.BMP: _read_bmp,
    Format.TIFF: _read_tiff,
    Format.AVIF: _read_avif,
}
