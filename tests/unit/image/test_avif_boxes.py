"""AVIF files written box by box (ISO/IEC 14496-12, section 8, and 23008-12, section 6)."""

from __future__ import annotations

import pytest

from logo_similarity.image.avif import read_avif
from tests.unit.image.test_av1 import WHOLE as PICTURE

INSIDE = (640, 480)
"""The size in `PICTURE`."""
SMALL = (64, 48)
"""The size that the boxes state."""


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size)


def box(kind: bytes, *content: bytes, size: int | None = None) -> bytes:
    body = b"".join(content)
    return number(8 + len(body) if size is None else size, 4) + kind + body


def large_box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return number(1, 4) + kind + number(16 + len(body), 8) + body


def full_box(kind: bytes, *content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]), *content)


def properties(*more: bytes, size: tuple[int, int] = SMALL) -> bytes:
    return box(b"iprp", box(b"ipco", full_box(b"ispe", number(size[0], 4), number(size[1], 4)), *more))


def item(ident: int, kind: bytes = b"av01", *, version: int = 2) -> bytes:
    return full_box(b"infe", number(ident, 4 if version == 3 else 2), bytes(2), kind, version=version)


def items(*entries: bytes, version: int = 0) -> bytes:
    return full_box(b"iinf", number(len(entries), 4 if version else 2), *entries, version=version)


def location(
    ident: int,
    offset: int,
    *,
    version: int = 0,
    sizes: tuple[int, int, int, int] = (4, 4, 0, 0),
    method: int = 0,
    extents: int = 1,
) -> bytes:
    """An entry of iloc. `sizes`: of offset, length, base offset and index. The base offset is 1."""
    offset_size, length_size, base_size, index_size = sizes
    base = 1 if base_size else 0
    extent = bytes(index_size) + number(offset - base, offset_size) + b"\xff" * length_size
    return b"".join(
        (
            number(ident, 4 if version == 2 else 2),
            number(method, 2) if version else b"",
            bytes(2),
            number(base, base_size),
            number(extents, 2),
            extent * extents,
        )
    )


def locations(*entries: bytes, version: int = 0, sizes: tuple[int, int, int, int] = (4, 4, 0, 0)) -> bytes:
    packed = sizes[0] << 12 | sizes[1] << 8 | sizes[2] << 4 | sizes[3]
    return full_box(
        b"iloc", number(packed, 2), number(len(entries), 4 if version == 2 else 2), *entries, version=version
    )


def meta(*boxes: bytes) -> bytes:
    return full_box(b"meta", *boxes)


START = box(b"ftyp", b"avif")
AT = len(START) + 8 + 1
"""Offset of the picture: it follows one byte in the box after START."""
DATA = START + box(b"mdat", b"\xff", PICTURE)


def size_of(data: bytes) -> tuple[int, int]:
    facts = read_avif(data)
    return facts.width, facts.height


def test_the_size_is_the_largest_of_all() -> None:
    assert size_of(START + meta(properties())) == SMALL
    assert size_of(START + meta(properties(size=(64, 48)), properties(size=(48, 65)))) == (64, 65)
    with pytest.raises(ValueError, match="no size"):
        read_avif(START + meta())


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("sizes", [(4, 4, 0, 0), (8, 0, 4, 0), (4, 8, 8, 4)])
def test_the_place_of_a_picture(version: int, sizes: tuple[int, int, int, int]) -> None:
    if version == 0:
        sizes = (*sizes[:3], 0)
    entries = (
        location(5, 2, version=version, sizes=sizes, extents=3),  # another item, whose extents are skipped
        location(7, AT, version=version, sizes=sizes),
    )
    data = DATA + meta(
        items(item(5, b"Exif"), item(7)), locations(*entries, version=version, sizes=sizes), properties()
    )
    assert size_of(data) == INSIDE


@pytest.mark.parametrize(("list_version", "version"), [(0, 2), (1, 2), (0, 3)])
def test_the_list_of_the_pictures(list_version: int, version: int) -> None:
    listed = items(item(9, b"Exif", version=version), item(7, version=version), version=list_version)
    assert size_of(DATA + meta(listed, locations(location(7, AT)), properties())) == INSIDE
    assert size_of(DATA + meta(listed, locations(location(9, AT)), properties())) == SMALL  # not a picture
    assert size_of(DATA + meta(listed, locations(location(7, AT, extents=0)), properties())) == SMALL


def test_an_item_of_an_unknown_version_is_not_a_picture() -> None:
    data = DATA + meta(items(item(7, version=1)), locations(location(7, AT)), properties())
    assert size_of(data) == SMALL


def test_a_picture_in_the_box_of_the_metadata() -> None:
    listed = items(item(7))
    inside = locations(location(7, 1, version=1, method=1), version=1)
    assert size_of(START + meta(listed, inside, box(b"idat", b"\xff", PICTURE), properties())) == INSIDE
    with pytest.raises(ValueError, match="in another item"):
        read_avif(START + meta(listed, inside, properties()))
    elsewhere = locations(location(7, 1, version=1, method=2), version=1)
    with pytest.raises(ValueError, match="in another item"):
        read_avif(START + meta(listed, elsewhere, box(b"idat", b"\xff", PICTURE), properties()))


def test_a_picture_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="without a place"):
        read_avif(START + meta(items(item(7)), properties()))
    with pytest.raises(EOFError, match="a number reaches past the end"):
        read_avif(START + meta(items(item(7)), properties(), box(b"iloc", bytes(4), b"\x44\x00", b"\0\1", b"\0\7")))


def track(handler: bytes, table: bytes, size: tuple[int, int] = SMALL) -> bytes:
    header = full_box(b"tkhd", bytes(72), number(size[0] << 16 | 0xFFFF, 4), number(size[1] << 16 | 0xFFFF, 4))
    kind = full_box(b"hdlr", bytes(4), handler, bytes(13))
    return box(b"trak", header, box(b"mdia", kind, box(b"minf", box(b"stbl", table))))


def chunks(kind: bytes, width: int) -> bytes:
    return full_box(kind, number(2, 4), number(AT, width), number(0, width))


@pytest.mark.parametrize(
    ("handler", "table", "size"),
    [
        (b"pict", chunks(b"stco", 4), INSIDE),
        (b"pict", chunks(b"co64", 8), INSIDE),
        (b"auxv", chunks(b"stco", 4), INSIDE),
        (b"soun", chunks(b"stco", 4), SMALL),
        (b"pict", b"", SMALL),
    ],
)
def test_the_tracks_of_a_film(handler: bytes, table: bytes, size: tuple[int, int]) -> None:
    assert size_of(DATA + box(b"moov", track(handler, table))) == size
    assert size_of(DATA + box(b"moov", track(b"soun", b""), track(handler, table, size=(1, 1)))) == max(size, SMALL)


@pytest.mark.parametrize(
    ("flags", "bits"), [(None, 8), (0x00, 8), (0x20, 8), (0x40, 10), (0x60, 12), (0xFF, 12), (0x9F, 8)]
)
def test_bits_of_a_sample(flags: int | None, bits: int) -> None:
    configuration = b"" if flags is None else box(b"av1C", b"\x81\xff", bytes([flags]), b"\xff")
    assert read_avif(START + meta(properties(configuration))).sample_bits == bits
    if flags is not None:
        cut = START + meta(properties()) + box(b"free", b"av1C\xff\xff")
        assert read_avif(cut).sample_bits == 8


@pytest.mark.parametrize("mirror", [None, 0, 1])
@pytest.mark.parametrize("rotation", [0, 1, 2, 3])
def test_rotation_and_mirroring(rotation: int, mirror: int | None) -> None:
    more = [box(b"irot", bytes([0xFC | rotation]))]
    if mirror is not None:
        more.append(box(b"imir", bytes([0xFE | mirror])))
    expected = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}[mirror][rotation]
    assert read_avif(START + meta(properties(*more))).orientation == expected


def test_sizes_of_boxes() -> None:
    content = meta(properties())[8:]
    assert size_of(START + large_box(b"meta", content)) == SMALL
    assert size_of(START + box(b"meta", content, size=0)) == SMALL  # up to the end of the file
    assert size_of(START + meta(properties()) + bytes(7)) == SMALL
    with pytest.raises(EOFError, match="a box reaches past the end"):
        read_avif(START + box(b"meta", content, size=9 + len(content)))
    with pytest.raises(ValueError, match="impossible size"):
        read_avif(START + box(b"meta", content, size=7))
    with pytest.raises(ValueError, match="impossible size"):  # past the end of the box around it
        read_avif(START + meta(box(b"iprp", bytes(8), size=17)) + bytes(8))


def test_a_file_has_fewer_than_1000_boxes() -> None:
    assert size_of(START + meta(properties()) + box(b"free") * 997) == SMALL
    with pytest.raises(ValueError, match="too many boxes"):
        read_avif(START + meta(properties()) + box(b"free") * 998)
