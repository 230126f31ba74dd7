"""The chunks of a PNG file (W3C PNG, third edition, section 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_MOST_CHUNKS = 100_000


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height.

    Every chunk must lie within the file, down to the last one: OpenCV allocates and clears what a chunk claims to hold, two
    gigabytes by four changed bytes.

    Raises:
        ValueError, struct.error: damaged or cut off.
    """
    kinds = [kind for kind, _ in _chunks(data)]
    if kinds[0] != b"IHDR":
        raise ValueError("no header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def without_animation(data: bytes) -> bytes:
    """The same file with its still picture only; the very same bytes where nothing moves.

    OpenCV decodes animated files by a path of its own, which shows whatever lay in memory where a row is damaged.
    """
    chunks = list(_chunks(data))
    if b"acTL" not in (kind for kind, _ in chunks):
        return data
    starts = [start - 8 for _, start in chunks] + [chunks[-1][1] + 4]
    pieces = zip(chunks, pairwise(starts), strict=True)
    return data[:8] + b"".join(data[start:end] for (kind, _), (start, end) in pieces if kind not in _ANIMATION)


def transparent_grey(data: bytes) -> int | None:
    """The one grey of a greyscale PNG that stands for transparency, in a sample's own range, or None."""
    for kind, start in _chunks(data):
        if kind == b"tRNS":
            return int.from_bytes(data[start : start + 2], "big")
        if kind == b"IDAT":
            break
    return None


def bit_depth(data: bytes) -> int:
    """Bits of one sample: 1, 2, 4, 8 or 16."""
    return data[24]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind of each chunk, and where its content starts, to the end chunk."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise ValueError("a chunk reaches past the end")
        yield kind, at + 8
        if kind == b"IEND":
            return
        at += 12 + length
    raise ValueError("too many chunks")
