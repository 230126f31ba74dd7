"""Directories of TIFF files written by hand (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import struct

import pytest

from logo_similarity.image.tiff import read_facts, read_tags

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, and the value or its offset."""

BYTE, SHORT, LONG = 1, 3, 4
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def tiff(*entries: Entry, order: str = "<", big: bool = False, after: bytes = b"") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    if big:
        head = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(entries))
        packed = [struct.pack(order + "HHQ8s", *entry) for entry in entries]
    else:
        head = mark + struct.pack(order + "HIH", 42, 8, len(entries))
        packed = [struct.pack(order + "HHI4s", *entry) for entry in entries]
    return head + b"".join(packed) + after


def number(tag: int, value: int) -> Entry:
    return tag, LONG, 1, struct.pack("<I", value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_one_whole_number_is_a_value(order: str, big: bool) -> None:
    entries = [
        (256, BYTE, 1, b"\x07"),
        (257, SHORT, 1, struct.pack(order + "H", 640)),
        (258, LONG, 1, struct.pack(order + "I", 70_000)),
        (259, SHORT, 2, struct.pack(order + "HH", 8, 8)),  # two numbers
        (260, SHORT, 0, b""),
        (261, 9, 1, struct.pack(order + "i", 5)),  # signed
        (257, SHORT, 1, struct.pack(order + "H", 9)),  # again: the first counts
    ]
    assert read_tags(tiff(*entries, order=order, big=big)) == {256: 7, 257: 640, 258: 70_000, 259: 0, 260: 0, 261: 0}


@pytest.mark.parametrize(("kind", "size"), TYPE_BYTES.items())
def test_tags_claim_at_most_the_bytes_of_the_file(kind: int, size: int) -> None:
    total = len(tiff(number(1, 1), number(2, 1))) + 14
    assert total % 8 == 0
    values = (total - 4) // size
    rest = total - 4 - values * size
    assert read_tags(tiff(number(1, 1), (2, kind, values, b""), after=bytes(14)))[2] == 0
    assert rest < size
    with pytest.raises(ValueError, match="claim more data than the file has"):
        read_tags(tiff(number(1, 1), (2, kind, values + 1, b""), after=bytes(14)))


@pytest.mark.parametrize("tag", [256, 257, 277, 278, 322, 323])
def test_the_structure_is_stated_in_positive_whole_numbers(tag: int) -> None:
    structure = {256: 64, 257: 48, 277: 3, 278: 48, 322: 32, 323: 16}
    facts = read_facts(tiff(*(number(*item) for item in structure.items())))
    assert (facts.width, facts.height, facts.samples, facts.bits, facts.tile) == (64, 48, 3, 1, (32, 16))
    for entry in (number(tag, 0), (tag, 9, 1, b"\1")):
        with pytest.raises(ValueError, match="not a positive whole number"):
            read_facts(tiff(entry, *(number(*item) for item in structure.items() if item[0] != tag)))


def test_what_a_file_does_not_state() -> None:
    facts = read_facts(tiff())
    assert (facts.width, facts.height, facts.samples, facts.bits, facts.tile) == (0, 0, 1, 1, None)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 64])
def test_the_largest_of_several_sample_sizes_counts(count: int, order: str, big: bool) -> None:
    values = struct.pack(f"{order}{count}H", *range(10, 10 + count))
    if len(values) <= (8 if big else 4):
        data = tiff((258, SHORT, count, values), order=order, big=big)
    else:
        at = len(tiff((258, SHORT, count, b""), order=order, big=big))
        offset = struct.pack(order + ("Q" if big else "I"), at)
        data = tiff((258, SHORT, count, offset), order=order, big=big, after=values + b"\xff" * 50)
    assert read_facts(data).bits == 9 + count


@pytest.mark.parametrize(("kind", "count"), [(SHORT, 65), (SHORT, 0), (LONG, 2), (BYTE, 3)])
def test_sample_sizes_of_an_unknown_type_are_refused(kind: int, count: int) -> None:
    with pytest.raises(ValueError, match="samples of an unknown type"):
        read_facts(tiff((258, kind, count, b""), after=bytes(300)))


def test_a_directory_has_at_most_4096_entries() -> None:
    assert read_tags(tiff(*[number(7, 1)] * 4096)) == {7: 1}
    with pytest.raises(ValueError, match="too many tags"):
        read_tags(tiff(*[number(7, 1)] * 4097))


@pytest.mark.parametrize("big", [False, True])
def test_a_cut_directory_is_refused(big: bool) -> None:
    whole = tiff(number(256, 64), number(257, 48), big=big)
    assert read_tags(whole) == {256: 64, 257: 48}
    for size in range(2, len(whole)):
        with pytest.raises((EOFError, struct.error)):
            read_tags(whole[:size])
    for size in range(2):
        with pytest.raises(ValueError, match="no byte order"):
            read_tags(whole[:size])


@pytest.mark.parametrize("offset", [17, 2**63, 2**64 - 1])
def test_a_directory_past_the_end_is_refused(offset: int) -> None:
    with pytest.raises(EOFError, match="past the end"):
        read_tags(b"II" + struct.pack("<HHHQ", 43, 8, 0, offset))
