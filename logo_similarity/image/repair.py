"""Damaged PNG and JPEG files, made readable as far as they go, and Apple's kind of PNG.

The result is decoded like any other file, after its header is checked like any other.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import BadImageError
from logo_similarity.image.formats import PNG_START, Format

Pixels = NDArray[np.uint8]

FORMATS = frozenset({Format.JPEG, Format.PNG})
LEAST_READABLE = 0.5
"""A picture of which less is readable than this share of its rows is refused: its mark is not all there."""
_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf"})
"""Chunks that decide how the picture looks, apart from its pixels."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type."""
_LAST_FILTER = 4
"""Each row begins with the number of its filter."""
_MOST_CHUNKS = 20_000
_PIECE = 4096
"""Compressed bytes inflated at a time."""
_APPLE = b"CgBI"
_JPEG_END = b"\xff\xd9"
_GREY = 128
"""libjpeg shows this where the data of a JPEG are missing."""
_BLOCK = 16
"""Most rows that are coded together."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A file that can be decoded, and what was wrong with it."""

    data: bytes
    damage: str | None
    """None: nothing; the file is of a kind that needs to be rewritten."""
    is_apple: bool = False
    """Red and blue are exchanged, and colours are multiplied by their alpha."""


def repaired(data: bytes, image_format: Format, max_pixels: int) -> Repaired | None:
    """The file in a form that decoders accept; None: it cannot be repaired, or too little of it is readable.

    Args:
        data: the file.
        image_format: one of `FORMATS`.
        max_pixels: a PNG of more pixels is not repaired.
    """
    if image_format is Format.JPEG:
        return Repaired(data + _JPEG_END, "the JPEG file is cut off")
    return _repaired_png(data, max_pixels)


def readable_rows(pixels: Pixels) -> Pixels:
    """A repaired JPEG, as stored, without the rows at its end that have no data.

    Raises:
        BadImageError: too many have none.
    """
    rows = np.flatnonzero((pixels != _GREY).reshape(len(pixels), -1).any(axis=1))
    count = int(rows[-1]) + 1 if len(rows) else 0
    for _ in range(_BLOCK):  # the last row of blocks may end in the middle
        if count and (pixels[count - 1, -_BLOCK // 2 :] == _GREY).all():
            count -= 1
    if count < max(1, LEAST_READABLE * len(pixels)):
        raise BadImageError("too little of the JPEG file is readable")
    return pixels[:count]


def from_apple(pixels: Pixels) -> Pixels:
    """The pixels of Apple's PNG as usual ones: (h, w, 4) BGRA, not multiplied by alpha."""
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), cv2.COLOR_mRGBA2RGBA)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels


def _repaired_png(data: bytes, max_pixels: int) -> Repaired | None:
    """The picture's chunks with the right checksums, and its rows up to the damage, in a file of that many rows."""
    chunks, compressed, header_is_whole = _png_chunks(data)
    try:
        width, height, depth, colour, method, kind, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        row_bytes = 1 + -(-width * depth * _CHANNELS[colour] // 8)
    except (KeyError, struct.error):
        return None
    if not 0 < width * height <= max_pixels or interlaced not in (0, 1):
        return None
    sizes = _pass_sizes(width, height, depth * _CHANNELS[colour]) if interlaced else row_bytes * height
    rows = _inflated(compressed, sizes + 1, raw=_APPLE in chunks)
    if len(rows) < LEAST_READABLE * sizes or (len(rows) != sizes and not header_is_whole):
        return None
    rows = rows[:sizes]
    if not interlaced:
        unknown = np.flatnonzero(np.frombuffer(rows, np.uint8)[::row_bytes] > _LAST_FILTER)
        rows = rows[: row_bytes * int(unknown[0])] if len(unknown) else rows
        if len(rows) < LEAST_READABLE * sizes:
            return None
    damage = "the PNG file has wrong checksums or lacks its end"
    if len(rows) < sizes:
        share = f"{100 * len(rows) // sizes} %"
        damage = f"the PNG file is cut off or damaged; {share} of its pixels are readable"
        if not interlaced:
            height = len(rows) // row_bytes
            rows = rows[: height * row_bytes]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, method, kind, interlaced)
    parts = [(b"IHDR", header), *((name, chunks[name]) for name in (b"PLTE", b"tRNS", b"eXIf") if name in chunks)]
    parts += [(b"IDAT", zlib.compress(rows.ljust(sizes if interlaced else 0, b"\0"), 1)), (b"IEND", b"")]
    is_apple = _APPLE in chunks
    file = PNG_START + b"".join(_png_chunk(name, content) for name, content in parts)
    return Repaired(file, None if is_apple and len(rows) == sizes else damage, is_apple)


def _png_chunks(data: bytes) -> tuple[dict[bytes, bytes], bytes, bool]:
    """The first of each chunk that counts, the compressed pixels, and whether the checksum of the header is right.

    Other checksums are ignored, and the last chunk may be cut off.
    """
    chunks: dict[bytes, bytes] = {}
    pixels = []
    header_is_whole = False
    at = len(PNG_START)
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            pixels.append(data[at + 8 : at + 8 + length])
        elif name in _PICTURE or name == _APPLE:
            if name == b"IHDR":
                end = at + 8 + length
                header_is_whole = data[end : end + 4] == struct.pack(">I", zlib.crc32(data[at + 4 : end]))
            chunks.setdefault(name, data[at + 8 : at + 8 + length])
        elif name == b"IEND":
            break
        at += 12 + length
    return chunks, b"".join(pixels), header_is_whole


def _inflated(compressed: bytes, size: int, *, raw: bool) -> bytearray:
    """At most `size` bytes, as many as come before the damage."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
    inflated = bytearray()
    at, step = 0, _PIECE
    while at < len(compressed) and len(inflated) < size:
        before = inflater.copy()
        try:
            inflated += inflater.decompress(compressed[at : at + step], size - len(inflated))
            at += step
        except zlib.error:
            if step == 1:
                break
            inflater, step = before, 1  # up to the damaged byte
    return inflated


def _pass_sizes(width: int, height: int, pixel_bits: int) -> int:
    """Bytes of all passes of an interlaced PNG (W3C PNG, third edition, section 8.2)."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    total = 0
    for left, top, across, down in passes:
        columns, rows = max(0, -(-(width - left) // across)), max(0, -(-(height - top) // down))
        total += rows * (1 + -(-columns * pixel_bits // 8)) if columns else 0
    return total


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
