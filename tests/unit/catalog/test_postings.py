from __future__ import annotations

import datetime as dt
import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.catalog.postings import POSTINGS, Postings, PostingsWriter, file_names
from logo_similarity.errors import CatalogError
from logo_similarity.fields import Record, select_fields
from logo_similarity.filters import Filter

RECORDS = (
    Record(
        logo_id="0",
        filename="0.png",
        text="Café du «Nord»",
        company="Example Corp",
        vienna_codes=("26.01.01", "27.05.01"),
        nice_classes=(9, 42),
        status="registered",
        office="EM",
        application_date=dt.date(2019, 2, 28),
        year=2019,
    ),
    Record(logo_id="1", filename="1.png", company="Example Bakery", vienna_codes=("26.01", "26.11.01"), year=2001),
    Record(logo_id="2", filename="2.png", text="NORD nord", vienna_codes=("02.06.01",), nice_classes=(9,), year=2020),
    Record(logo_id="3", filename="3.png"),
)
FIELDS = (
    "text", "company", "vienna_codes", "nice_classes", "status", "office", "application_date", "year",
)  # fmt: skip


def write(version: Path, records: tuple[Record, ...] = RECORDS, fields: tuple[str, ...] = FIELDS) -> Path:
    version.mkdir(exist_ok=True)
    writer = PostingsWriter()
    for record in records:
        writer.add(record)
    writer.write(version, fields)
    return version


@pytest.fixture(scope="module")
def postings(tmp_path_factory: pytest.TempPathFactory) -> Postings:
    return Postings(write(tmp_path_factory.mktemp("version")), FIELDS, len(RECORDS))


W, F = Filter.where, Filter.words


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (W(vienna_codes="26"), [0, 1]),
        (W(vienna_codes="26.1"), [0, 1]),
        (W(vienna_codes="26.1.1"), [0]),
        (W(vienna_codes="26.11"), [1]),
        (W(vienna_codes=["26.11", "27"]), [0, 1]),
        (W(vienna_codes="2"), [2]),
        (W(vienna_codes="6"), []),
        (W(nice_classes=9), [0, 2]),
        (W(nice_classes=[42, 45]), [0]),
        (W(nice_classes=(10, 45)), [0]),
        (W(status="registered"), [0]),
        (W(status="Registered"), []),
        (W(company="Example Corp"), [0]),
        (W(company="Example"), []),
        (F(company="example"), [0, 1]),
        (F(company="bakery EXAMPLE"), [1]),
        (F(company=["corp", "bakery"]), [0, 1]),
        (F(company="exampl"), []),
        (W(text="nord cafe"), [0]),
        (W(text="nord"), [0, 2]),
        (W(application_date=("2019-02-28", "2019-02-28")), [0]),
        (W(application_date=("2019-03-01", None)), []),
        (W(application_date=(None, "2019-02-27")), []),
        (W(year=(2002, None)), [0, 2]),
        (W(year=(None, 2019)), [0, 1]),
        (W(year=(None, None)), [0, 1, 2]),
        (~W(year=(None, None)), [3]),
        (W(nice_classes=9, year=2020), [2]),
        (W(nice_classes=9) & ~W(vienna_codes="26"), [2]),
        (W(nice_classes=42) | W(year=2001), [0, 1]),
        (~(W(nice_classes=9) | W(year=2001)), [3]),
    ],
)
def test_rows_that_pass(postings: Postings, condition: Filter, rows: list[int]) -> None:
    mask = postings.select(condition)
    assert mask.dtype == np.bool_
    assert mask.shape == (len(RECORDS),)
    assert np.flatnonzero(mask).tolist() == rows


def test_long_posting_lists_are_read_in_blocks(postings: Postings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logo_similarity.catalog.postings.BLOCK", 2)
    assert np.flatnonzero(postings.select(W(year=(None, None)))).tolist() == [0, 1, 2]


def test_no_logo_has_a_field_that_the_source_does_not_provide(tmp_path: Path) -> None:
    postings = Postings(write(tmp_path / "v", RECORDS[3:]), (), 1)
    assert not postings.select(W(status="registered")).any()
    assert not postings.select(F(company="x")).any()
    assert postings.select(~W(status="registered")).all()


def test_a_field_without_words_has_a_file(tmp_path: Path) -> None:
    record = Record(logo_id="0", filename="0.png", text="!")
    assert not Postings(write(tmp_path / "v", (record,), ("text",)), ("text",), 1).select(W(text="x")).any()


def test_files_are_those_of_the_fields_that_occur(tmp_path: Path) -> None:
    version = write(tmp_path / "v")
    (version / POSTINGS / "left-over.values.partial").touch()
    write(version, fields=("company", "year"))
    names = {path.relative_to(version).as_posix() for path in version.rglob("*.*")}
    assert (
        names
        == file_names(("company", "year"))
        == {f"{POSTINGS}/{n}" for n in ("company.values", "company.words", "year.values")}
    )


def test_same_records_make_the_same_files(tmp_path: Path) -> None:
    digests = {
        hashlib.sha256(b"".join(path.read_bytes() for path in sorted(write(tmp_path / name).rglob("*.*")))).hexdigest()
        for name in ("one", "two")
    }
    assert len(digests) == 1


HEADER = "<8sQQQQQQ"
HEADER_BYTES = struct.calcsize(HEADER)


def patch(layout: str, position: int, value: int) -> Callable[[bytearray], object]:
    """Overwrite one number."""
    return lambda content: struct.pack_into(layout, content, position, value)


# The file of the years of the four RECORDS: three keys of 8 bytes, one posting each.
STARTS = HEADER_BYTES
KEY_STARTS = STARTS + 4 * 8
ROWS = KEY_STARTS + 4 * 8
NUMBERS = ROWS + 3 * 4


@pytest.mark.parametrize(
    "damage",
    [
        bytearray.clear,
        lambda content: content.__delitem__(slice(HEADER_BYTES - 1, None)),
        lambda content: content.__delitem__(slice(-1, None)),
        lambda content: content.extend(b"x"),
        patch("<B", 0, 0),
        patch("<Q", 8, 5),
        patch("<Q", 16, 2),
        patch("<Q", 16, 2**64 - 1),
        patch("<Q", 24, 2**63),
        patch("<Q", 32, 1),
        patch("<Q", 48, 3),
        patch("<q", STARTS, 1),
        patch("<q", STARTS, -1),
        patch("<q", STARTS + 8, 3),
        patch("<q", STARTS + 8, -(2**62)),
        patch("<q", STARTS + 24, 2),
        patch("<q", STARTS + 24, 2**62),
        patch("<q", KEY_STARTS + 8, 17),
        patch("<q", KEY_STARTS + 24, 2**40),
        patch("<I", ROWS, 4),
        patch("<I", ROWS + 8, 2**32 - 1),
        patch("<I", NUMBERS, 4),
    ],
)  # fmt: skip
def test_numbers_that_point_outside_are_refused(tmp_path: Path, damage: Callable[[bytearray], object]) -> None:
    path = write(tmp_path / "v") / POSTINGS / "year.values"
    content = bytearray(path.read_bytes())
    assert len(content) == NUMBERS + 4 * 4 + 3 * 8
    damage(content)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"postings/year\.values: (damaged|cannot be read)"):
        Postings(tmp_path / "v", FIELDS, len(RECORDS))


# 70 logos, of which 69 have the first status, so its rows are a bitmap of two words.
MANY = tuple(
    Record(logo_id=str(row), filename=f"{row}.png", status="ended" if row == 7 else "registered") for row in range(70)
)
DENSE = HEADER_BYTES + 2 * 3 * 8
BITMAP = DENSE + 8


def test_the_rows_of_a_frequent_value_are_a_bitmap(tmp_path: Path) -> None:
    version = write(tmp_path / "v", MANY, ("status",))
    content = (version / POSTINGS / "status.values").read_bytes()
    assert struct.unpack_from(HEADER, content)[2:5] == (2, 1, 1)
    assert struct.unpack_from("<2Q", content, BITMAP) == (2**64 - 1 - 2**7, 2**6 - 1)
    postings = Postings(version, ("status",), len(MANY))
    assert np.flatnonzero(~postings.select(W(status="registered"))).tolist() == [7]
    assert np.flatnonzero(postings.select(W(status="ended"))).tolist() == [7]
    assert postings.select(W(status=["ended", "registered"])).all()
    (field,) = select_fields(["status"])
    assert postings.count_values(field, None, most=5) == [("registered", 69), ("ended", 1)]
    passing = np.zeros(len(MANY), np.bool_)
    passing[[6, 7, 63, 64, 69]] = True
    assert postings.count_values(field, passing, most=5) == [("registered", 4), ("ended", 1)]
    passing[7] = False
    assert postings.count_values(field, passing, most=5) == [("registered", 4)]


@pytest.mark.parametrize(
    "damage", [patch("<q", DENSE, 0), patch("<q", DENSE, 2), patch("<q", DENSE, -1), patch("<Q", BITMAP + 8, 2**6)]
)
def test_damaged_bitmaps_are_refused(tmp_path: Path, damage: Callable[[bytearray], object]) -> None:
    path = write(tmp_path / "v", MANY, ("status",)) / POSTINGS / "status.values"
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"postings/status\.values: damaged"):
        Postings(tmp_path / "v", ("status",), len(MANY))


@pytest.mark.parametrize("passing", [[], [0], [1, 2], [0, 1, 2, 3, 4, 5]])
@pytest.mark.parametrize("repeated", [False, True])
def test_values_are_counted_among_the_logos_that_pass(tmp_path: Path, passing: list[int], repeated: bool) -> None:
    """A file in which no logo has two values holds one number a logo; both forms give the same counts."""
    classes = [(9,), (42,), (), (9,), (35,), (35, 42) if repeated else (9,)]
    records = tuple(Record(logo_id=str(row), filename="x.png", nice_classes=one) for row, one in enumerate(classes))
    postings = Postings(write(tmp_path / "v", records, ("nice_classes",)), ("nice_classes",), len(records))
    (field,) = select_fields(["nice_classes"])
    mask = np.isin(np.arange(len(records)), passing)
    expected = Counter(number for row in passing for number in classes[row])
    counted = postings.count_values(field, mask, most=5)
    assert dict(counted) == expected
    assert [count for _, count in counted] == sorted(expected.values(), reverse=True)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"postings/office\.values: cannot be read"):
        Postings(write(tmp_path / "v", fields=("year",)), ("office",), len(RECORDS))


def test_files_of_another_number_of_logos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="the number of logos"):
        Postings(write(tmp_path / "v"), FIELDS, len(RECORDS) + 1)


def test_files_are_mapped(postings: Postings) -> None:
    assert any("/postings/year.values" in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert postings.select(W(year=2019)).any()
