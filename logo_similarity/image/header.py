"""What an image file says of itself before a pixel is decoded: its format, its size, and what decoding may cost."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from enum import Enum

from logo_similarity.errors import BadImageError, ImageTooComplexError, UnsupportedFormatError
from logo_similarity.image import png, tiff
from logo_similarity.image.avif import read_avif


class Format(Enum):
    """The formats that are decoded."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"
    AVIF = "AVIF"


@dataclass(frozen=True, slots=True)
class Cost:
    """What decoding takes at most, as far as the header says. For TIFF and AVIF it is an estimate: a child enforces the bound."""

    memory: int
    """Bytes at the peak, the file itself not counted."""
    seconds: float
    """CPU time; infinite where the header does not bound it."""


@dataclass(frozen=True, slots=True)
class Header:
    """Format, size in pixels as stored, and cost."""

    format: Format
    width: int
    height: int
    cost: Cost


ACCEPTED = ", ".join(member.value for member in Format)

MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", Format.JPEG),
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"BM", Format.BMP),
    (b"II*\x00", Format.TIFF),
    (b"MM\x00*", Format.TIFF),
    (b"II+\x00", Format.TIFF),
    (b"MM\x00+", Format.TIFF),
)

# Formats that people send and that are not decoded: told apart from bytes that are no image at all.
OTHER_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"v/1\x01", "OpenEXR"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"PF\n", "PFM"),
    (b"Pf\n", "PFM"),
    *((b"P%d%s" % (kind, space), "PNM") for kind in range(1, 8) for space in (b"\n", b" ", b"\r", b"\t")),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "ZIP"),
)
# JPEG markers (ITU-T T.81, table B.1): one or more FF, then the byte that tells which.
_NOT_FF = re.compile(rb"[^\xff]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})  # no length follows
_JPEG_NO_FRAME_AFTER = frozenset({0xD8, 0xD9, 0xDA})
_JPEG_SCAN = b"\xff\xda"
_JPEG_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
"""Frames whose scans take a bounded time for each pixel and byte; arithmetic coding and the lossless ones do not."""
_MOST_SEGMENTS = 10_000
_SHRUNK_BYTES = 4_000_000
"""The picture that comes out, of any file."""
_USUAL_SCANS = 100
"""An encoder writes some ten. Each scan goes through all pixels, however few its bytes."""
_MOST_SCANS = 1000
"""The two bytes that begin one are also in thumbnails, and by chance in films that telephones append: 150 in ten megabytes."""
_JPEG_SAVED = (b"\xff\xe1", b"\xff\xe2")
_JPEG_SAVED_BYTES = 112
"""For each segment of EXIF or a profile, however short: libjpeg keeps them as a list."""
_GROUP_BYTES, _GROUP_SECONDS = 14_000, 40e-6
"""For each group of Huffman tables of a lossless WebP, of which each block of 4 x 4 pixels may have its own."""
_LARGEST_TILE = 4096

# Brands of the ISO container (bytes 8 to 12): of AVIF, and of its relatives that are not decoded.
AVIF_BRANDS = (b"avif", b"avis")
OTHER_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}


def read_header(data: bytes) -> Header:
    """Format and size, read by our own few lines for each format: the guards must see the size that the decoder will see.

    The libraries for this were tried and don't: one skips JPEG segments in another way than libjpeg does (a file could
    show it 64 x 48 and decode to 12,000 x 12,000), one copies whatever the tags of a TIFF point at, as often as they do.

    Raises:
        UnsupportedFormatError: another format than those accepted.
        BadImageError: no image, or a header that can't be read.
    """
    image_format = recognise(data)
    try:
        width, height, cost = _READERS[image_format](data)
    except (ValueError, IndexError, struct.error) as error:
        raise BadImageError(f"the {image_format.value} file is damaged: its header cannot be read") from error
    if width < 1 or height < 1:
        raise BadImageError(f"the {image_format.value} file is damaged: its header states no size")
    return Header(image_format, width, height, Cost(cost.memory + _SHRUNK_BYTES, cost.seconds))


def recognise(data: bytes) -> Format:
    """The format by its first bytes; a file's name or content type is never asked."""
    for magic, image_format in MAGIC:
        if data.startswith(magic):
            return image_format
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Format.WEBP
    other = next((name for magic, name in OTHER_MAGIC if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        # The brand that counts may stand among the compatible ones.
        size = int.from_bytes(data[:4], "big")
        if any(brand in AVIF_BRANDS for brand in (data[i : i + 4] for i in range(8, min(size, 128), 4))):
            return Format.AVIF
        if size > len(data):
            raise BadImageError("the file is cut off")
        other = OTHER_BRANDS.get(data[8:12], "a video or an image of another kind")
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml")) or b"<svg" in start:
        other = "SVG"
    if other is not None:
        raise UnsupportedFormatError(f"{other} is not among the accepted formats: {ACCEPTED}")
    raise BadImageError(f"the bytes are no image; accepted are {ACCEPTED}")


def _cost(pixels: int, data: bytes, *, memory: float, pixel: float, byte: float) -> Cost:
    """A cost in proportion to pixels and bytes: `memory` bytes and `pixel` nanoseconds a pixel, `byte` nanoseconds a byte.

    The rates are what `benchmarks.decode_cost` measures for the dearest file of each kind, rounded up.
    """
    return Cost(round(memory * pixels), (pixel * pixels + byte * len(data)) * 1e-9)


def _read_jpeg(data: bytes) -> tuple[int, int, Cost]:
    frame, width, height, components = _jpeg_frame(data)
    # Never fewer than there are, wherever they hide: a marker is these two bytes.
    scans = data.count(_JPEG_SCAN)
    if scans > _MOST_SCANS:
        raise ImageTooComplexError(f"the JPEG file has {scans:,} scans; {_MOST_SCANS:,} are the most that is accepted")
    pixels = width * height
    # Blocks of 8 x 8 at up to four samples a direction. The coefficients of all of them are kept, unless there is one scan of
    # all components.
    padded = -(-width // 32) * -(-height // 32) * 1024
    at_once = frame != 0xC2 and scans == 1 and data[data.index(_JPEG_SCAN) + 4] == components
    coefficients = 0 if at_once else 2 * components * padded
    cost = _cost(pixels, data, memory=3, pixel=20, byte=40)
    saved = _JPEG_SAVED_BYTES * sum(map(data.count, _JPEG_SAVED))
    memory = cost.memory + max(pixels * max(3, components), coefficients) + saved
    bounded = frame in _JPEG_HUFFMAN and scans <= _USUAL_SCANS
    return width, height, Cost(memory, cost.seconds + scans * padded * 0.5e-9 if bounded else math.inf)


def _jpeg_frame(data: bytes) -> tuple[int, int, int, int]:
    """Marker, width, height and components of the first frame header, found as libjpeg does it (jdmarker.c, next_marker)."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        found = _NOT_FF.search(data, data.index(b"\xff", at))
        if found is None:
            break
        marker, at = found[0][0], found.end()
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


def _read_png(data: bytes) -> tuple[int, int, Cost]:
    facts = png.read_facts(data)
    # Compressed data may go on behind the last row, a thousand times as long as it is in the file, and is inflated whole.
    cost = _cost(facts.width * facts.height, data, memory=2 * facts.pixel_bytes, pixel=7 * facts.pixel_bytes, byte=1)
    return facts.width, facts.height, Cost(cost.memory, cost.seconds + 3e-6 * facts.compressed_bytes)


def _read_webp(data: bytes) -> tuple[int, int, Cost]:
    width, height, animated = _webp_facts(data)
    cost = _cost(width * height, data, memory=14, pixel=60, byte=40)
    # Alpha is lossless, too.
    groups = 0 if data[12:16] == b"VP8 " else min(-(-width // 4) * -(-height // 4), 1 << 16, len(data) // 2)
    seconds = cost.seconds + _GROUP_SECONDS * groups
    return width, height, Cost(cost.memory + _GROUP_BYTES * groups, math.inf if animated else seconds)


def _webp_facts(data: bytes) -> tuple[int, int, bool]:
    """Width, height and whether it moves."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, False  # the two upper bits are a scale
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, False
    if kind == b"VP8X" and len(data) >= 30:
        width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        return width, height, bool(data[20] & 2)
    raise ValueError("an unknown first chunk")


def _read_gif(data: bytes) -> tuple[int, int, Cost]:
    width, height = struct.unpack_from("<HH", data, 6)
    # OpenCV builds its table anew for each code that clears it, and three bytes hold eight of them.
    return width, height, _cost(width * height, data, memory=13, pixel=25, byte=15_000)


def _read_bmp(data: bytes) -> tuple[int, int, Cost]:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:  # OpenCV takes the 24-bit ones for grey
        raise UnsupportedFormatError(f"BMP of OS/2 is not among the accepted formats: {ACCEPTED}")
    width, height = struct.unpack_from("<ii", data, 18)
    height = abs(height)  # a negative height: stored from the top
    return width, height, _cost(width * height, data, memory=12, pixel=15, byte=40)


def _read_tiff(data: bytes) -> tuple[int, int, Cost]:
    tags = tiff.read_structure(data)
    width, height = tags.get(tiff.WIDTH, 0), tags.get(tiff.HEIGHT, 0)
    tile_width, tile_height = tags.get(tiff.TILE_WIDTH), tags.get(tiff.TILE_HEIGHT)
    pixels = width * height
    if tile_width is not None and tile_height is not None:  # tiles are decoded whole, those at the edges too
        if max(tile_width, tile_height) > _LARGEST_TILE:
            raise ValueError("tiles beyond reason")
        pixels = -(-width // tile_width) * tile_width * -(-height // tile_height) * tile_height
    bits, samples = tags[tiff.BITS_PER_SAMPLE], tags[tiff.SAMPLES_PER_PIXEL]
    if bits > 16:
        raise BadImageError(f"TIFF images of {bits} bits a sample are not accepted; use 8 or 16 bits")
    return width, height, Cost(2 * pixels * samples * -(-bits // 8), math.inf)


def _read_avif(data: bytes) -> tuple[int, int, Cost]:
    facts = read_avif(data)
    pixel_bytes = 34 if b"auxC" in data else 19  # alpha is a second picture
    return facts.width, facts.height, Cost(pixel_bytes * facts.width * facts.height, math.inf)


_READERS = {
    Format.JPEG: _read_jpeg,
    Format.PNG: _read_png,
    Format.WEBP: _read_webp,
    Format.GIF: _read_gif,
    Format.BMP: _read_bmp,
    Format.TIFF: _read_tiff,
    Format.AVIF: _read_avif,
}
