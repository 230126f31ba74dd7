"""Filters over a generated register, compared with a plain evaluation of each record."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from logo_similarity.catalog.postings import Postings, PostingsWriter
from logo_similarity.field_kinds import Operator, words
from logo_similarity.fields import FIELDS, Record, facet_field
from logo_similarity.filters import And, Condition, Filter, Not, Or

# Few values, so that conditions are often met.
codes = st.sampled_from(["01", "01.01", "01.01.01", "01.11", "10.01", "26.01.01", "26.11.01"])
classes = st.integers(1, 4)
names = st.sampled_from(["A", "a b", "A B", "Äb, a!", "東京", "x" * 30])
days = st.dates(dt.date(1999, 12, 30), dt.date(2000, 1, 3))
years = st.integers(1998, 2001)
FACET = facet_field("extra.Colour claim / é")
colours = st.sampled_from(["red", "Red", "light blue", "a,b", "5", "true"])
extras: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.builds(
    lambda value: {"Colour claim / é": value, "Score": 1},
    colours | st.lists(colours, max_size=3) | st.sampled_from([None, 5, 5.0, True, ["red", None, {}, ["blue"]], {}]),
)
NAMES = (*(field.name for field in FIELDS), FACET.name)
records = st.builds(
    Record,
    logo_id=st.just("id"),
    filename=st.just("a.png"),
    text=st.none() | names | st.text(min_size=1, max_size=5),
    company=st.none() | names,
    vienna_codes=st.sets(codes, max_size=3).map(lambda items: tuple(sorted(items))),
    nice_classes=st.sets(classes, max_size=3).map(lambda items: tuple(sorted(items))),
    status=st.none() | st.sampled_from(["registered", "ended"]),
    office=st.none() | st.sampled_from(["EM", "US"]),
    application_date=st.none() | days,
    year=st.none() | years,
    extra=extras,
)


def ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    ends = st.none() | values
    return st.tuples(ends, ends).filter(lambda pair: None in pair or pair[0] <= pair[1])


conditions = st.one_of(
    st.builds(lambda v: Filter.where(vienna_codes=v), codes | st.lists(codes, min_size=1, max_size=3)),
    st.builds(lambda v: Filter.where(nice_classes=v), classes | ranges(classes)),
    st.builds(lambda v: Filter.where(company=v), names),
    st.builds(lambda v: Filter.words(company=v), names | st.lists(names, min_size=1, max_size=2)),
    st.builds(lambda v: Filter.where(text=v), names),
    st.builds(lambda v: Filter.where(status=v), st.sampled_from(["registered", "ended", "unknown"])),
    st.builds(lambda v: Filter.where(office=v), st.just(["EM", "US"]) | st.just("EM")),
    st.builds(lambda v: Filter.where(application_date=v), days | ranges(days)),
    st.builds(lambda v: Filter.where(year=v), years | ranges(years)),
    st.builds(lambda v: Filter.where(**{FACET.name: v}), colours | st.lists(colours, min_size=1, max_size=3)),
)
filters = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=6,
)


def passes(record: Record, condition: Filter) -> bool:
    """The meaning of a filter, written again without keys and posting lists."""
    match condition:
        case And(parts):
            return all(passes(record, part) for part in parts)
        case Or(parts):
            return any(passes(record, part) for part in parts)
        case Not(part):
            return not passes(record, part)
        case Condition(field, operator, operands):
            return any(meets(item, operator, operands) for item in items_of(record, field))
    raise AssertionError(condition)


def items_of(record: Record, name: str) -> set[Any]:
    """The single values of a field."""
    if name == FACET.name:
        value = record.extra.get("Colour claim / é")
        texts: dict[Any, str] = {True: "true", 5: "5"}
        items = value if isinstance(value, list) else [value]
        return {texts.get(item, item) for item in items if isinstance(item, str | float | int)}
    value = getattr(record, name)
    return set(value if isinstance(value, tuple) else () if value is None else (value,))


def meets(item: Any, operator: Operator, operands: tuple[Any, ...]) -> bool:
    if operator is Operator.BETWEEN:
        first, last = operands
        return (first is None or first <= item) and (last is None or item <= last)
    if operator is Operator.WORDS:
        return any(set(text.split()) <= set(words(item)) for text in operands)
    levels = item.split(".") if isinstance(item, str) else []  # no name or keyword here has a "."
    return item in operands or any(".".join(levels[:n]) in operands for n in range(1, len(levels)))


def write(version: Path, register: list[Record]) -> Postings:
    writer = PostingsWriter([FACET.name])
    for record in register:
        writer.add(record)
    writer.write(version, NAMES)
    return Postings(version, NAMES, len(register))


@given(st.lists(records, min_size=1, max_size=12), st.lists(filters, min_size=1, max_size=4))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_the_rows_that_pass_are_those_whose_records_pass(register: list[Record], asked: list[Filter]) -> None:
    with tempfile.TemporaryDirectory() as version:
        postings = write(Path(version), register)
        for one in asked:
            expected = [row for row, record in enumerate(register) if passes(record, one)]
            assert np.flatnonzero(postings.select(one)).tolist() == expected


def expected_counts(register: list[Record], name: str, under: str | None) -> dict[Any, int]:
    """The number of records with each value, or with each code one level below `under` or a code below that."""
    counts: dict[Any, int] = {}
    for record in register:
        items = items_of(record, name)
        if name == "vienna_codes":
            level = 1 if under is None else under.count(".") + 2
            prefix = "" if under is None else under + "."
            items = {
                ".".join(code.split(".")[:level])
                for code in items
                if code.startswith(prefix) and code.count(".") >= level - 1
            }
        for item in items:
            counts[item] = counts.get(item, 0) + 1
    return counts


@given(
    st.lists(records, min_size=1, max_size=12),
    st.none() | filters,
    st.none() | st.sampled_from(["01", "01.01", "26", "26.01", "99"]),
)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_the_logos_that_pass_are_counted_by_value(
    register: list[Record], condition: Filter | None, under: str | None
) -> None:
    with tempfile.TemporaryDirectory() as version:
        postings = write(Path(version), register)
        mask = None if condition is None else postings.select(condition)
        passing = [record for record in register if condition is None or passes(record, condition)]
        for field in (*FIELDS, FACET):
            if field.kind.facet:
                parent = under if field.name == "vienna_codes" else None
                counted = postings.count_values(field, mask, under=parent, most=1000)
                assert dict(counted) == expected_counts(passing, field.name, parent)
                assert [count for _, count in counted] == sorted((count for _, count in counted), reverse=True)


@given(filters)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_json_keeps_the_filter(one: Filter) -> None:
    assert Filter.from_json(one.to_json()) == one
    assert hash(Filter.from_json(one.to_json())) == hash(one)


@given(st.text(max_size=20))
@settings(derandomize=True, deadline=None, max_examples=500)
def test_words_are_normalised_once(text: str) -> None:
    assert words(" ".join(words(text))) == words(text)
