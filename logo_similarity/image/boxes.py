"""The boxes of files in the ISO base media format (ISO/IEC 14496-12): AVIF, HEIC and JPEG 2000."""

from __future__ import annotations

import struct
from collections.abc import Iterator

MOST_BOXES = 1000


def nested(
    data: bytes, start: int, end: int, *path: bytes, match: bytes | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """The boxes below every box of the path, as `boxes` gives them: all of them, or those of one kind."""
    for kind, body, box_end in boxes(data, start, end):
        if path and kind == path[0]:
            yield from nested(data, body, box_end, *path[1:], match=match)
        elif not path and match in (None, kind):
            yield kind, body, box_end


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and end of each box."""
    for _ in range(MOST_BOXES):
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


def integer(data: bytes, at: int, size: int) -> tuple[int, int]:
    """A number of `size` bytes, and the offset after it."""
    if at + size > len(data):
        raise EOFError("a number reaches past the end")
    return int.from_bytes(data[at : at + size]), at + size
