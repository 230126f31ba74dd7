"""The tags of a TIFF directory: what a TIFF file says of itself, and what an EXIF block says of a photograph."""

from __future__ import annotations

import struct
from collections.abc import Iterator

ORIENTATION = 0x0112
WIDTH = 256
HEIGHT = 257
BITS_PER_SAMPLE = 258
SAMPLES_PER_PIXEL = 277
ROWS_PER_STRIP = 278
TILE_WIDTH = 322
TILE_HEIGHT = 323

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # all others: 1
_MOST_TAGS = 4096
_SHORT = 3
_MOST_SAMPLES = 64
_STRUCTURE = frozenset({WIDTH, HEIGHT, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT})


def read_tags(data: bytes) -> dict[int, int]:
    """The tags of the first directory that hold one whole number; 0 for those that hold something else.

    Of a repeated tag the first counts, as in libtiff: another choice would let a file tell the guards one size and the
    decoder another. Values kept elsewhere in the file are not followed.

    Raises:
        ValueError, struct.error: no TIFF, or cut off, or tags that claim more data in all than there is: decoders copy what
            each tag points at, and a thousand may point at the same megabytes.
    """
    tags: dict[int, int] = {}
    claimed = 0
    order, entries = _directory(data)
    for tag, kind, number, value in entries:
        single = number == 1 and kind in _WHOLE_NUMBERS
        tags.setdefault(tag, struct.unpack_from(order + _WHOLE_NUMBERS[kind], value)[0] if single else 0)
        claimed += number * _TYPE_BYTES.get(kind, 1)
    if claimed > len(data):
        raise ValueError("tags claim more data than there is")
    return tags


def read_structure(data: bytes) -> dict[int, int]:
    """The tags of a TIFF image, `BITS_PER_SAMPLE` as the largest over its samples; 1 where it does not say.

    Raises:
        ValueError, struct.error: as `read_tags`, or a tag that decides how much is decoded is not one positive whole
            number: libtiff reads some of these from signed and broken types, which the guards cannot follow.
    """
    tags = {BITS_PER_SAMPLE: 1, SAMPLES_PER_PIXEL: 1} | read_tags(data)
    if any(tags.get(tag) == 0 for tag in _STRUCTURE):
        raise ValueError("a tag of the image's structure is not a positive whole number")
    if tags[BITS_PER_SAMPLE] == 0:
        tags[BITS_PER_SAMPLE] = _largest(data, BITS_PER_SAMPLE)
    return tags


def _largest(data: bytes, wanted: int) -> int:
    """The largest of the SHORT numbers of a tag."""
    order, entries = _directory(data)
    kind, number, value = next((kind, number, value) for tag, kind, number, value in entries if tag == wanted)
    if kind != _SHORT or not 0 < number <= _MOST_SAMPLES:
        raise ValueError("samples of an unknown kind")
    if 2 * number > len(value):
        (offset,) = struct.unpack(order + ("Q" if len(value) == 8 else "I"), value)
        value = data[offset : offset + 2 * number]
    return max(struct.unpack_from(f"{order}{number}H", value))


def _directory(data: bytes) -> tuple[str, Iterator[tuple[int, int, int, bytes]]]:
    """Byte order, and the entries of the first directory: tag, type, count, and the value or where it is."""
    order = _BYTE_ORDERS.get(data[:2])
    if order is None:
        raise ValueError("no byte order")
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 43:  # BigTIFF
        (offset,) = struct.unpack_from(order + "Q", data, 8)
        if offset > len(data):  # struct itself takes no offset of 2**63 or more
            raise ValueError("the directory starts past the end")
        (count,), start, entry = struct.unpack_from(order + "Q", data, offset), offset + 8, order + "HHQ8s"
    else:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,), start, entry = struct.unpack_from(order + "H", data, offset), offset + 2, order + "HHI4s"
    size = struct.calcsize(entry) * count
    if count > _MOST_TAGS or start + size > len(data):
        raise ValueError("cut off, or too many tags")
    return order, struct.iter_unpack(entry, data[start : start + size])
