"""The chunks of a PNG file (W3C PNG, third edition, section 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MOST_CHUNKS = 20_000
_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})
"""The chunks that decide how the picture looks."""
_SMALL = frozenset({b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"sBIT", b"bKGD", b"tIME", b"hIST"})
"""Chunks that change nothing here. They are short and common: removing them would copy most files."""
_LONGEST_SMALL = 1024
_REPEATED = frozenset({b"IDAT", b"IHDR"})
"""Kept however often they occur: the pixels, and a second header, which libpng rejects."""
_GREY = 0
_CHANNELS = {_GREY: 1, 2: 3, 3: 4, 4: 4, 6: 4}
"""As decoded, by colour type: a palette may hold transparency, and grey with alpha becomes colour."""
_SIGNATURE_BYTES = 8


@dataclass(frozen=True, slots=True)
class PngFacts:
    """What the header and the chunks of a file state."""

    width: int
    height: int
    bit_depth: int
    """Bits of one sample: 1, 2, 4, 8 or 16."""
    transparent_grey: int | None
    """The grey that stands for transparency in a greyscale picture, in a sample's own range."""
    pixel_bytes: int
    """Bytes of one decoded pixel."""
    compressed_bytes: int
    """Bytes of compressed pixels in the file."""
    picture: tuple[tuple[int, int], ...]
    """Start and end of each part of the file that the still picture needs; one part where that is all of it."""


def read_facts(data: bytes) -> PngFacts:
    """Read the header and go through all chunks.

    Every chunk must be within the file, down to the last one: OpenCV allocates and clears as many bytes as a chunk
    claims to hold, two gigabytes by four changed bytes.

    Raises:
        EOFError, struct.error: cut off.
        ValueError: damaged.
    """
    chunks = list(_chunks(data))
    if chunks[0][0] != b"IHDR":
        raise ValueError("the first chunk is not a header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    channels, grey = _CHANNELS.get(colour, 4), None
    kinds = [kind for kind, _, _ in chunks]
    if b"tRNS" in kinds:
        channels = 6 if channels == 1 else 4  # the decoder makes colour from grey and holds both
        first = kinds.index(b"tRNS")
        if colour == _GREY and b"IDAT" not in kinds[:first]:
            start = chunks[first][1]
            grey = int.from_bytes(data[start : start + 2])
    return PngFacts(
        width=width,
        height=height,
        bit_depth=depth,
        transparent_grey=grey,
        pixel_bytes=channels * max(1, depth // 8),
        compressed_bytes=sum([length for kind, _, length in chunks if kind == b"IDAT"]),
        picture=tuple(_picture_parts(chunks)),
    )


def still_picture(data: bytes, facts: PngFacts) -> bytes:
    """The same file without anything but its still picture; the very same object if there is little else.

    OpenCV decodes animations by another path, which shows uninitialised memory where a row is damaged. libpng inflates
    texts and profiles that are never used, and prints a line for each repeated chunk.
    """
    if len(facts.picture) == 1:
        return data
    return b"".join(data[start:end] for start, end in facts.picture)


def _picture_parts(chunks: list[tuple[bytes, int, int]]) -> list[tuple[int, int]]:
    """The signature and the chunks that are kept; neighbours are one part."""
    parts = [(0, _SIGNATURE_BYTES)]
    seen: set[bytes] = set()
    for kind, body, length in chunks:
        is_new = kind in _REPEATED or kind not in seen
        seen.add(kind)
        if not is_new or not (kind in _PICTURE or (kind in _SMALL and length <= _LONGEST_SMALL)):
            continue
        start, end = body - 8, body + length + 4
        if parts[-1][1] == start:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    return parts


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and length of the content of each chunk, to the end chunk."""
    at = _SIGNATURE_BYTES
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise EOFError("a chunk reaches past the end")
        yield kind, at + 8, length
        if kind == b"IEND":
            return
        at += 12 + length
    raise ValueError("too many chunks")
