from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from logo_similarity.field_kinds import DEFAULT_NOTATION
from logo_similarity.fields import FIELDS, Record, RegisterField, select_fields

EXAMPLES = {field.name: field.example for field in FIELDS}
RECORD = Record(logo_id="EM-1", filename="a/b.jpg", extra={"pages": 3}, **EXAMPLES)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.name))
def test_the_example_of_a_field_is_a_value_of_its_kind(field: RegisterField[Any]) -> None:
    json_value = json.loads(json.dumps(field.kind.to_json(field.example)))
    assert field.kind.from_json(json_value) == field.example
    assert field.kind.parse(json_value, DEFAULT_NOTATION) == field.example
    assert field.to_text(field.example)
    assert getattr(Record(logo_id="1", filename="a.jpg"), field.name) == field.kind.empty


def test_every_attribute_but_the_id_the_filename_the_rest_and_the_position_is_a_field() -> None:
    attributes = [field.name for field in dataclasses.fields(Record)]
    assert attributes == ["logo_id", "filename", *EXAMPLES, "extra", "where"]


def test_json_has_every_field_in_order() -> None:
    metadata = json.loads(json.dumps(RECORD.metadata()))
    assert list(metadata) == [*EXAMPLES, "extra"]
    assert metadata["application_date"] == "2023-01-01"
    assert metadata["nice_classes"] == [9, 42]
    assert Record.from_json({"logo_id": "EM-1", "filename": "a/b.jpg", **metadata}) == RECORD


@pytest.mark.parametrize("name", ["logo_id", "filename", *EXAMPLES, "extra"])
def test_json_without_a_field_is_damaged(name: str) -> None:
    values: dict[str, Any] = {"logo_id": "EM-1", "filename": "a/b.jpg", **RECORD.metadata()}
    del values[name]
    with pytest.raises(KeyError, match=name):
        Record.from_json(values)


@pytest.mark.parametrize(
    ("name", "value"), [("vienna_codes", 7), ("application_date", "soon"), ("application_date", 7)]
)
def test_json_of_another_type_is_damaged(name: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Record.from_json({"logo_id": "EM-1", "filename": "a/b.jpg", **RECORD.metadata(), name: value})


def test_records_can_be_keys() -> None:
    again = dataclasses.replace(RECORD, extra={"pages": 3})
    assert len({RECORD, again, dataclasses.replace(RECORD, year=1996)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECORD.year = 1996  # type: ignore[misc]


def test_the_year_is_derived_from_the_date() -> None:
    (year,) = select_fields(["year"])
    assert year.derive is not None
    assert year.derive({**EXAMPLES, "application_date": dt.date(1996, 5, 1)}) == 1996
    assert year.derive({**EXAMPLES, "application_date": None}) is None


def test_the_applicant_is_the_owner_if_there_is_no_other() -> None:
    (company,) = select_fields(["company"])
    assert company.derive is not None
    assert company.derive({**EXAMPLES, "company": None, "applicant": "A"}) == "A"
    assert company.derive({**EXAMPLES, "company": "B", "applicant": "A"}) == "B"


def test_fields_are_selected_in_their_own_order() -> None:
    assert [field.name for field in select_fields(("year", "text", "unknown"))] == ["text", "year"]
