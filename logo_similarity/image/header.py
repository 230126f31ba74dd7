"""What an image file says of itself before a pixel is decoded: its format and size."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import Enum

from logo_similarity.errors import BadImageError, UnsupportedFormatError
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
class Header:
    """Format, and size in pixels as stored."""

    format: Format
    width: int
    height: int


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
_MOST_SEGMENTS = 10_000
_LARGEST_TILE = 4096
"""A TIFF tile is decoded whole, however small the picture that it belongs to."""

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
        width, height = _SIZE_READERS[image_format](data)
    except (ValueError, IndexError, struct.error) as error:
        raise BadImageError(f"the {image_format.value} file is damaged: its header cannot be read") from error
    if width < 1 or height < 1:
        raise BadImageError(f"the {image_format.value} file is damaged: its header tells no size")
    return Header(image_format, width, height)


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


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """By the first frame header, found from segment to segment as libjpeg does it (jdmarker.c, next_marker)."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        found = _NOT_FF.search(data, data.index(b"\xff", at))
        if found is None:
            break
        marker, at = found[0][0], found.end()
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker in _JPEG_BARE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _JPEG_NO_FRAME_AFTER or length < 2:
            break
        at += length
    raise ValueError("no frame header")


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF  # the two upper bits are a scale
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise ValueError("an unknown first chunk")


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:  # OpenCV takes the 24-bit ones for grey
        raise UnsupportedFormatError(f"BMP of OS/2 is not among the accepted formats: {ACCEPTED}")
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # a negative height: stored from the top


def _tiff_size(data: bytes) -> tuple[int, int]:
    tags = tiff.read_tags(data)
    if max(tags.get(tiff.TILE_WIDTH, 0), tags.get(tiff.TILE_HEIGHT, 0)) > _LARGEST_TILE:
        raise ValueError("tiles beyond reason")
    return tags.get(tiff.WIDTH, 0), tags.get(tiff.HEIGHT, 0)


def _avif_size(data: bytes) -> tuple[int, int]:
    facts = read_avif(data)
    return facts.width, facts.height


_SIZE_READERS = {
    Format.JPEG: _jpeg_size,
    Format.PNG: png.read_size,
    Format.WEBP: _webp_size,
    Format.GIF: _gif_size,
    Format.BMP: _bmp_size,
    Format.TIFF: _tiff_size,
    Format.AVIF: _avif_size,
}
