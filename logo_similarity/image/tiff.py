"""The first directory of a TIFF file, and of an EXIF block, which has the same form (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

ORIENTATION = 0x0112

_WIDTH = 256
_HEIGHT = 257
_BITS_PER_SAMPLE = 258
_SAMPLES_PER_PIXEL = 277
_ROWS_PER_STRIP = 278
_TILE_WIDTH = 322
_TILE_HEIGHT = 323

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # all others: 1
_MOST_TAGS = 4096
_SHORT = 3
_MOST_SAMPLES = 64
_STRUCTURE = frozenset({_WIDTH, _HEIGHT, _SAMPLES_PER_PIXEL, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT})


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """What the tags of an image state."""

    width: int
    height: int
    """0 if the file states no width or height."""
    samples: int
    """Of one pixel."""
    bits: int
    """Of the largest sample."""
    tile: tuple[int, int] | None
    """Width and height of a tile; None for strips."""


@dataclass(frozen=True, slots=True)
class _Directory:
    """Byte order, as `struct` writes it, and the entries: tag, type, count, and the value or its offset."""

    order: str
    entries: list[tuple[int, int, int, bytes]]


def read_facts(data: bytes) -> TiffFacts:
    """The tags of a TIFF image that decide how much is decoded. Bits and samples are 1 if the file does not state them.

    Raises:
        EOFError, struct.error: cut off.
        ValueError: damaged, or a tag that decides how much is decoded is not one positive whole number: libtiff reads
            some of these from signed and broken types, which the guards cannot follow.
    """
    directory = _read_directory(data)
    tags = {_BITS_PER_SAMPLE: 1, _SAMPLES_PER_PIXEL: 1} | _whole_numbers(directory, len(data))
    if any(tags.get(tag) == 0 for tag in _STRUCTURE):
        raise ValueError("a tag of the image's structure is not a positive whole number")
    tile = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0)
    return TiffFacts(
        width=tags.get(_WIDTH, 0),
        height=tags.get(_HEIGHT, 0),
        samples=tags[_SAMPLES_PER_PIXEL],
        bits=tags[_BITS_PER_SAMPLE] or _largest(data, directory, _BITS_PER_SAMPLE),
        tile=tile if all(tile) else None,
    )


def read_tags(data: bytes) -> dict[int, int]:
    """The tags of the first directory that hold one whole number; 0 for those that hold something else.

    Raises:
        EOFError, struct.error: cut off.
        ValueError: not a TIFF, or damaged.
    """
    return _whole_numbers(_read_directory(data), len(data))


def _whole_numbers(directory: _Directory, size: int) -> dict[int, int]:
    """The tags, as `read_tags` returns them, of a file of `size` bytes.

    The first of several equal tags counts, as in libtiff: otherwise a file could show the guards one size and the
    decoder another. Values stored outside the directory are not followed.

    Raises:
        ValueError: the tags claim more data in total than the file has. Decoders copy the data of each tag, and a
            thousand tags may point at the same megabytes.
    """
    tags: dict[int, int] = {}
    claimed = 0
    for tag, kind, number, value in directory.entries:
        single = number == 1 and kind in _WHOLE_NUMBERS
        tags.setdefault(tag, struct.unpack_from(directory.order + _WHOLE_NUMBERS[kind], value)[0] if single else 0)
        claimed += number * _TYPE_BYTES.get(kind, 1)
    if claimed > size:
        raise ValueError("the tags claim more data than the file has")
    return tags


def _largest(data: bytes, directory: _Directory, wanted: int) -> int:
    """The largest of the SHORT numbers of a tag."""
    kind, number, value = next(entry[1:] for entry in directory.entries if entry[0] == wanted)
    if kind != _SHORT or not 0 < number <= _MOST_SAMPLES:
        raise ValueError("samples of an unknown type")
    if 2 * number > len(value):
        (offset,) = struct.unpack(directory.order + ("Q" if len(value) == 8 else "I"), value)
        value = data[offset : offset + 2 * number]
    return max(struct.unpack_from(f"{directory.order}{number}H", value))


def _read_directory(data: bytes) -> _Directory:
    order = _BYTE_ORDERS.get(data[:2])
    if order is None:
        raise ValueError("no byte order")
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 43:  # BigTIFF
        (offset,) = struct.unpack_from(order + "Q", data, 8)
        if offset > len(data):  # struct itself takes no offset of 2**63 or more
            raise EOFError("the directory starts past the end")
        (count,), start, entry = struct.unpack_from(order + "Q", data, offset), offset + 8, order + "HHQ8s"
    else:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,), start, entry = struct.unpack_from(order + "H", data, offset), offset + 2, order + "HHI4s"
    if count > _MOST_TAGS:
        raise ValueError("too many tags")
    size = struct.calcsize(entry) * count
    if start + size > len(data):
        raise EOFError("the directory reaches past the end")
    return _Directory(order, list(struct.iter_unpack(entry, data[start : start + size])))
