"""What the container of an AVIF file says of the picture inside (ISO/IEC 14496-12 and 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MOST_BOXES = 1000
# The EXIF orientation that equals a rotation by 0, 90, 180, 270 degrees anticlockwise (irot), then a mirroring (imir: none,
# top with bottom, left with right).
_ORIENTATIONS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


@dataclass(frozen=True, slots=True)
class AvifFacts:
    """Size as stored, and how the picture is to be turned (as an EXIF orientation)."""

    width: int
    height: int
    orientation: int


def read_avif(data: bytes) -> AvifFacts:
    """Read the boxes around the picture; nothing of the picture itself.

    The size is the largest that any part of the file claims, for a file may hold a still picture, a film, or both.

    Raises:
        ValueError, struct.error: damaged.
    """
    sizes: list[tuple[int, int]] = []
    rotation, mirror = 0, None
    for kind, body, end in _boxes(data, 0, len(data)):
        if kind == b"moov":
            sizes += _track_sizes(data, body, end)
        if kind != b"meta":
            continue
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
    return AvifFacts(width, height, _ORIENTATIONS[mirror][rotation])


def sample_bits(data: bytes) -> int:
    """Bits of one sample: 8, 10 or 12, by the first AV1 configuration box."""
    at = data.find(b"av1C") + len("av1C")
    flags = data[at + 2] if at >= len("av1C") and at + 2 < len(data) else 0
    if not flags & 0x40:  # high_bitdepth
        return 8
    return 12 if flags & 0x20 else 10  # twelve_bit


def _track_sizes(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Sizes of the tracks of a film: 16.16 fixed point, at the end of each track header."""
    return [
        (width >> 16, height >> 16)
        for _, _, header_end in _nested(data, start, end, b"trak", match=b"tkhd")
        for width, height in (struct.unpack_from(">II", data, header_end - 8),)
    ]


def _nested(
    data: bytes, start: int, end: int, *path: bytes, match: bytes | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """The boxes below every box of the path, or those of one kind."""
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
        if size < body - start or start + size > end:
            raise ValueError("a box of an impossible size, or cut off")
        yield kind, body, start + size
        start += size
    raise ValueError("too many boxes")
