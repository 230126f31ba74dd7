"""The headers of the formats that Pillow decodes. None of them bounds the time of decoding."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from logo_similarity.image import heic
from logo_similarity.image.boxes import boxes
from logo_similarity.image.formats import PNG_START, Format, is_tga

_CODESTREAM = b"\xff\x4f\xff\x51"
"""JPEG 2000: the markers SOC and SIZ (ITU-T T.800, annex A)."""
_MOST_COMPONENTS = 4
_SPACE = rb"(?:\s|#[^\n\r]*[\n\r])"
_NUMBER = _SPACE + rb"{1,2000}(\d{1,6})"
_PNM_HEAD = re.compile(rb"P(?:[14]" + 2 * _NUMBER + rb"|([2356])" + 3 * _NUMBER + rb")\s")
_PNM_START = 70_000
"""Bytes of comments that may precede the size."""
_MOST_ICONS = 256
_DIB_BYTES = 40


@dataclass(frozen=True, slots=True)
class IconFacts:
    """Where the largest picture of an ICO file is, and its bits a pixel."""

    start: int
    size: int
    is_png: bool
    bits: int


@dataclass(frozen=True, slots=True)
class PnmFacts:
    """Where the numbers of a PNM file of grey or colour are, and what they mean."""

    start: int
    is_text: bool
    channels: int
    white: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Width and height, the bytes that decoding takes at most for each pixel, and what is needed again to decode."""

    width: int
    height: int
    pixel_bytes: int
    facts: IconFacts | PnmFacts | None = None


def read_sizes(image_format: Format, data: bytes) -> Sizes:
    """The size that the decoder will see.

    Raises:
        EOFError, IndexError, struct.error: cut off.
        ValueError: damaged.
    """
    return _READERS[image_format](data)


def _read_heic(data: bytes) -> Sizes:
    return Sizes(*heic.read_size(data), pixel_bytes=10)


def _read_jpeg_2000(data: bytes) -> Sizes:
    at = 0
    if not data.startswith(_CODESTREAM):
        at = next(body for kind, body, _ in boxes(data, 0, len(data)) if kind == b"jp2c")
    if data[at : at + 4] != _CODESTREAM:
        raise ValueError("no codestream")
    right, bottom, left, top, *_, components = struct.unpack_from(">8IH", data, at + 8)
    if not 0 < components <= _MOST_COMPONENTS:
        raise ValueError("too many components")
    return Sizes(max(0, right - left), max(0, bottom - top), pixel_bytes=4 + 7 * components)


def _read_pnm(data: bytes) -> Sizes:
    head = _PNM_HEAD.match(data[:_PNM_START])
    if head is None:
        raise ValueError("no size")
    bits_width, bits_height, kind, width, height, white = head.groups()
    if kind is None:
        return Sizes(int(bits_width), int(bits_height), pixel_bytes=16)
    facts = PnmFacts(start=head.end(), is_text=kind in b"23", channels=3 if kind in b"36" else 1, white=int(white))
    return Sizes(int(width), int(height), 16, facts)


def _read_tga(data: bytes) -> Sizes:
    if not is_tga(data):
        raise ValueError("no header")
    return Sizes(*struct.unpack_from("<HH", data, 12), pixel_bytes=16)


def _read_pcx(data: bytes) -> Sizes:
    left, top, right, bottom = struct.unpack_from("<4H", data, 4)
    return Sizes(max(0, right + 1 - left), max(0, bottom + 1 - top), pixel_bytes=16)


def _read_icon(data: bytes) -> Sizes:
    """The picture of the most pixels, and among equal ones that of the most bits."""
    (count,) = struct.unpack_from("<H", data, 4)
    if not 0 < count <= _MOST_ICONS:
        raise ValueError("no pictures, or too many")
    pictures = []
    for number in range(count):
        bits, size, start = struct.unpack_from("<HII", data, 6 + 16 * number + 6)
        if start + size > len(data):
            raise EOFError("a picture reaches past the end")
        is_png = data.startswith(PNG_START, start)
        if is_png:
            width, height = struct.unpack_from(">II", data, start + 16)
        else:
            header, width, height = struct.unpack_from("<Iii", data, start)
            height //= 2  # the mask is below the picture
            if header != _DIB_BYTES or not (0 < width <= 256 and 0 < height <= 256):
                raise ValueError("a picture of an unknown kind")
        pictures.append((width * height, bits, width, height, IconFacts(start, size, is_png, bits)))
    _, _, width, height, facts = max(pictures, key=lambda picture: picture[:2])
    return Sizes(width, height, 16, facts)


_READERS = {
    Format.HEIC: _read_heic,
    Format.JPEG2000: _read_jpeg_2000,
    Format.PNM: _read_pnm,
    Format.TGA: _read_tga,
    Format.PCX: _read_pcx,
    Format.ICO: _read_icon,
}
