from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from logo_similarity.errors import InvalidRequestError
from logo_similarity.field_kinds import Operator
from logo_similarity.fields import FIELDS
from logo_similarity.filters import DEEPEST, MOST_CONDITIONS, MOST_VALUES, And, Condition, Filter, Not, Or

STATUS, OFFICE = Filter.where(status="ended"), Filter.where(office="EM")


@pytest.mark.parametrize(
    ("values", "condition"),
    [
        ({"vienna_codes": "26.1"}, Condition("vienna_codes", Operator.IS, ("26.01",))),
        ({"vienna_codes": ["27.5.1", "26"]}, Condition("vienna_codes", Operator.IS, ("26", "27.05.01"))),
        ({"nice_classes": [42, "9", 9]}, Condition("nice_classes", Operator.IS, (9, 42))),
        ({"nice_classes": (35, 45)}, Condition("nice_classes", Operator.BETWEEN, (35, 45))),
        ({"status": " ended "}, Condition("status", Operator.IS, ("ended",))),
        ({"company": ["B, C", "A"]}, Condition("company", Operator.IS, ("A", "B, C"))),
        ({"year": "2019"}, Condition("year", Operator.IS, (2019,))),
        ({"year": (2010, None)}, Condition("year", Operator.BETWEEN, (2010, None))),
        ({"year": (None, None)}, Condition("year", Operator.BETWEEN, (None, None))),
        (
            {"application_date": ("2010-01-01", dt.date(2011, 2, 3))},
            Condition("application_date", Operator.BETWEEN, (dt.date(2010, 1, 1), dt.date(2011, 2, 3))),
        ),
        ({"application_date": "2010-01-01"}, Condition("application_date", Operator.IS, (dt.date(2010, 1, 1),))),
        ({"text": "Café  au-LAIT!"}, Condition("text", Operator.WORDS, ("cafe au lait",))),
    ],
)
def test_values_are_normalised_like_those_of_the_register(values: dict[str, Any], condition: Condition) -> None:
    assert Filter.where(**values) == condition


def test_words_of_a_name_and_of_a_text() -> None:
    assert Filter.words(company=["Zürich", "AG Bern"]) == Condition("company", Operator.WORDS, ("ag bern", "zurich"))
    assert Filter.words(company="a", text="b") == And((Filter.words(company="a"), Filter.words(text="b")))


def test_several_conditions_must_all_be_met() -> None:
    assert Filter.where(status="ended", office="EM") == And((STATUS, OFFICE))
    assert Filter.where(status="ended", office="EM") == STATUS & OFFICE


def test_combinations() -> None:
    year = Filter.where(year=2019)
    assert STATUS & OFFICE & year == And((STATUS, OFFICE, year))
    assert STATUS | OFFICE | year == Or((STATUS, OFFICE, year))
    assert STATUS & OFFICE | year == Or((And((STATUS, OFFICE)), year))
    assert Not(STATUS) == ~STATUS
    assert STATUS & OFFICE != STATUS | OFFICE
    assert len({STATUS & OFFICE, And((STATUS, OFFICE)), STATUS | OFFICE}) == 2
    assert [condition.field for condition in (~(STATUS & OFFICE) | year).conditions()] == ["status", "office", "year"]


def test_a_filter_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        STATUS.field = "office"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": "red"}, r"no field 'colour'; .*text, company, .*vienna_codes"),
        ({"status": ("a", "b")}, "status has no operator 'between'; its operators are is"),
        ({"vienna_codes": "bird"}, r"vienna_codes is: \['bird'\] is not a valid value; '26.01.01' is one"),
        ({"nice_classes": [9, 46]}, r"nice_classes is: \[46\] is not a valid value"),
        ({"nice_classes": []}, "nice_classes is: needs at least one value"),
        ({"status": None}, "status is: None is not a valid value; 'registered' is one"),
        ({"status": [" ", "ended"]}, "status is: "),
        ({"year": 3000}, "year is: 3000 is not a valid value; 2023 is one"),
        ({"year": (2019,)}, "year between: needs two values"),
        ({"year": (2019, 2010)}, "year between: the first value, 2019, is after the last, 2010"),
        ({"year": ([2019, 2020], None)}, "year between: each end of a range is one value"),
        ({"nice_classes": ("", 9)}, "nice_classes between: each end of a range is one value"),
        ({"application_date": ("soon", None)}, "application_date between: 'soon' is not a valid value; '2023-01-01'"),
        ({"text": "!"}, "text words: needs at least one word"),
        ({"text": ["a", "-"]}, "text words: needs at least one word"),
        ({"text": []}, "text words: needs at least one word"),
        ({"company": ["x" * 500, {"y": 1}]}, "company is: {'y': 1} is not a valid value"),
        ({}, "a filter needs at least one condition"),
    ],
)
def test_what_is_not_valid_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        Filter.where(**values)
    assert len(str(caught.value)) < 400


def test_a_field_without_words_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="status has no operator 'words'; its operators are is"):
        Filter.words(status="ended")


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.name))
def test_every_field_has_its_operators_without_further_code(field: Any) -> None:
    """The example of the field is an operand of each of them."""
    assert field.kind.operators
    for operator in field.kind.operators:
        example = field.kind.to_json(field.kind.empty if operator is Operator.BETWEEN else field.example)
        operand = [example or None] * 2 if operator is Operator.BETWEEN else example
        tree = {"field": field.name, operator.value: operand}
        assert [condition.kind for condition in Filter.from_json(tree).conditions()] == [field.kind]


EVERYTHING = (
    Filter.where(vienna_codes=["26", "27.5"], nice_classes=(1, 9), year=2019)
    & ~(Filter.words(company=["a b", "c"]) | Filter.where(application_date=(None, "2020-01-31")))
    & ~Filter.where(text="x")
)


def test_json_of_a_filter() -> None:
    assert EVERYTHING.to_json() == {
        "and": [
            {"field": "vienna_codes", "is": ["26", "27.05"]},
            {"field": "nice_classes", "between": [1, 9]},
            {"field": "year", "is": [2019]},
            {
                "not": {
                    "or": [
                        {"field": "company", "words": ["a b", "c"]},
                        {"field": "application_date", "between": [None, "2020-01-31"]},
                    ]
                }
            },
            {"not": {"field": "text", "words": ["x"]}},
        ]
    }


def test_a_filter_comes_back_from_its_json() -> None:
    assert Filter.from_json(json.loads(json.dumps(EVERYTHING.to_json()))) == EVERYTHING
    assert Filter.from_json({"field": "year", "is": 2019}) == Filter.where(year=2019)


@pytest.mark.parametrize(
    "tree",
    [
        None, 7, "status", [], {}, {"and": []}, {"or": []}, {"and": {}}, {"not": None}, {"not": []},
        {"field": "status"}, {"field": 7, "is": "x"}, {"is": "x"}, {"field": "status", "is": "x", "words": "x"},
        {"and": [{"field": "status", "is": "x"}], "or": [{"field": "status", "is": "x"}]},
        {"and": [{"field": "status", "is": "x"}, {}]}, {"xor": [{"field": "status", "is": "x"}]},
    ],
)  # fmt: skip
def test_json_that_is_no_filter(tree: Any) -> None:
    with pytest.raises(InvalidRequestError, match="a part of the filter is not"):
        Filter.from_json(tree)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"field": "colour", "is": "red"}, "no field 'colour'"),
        ({"field": "status", "between": ["a", "b"]}, "status has no operator 'between'"),
        ({"field": "status", "like": "a"}, "status has no operator 'like'"),
        ({"field": "year", "between": 2019}, "needs two values"),
        ({"field": "year", "is": {"x": 1}}, "not a valid value"),
        ({"field": "nice_classes", "is": [[9]]}, "not a valid value"),
    ],
)
def test_json_with_conditions_that_are_not_valid(tree: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Filter.from_json(tree)


def nested(depth: int) -> dict[str, Any]:
    """A filter of this many levels."""
    tree: dict[str, Any] = {"field": "status", "is": "x"}
    for _ in range(depth - 1):
        tree = {"not": tree}
    return tree


def test_json_is_bounded() -> None:
    assert Filter.from_json(nested(DEEPEST))
    for depth in (DEEPEST + 1, 900):
        with pytest.raises(InvalidRequestError, match="nested more than 8 levels deep"):
            Filter.from_json(nested(depth))
    assert Filter.from_json({"and": [nested(1)] * MOST_CONDITIONS})
    with pytest.raises(InvalidRequestError, match=f"has {MOST_CONDITIONS + 1} conditions"):
        Filter.from_json({"and": [nested(1)] * (MOST_CONDITIONS + 1)})
    many: list[Any] = [str(number) for number in range(MOST_VALUES)]
    assert Filter.from_json({"field": "company", "is": many})
    with pytest.raises(InvalidRequestError, match=f"has 1 conditions with {MOST_VALUES + 1} values"):
        Filter.from_json({"field": "company", "is": [*many, "x"]})
    with pytest.raises(InvalidRequestError, match=f"has 1 conditions with {MOST_VALUES + 1} values"):
        Filter.from_json({"field": "text", "words": " ".join(["a"] * (MOST_VALUES + 1))})


def test_a_long_chain_is_not_deep() -> None:
    chain = Filter.where(year=1900)
    for year in range(1901, 1930):
        chain |= Filter.where(year=year)
    assert Filter.from_json(chain.to_json()) == chain


@pytest.mark.parametrize(
    ("name", "text", "condition"),
    [
        ("vienna", "26.1, 3", Filter.where(vienna_codes=["3", "26.01"])),
        ("vienna_codes", "26.1", Filter.where(vienna_codes="26.01")),
        ("vienna", "-26.1,3", ~Filter.where(vienna_codes=["3", "26.01"])),
        ("nice", "9", Filter.where(nice_classes=9)),
        ("nice", "1..9", Filter.where(nice_classes=(1, 9))),
        ("nice", "-1 .. 9", ~Filter.where(nice_classes=(1, 9))),
        ("year", "2010..", Filter.where(year=(2010, None))),
        ("year", "..2010", Filter.where(year=(None, 2010))),
        ("year", "..", Filter.where(year=(None, None))),
        ("application_date", "2010-01-01..2010-02-01", Filter.where(application_date=("2010-01-01", "2010-02-01"))),
        ("status", " registered , ended ", Filter.where(status=["registered", "ended"])),
        ("company", "Example, Bakery..", Filter.words(company="example bakery")),
        ("text", "-sun", ~Filter.where(text="sun")),
    ],
)
def test_a_text_is_a_condition(name: str, text: str, condition: Filter) -> None:
    assert Filter.parse([(name, text)]) == condition


def test_all_texts_and_the_tree_must_be_passed() -> None:
    assert Filter.parse([]) is None
    assert Filter.parse([("status", "ended"), ("office", "EM")], {"field": "year", "is": 2019}) == And(
        (STATUS, OFFICE, Filter.where(year=2019))
    )
    assert Filter.parse([], {"field": "status", "is": "ended"}) == STATUS


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("colour", "red", "no field 'colour'"),
        ("vienna", "", "vienna_codes is: "),
        ("vienna", "--26", "vienna_codes is: "),
        ("status", "a,,b", "status is: None is not a valid value"),
        ("status", "a..b,", "status is: None is not a valid value"),
        ("year", "2019..2010", "year between: the first value, 2019, is after the last, 2010"),
        ("text", "-", "text words: None is not a valid value"),
        ("text", "-!", "text words: needs at least one word"),
    ],
)
def test_a_text_that_is_not_a_condition_is_named(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Filter.parse([(name, text)])
