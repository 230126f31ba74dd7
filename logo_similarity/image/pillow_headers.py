"""The headers of the formats that Pillow decodes. None of them bounds the time of decoding."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace

from logo_similarity.image import heic
from logo_similarity.image.boxes import boxes
from logo_similarity.image.formats import PNG_START, Format, is_tga

_CODESTREAM = b"\xff\x4f\xff\x51"
"""JPEG 2000: the markers SOC and SIZ (ITU-T T.800, annex A)."""
_CODESTREAM_END = b"\xff\xd9"
_MOST_COMPONENTS = 4
_SPACE = rb"(?:\s|#[^\n\r]*[\n\r])"
_NUMBER = _SPACE + rb"{1,2000}(\d{1,6})"
_PNM_HEAD = re.compile(rb"P(?:[14]" + 2 * _NUMBER + rb"|([2356])" + 3 * _NUMBER + rb")\s")
_PNM_START = 70_000
"""Bytes of comments that may precede the size."""
_MOST_ICONS = 256
_DIB_BYTES = 40
_PIXEL_BYTES = 20
"""Memory for each pixel of most formats, the copies of the file included; measured with `benchmarks.decode_cost`."""


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
    """Width and height, the bytes of memory that decoding takes at most, and what is needed again to decode."""

    width: int
    height: int
    memory: int
    facts: IconFacts | PnmFacts | None = None


def read_sizes(image_format: Format, data: bytes) -> Sizes:
    """The size that the decoder will see.

    Raises:
        EOFError, IndexError, struct.error: cut off.
        ValueError: damaged.
    """
    return _READERS[image_format](data)


def _read_heic(data: bytes) -> Sizes:
    facts = heic.read_heic(data)
    pixel_bytes = 10 + 4 * facts.has_alpha
    return Sizes(facts.width, facts.height, pixel_bytes * facts.coded_pixels)


def _read_jpeg_2000(data: bytes) -> Sizes:
    at, end = 0, len(data)
    if not data.startswith(_CODESTREAM):
        at, end = next(((body, end) for kind, body, end in boxes(data, 0, len(data)) if kind == b"jp2c"), (0, 0))
        if data[at : at + 4] != _CODESTREAM:
            raise ValueError("no codestream")
    right, bottom, left, top, *_, components = struct.unpack_from(">8IH", data, at + 8)
    if not 0 < components <= _MOST_COMPONENTS:
        raise ValueError("too many components")
    if data[end - 2 : end] != _CODESTREAM_END:
        raise EOFError("no end marker")  # the decoder would show the picture with fewer details
    return _sizes(right - left, bottom - top, pixel_bytes=4 + 7 * components)


def _read_pnm(data: bytes) -> Sizes:
    head = _PNM_HEAD.match(data[:_PNM_START])
    if head is None:
        raise ValueError("no size")
    bits_width, bits_height, kind, width, height, white = head.groups()
    if kind is None:
        return _sizes(int(bits_width), int(bits_height))
    channels, is_text = 3 if kind in b"36" else 1, kind in b"23"
    sizes = _sizes(int(width), int(height), 6 * channels, PnmFacts(head.end(), is_text, channels, int(white)))
    return replace(sizes, memory=sizes.memory + 2 * len(data)) if is_text else sizes


def _read_tga(data: bytes) -> Sizes:
    if not is_tga(data):
        raise ValueError("no header")
    return _sizes(*struct.unpack_from("<HH", data, 12))


def _read_pcx(data: bytes) -> Sizes:
    left, top, right, bottom = struct.unpack_from("<4H", data, 4)
    return _sizes(right + 1 - left, bottom + 1 - top)


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
    return _sizes(width, height, facts=facts)


def _sizes(
    width: int, height: int, pixel_bytes: int = _PIXEL_BYTES, facts: IconFacts | PnmFacts | None = None
) -> Sizes:
    """A width or height below zero is none."""
    width, height = max(0, width), max(0, height)
    return Sizes(width, height, pixel_bytes * width * height, facts)


_READERS = {
    Format.HEIC: _read_heic,
    Format.JPEG2000: _read_jpeg_2000,
    Format.PNM: _read_pnm,
    Format.TGA: _read_tga,
    Format.PCX: _read_pcx,
    Format.ICO: _read_icon,
}
