"""The directories of a TIFF file, and that of an EXIF block, which has the same form (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

ORIENTATION = 0x0112

_WIDTH = 256
_HEIGHT = 257
_BITS_PER_SAMPLE = 258
_COMPRESSION = 259
_PHOTOMETRIC = 262
_FILL_ORDER = 266
_STRIP_OFFSETS = 273
_SAMPLES_PER_PIXEL = 277
_ROWS_PER_STRIP = 278
_STRIP_SIZES = 279
_PLANES = 284
_PREDICTOR = 317
_COLOURS = 320
_TILE_WIDTH = 322
_TILE_HEIGHT = 323
_TILE_OFFSETS = 324
_TILE_SIZES = 325
_EXTRA_SAMPLES = 338
_SAMPLE_FORMAT = 339
_SUBFILE = 254
_OLD_SUBFILE = 255

_SEPARATE = 2
_OLD_REDUCED = 2
_NOT_FULL = 0b101
"""Bits of the type of a page: a smaller copy of another one, a mask."""
_ALL_ROWS = 2**32 - 1
_BIG = 43
"""The version of a BigTIFF."""

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # all others: 1
_MOST_TAGS = 4096
_SHORT = 3
_NUMBERS = _WHOLE_NUMBERS | {16: "Q"}  # LONG8
_MOST_SAMPLES = 64
_MOST_CHUNKS = 200_000
_MOST_COLOURS = 3 << 16
_MOST_PAGES = 20
"""Pages that are looked at for one with ink."""
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
    equal_bits: bool = True
    """Whether all samples have `bits` bits."""
    compression: int = 1
    photometric: int = 1
    """What the samples mean: 0 and 1 grey (0 is white, 0 is black), 2 RGB, 3 palette, 5 CMYK."""
    fill_order: int = 1
    separate: bool = False
    """Whether each sample of all pixels is stored by itself."""
    predictor: int = 1
    sample_format: int = 1
    """1 unsigned, 2 signed, 3 floating-point; 0 if samples differ."""
    extras: tuple[int, ...] | None = None
    """The meaning of the samples after the colours: 0 unspecified, 1 alpha that the colours are multiplied by, 2 alpha;
    None if the file does not state it."""
    orientation: int = 1
    order: str = "<"
    """Byte order, as `struct` writes it."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """Where the compressed data of an image is, and its palette."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    rows: int
    """Rows of one strip."""
    colours: tuple[int, ...]
    """Reds, then greens, then blues of a palette, 16 bits each; empty without one."""


@dataclass(frozen=True, slots=True)
class _Directory:
    """One directory of a file."""

    order: str
    """Byte order, as `struct` writes it."""
    entries: list[tuple[int, int, int, bytes]]
    """Tag, type, count, and the value or its offset."""
    following: int
    """Offset of the next directory; 0 if there is none."""


def read_facts(data: bytes) -> TiffFacts:
    """The tags of a TIFF image that decide how much is decoded, and how.

    Bits and samples are 1 if the file does not state them.

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
    bits = (tags[_BITS_PER_SAMPLE],) if tags[_BITS_PER_SAMPLE] else _sample_bits(data, directory)
    formats = set(_numbers(data, directory, _SAMPLE_FORMAT, _MOST_SAMPLES)) or {1}
    return TiffFacts(
        width=tags.get(_WIDTH, 0),
        height=tags.get(_HEIGHT, 0),
        samples=tags[_SAMPLES_PER_PIXEL],
        bits=max(bits),
        tile=tile if all(tile) else None,
        equal_bits=len(set(bits)) == 1,
        compression=tags.get(_COMPRESSION, 1),
        photometric=tags.get(_PHOTOMETRIC, 1),
        fill_order=tags.get(_FILL_ORDER, 1),
        separate=tags.get(_PLANES) == _SEPARATE,
        predictor=tags.get(_PREDICTOR, 1),
        sample_format=formats.pop() if len(formats) == 1 else 0,
        extras=_numbers(data, directory, _EXTRA_SAMPLES, _MOST_SAMPLES) if _EXTRA_SAMPLES in tags else None,
        orientation=tags.get(ORIENTATION, 1),
        order=directory.order,
    )


def read_chunks(data: bytes) -> Chunks:
    """Where the strips or tiles are.

    Raises:
        EOFError, struct.error: cut off.
        ValueError: damaged.
    """
    directory = _read_directory(data)
    offsets, sizes = (
        _numbers(data, directory, tile, _MOST_CHUNKS) or _numbers(data, directory, strip, _MOST_CHUNKS)
        for tile, strip in ((_TILE_OFFSETS, _STRIP_OFFSETS), (_TILE_SIZES, _STRIP_SIZES))
    )
    if len(offsets) != len(sizes):
        raise ValueError("a strip without a place or a size")
    rows = _whole_numbers(directory, len(data)).get(_ROWS_PER_STRIP, _ALL_ROWS)
    return Chunks(offsets, sizes, rows, _numbers(data, directory, _COLOURS, _MOST_COLOURS))


def pages(data: bytes) -> Iterator[bytes]:
    """The file once for each of its pages, with that page as the first one; full-size pages before reduced ones.

    A damaged page ends them, but the first one always comes.
    """
    start: int | None = None
    reduced: list[int | None] = []
    for _ in range(_MOST_PAGES):
        try:
            directory = _read_directory(data, start)
            tags = _whole_numbers(directory, len(data))
        except (EOFError, ValueError, struct.error):
            if start is None:
                yield data
            break
        if tags.get(_SUBFILE, 0) & _NOT_FULL or tags.get(_OLD_SUBFILE) == _OLD_REDUCED:
            reduced.append(start)
        else:
            yield _beginning_with(data, start)
        start = directory.following
        if not start:
            break
    for start in reduced:
        yield _beginning_with(data, start)


def _beginning_with(data: bytes, start: int | None) -> bytes:
    """The file with the directory at this offset as its first one; None: as it is."""
    if start is None:
        return data
    order = _BYTE_ORDERS[data[:2]]
    if struct.unpack_from(order + "H", data, 2) == (_BIG,):
        return data[:8] + struct.pack(order + "Q", start) + data[16:]
    return data[:4] + struct.pack(order + "I", start) + data[8:]


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


def _sample_bits(data: bytes, directory: _Directory) -> tuple[int, ...]:
    kind, number = next(entry[1:3] for entry in directory.entries if entry[0] == _BITS_PER_SAMPLE)
    if kind != _SHORT or not 0 < number <= _MOST_SAMPLES:
        raise ValueError("samples of an unknown type")
    return _numbers(data, directory, _BITS_PER_SAMPLE, _MOST_SAMPLES)


def _numbers(data: bytes, directory: _Directory, wanted: int, most: int) -> tuple[int, ...]:
    """The whole numbers of a tag, stored in the directory or outside it; none if there is no such tag.

    Raises:
        EOFError: cut off.
        ValueError: more numbers than `most`, or of another type.
    """
    entry = next((entry for entry in directory.entries if entry[0] == wanted), None)
    if entry is None:
        return ()
    _, kind, number, value = entry
    if kind not in _NUMBERS or number > most:
        raise ValueError("numbers of an unknown type, or too many")
    size = number * _TYPE_BYTES.get(kind, 1)
    if size > len(value):
        (offset,) = struct.unpack(directory.order + ("Q" if len(value) == 8 else "I"), value)
        value = data[offset : offset + size]
        if len(value) < size:
            raise EOFError("the numbers of a tag reach past the end")
    return struct.unpack_from(f"{directory.order}{number}{_NUMBERS[kind]}", value)


def _read_directory(data: bytes, start: int | None = None) -> _Directory:
    """The directory at this offset, by default the first one."""
    order = _BYTE_ORDERS.get(data[:2])
    if order is None:
        raise ValueError("no byte order")
    (version,) = struct.unpack_from(order + "H", data, 2)
    big = version == _BIG
    offset_format, offset_bytes, head = ("Q", 8, 8) if big else ("I", 4, 4)
    if start is None:
        (start,) = struct.unpack_from(order + offset_format, data, head)
    if start > len(data):  # struct itself takes no offset of 2**63 or more
        raise EOFError("the directory starts past the end")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    entry = order + ("HHQ8s" if big else "HHI4s")
    if count > _MOST_TAGS:
        raise ValueError("too many tags")
    at = start + (8 if big else 2)
    end = at + struct.calcsize(entry) * count
    if end > len(data):
        raise EOFError("the directory reaches past the end")
    following = data[end : end + offset_bytes]
    return _Directory(
        order,
        list(struct.iter_unpack(entry, data[at:end])),
        struct.unpack(order + offset_format, following)[0] if len(following) == offset_bytes else 0,
    )
