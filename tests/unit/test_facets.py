from __future__ import annotations

import datetime as dt

import pytest

from logo_similarity.errors import InvalidRequestError
from logo_similarity.facets import Keywords, facet_name
from logo_similarity.field_kinds import DEFAULT_NOTATION, UnreadableError
from logo_similarity.filters import Filter
from logo_similarity.reports.phrases import label

KIND = Keywords()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ()),
        ("  ", ()),
        ("light blue", ("light blue",)),
        ("red; light  blue,Red|red", ("Red", "light  blue", "red")),
        ("red\nblue;;", ("blue", "red")),
        ("['red', \"light blue\"]", ("light blue", "red")),
        ("[]", ()),
        ("(a) b (c)", ("(a) b (c)",)),
        (["red", "a,b", None, 5], ("5", "a,b", "red")),
        (5.0, ("5",)),
        (0.5, ("0.5",)),
        (True, ("true",)),
        (dt.date(2020, 1, 2), ("2020-01-02",)),
        ("e\u0301", ("é",)),
    ],
)
def test_values_are_read(value: object, expected: tuple[str, ...]) -> None:
    assert KIND.parse(value, DEFAULT_NOTATION) == expected
    assert KIND.from_json(KIND.to_json(expected)) == expected


def test_one_value_is_a_text_and_several_are_an_array() -> None:
    assert [KIND.to_json(value) for value in ((), ("a",), ("a", "b"))] == [None, "a", ["a", "b"]]


def test_what_is_not_a_value_is_unreadable() -> None:
    with pytest.raises(UnreadableError) as error:
        KIND.parse(["red", {"x": 1}, ["y"]], DEFAULT_NOTATION)
    assert (error.value.readable, error.value.unreadable) == (("red",), [{"x": 1}, ["y"]])


def test_the_operand_of_a_filter_is_not_split() -> None:
    one = Filter.where(**{"extra.colour": ["red, dark", 5]})
    assert one.to_json() == {"field": "extra.colour", "is": ["5", "red, dark"]}
    assert Filter.from_json(one.to_json()) == one
    assert Filter.parse([("extra.colour", "-red, 5")]) == ~Filter.where(**{"extra.colour": ["red", "5"]})
    assert Filter.where(**{"extra.e\u0301": "x"}) == Filter.where(**{"extra.é": "x"})
    operands: tuple[object, ...] = ({"x": 1}, None, [], "")
    for wrong in operands:
        with pytest.raises(InvalidRequestError):
            Filter.where(**{"extra.colour": wrong})
    with pytest.raises(InvalidRequestError, match="has no operator 'between'"):
        Filter.from_json({"field": "extra.colour", "between": [1, 2]})


@pytest.mark.parametrize("name", ["", " x", "x ", "a=b", 'a"b', "a\\b", "a\nb", "a\x00", "x" * 65, "\ud800"])
def test_names_that_no_facet_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a facet"):
        facet_name(name)
    with pytest.raises(InvalidRequestError, match="cannot be the name of a facet"):
        Filter.where(**{f"extra.{name}": "x"})


def test_names_for_people() -> None:
    assert label("extra.Colour_claim") == "Colour_claim"
    assert facet_name("x" * 64) == "x" * 64
