"""Which partitions of a collection a search needs."""

from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.fields import Record
from logo_similarity.filters import Filter
from logo_similarity.milvus.collections import OFFICE, SHARED
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.expression import offices_of
from logo_similarity.milvus.fields import OFFICE_FIELD, filter_fields
from logo_similarity.milvus.source import MilvusIndex, logo_entity
from logo_similarity.search.candidates import IdSet

EM, US = (OFFICE_FIELD.value_of(Record(logo_id="", filename="", office=office)) for office in ("EM", "US"))
OTHER = Filter.where(status="ended")


@pytest.mark.parametrize(
    ("condition", "offices"),
    [
        (Filter.where(office="EM"), [EM]),
        (Filter.where(office=["EM", "US"]) & OTHER, sorted((EM, US))),
        (OTHER & (OTHER & Filter.where(office="US")), [US]),
        (Filter.where(office="EM") | OTHER, None),
        (~Filter.where(office="EM"), None),
        (OTHER, None),
    ],
)
def test_the_offices_of_all_logos_that_pass(condition: Filter, offices: list[int] | None) -> None:
    assert offices_of(condition) == offices


def test_a_search_names_the_partitions_unless_other_logos_belong_to_the_set() -> None:
    fields = frozenset(field.name for field in filter_fields(["office"]))
    index = MilvusIndex(IndexServer("http://127.0.0.1:1"), "logos", "hnsw", 10, 4, fields)
    mask, condition = np.arange(10) < 5, Filter.where(office="EM")
    expression = index._expression(IdSet.of(mask, condition))
    assert expression.startswith(f"({OFFICE} in [{EM}, {SHARED}] and (")
    assert index._expression(IdSet.of(mask)) == ""
    besides = index._expression(IdSet.of(mask, condition, np.array([2, 7])))
    assert besides.startswith("(id in [2] or ")  # 7 is not allowed
    assert f"{OFFICE} in" not in besides.replace("values_office", "")


def test_an_image_of_several_logos_is_in_a_partition_of_its_own() -> None:
    record = Record(logo_id="", filename="", office="US")
    embedding = np.ones(4, np.float32)
    one, several = (logo_entity(0, embedding, None, record, rows, ()) for rows in (1, 2))
    assert (one[OFFICE], several[OFFICE]) == (US, SHARED)
