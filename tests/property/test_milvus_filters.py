"""Filters as expressions of Milvus: the server and the posting lists find the same logos."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymilvus import DataType, MilvusClient

from logo_similarity.catalog.postings import Postings
from logo_similarity.field_kinds import JsonValue
from logo_similarity.fields import Record
from logo_similarity.filters import Filter
from logo_similarity.milvus.expression import expression_of
from logo_similarity.milvus.fields import MORE, MOST_KEYS, FilterField, filter_fields
from tests.milvus import MilvusServer
from tests.property.test_filters_property import FACET, NAMES, filters, write

COLLECTION = "filtered"
SAFE = re.compile(r"[a-z0-9_ ()\[\],<>=-]*")
FIELDS = tuple(field for field in filter_fields(NAMES) if not field.name.endswith(("us_design_codes", "goods")))
"""Those of the collection: conditions on others are met by no logo."""


def random_record(chosen: random.Random) -> Record:
    names = ["A", "a b", "A B", "Äb, a!", "東京", "x" * 30, "", "'\" or 1 == 1 \\", "a\nb"]
    codes = ["01", "01.01", "01.01.01", "01.11", "10.01", "26.01.01", "26.11.01"]
    facets: list[JsonValue] = ["red", "Red", "light blue", "a,b", "5", ["red", "5"], None]
    date = chosen.choice([None, *(dt.date(2000, 1, 1) + dt.timedelta(days=day) for day in range(-2, 3))])
    return Record(
        logo_id="id",
        filename="a.png",
        text=chosen.choice(names) or None,
        company=chosen.choice(names) or None,
        vienna_codes=tuple(sorted(chosen.sample(codes, chosen.randrange(4)))),
        nice_classes=tuple(sorted(chosen.sample(range(1, 5), chosen.randrange(4)))),
        status=chosen.choice(["registered", "ended", None]),
        office=chosen.choice(["EM", "US", None]),
        application_date=date,
        year=chosen.choice([None, 1998, 1999, 2000, 2001]),
        extra={"Colour claim / é": chosen.choice(facets)},
    )


def random_register() -> list[Record]:
    chosen = random.Random(0)
    records = [random_record(chosen) for _ in range(300)]
    return [*records, Record(logo_id="id", filename="a.png", text=" ".join(f"w{n}" for n in range(MOST_KEYS + 1)))]


@dataclass(frozen=True, slots=True)
class Compared:
    """The same register in posting lists and in a collection."""

    postings: Postings
    client: MilvusClient

    def server_ids(self, condition: Filter) -> list[int]:
        expression = expression_of(condition, {field.name for field in FIELDS})
        found = self.client.query(
            COLLECTION, filter=expression, output_fields=["id"], consistency_level="Eventually", timeout=10
        )
        return sorted(int(row["id"]) for row in found)

    def local_ids(self, condition: Filter) -> list[int]:
        ids: list[int] = np.flatnonzero(self.postings.select(condition)).tolist()
        return ids


ON_ONE_SERVER = pytest.mark.xdist_group("milvus")


@pytest.fixture(
    scope="module", params=[pytest.param("server", marks=ON_ONE_SERVER), pytest.param("lite", marks=ON_ONE_SERVER)]
)
def compared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    if request.param == "lite":
        client = MilvusClient(request.getfixturevalue("milvus_lite"), dedicated=True)
    else:
        server: MilvusServer = request.getfixturevalue("milvus_server")
        client = server.client(server.new_database())
    register = random_register()
    with contextlib.closing(client):
        fill(client, register)
        yield Compared(write(Path(tmp_path_factory.mktemp("version")), register), client)


def fill(client: MilvusClient, register: list[Record]) -> None:
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=2)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("embedding", index_type="FLAT", metric_type="IP")
    for field in FIELDS:
        field.add_to(schema)
        field.add_index(indexes, client.get_server_version())
    client.create_collection(COLLECTION, schema=schema)
    client.insert(
        COLLECTION,
        [
            {"id": row, "embedding": [1.0, 0.0], **{field.name: field.value_of(record) for field in FIELDS}}
            for row, record in enumerate(register)
        ],
    )
    client.create_index(COLLECTION, indexes)
    client.load_collection(COLLECTION)
    assert len(client.query(COLLECTION, filter="id >= 0", output_fields=["id"], consistency_level="Strong")) == 301


@given(condition=filters)
@example(condition=Filter.where(goods="a") | Filter.where(us_design_codes="02.01.19"))
@example(condition=~Filter.where(goods="a") & ~Filter.where(company="'\" or 1 == 1 \\"))
@example(condition=Filter.where(application_date=(None, None)) & ~Filter.where(nice_classes=(None, 2)))
@settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_server_finds_the_logos_that_pass(compared: Compared, condition: Filter) -> None:
    last = 300  # the words of its text are not complete
    found, passing = compared.server_ids(condition), compared.local_ids(condition)
    assert set(found) - {last} == set(passing) - {last}
    assert last in found or last not in passing


def test_a_list_that_is_not_complete_meets_every_condition_on_it(compared: Compared) -> None:
    for word in ("w0", "w511", "w512", "other"):
        assert 300 in compared.server_ids(Filter.where(text=word))
        assert 300 in compared.server_ids(~Filter.where(text=word))
    assert 300 not in compared.server_ids(Filter.where(company="w0"))


@given(condition=filters, text=st.text(min_size=1, max_size=50).filter(str.strip))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_no_text_of_a_filter_is_in_its_expression(condition: Filter, text: str) -> None:
    names = {field.name for field in FIELDS}
    for one in (condition, Filter.where(company="x" + text), Filter.where(**{FACET.name: "x" + text})):
        assert SAFE.fullmatch(expression_of(one, names))
        assert SAFE.fullmatch(expression_of(~one, names))


def test_the_values_of_a_logo() -> None:
    record = Record(
        logo_id="id",
        filename="a.png",
        text=" ".join(f"w{n}" for n in range(MOST_KEYS + 1)),
        vienna_codes=("26.01.03",),
        nice_classes=(1, 45),
        application_date=dt.date(2019, 2, 3),
        year=2019,
    )
    values = {field.name: field.value_of(record) for field in filter_fields(NAMES)}
    assert (values["values_application_date"], values["values_year"], values["values_nice_classes"]) == (
        20190203, 219, [0, 44],
    )  # fmt: skip
    assert values["values_registration_date"] == values["values_status"] == -1
    assert len(as_list(values["values_vienna_codes"])) == 3
    assert len(as_list(values["words_text"])) == MOST_KEYS
    assert as_list(values["words_text"])[-1] == MORE
    assert values["words_company"] == []


def as_list(value: int | list[int]) -> list[int]:
    assert isinstance(value, list)
    return value


def test_the_names_of_fields_are_those_that_milvus_allows() -> None:
    fields = filter_fields(NAMES)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,60}", field.name) for field in fields)
    assert len({field.name for field in fields}) == len(fields) <= 40
    assert FilterField(FACET, "values").is_list
