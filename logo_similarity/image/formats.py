"""The image formats: title, media type, extensions and first bytes. Every list of formats is made from this one."""

from __future__ import annotations

import struct
from enum import Enum

from logo_similarity.errors import BadImageError, UnsupportedFormatError

PNG_START = b"\x89PNG\r\n\x1a\n"


class Format(Enum):
    """The formats that are decoded: title, media type, extensions, first bytes, brands."""

    JPEG = "JPEG", "image/jpeg", (".jpg", ".jpeg"), (b"\xff\xd8\xff",)
    PNG = "PNG", "image/png", (".png",), (PNG_START,)
    WEBP = "WebP", "image/webp", (".webp",), (b"RIFF",), (b"WEBP",)
    GIF = "GIF", "image/gif", (".gif",), (b"GIF87a", b"GIF89a")
    BMP = "BMP", "image/bmp", (".bmp",), (b"BM",)
    TIFF = "TIFF", "image/tiff", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    AVIF = "AVIF", "image/avif", (".avif",), (), (b"avif", b"avis")
    HEIC = "HEIC", "image/heic", (".heic", ".heif", ".hif"), (), (b"heic", b"heix", b"heim", b"heis")
    JPEG2000 = (
        "JPEG 2000", "image/jp2", (".jp2", ".j2k", ".jpf", ".jpx"), (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    )  # fmt: skip
    PNM = (
        "PNM", "image/x-portable-anymap", (".pnm", ".pbm", ".pgm", ".ppm"),
        tuple(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b"\n \r\t"),
    )  # fmt: skip
    TGA = "TGA", "image/x-tga", (".tga",), ()
    PCX = "PCX", "image/vnd.zbrush.pcx", (".pcx",), tuple(b"\n%c\1" % version for version in (0, 2, 3, 4, 5))
    ICO = "ICO", "image/vnd.microsoft.icon", (".ico",), (b"\0\0\1\0",)

    def __init__(
        self,
        title: str,
        media_type: str,
        extensions: tuple[str, ...],
        magic: tuple[bytes, ...],
        brands: tuple[bytes, ...] = (),
    ) -> None:
        self.title = title
        self.media_type = media_type
        self.extensions = extensions
        """In lower case, the dot included; the first one is the most common."""
        self.magic = magic
        """A file begins with one of these; a TGA with none, see `is_tga`."""
        self.brands = brands
        """Of a container that other formats use too: bytes 8 to 12 (RIFF), or any brand in the first box (ISO)."""


class Drawing(Enum):
    """The formats that are drawn, not decoded: a query may have them."""

    SVG = "SVG"
    PDF = "PDF"


ACCEPTED = ", ".join(image_format.title for image_format in Format)
"""For messages and descriptions."""
ACCEPTED_QUERIES = f"{ACCEPTED}, SVG, PDF (first page)"
"""The same for the image of a query."""
EXTENSIONS = tuple(extension for image_format in Format for extension in image_format.extensions)

OPENCV_FORMATS = frozenset({Format.JPEG, Format.PNG, Format.WEBP, Format.GIF, Format.BMP, Format.TIFF, Format.AVIF})
"""Those that OpenCV decodes; Pillow decodes the others."""

_SIGNATURES = tuple((image_format.magic, image_format.brands, image_format) for image_format in Format)
"""For every file: an enumeration takes a microsecond to go through."""

# Formats that are not decoded. They are recognised so that the message can name them.
_OTHER_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"v/1\x01", "OpenEXR"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"PF\n", "PFM"),
    (b"Pf\n", "PFM"),
    (b"P7\n", "PAM"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "ZIP"),
)
_TEXT_STARTS = (b"\xef", b"\xbb", b"\xbf", b" ", b"\t", b"\r", b"\n")
_DRAWING_STARTS = (b"%", b"<", *_TEXT_STARTS)
_LONGEST_JUNK = 64
_SVG_START = 4096
"""Comments and a document type may precede the root of an SVG, up to here."""
_OTHER_BRANDS = {b"hevc": "a film of HEIC pictures", b"mif1": "HEIF", b"msf1": "HEIF"}
_BRAND_BYTES = 128
"""Brands are looked for up to here."""
_TGA_HEADER = struct.Struct("<BBBHHBHHHHBB")
_TGA_BITS = {(1, 1): (8,), (0, 2): (15, 16, 24, 32), (0, 3): (8, 16)}
"""Bits of a pixel by the presence of a palette and the kind of image; 8 is added to the kind where it is compressed."""


def drawing_of(data: bytes) -> Drawing | None:
    """The kind of drawing that a file has, by its first bytes; None: it is an image, or something else."""
    if data[:1] not in _DRAWING_STARTS:
        return None
    if data.startswith(b"%PDF-"):
        return Drawing.PDF
    start = data[:_SVG_START].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return Drawing.SVG if start.startswith(b"<") and b"<svg" in start else None


def trimmed(data: bytes) -> bytes:
    """The file without what precedes a JPEG: programs that take it for text add a byte order mark or a line break."""
    if data[:1] not in _TEXT_STARTS:
        return data
    start = data[:_LONGEST_JUNK].lstrip(b"".join(_TEXT_STARTS))
    return data[data.index(start) :] if start.startswith(Format.JPEG.magic) else data


def recognise(data: bytes) -> Format:
    """The format of a file by its first bytes; its name and content type are not considered.

    Raises:
        UnsupportedFormatError: a known format that is not decoded.
        BadImageError: not an image, or cut off within its first bytes.
    """
    data = trimmed(data)
    for magic, container_brands, image_format in _SIGNATURES:
        if data.startswith(magic) and (not container_brands or data[8:12] in container_brands):
            return image_format
    if _is_iso(data):
        size = int.from_bytes(data[:4])
        # The major brand may be another one, with that of the format among the compatible brands.
        brands = {data[at : at + 4] for at in range(8, min(size, _BRAND_BYTES), 4)}
        for image_format in (Format.AVIF, Format.HEIC):
            if not brands.isdisjoint(image_format.brands):
                return image_format
        if size > len(data):
            raise BadImageError("the file is cut off")
    other = _other_format(data)
    if other is not None:
        raise UnsupportedFormatError(f"{other} is not among the accepted formats: {ACCEPTED}")
    if is_tga(data):
        return Format.TGA
    raise BadImageError(f"the file is not an image; accepted formats: {ACCEPTED}")


def is_tga(data: bytes) -> bool:
    """Whether every field of the header has a value that a TGA may have: the format has no first bytes of its own."""
    if len(data) < _TGA_HEADER.size:
        return False
    _, has_map, kind, _, map_size, map_bits, _, _, width, height, bits, flags = _TGA_HEADER.unpack_from(data)
    return (
        bits in _TGA_BITS.get((has_map, kind & ~8), ())
        and (map_size > 0 and map_bits in (15, 16, 24, 32) if has_map else map_size == map_bits == 0)
        and min(width, height) > 0
        and flags & 0xC0 == 0  # interleaved rows
    )


def _is_iso(data: bytes) -> bool:
    """Whether it begins like a file of the ISO base media format: a box with brands."""
    return data[4:8] == b"ftyp"


def _other_format(data: bytes) -> str | None:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<?xml") or b"<svg" in start:
        return "SVG"
    if _is_iso(data):
        return _OTHER_BRANDS.get(data[8:12], "a video or an image of another kind")
    return next((name for magic, name in _OTHER_MAGIC if data.startswith(magic)), None)
