"""What an image file says of itself before a pixel is decoded: its format and size."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from io import BytesIO

import imagesize
from PIL import Image

from logo_similarity.errors import BadImageError, UnsupportedFormatError


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
# What the two libraries that read headers raise on damaged ones.
HEADER_ERRORS = (
    ValueError, LookupError, ArithmeticError, TypeError, AttributeError, OSError, SyntaxError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
# Brands of the ISO container (bytes 8 to 12): of AVIF, and of its relatives that are not decoded.
AVIF_BRANDS = (b"avif", b"avis")
OTHER_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}


def read_header(data: bytes) -> Header:
    """Format and size. Allocates nothing that depends on what the file claims.

    Raises:
        UnsupportedFormatError: another format than those accepted.
        BadImageError: no image, or a header that can't be read.
    """
    image_format = recognise(data)
    try:
        width, height = _avif_size(data) if image_format is Format.AVIF else imagesize.get(BytesIO(data))
    except HEADER_ERRORS as error:
        raise BadImageError(f"the {image_format.value} file is damaged: its header cannot be read") from error
    if width < 1 or height < 1:
        raise BadImageError(f"the {image_format.value} file is damaged: its header tells no size")
    return Header(image_format, int(width), int(height))


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
        other = OTHER_BRANDS.get(data[8:12], "a video or an image of another kind")
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml")) or b"<svg" in start:
        other = "SVG"
    if other is not None:
        raise UnsupportedFormatError(f"{other} is not among the accepted formats: {ACCEPTED}")
    raise BadImageError(f"the bytes are no image; accepted are {ACCEPTED}")


def _avif_size(data: bytes) -> tuple[int, int]:
    """By Pillow, which reads the container's boxes only: imagesize stumbles over rotated ones."""
    with Image.open(BytesIO(data), formats=("AVIF",)) as image:
        return image.size
