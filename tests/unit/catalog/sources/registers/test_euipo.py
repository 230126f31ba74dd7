from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from logo_similarity.catalog.sources.registers import euipo
from logo_similarity.domain import Reject
from logo_similarity.fields import Record
from tests.registers import Row, read_text

DETAIL: dict[str, Any] = {
    "applicationNumber": "018123456",
    "applicationDate": "2019-09-10",
    "markFeature": "FIGURATIVE",
    "wordMarkSpecification": {"verbalElement": "Sonne"},
    "markImage": {"imageFormat": "JPG", "viennaClasses": ["01.03.02", "26.01"]},
    "applicants": [{"office": "EM", "identifier": "1", "name": "A GmbH"}, {"name": "B GmbH"}],
    "registrationDate": "2020-01-02",
    "expiryDate": "2029-09-10",
    "status": "CANCELLATION_PENDING",
    "goodsAndServices": [
        {
            "classNumber": 12,
            "description": [{"language": "de", "terms": ["Autos"]}, {"language": "en", "terms": ["Cars", "Boats"]}],
        }
    ],
}


def read(folder: Path, value: object) -> list[Row]:
    return read_text(folder, json.dumps(value), "answer.json")


def test_a_detailed_record(tmp_path: Path) -> None:
    (record,) = read(tmp_path, DETAIL)
    assert record == Record(
        logo_id="EM-018123456",
        filename="018123456",
        text="Sonne",
        company="A GmbH; B GmbH",
        applicant="A GmbH; B GmbH",
        vienna_codes=("01.03.02", "26.01"),
        nice_classes=(12,),
        goods="Cars; Boats",
        mark_feature="figurative",
        status="registered",
        office_status="CANCELLATION_PENDING",
        office="EM",
        application_date=dt.date(2019, 9, 10),
        registration_date=dt.date(2020, 1, 2),
        expiry_date=dt.date(2029, 9, 10),
        year=2019,
    )


def test_a_page_of_results(tmp_path: Path) -> None:
    item = {"applicationNumber": "W01234567A", "niceClasses": [9, 42], "status": "NEW", "markFeature": "SHAPE_3D"}
    first, second = read(tmp_path, {"size": 10, "trademarks": [item, {"applicationNumber": "1"}], "page": 0})
    assert isinstance(first, Record)
    assert (first.logo_id, first.nice_classes, first.mark_feature) == ("EM-W01234567A", (9, 42), "other")
    assert (first.status, first.office_status) == ("unknown", "NEW")
    assert second == Reject("answer.json[1]", "the applicationNumber '1' is not one of EUIPO")


def test_an_array_of_records(tmp_path: Path) -> None:
    rows = read(tmp_path, [DETAIL, 7])
    assert isinstance(rows[0], Record)
    assert rows[1:] == [Reject("answer.json[1]", "7 is not an object")]


@pytest.mark.parametrize(
    "value",
    [
        {**DETAIL, "markImage": 1, "goodsAndServices": [3, {"description": [4]}], "applicants": [None]},
        {**DETAIL, "wordMarkSpecification": [], "status": {}, "markFeature": [], "goodsAndServices": {}},
    ],
)
def test_values_of_other_types_cost_only_their_fields(tmp_path: Path, value: object) -> None:
    (row,) = read(tmp_path, value)
    assert isinstance(row, Record)
    assert row.application_date == dt.date(2019, 9, 10)


def test_a_document_that_breaks_off(tmp_path: Path) -> None:
    rows = read_text(tmp_path, json.dumps(DETAIL)[:-5], "answer.json")
    assert rows == [Reject("answer.json", "the file is not valid JSON")]


def test_a_document_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(euipo, "LARGEST_JSON", 100)
    (row,) = read(tmp_path, DETAIL)
    assert isinstance(row, Reject)
    assert "larger than" in row.reason


def test_other_json_is_not_of_euipo(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"inner": {"applicationNumber": "018123456"}})
    assert row == Reject("answer.json", "the file has none of the known formats of registers")
