from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from logo_similarity.domain import Reject
from logo_similarity.fields import Record
from tests.registers import REAL, case_file, read_one, read_text, uspto


def one(folder: Path, text: str) -> Record:
    (row,) = read_text(folder, uspto(text))
    assert isinstance(row, Record)
    return row


def test_a_real_case_file() -> None:
    assert read_one(REAL / "uspto-annual.xml") == Record(
        logo_id="US-70011210",
        filename="70011210",
        text="SAMSON",
        company="SAMSON ROPE TECHNOLOGIES, INC.",
        us_design_codes=("02.01.19", "02.01.32", "03.01.01", "04.01.25"),
        nice_classes=(22,),
        goods="CORDS, LINES, [ TWINES, ] AND ROPES",
        mark_feature="combined",
        status="registered",
        office_status="800",
        office="US",
        registration_number="11210",
        application_date=dt.date(1884, 4, 7),
        registration_date=dt.date(1884, 5, 27),
        transaction_date=dt.date(2018, 7, 7),
        year=1884,
    )


@pytest.mark.parametrize(
    ("code", "feature"), [("2000", "figurative"), ("3T19", "combined"), ("5S16", "combined"), ("0000", None)]
)
def test_the_drawing_code_tells_the_kind_of_mark(tmp_path: Path, code: str, feature: str | None) -> None:
    header = f"<mark-drawing-code>{code}</mark-drawing-code>"
    assert one(tmp_path, case_file("90000001", header=header)).mark_feature == feature


@pytest.mark.parametrize("code", ["1000", "4000", "6000"])
def test_marks_without_an_image_are_rejects(tmp_path: Path, code: str) -> None:
    rows = read_text(tmp_path, uspto(case_file("90000001", header=f"<mark-drawing-code>{code}</mark-drawing-code>")))
    reason = f"a mark with the drawing code '{code}' has no image"
    assert rows == [Reject("register.xml[0]", reason, "US-90000001")]


def owner(entry: int, kind: int, name: str) -> str:
    return (
        f"<case-file-owner><entry-number>{entry}</entry-number><party-type>{kind}</party-type>"
        f"<party-name>{name}</party-name></case-file-owner>"
    )


def test_the_owner_is_the_latest_party(tmp_path: Path) -> None:
    parties = (
        owner(1, 10, "First") + owner(2, 10, "Second") + owner(1, 43, "Old") + owner(2, 43, "New") + owner(9, 30, "R")
    )
    record = one(tmp_path, case_file("90000001", f"<case-file-owners>{parties}</case-file-owners>"))
    assert (record.company, record.applicant) == ("New", "Second")


def test_only_international_codes_are_nice_classes(tmp_path: Path) -> None:
    classes = (
        "<classification><international-code>009</international-code><international-code>000</international-code>"
        "<us-code>021</us-code><primary-code>007</primary-code></classification>"
    )
    record = one(tmp_path, case_file("90000001", f"<classifications>{classes}</classifications>"))
    assert record.nice_classes == (9,)
    assert record.extra == {}


@pytest.mark.parametrize(
    ("code", "status"),
    [("602", "ended"), ("710", "ended"), ("641", "pending"), ("688", "pending"), ("700", "registered"),
     ("708", "registered"), ("900", "expired"), ("622", "unknown"), ("970", "unknown"), ("998", "unknown"),
     *((code, "unknown") for code in ["400", "403", "610", "612", "620", "625", "779", "901", "973"])],
)  # fmt: skip
def test_status_codes(tmp_path: Path, code: str, status: str) -> None:
    record = one(tmp_path, case_file("90000001", header=f"<status-code>{code}</status-code>"))
    assert (record.status, record.office_status) == (status, code)


def test_zeros_are_missing_and_other_dates_are_kept_as_unreadable(tmp_path: Path) -> None:
    header = "<filing-date>00000000</filing-date><registration-date>19111</registration-date>"
    inner = "<registration-number>0000000</registration-number>"
    record = one(tmp_path, case_file("90000001", inner, header, date="00000000"))
    assert (record.application_date, record.registration_number, record.transaction_date) == (None, None, None)
    assert record.registration_date is None
    assert record.extra == {"registration_date_unreadable": "19111"}


def test_a_sparse_record_has_no_values(tmp_path: Path) -> None:
    text = "<case-file><serial-number>90000001</serial-number></case-file>"
    assert one(tmp_path, text) == Record(logo_id="US-90000001", filename="90000001", office="US")


@pytest.mark.parametrize("serial", ["", "9000000", "900000012", "9000000a", "\uff19" + "0" * 7])
def test_a_serial_number_has_eight_digits(tmp_path: Path, serial: str) -> None:
    (row,) = read_text(tmp_path, uspto(case_file(serial)))
    assert isinstance(row, Reject)
    assert "does not have eight digits" in row.reason
