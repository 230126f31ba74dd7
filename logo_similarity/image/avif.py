"""The boxes of an AVIF file (ISO/IEC 14496-12 and 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from logo_similarity.image.av1 import frame_size

_MOST_BOXES = 1000
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
    for kind, body, end in _boxes(data, 0, len(data)):
        if kind == b"moov":
            sizes += _track_sizes(data, body, end)
            sizes += [frame_size(data, at) for at in _first_chunks(data, body, end)]
        if kind != b"meta":
            continue
        sizes += [frame_size(data, at) for at in _picture_starts(data, body + 4, end)]
        for name, at, _ in _nested(data, body + 4, end, b"iprp", b"ipco"):
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
        for _, _, header_end in _nested(data, start, end, b"trak", match=b"tkhd")
        for width, height in (struct.unpack_from(">II", data, header_end - 8),)
    ]


def _first_chunks(data: bytes, start: int, end: int) -> Iterator[int]:
    """Offset of the first sample of each track of pictures."""
    for _, track, track_end in _nested(data, start, end, match=b"trak"):
        tables = {kind: at for kind, at, _ in _nested(data, track, track_end, b"mdia", b"minf", b"stbl")}
        handlers = [data[at + 8 : at + 12] for _, at, _ in _nested(data, track, track_end, b"mdia", match=b"hdlr")]
        if not {b"pict", b"auxv"} & set(handlers):
            continue
        if b"stco" in tables:
            yield struct.unpack_from(">I", data, tables[b"stco"] + 8)[0]
        elif b"co64" in tables:
            yield struct.unpack_from(">Q", data, tables[b"co64"] + 8)[0]


def _picture_starts(data: bytes, start: int, end: int) -> Iterator[int]:
    """Offset of the data of each AV1 picture. The box iinf lists the pictures, iloc and idat their places."""
    boxes = {kind: (body, box_end) for kind, body, box_end in _boxes(data, start, end)}
    pictures = set()
    if b"iinf" in boxes:
        body, box_end = boxes[b"iinf"]
        for kind, at, _ in _boxes(data, body + (8 if data[body] else 6), box_end):
            if kind == b"infe" and data[at] in (2, 3):
                number, skipped = _integer(data, at + 4, 4 if data[at] == 3 else 2)
                if data[skipped + 2 : skipped + 6] == b"av01":
                    pictures.add(number)
    if pictures and b"iloc" not in boxes:
        raise ValueError("a picture without a place")
    for number, method, offset in _locations(data, boxes[b"iloc"][0]) if pictures else ():
        if number in pictures:
            if method > 1 or (method == 1 and b"idat" not in boxes):
                raise ValueError("a picture in another item")
            yield offset + (boxes[b"idat"][0] if method == 1 else 0)


def _locations(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Number, construction method and first offset of each item (box iloc, versions 0 to 2)."""
    version = data[at]
    sizes = struct.unpack_from(">H", data, at + 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    count, at = _integer(data, at + 6, 4 if version == 2 else 2)
    for _ in range(min(count, _MOST_BOXES)):
        number, at = _integer(data, at, 4 if version == 2 else 2)
        method, at = _integer(data, at, 2) if version else (0, at)
        base, at = _integer(data, at + 2, base_size)
        extents, at = _integer(data, at, 2)
        first, _ = _integer(data, at + index_size, offset_size)
        at += extents * (index_size + offset_size + length_size)
        if extents:
            yield number, method & 15, base + first


def _integer(data: bytes, at: int, size: int) -> tuple[int, int]:
    """A number of `size` bytes, and the offset after it."""
    if at + size > len(data):
        raise EOFError("a number reaches past the end")
    return int.from_bytes(data[at : at + size]), at + size


def _nested(
    data: bytes, start: int, end: int, *path: bytes, match: bytes | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """The boxes below every box of the path, as `_boxes` gives them: all of them, or those of one kind."""
    for kind, body, box_end in _boxes(data, start, end):
        if path and kind == path[0]:
            yield from _nested(data, body, box_end, *path[1:], match=match)
        elif not path and match in (None, kind):
            yield kind, body, box_end


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and end of each box."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            (size,), body = struct.unpack_from(">Q", data, body), start + 16
        elif size == 0:
            size = end - start
        if start + size > len(data):
            raise EOFError("a box reaches past the end")
        if size < body - start or start + size > end:
            raise ValueError("a box of an impossible size")
        yield kind, body, start + size
        start += size
    raise ValueError("too many boxes")
