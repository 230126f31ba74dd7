"""Sequence headers written bit by bit (AV1 specification, sections 5.3 to 5.5)."""

from __future__ import annotations

import pytest

from logo_similarity.image.av1 import frame_size

Field = tuple[int, int]
"""A value and its number of bits."""

TEMPORAL_DELIMITER, SEQUENCE_HEADER = 2, 1
PROFILE, NOT_REDUCED, REDUCED = (0, 4), (0, 1), (1, 1)
LEVEL, HIGH_LEVEL, IDC = (7, 5), (8, 5), (0xFFF, 12)
NO, YES = (0, 1), (1, 1)
ONE_POINT = (0, 5)
TICKS = (0xFFFF_FFFF_FFFF_FFFF, 64)
DECODER_MODEL = ((2, 5), (0x3FF_FFFF_FFFF, 42))
"""Delays of three bits."""
SIZE = ((9, 4), (8, 4), (640 - 1, 10), (480 - 1, 9))

STARTS: dict[str, tuple[Field, ...]] = {
    "reduced": (PROFILE, REDUCED, LEVEL),
    "plain": (PROFILE, NOT_REDUCED, NO, NO, ONE_POINT, IDC, LEVEL),
    "tier": (PROFILE, NOT_REDUCED, NO, NO, ONE_POINT, IDC, HIGH_LEVEL, YES),
    "three points": (PROFILE, NOT_REDUCED, NO, NO, (2, 5), IDC, LEVEL, IDC, HIGH_LEVEL, NO, IDC, LEVEL),
    "display delay": (PROFILE, NOT_REDUCED, NO, YES, (1, 5), IDC, LEVEL, YES, (15, 4), IDC, LEVEL, NO),
    "timing": (PROFILE, NOT_REDUCED, YES, TICKS, NO, NO, NO, ONE_POINT, IDC, LEVEL),
    "equal intervals": (PROFILE, NOT_REDUCED, YES, TICKS, YES, (0b00111, 5), NO, NO, ONE_POINT, IDC, LEVEL),
    "longest interval": (PROFILE, NOT_REDUCED, YES, TICKS, YES, (1, 33), NO, NO, ONE_POINT, IDC, LEVEL),
    "decoder model": (
        *(PROFILE, NOT_REDUCED, YES, TICKS, NO, YES, *DECODER_MODEL, NO, (1, 5)),
        *(IDC, LEVEL, YES, (0x7F, 7), IDC, LEVEL, NO),
    ),
    "all": (
        *(PROFILE, NOT_REDUCED, YES, TICKS, YES, YES, YES, *DECODER_MODEL, YES, (1, 5)),
        *(IDC, HIGH_LEVEL, YES, YES, (0x7F, 7), YES, (15, 4), IDC, HIGH_LEVEL, YES, NO, YES, (0, 4)),
    ),
}


def packed(*fields: Field) -> bytes:
    bits = "".join(f"{value:0{count}b}" for value, count in fields)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))


def unit(kind: int, content: bytes, *, length: bytes | None = None, flags: int = 0b10, extension: bytes = b"") -> bytes:
    """An open bitstream unit; by default with a size and without an extension."""
    return bytes([kind << 3 | flags]) + extension + (bytes([len(content)]) if length is None else length) + content


HEADER = packed(*STARTS["reduced"], *SIZE)
WHOLE = unit(SEQUENCE_HEADER, HEADER)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_the_size_is_read_behind_all_optional_fields(start: tuple[Field, ...]) -> None:
    assert frame_size(unit(SEQUENCE_HEADER, packed(*start, *SIZE)), 0) == (640, 480)


@pytest.mark.parametrize("side", [1, 2, 65_536])
def test_sides_have_between_1_and_16_bits(side: int) -> None:
    bits = max(1, (side - 1).bit_length())
    fields = (bits - 1, 4), (15, 4), (side - 1, bits), (side - 1, 16)
    assert frame_size(unit(SEQUENCE_HEADER, packed(*STARTS["reduced"], *fields)), 0) == (side, side)


def test_a_cut_header_is_refused() -> None:
    for size in range(len(HEADER)):
        with pytest.raises(ValueError, match="cut off"):
            frame_size(unit(SEQUENCE_HEADER, HEADER[:size]), 0)
        with pytest.raises(ValueError, match="cut off"):
            frame_size(WHOLE[: len(WHOLE) - len(HEADER) + size], 0)


def test_units_before_the_header_are_skipped() -> None:
    """The header is one of the first 16 units."""
    other = unit(TEMPORAL_DELIMITER, b"\xff" * 5)
    assert frame_size(b"\xff" * 9 + other + WHOLE, 9) == (640, 480)
    assert frame_size(15 * other + WHOLE, 0) == (640, 480)
    with pytest.raises(ValueError, match="no sequence header"):
        frame_size(16 * other + WHOLE, 0)


def test_a_unit_with_an_extension() -> None:
    extended = unit(TEMPORAL_DELIMITER, b"\xff" * 5, flags=0b110, extension=b"\xff")
    assert frame_size(extended + WHOLE, 0) == (640, 480)
    assert frame_size(unit(SEQUENCE_HEADER, HEADER, flags=0b110, extension=b"\xff"), 0) == (640, 480)


@pytest.mark.parametrize("flags", [0b00, 0b11, 0x82], ids=["no size", "reserved bit", "forbidden bit"])
def test_a_unit_that_cannot_be_skipped_ends_the_search(flags: int) -> None:
    with pytest.raises(ValueError, match="no sequence header"):
        frame_size(unit(TEMPORAL_DELIMITER, b"", flags=flags) + WHOLE, 0)
    with pytest.raises(ValueError, match="no sequence header"):
        frame_size(WHOLE, len(WHOLE))


def test_lengths_have_at_most_eight_bytes() -> None:
    long = unit(TEMPORAL_DELIMITER, bytes(200), length=bytes([0x80 | 200 & 0x7F, 200 >> 7]))
    assert frame_size(long + WHOLE, 0) == (640, 480)
    eight = bytes([0x80 | len(HEADER)]) + b"\x80" * 6 + b"\0"
    assert frame_size(unit(SEQUENCE_HEADER, HEADER, length=eight), 0) == (640, 480)
    with pytest.raises(ValueError, match="more than eight bytes"):
        frame_size(unit(SEQUENCE_HEADER, HEADER, length=eight[:-1] + b"\x80\0"), 0)
