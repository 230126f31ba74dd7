"""The chunks of a PNG file (W3C PNG, third edition, section 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_MOST_CHUNKS = 20_000
_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})
"""The chunks that decide what is seen."""
_SMALL = frozenset({b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"sBIT", b"bKGD", b"tIME", b"hIST"})
"""Chunks that change nothing here; short, and in most files: to cut them out would copy the file."""
_LONGEST_SMALL = 1024
_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}
"""Of the decoded picture, by colour type: grey with transparency becomes colour, and a palette may hold transparency."""


@dataclass(frozen=True, slots=True)
class PngFacts:
    """Size in pixels, bytes of one decoded pixel, and bytes of compressed pixels in the file."""

    width: int
    height: int
    pixel_bytes: int
    compressed_bytes: int


def read_facts(data: bytes) -> PngFacts:
    """What the header and the sizes of the chunks say.

    Every chunk must be within the file, down to the last one: OpenCV allocates and clears what a chunk claims to hold, two
    gigabytes by four changed bytes.

    Raises:
        ValueError, struct.error: damaged or cut off.
    """
    compressed, transparent, first = 0, False, b""
    for kind, _, length in _chunks(data):
        first = first or kind
        if kind == b"IDAT":
            compressed += length
        transparent = transparent or kind == b"tRNS"
    if first != b"IHDR":
        raise ValueError("no header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    channels = _CHANNELS.get(colour, 4)
    if transparent:  # one grey or colour is: transparency is added, to a grey picture in a step of its own
        channels = 6 if channels == 1 else 4
    return PngFacts(width, height, channels * max(1, depth // 8), compressed)


def still_picture(data: bytes) -> bytes:
    """The same file with nothing in it but its still picture; the very same bytes where there is not much else.

    OpenCV decodes animated files in another way, which shows whatever was in memory where a row is damaged; and libpng
    inflates texts and profiles that are never looked at.
    """
    chunks = list(_chunks(data))
    kept = [kind in _PICTURE or (kind in _SMALL and length <= _LONGEST_SMALL) for kind, _, length in chunks]
    if all(kept):
        return data
    starts = [start - 8 for _, start, _ in chunks] + [chunks[-1][1] + 4]
    return data[:8] + b"".join(
        data[start:end] for keep, (start, end) in zip(kept, pairwise(starts), strict=True) if keep
    )


def transparent_grey(data: bytes) -> int | None:
    """The one grey of a greyscale PNG that stands for transparency, in a sample's own range, or None."""
    for kind, start, _ in _chunks(data):
        if kind == b"tRNS":
            return int.from_bytes(data[start : start + 2], "big")
        if kind == b"IDAT":
            break
    return None


def bit_depth(data: bytes) -> int:
    """Bits of one sample: 1, 2, 4, 8 or 16."""
    return data[24]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk, where its content starts and how long it is, to the end chunk."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise ValueError("a chunk reaches past the end")
        yield kind, at + 8, length
        if kind == b"IEND":
            return
        at += 12 + length
    raise ValueError("too many chunks")
