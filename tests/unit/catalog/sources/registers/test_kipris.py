from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from logo_similarity.domain import Reject
from logo_similarity.fields import Record
from tests.registers import REAL, read, read_one, read_text


def test_a_real_mark() -> None:
    assert read_one(REAL / "kipris-mark.xml") == Record(
        logo_id="KR-4020190000011",
        filename="4020190000011",
        text="돈퍼",
        company="김현호 kimHyunHo",
        applicant="김현호",
        nice_classes=(43,),
        status="registered",
        office_status="등록",
        office="KR",
        registration_number="4015569910000",
        application_date=dt.date(2019, 1, 1),
        registration_date=dt.date(2019, 12, 23),
        year=2019,
    )


def test_lists_have_several_separators(tmp_path: Path) -> None:
    real = (REAL / "kipris-mark.xml").read_text()
    text = real.replace("<ViennaCode>", "<ViennaCode>260102|01.03.02, 2905").replace(">43<", ">09|35<")
    (record,) = read_text(tmp_path, text)
    assert isinstance(record, Record)
    assert record.vienna_codes == ("01.03.02", "26.01.02", "29.05")
    assert record.nice_classes == (9, 35)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("kipris-empty.xml", []),
        ("kipris-error.xml", ["the file is an error answer of KIPRIS with the code 30"]),
        ("kipris-goods.xml", ["a list of goods names no application, so it belongs to no mark"]),
    ],
)
def test_real_answers_without_a_mark(name: str, reasons: list[str]) -> None:
    rows = read(REAL / name)
    assert [row.reason for row in rows if isinstance(row, Reject)] == reasons
    assert len(rows) == len(reasons)
