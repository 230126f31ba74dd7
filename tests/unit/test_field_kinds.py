from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from logo_similarity.field_kinds import (
    DEFAULT_NOTATION,
    LONGEST_KEY,
    LONGEST_TEXT,
    Codes,
    Date,
    FreeText,
    Keyword,
    Kind,
    Name,
    Notation,
    Number,
    Numbers,
    UnreadableError,
    as_json,
    canonical_vienna_code,
    clean_text,
    words,
)

VIENNA_CODES = Codes(item="code", canonical=canonical_vienna_code)
SMALL = Number(least=1, most=9)
SMALLS = Numbers(item="number", least=1, most=9)
KINDS: tuple[Kind[Any], ...] = (FreeText(), Name(), Keyword(), Date(), SMALL, VIENNA_CODES, SMALLS)


def nested(depth: int) -> object:
    value: object = "inside"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("value", [None, "", " \n", float("nan")])
def test_missing_values(kind: Kind[Any], value: object) -> None:
    assert kind.parse(value, DEFAULT_NOTATION) == kind.empty
    assert kind.to_text(kind.empty) == ""
    assert kind.from_json(kind.to_json(kind.empty)) == kind.empty


@pytest.mark.parametrize(
    ("kind", "value", "parsed", "json_value", "text"),
    [
        (FreeText(), " A  B\nC ", "A  B\nC", "A  B\nC", "A B C"),
        (Name(), "x" * 200, "x" * 200, "x" * 200, "x" * 200),
        (Keyword(), "registered", "registered", "registered", "registered"),
        (Date(), "2019-02-28", dt.date(2019, 2, 28), "2019-02-28", "2019-02-28"),
        (Date(), dt.datetime(2019, 2, 28, 23, 59, tzinfo=dt.UTC), dt.date(2019, 2, 28), "2019-02-28", "2019-02-28"),
        (SMALL, "7", 7, 7, "7"),
        (VIENNA_CODES, "27.5.1|1.1; 27.5.01", ("01.01", "27.05.01"), ["01.01", "27.05.01"], "01.01 27.05.01"),
        (SMALLS, [9, "2", 9.0], (2, 9), [2, 9], "2 9"),
        (SMALLS, "Class 9", (9,), [9], "9"),
        (SMALLS, "Cl. 9, Cl. 3", (3, 9), [3, 9], "3 9"),
        (SMALLS, "IC 005, IC007", (5, 7), [5, 7], "5 7"),
        (SMALLS, "9/3", (3, 9), [3, 9], "3 9"),
        (SMALLS, "7 - 9; 2", (2, 7, 8, 9), [2, 7, 8, 9], "2 7 8 9"),
        (SMALLS, "Klassen 3 und 5.0", (3, 5), [3, 5], "3 5"),
        (SMALLS, "[9, 3]", (3, 9), [3, 9], "3 9"),
        (SMALL, "7.0", 7, 7, "7"),
        (
            VIENNA_CODES,
            "['26.04.01', '27.05.01']",
            ("26.04.01", "27.05.01"),
            ["26.04.01", "27.05.01"],
            "26.04.01 27.05.01",
        ),
        (VIENNA_CODES, '["1.1.1"]', ("01.01.01",), ["01.01.01"], "01.01.01"),
        (VIENNA_CODES, "{1.1.1,2.2.2}", ("01.01.01", "02.02.02"), ["01.01.01", "02.02.02"], "01.01.01 02.02.02"),
        (VIENNA_CODES, "26.4.1(531) 1.1.1", ("01.01.01", "26.04.01"), ["01.01.01", "26.04.01"], "01.01.01 26.04.01"),
        (VIENNA_CODES, [10401, 260401.0], ("01.04.01", "26.04.01"), ["01.04.01", "26.04.01"], "01.04.01 26.04.01"),
        (Date(), 43830, dt.date(2019, 12, 31), "2019-12-31", "2019-12-31"),
        (Date(), "31/12/2019 0:00", dt.date(2019, 12, 31), "2019-12-31", "2019-12-31"),
    ],
)
def test_values(kind: Kind[Any], value: object, parsed: object, json_value: object, text: str) -> None:
    assert kind.parse(value, DEFAULT_NOTATION) == parsed
    assert kind.to_json(parsed) == json_value
    assert kind.from_json(json_value) == parsed
    assert kind.to_text(parsed) == text


@pytest.mark.parametrize(
    ("kind", "value", "readable", "unreadable"),
    [
        (FreeText(), {"de": "x"}, None, {"de": "x"}),
        (Keyword(), True, None, True),
        (Date(), "2019-02-30", None, "2019-02-30"),
        (Date(), 20, None, 20),
        (SMALL, 10, None, 10),
        (SMALL, 0, None, 0),
        (SMALL, 1.5, None, 1.5),
        (SMALL, float("inf"), None, None),
        (VIENNA_CODES, ["1.1.1", "bird", 7.5, True], ("01.01.01",), ["bird", 7.5, True]),
        (Date(), "01/02/2019", None, "01/02/2019"),
        (Date(), "2019-12", None, "2019-12"),
        (SMALLS, "7-2", (), ["7-2"]),
        (SMALLS, "7-99", (), ["7-99"]),
        (SMALLS, "1 10", (1,), ["10"]),
    ],
)
def test_what_cannot_be_read_is_kept_apart(
    kind: Kind[Any], value: object, readable: object, unreadable: object
) -> None:
    with pytest.raises(UnreadableError) as caught:
        kind.parse(value, DEFAULT_NOTATION)
    assert (caught.value.readable, caught.value.unreadable) == (readable, unreadable)


def test_dates_in_the_notation_of_the_source() -> None:
    assert Date().parse("31.12.2020", Notation(date_format="%d.%m.%Y")) == dt.date(2020, 12, 31)
    with pytest.raises(UnreadableError):
        Date().parse("2020-12-31", Notation(date_format="%d.%m.%Y"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("27.5.1", "27.05.01"),
        ("27", "27"),
        (" 1.1 ", "01.01"),
        ("27.05.011", None),
        ("A", None),
        ("", None),
        ("27..1", None),
        ("\uff12\uff17.\uff10\uff15.\uff10\uff11", None),
        ("\u0662\u0667.\u0660\u0665.\u0660\u0661", None),
        ("27.5.1\n27.5.2", None),
        ("270.5.1", None),
        ("-1.2.3", None),
        ("27.05.01.", "27.05.01"),
        ("260401", "26.04.01"),
        ("10401", "01.04.01"),
        ("264101", None),
        ("26/4/1", "26.04.01"),
        ("26-04-01", "26.04.01"),
        ("26-04.01", None),
        ("A27.05.01", "27.05.01"),
    ],
)
def test_vienna_codes_have_one_form(text: str, code: str | None) -> None:
    assert canonical_vienna_code(text) == code


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Name(), ["A", "AB", "B", "é", "東京"]),
        (Date(), [dt.date(1, 1, 1), dt.date(999, 12, 31), dt.date(1999, 12, 31), dt.date(2000, 1, 1)]),
        (Number(least=-5, most=300), [-5, -1, 0, 9, 10, 256, 300]),
        (SMALLS, [1, 9]),
        (VIENNA_CODES, ["02", "02.01", "02.01.01", "26"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys_have_the_order_of_the_values(kind: Kind[Any], values: list[Any]) -> None:
    keys = [kind.key(value) for value in values]
    assert keys == sorted(set(keys))
    assert list(map(kind.item_of, keys)) == values


def test_a_code_is_matched_by_itself_and_the_codes_above_it() -> None:
    codes = Codes(item="code", canonical=str)
    assert list(codes.matched("26.01.03")) == ["26", "26.01", "26.01.03"]
    assert list(codes.matched("2")) == ["2"]
    assert list(Name().matched("A.B")) == ["A.B"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Café-BÄR  d'été", ["cafe", "bar", "d", "ete"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("ﬁx № 2_3", ["fix", "no", "2", "3"]),
        ("東京 タワー", ["東京", "タワー"]),
        ("हिन्दी", ["हनद"]),
        ("!?", []),
    ],
)
def test_words(text: str, parts: list[str]) -> None:
    assert words(text) == parts


@pytest.mark.parametrize(
    ("value", "text"),
    [("A\ud800B\x7f\x85C", "ABC"), (" \n\t ", None), ("a\nb", "a\nb"), (0, "0"), (1.5, "1.5"), (float("nan"), None)],
)
def test_texts(value: object, text: str | None) -> None:
    assert clean_text(value) == text


def test_texts_are_cut_after_they_are_composed() -> None:
    assert clean_text("e\u0301" * LONGEST_TEXT) == "é" * LONGEST_TEXT


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (float("inf"), None),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (Decimal("1.50"), "1.50"),
        (b"\xff", "b'\\xff'"),
        (("a", {1: ["b\x00"]}), ["a", {"1": ["b"]}]),
        ({"\ud800x": 1, "y" * 999: 2}, {"x": 1, "y" * LONGEST_KEY: 2}),
    ],
)
def test_every_value_becomes_json(value: object, json_value: object) -> None:
    assert as_json(value) == json_value


def test_deeply_nested_values_are_cut() -> None:
    assert as_json(nested(20)) == nested(20)
    assert "…" in str(as_json(nested(21)))
