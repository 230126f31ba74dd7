from __future__ import annotations

import json

import pytest

from logo_similarity.domain import Logo
from logo_similarity.fields import Record

RECORD = Record(logo_id="EM-1", filename="a/b.jpg", text="Café", vienna_codes=("27.05.01",), year=2019)


def test_the_record_of_a_logo_is_parsed_once() -> None:
    logo = Logo(7, RECORD.logo_id, RECORD.filename, json.dumps(RECORD.metadata()))
    assert logo.record == RECORD
    assert logo.record is logo.record
    assert logo == (7, "EM-1", "a/b.jpg", logo.metadata_json)


@pytest.mark.parametrize(
    "metadata", ["", "{}", "[]", '{"extra": {}}', json.dumps({**RECORD.metadata(), "nice_classes": 9})]
)
def test_damaged_metadata_is_an_error_of_its_reader(metadata: str) -> None:
    logo = Logo(7, "EM-1", "a/b.jpg", metadata)
    with pytest.raises((KeyError, TypeError, ValueError)):
        _ = logo.record
