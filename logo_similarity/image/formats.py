"""The image formats: title, media type, extensions and first bytes. Every list of formats is made from this one."""

from __future__ import annotations

from enum import Enum

from logo_similarity.errors import BadImageError, UnsupportedFormatError


class Format(Enum):
    """The formats that are decoded: title, media type, extensions, first bytes, brands."""

    JPEG = "JPEG", "image/jpeg", (".jpg", ".jpeg"), (b"\xff\xd8\xff",)
    PNG = "PNG", "image/png", (".png",), (b"\x89PNG\r\n\x1a\n",)
    WEBP = "WebP", "image/webp", (".webp",), (b"RIFF",), (b"WEBP",)
    GIF = "GIF", "image/gif", (".gif",), (b"GIF87a", b"GIF89a")
    BMP = "BMP", "image/bmp", (".bmp",), (b"BM",)
    TIFF = "TIFF", "image/tiff", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    AVIF = "AVIF", "image/avif", (".avif",), (), (b"avif", b"avis")

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
        """A file begins with one of these."""
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

_SIGNATURES = tuple((image_format.magic, image_format.brands, image_format) for image_format in Format)
"""For every file: an enumeration takes a microsecond to go through."""

# Formats that are not decoded. They are recognised so that the message can name them.
_OTHER_MAGIC: tuple[tuple[bytes, str], ...] = (
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
_DRAWING_STARTS = (b"%", b"<", b"\xef", b" ", b"\t", b"\r", b"\n")
_SVG_START = 4096
"""Comments and a document type may precede the root of an SVG, up to here."""
_OTHER_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}
_BRAND_BYTES = 128
"""Brands are looked for up to here."""


def drawing_of(data: bytes) -> Drawing | None:
    """The kind of drawing that a file has, by its first bytes; None: it is an image, or something else."""
    if data[:1] not in _DRAWING_STARTS:
        return None
    if data.startswith(b"%PDF-"):
        return Drawing.PDF
    start = data[:_SVG_START].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return Drawing.SVG if start.startswith(b"<") and b"<svg" in start else None


def recognise(data: bytes) -> Format:
    """The format of a file by its first bytes; its name and content type are not considered.

    Raises:
        UnsupportedFormatError: a known format that is not decoded.
        BadImageError: not an image, or cut off within its first bytes.
    """
    for magic, brands, image_format in _SIGNATURES:
        if data.startswith(magic) and (not brands or data[8:12] in brands):
            return image_format
    if _is_iso(data):
        size = int.from_bytes(data[:4])
        # The major brand may be another one, with AVIF among the compatible brands.
        if any(data[at : at + 4] in Format.AVIF.brands for at in range(8, min(size, _BRAND_BYTES), 4)):
            return Format.AVIF
        if size > len(data):
            raise BadImageError("the file is cut off")
    other = _other_format(data)
    if other is not None:
        raise UnsupportedFormatError(f"{other} is not among the accepted formats: {ACCEPTED}")
    raise BadImageError(f"the file is not an image; accepted formats: {ACCEPTED}")


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
