"""The boxes of an AVIF file (ISO/IEC 14496-12 and 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from logo_similarity.image.av1 import frame_size
from logo_similarity.image.boxes import MOST_BOXES, boxes, integer, nested

# The EXIF orientation that equals a rotation by 0, 90, 180 or 270 degrees anticlockwise (irot), followed by mirroring
# (imir: none, top with bottom, left with right).
_ORIENTATIONS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


@dataclass(frozen=True, slots=True)
class AvifFacts:
    """What the boxes of a file state."""

    width: int
    height: int
    """As stored."""
    orientation: int
    """How the picture must be turned, as an EXIF orientation."""
    sample_bits: int
    """Bits of one sample: 8, 10 or 12."""
    has_alpha: bool


def read_avif(data: bytes) -> AvifFacts:
    """Read the boxes around the picture and the headers of the pictures themselves.

    The size is the largest that any part of the file claims: a file may hold a still picture, a film, or both, and the
    decoder need not find the size inside that the boxes state.

    Raises:
        EOFError, IndexError, struct.error: cut off.
        ValueError: damaged.
    """
    sizes: list[tuple[int, int]] = []
    rotation, mirror = 0, None
    for kind, body, end in boxes(data, 0, len(data)):
        if kind == b"moov":
            sizes += _track_sizes(data, body, end)
            sizes += [frame_size(data, at) for at in _first_chunks(data, body, end)]
        if kind != b"meta":
            continue
        sizes += [frame_size(data, at) for at in _picture_starts(data, body + 4, end)]
        for name, at, _ in nested(data, body + 4, end, b"iprp", b"ipco"):
            if name == b"ispe":
                sizes.append(struct.unpack_from(">II", data, at + 4))
            elif name == b"irot":
                rotation = data[at] & 3
            elif name == b"imir":
                mirror = data[at] & 1
    if not sizes:
        raise ValueError("no size")
    width, height = (max(side) for side in zip(*sizes, strict=True))
    return AvifFacts(width, height, _ORIENTATIONS[mirror][rotation], _sample_bits(data), has_alpha=b"auxC" in data)


def _sample_bits(data: bytes) -> int:
    """By the first AV1 configuration box."""
    at = data.find(b"av1C") + len("av1C")
    flags = data[at + 2] if at >= len("av1C") and at + 2 < len(data) else 0
    if not flags & 0x40:  # high_bitdepth
        return 8
    return 12 if flags & 0x20 else 10  # twelve_bit


def _track_sizes(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Sizes of the tracks of a film: 16.16 fixed-point numbers at the end of each track header."""
    return [
        (width >> 16, height >> 16)
        for _, _, header_end in nested(data, start, end, b"trak", match=b"tkhd")
        for width, height in (struct.unpack_from(">II", data, header_end - 8),)
    ]


def _first_chunks(data: bytes, start: int, end: int) -> Iterator[int]:
    """Offset of the first sample of each track of pictures."""
    for _, track, track_end in nested(data, start, end, match=b"trak"):
        tables = {kind: at for kind, at, _ in nested(data, track, track_end, b"mdia", b"minf", b"stbl")}
        handlers = [data[at + 8 : at + 12] for _, at, _ in nested(data, track, track_end, b"mdia", match=b"hdlr")]
        if not {b"pict", b"auxv"} & set(handlers):
            continue
        if b"stco" in tables:
            yield struct.unpack_from(">I", data, tables[b"stco"] + 8)[0]
        elif b"co64" in tables:
            yield struct.unpack_from(">Q", data, tables[b"co64"] + 8)[0]


def _picture_starts(data: bytes, start: int, end: int) -> Iterator[int]:
    """Offset of the data of each AV1 picture. The box iinf lists the pictures, iloc and idat their places."""
    tables = {kind: (body, box_end) for kind, body, box_end in boxes(data, start, end)}
    pictures = set()
    if b"iinf" in tables:
        body, box_end = tables[b"iinf"]
        for kind, at, _ in boxes(data, body + (8 if data[body] else 6), box_end):
            if kind == b"infe" and data[at] in (2, 3):
                number, skipped = integer(data, at + 4, 4 if data[at] == 3 else 2)
                if data[skipped + 2 : skipped + 6] == b"av01":
                    pictures.add(number)
    if pictures and b"iloc" not in tables:
        raise ValueError("a picture without a place")
    for number, method, offset in _locations(data, tables[b"iloc"][0]) if pictures else ():
        if number in pictures:
            if method > 1 or (method == 1 and b"idat" not in tables):
                raise ValueError("a picture in another item")
            yield offset + (tables[b"idat"][0] if method == 1 else 0)


def _locations(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Number, construction method and first offset of each item (box iloc, versions 0 to 2)."""
    version = data[at]
    sizes = struct.unpack_from(">H", data, at + 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    count, at = integer(data, at + 6, 4 if version == 2 else 2)
    for _ in range(min(count, MOST_BOXES)):
        number, at = integer(data, at, 4 if version == 2 else 2)
        method, at = integer(data, at, 2) if version else (0, at)
        base, at = integer(data, at + 2, base_size)
        extents, at = integer(data, at, 2)
        first, _ = integer(data, at + index_size, offset_size)
        at += extents * (index_size + offset_size + length_size)
        if extents:
            yield number, method & 15, base + first
