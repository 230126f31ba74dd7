"""The tags of a TIFF directory: what a TIFF file says of itself, and what an EXIF block says of a photograph."""

from __future__ import annotations

import struct

ORIENTATION = 0x0112
WIDTH = 256
HEIGHT = 257
SAMPLES_PER_PIXEL = 277
TILE_WIDTH = 322
TILE_HEIGHT = 323

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # all others: 1
_MOST_TAGS = 4096


def read_tags(data: bytes) -> dict[int, int]:
    """The tags of the first directory that hold one whole number; 0 for those that hold something else.

    Of a repeated tag the first counts, as in libtiff: another choice would let a file tell the guards one size and the
    decoder another. Values kept elsewhere in the file are not followed.

    Raises:
        ValueError, struct.error: no TIFF, or cut off, or tags that claim more data in all than there is: decoders copy what
            each tag points at, and a thousand may point at the same megabytes.
    """
    order = _BYTE_ORDERS.get(data[:2])
    if order is None:
        raise ValueError("no byte order")
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 43:  # BigTIFF
        (offset,) = struct.unpack_from(order + "Q", data, 8)
        if offset > len(data):  # struct itself takes no offset of 2**63 or more
            raise ValueError("the directory lies past the end")
        (count,), start, entry = struct.unpack_from(order + "Q", data, offset), offset + 8, order + "HHQ8s"
    else:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,), start, entry = struct.unpack_from(order + "H", data, offset), offset + 2, order + "HHI4s"
    size = struct.calcsize(entry) * count
    if count > _MOST_TAGS or start + size > len(data):
        raise ValueError("cut off, or too many tags")
    tags: dict[int, int] = {}
    claimed = 0
    for tag, kind, number, value in struct.iter_unpack(entry, data[start : start + size]):
        single = number == 1 and kind in _WHOLE_NUMBERS
        tags.setdefault(tag, struct.unpack_from(order + _WHOLE_NUMBERS[kind], value)[0] if single else 0)
        claimed += number * _TYPE_BYTES.get(kind, 1)
    if claimed > len(data):
        raise ValueError("tags claim more data than there is")
    return tags
