"""The kinds of register fields: how a value of each is parsed, written as JSON, stored, filtered by and abbreviated."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from logo_similarity.dates import parse_day

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]
V = TypeVar("V")
T = TypeVar("T")

LONGEST_TEXT = 10_000
LONGEST_KEY = 200
DEEPEST_NESTING = 20
VIENNA = re.compile(r"^(?:A\s?)?(\d{1,2})(?:([./-])(\d{1,2})(?:\2(\d{1,2}))?)?\.?$", re.ASCII)
"""Offices put an A before an auxiliary section, or a dot behind the code."""
_INID = re.compile(r"\s*\(\d{3}\)", re.ASCII)
"""Number of a field of bibliographic data (WIPO standard ST.60), as in 26.4.1(531)."""
VIENNA_DIGITS = re.compile(r"^(\d{1,2})(\d\d)(\d\d)$", re.ASCII)
MOST_DIVISIONS = 30
"""No category of the Vienna classification has more divisions."""
US_DESIGN_DIGITS = re.compile(r"^(?:\d{4}|\d{6})$", re.ASCII)
LEVEL = "."
"""Between the levels of a code."""
_WHOLE_FLOAT = re.compile(r"^(\d+)\.0+$", re.ASCII)
_BETWEEN_NUMBERS = re.compile(r"[\s,;|/&+]+")
_RANGE = re.compile(r"(?<!\d)(\d{1,4})\s*[-\u2013]\s*(\d{1,4})(?!\d)", re.ASCII)
_LABELS = re.compile(
    r"(?<![^\W\d_])(?:international|int|nice|nizza|class|classes|classe|klasse|klassen|clase|clases|cl|kl|ic|and|und|et|y)"
    r"(?![^\W\d_])\.?",
    re.IGNORECASE,
)
"""Words around the numbers of classes, in English, German, French and Spanish."""
_BRACKETS = re.compile(r"^\s*[\[({](.*)[\])}]\s*$", re.DOTALL)
"""Around a list that a program wrote as text: ['26.04.01', '27.05.01']."""
_WORD = re.compile(r"[^\W_]+")
_MARKS = ("Mn", "Mc", "Me")
"""Unicode categories of combining marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """How a source writes lists and dates."""

    separators: re.Pattern[str] = re.compile(r"[\s,;|]+")
    """Between the items of a list that is written as one text."""
    keyword_separators: re.Pattern[str] = re.compile(r"\s*[,;|\n]\s*")
    """The same where the items may contain blanks."""
    date_format: str | None = None
    """For `strptime`; None: any form that `dates.parse_day` reads."""
    day_first: bool | None = None
    """The order of day and month in 01/02/2019; None: such a date cannot be read."""


DEFAULT_NOTATION = Notation()


class UnreadableError(ValueError):
    """A value, or items of a list, that cannot be parsed: what could be (an attribute's value) and the rest, as JSON."""

    def __init__(self, readable: Any, unreadable: JsonValue) -> None:  # noqa: ANN401 - of the kind's type
        super().__init__(unreadable)
        self.readable = readable
        self.unreadable = unreadable


class Operator(enum.StrEnum):
    """How a condition of a filter compares a field with its values."""

    IS = "is"
    """The field has one of the values. A code also matches the codes below it: `26.01` matches `26.01.03`."""
    BETWEEN = "between"
    """The field lies in a range, both ends included; an end of None is open."""
    WORDS = "words"
    """The field contains all words of one of the texts, in any order; case and diacritics do not matter."""


class Kind(ABC, Generic[V]):
    """What all fields of one kind have in common. `V` is the type of their values, the one for a missing value included."""

    __slots__ = ()
    json_form: ClassVar[str]
    """Its JSON, for the documentation."""
    sql_type: ClassVar[str]
    """Type of the column, or of an item of a list."""
    facet: ClassVar[bool] = True
    """Whether many logos share a value, so that counting logos by value is of use."""
    operators: ClassVar[tuple[Operator, ...]]
    """The operators of filters on such a field; the first is the default."""

    @property
    @abstractmethod
    def empty(self) -> V:
        """A missing value."""

    @abstractmethod
    def parse(self, value: object, notation: Notation) -> V:
        """The normalised form of a value from a source; None, NaN and blank text are missing values.

        Raises:
            UnreadableError: it, or some of its items, are not of this kind.
        """

    @abstractmethod
    def to_json(self, value: V) -> JsonValue:
        """The value as JSON holds it."""

    @abstractmethod
    def from_json(self, value: Any) -> V:  # noqa: ANN401 - from a parser of JSON
        """The value that `to_json` was given."""

    @abstractmethod
    def to_text(self, value: V) -> str:
        """The value on one line; empty for a missing value."""

    @abstractmethod
    def items(self, value: V) -> tuple[Any, ...]:
        """The single values that filters compare: none for a missing value, several for a list."""

    @abstractmethod
    def parse_items(self, value: object) -> tuple[Any, ...]:
        """The single values in an operand of a filter, which is a value or a list or tuple of them; sorted, none twice.

        Raises:
            UnreadableError: as `parse`; a missing value cannot be read, either.
        """

    @abstractmethod
    def key(self, item: Any) -> bytes:  # noqa: ANN401 - one of `items`
        """A key for a single value: the keys of two values have the same order as the values."""

    @abstractmethod
    def item_of(self, key: bytes) -> Any:  # noqa: ANN401 - one of `items`
        """The single value that has this key."""

    def matched(self, item: Any) -> Iterable[Any]:  # noqa: ANN401 - one of `items`
        """The single values of which a condition with the operator `is` matches this one."""
        return (item,)


class ScalarKind(Kind[T | None], Generic[T]):
    """One value: a generated column of the table of logos."""

    __slots__ = ()
    indexed: ClassVar[bool] = True
    """Whether an index finds and orders logos by it."""
    full_text: ClassVar[bool] = False
    """Whether its words are in the full-text index."""

    @property
    def empty(self) -> None:
        """None."""
        return

    def parse(self, value: object, notation: Notation) -> T | None:
        """See `Kind.parse`."""
        try:
            return None if is_missing(value) else self._convert(value, notation)
        except (ValueError, TypeError, OverflowError):
            raise UnreadableError(None, as_json(value)) from None

    def to_text(self, value: T | None) -> str:
        """See `Kind.to_text`."""
        return "" if value is None else _one_line(str(value))

    def items(self, value: T | None) -> tuple[T, ...]:
        """See `Kind.items`."""
        return () if value is None else (value,)

    def parse_items(self, value: object) -> tuple[T, ...]:
        """See `Kind.parse_items`."""
        parsed = set()
        for one in value if isinstance(value, list | tuple) else (value,):
            if (item := self.parse(one, DEFAULT_NOTATION)) is None:
                raise UnreadableError(None, as_json(one))
            parsed.add(item)
        return tuple(sorted(parsed))  # type: ignore[type-var]

    @abstractmethod
    def _convert(self, value: object, notation: Notation) -> T | None:
        """The normalised value. Raises ValueError, TypeError or OverflowError."""


class _TextKind(ScalarKind[str]):
    __slots__ = ()
    json_form = "string or null"
    sql_type = "TEXT"

    def to_json(self, value: str | None) -> JsonValue:
        return value

    def from_json(self, value: Any) -> str | None:  # noqa: ANN401 - from a parser of JSON
        return value  # type: ignore[no-any-return]

    def key(self, item: str) -> bytes:
        return item.encode()

    def item_of(self, key: bytes) -> str:
        return key.decode()

    def _convert(self, value: object, notation: Notation) -> str | None:  # noqa: ARG002 - text has one notation
        return clean_text(value)


@dataclass(frozen=True, slots=True)
class FreeText(_TextKind):
    """Text that is searched by its words."""

    indexed = False
    full_text = True
    facet = False
    operators = (Operator.WORDS,)


@dataclass(frozen=True, slots=True)
class Name(_TextKind):
    """A name: searched by its words, and filtered by as a whole."""

    full_text = True
    operators = (Operator.IS, Operator.WORDS)


@dataclass(frozen=True, slots=True)
class Keyword(_TextKind):
    """One of a few words."""

    operators = (Operator.IS,)


@dataclass(frozen=True, slots=True)
class Reference(_TextKind):
    """A number or name that an office gives to one mark."""

    facet = False
    operators = (Operator.IS,)


@dataclass(frozen=True, slots=True)
class Date(ScalarKind[dt.date]):
    """A day; the time of a date with time is dropped."""

    json_form = "string (ISO 8601 date) or null"
    sql_type = "TEXT"
    facet = False
    operators = (Operator.IS, Operator.BETWEEN)

    def to_json(self, value: dt.date | None) -> JsonValue:
        """See `Kind.to_json`."""
        return None if value is None else value.isoformat()

    def from_json(self, value: Any) -> dt.date | None:  # noqa: ANN401 - from a parser of JSON
        """See `Kind.from_json`."""
        return None if value is None else dt.date.fromisoformat(value)

    def key(self, item: dt.date) -> bytes:
        """See `Kind.key`."""
        return item.isoformat().encode()

    def item_of(self, key: bytes) -> dt.date:
        """See `Kind.item_of`."""
        return dt.date.fromisoformat(key.decode())

    def _convert(self, value: object, notation: Notation) -> dt.date:
        if notation.date_format is not None and not isinstance(value, dt.date):
            text = str(value).strip()
            return dt.datetime.strptime(text, notation.date_format).replace(tzinfo=dt.UTC).date()
        return parse_day(value, day_first=notation.day_first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(ScalarKind[int]):
    """A whole number within bounds, as a number or a text."""

    json_form = "number or null"
    sql_type = "INTEGER"
    operators = (Operator.IS, Operator.BETWEEN)
    least: int
    most: int

    def to_json(self, value: int | None) -> JsonValue:
        """See `Kind.to_json`."""
        return value

    def from_json(self, value: Any) -> int | None:  # noqa: ANN401 - from a parser of JSON
        """See `Kind.from_json`."""
        return value  # type: ignore[no-any-return]

    def key(self, item: int) -> bytes:
        """See `Kind.key`."""
        return _number_key(item, self.least)

    def item_of(self, key: bytes) -> int:
        """See `Kind.item_of`."""
        return int.from_bytes(key, "big") + self.least

    def _convert(self, value: object, notation: Notation) -> int:  # noqa: ARG002 - numbers have one notation
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError("not a number")
        number = int(_without_fraction(value) if isinstance(value, str) else value)
        if number != float(value) or not self.least <= number <= self.most:
            raise ValueError("not a whole number within the bounds")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKind(Kind[tuple[T, ...]], Generic[T]):
    """Several values, sorted and without duplicates: a table of its own with one row for each item of each logo."""

    item: str
    """Name of the items' column."""

    @property
    def empty(self) -> tuple[T, ...]:
        """The empty tuple."""
        return ()

    def parse(self, value: object, notation: Notation) -> tuple[T, ...]:
        """See `Kind.parse`. A text is split at the separators; an item is a list of one."""
        readable: set[Any] = set()
        unreadable: list[JsonValue] = []
        for item in self._split(value, notation):
            converted = self._convert(item)
            if converted is None:
                unreadable.append(as_json(item))
            else:
                readable.add(converted)
        if unreadable:
            raise UnreadableError(tuple(sorted(readable)), unreadable)
        return tuple(sorted(readable))

    def to_json(self, value: tuple[T, ...]) -> JsonValue:
        """See `Kind.to_json`."""
        return list[Any](value)

    def from_json(self, value: Any) -> tuple[T, ...]:  # noqa: ANN401 - from a parser of JSON
        """See `Kind.from_json`."""
        return tuple(value)

    def to_text(self, value: tuple[T, ...]) -> str:
        """See `Kind.to_text`."""
        return _one_line(" ".join(map(str, value)))

    def items(self, value: tuple[T, ...]) -> tuple[T, ...]:
        """See `Kind.items`."""
        return value

    def parse_items(self, value: object) -> tuple[T, ...]:
        """See `Kind.parse_items`."""
        return self.parse(value, DEFAULT_NOTATION)

    def _split(self, value: object, notation: Notation) -> Iterable[object]:
        """The items of a value, as the source writes them."""
        return _items(value, notation.separators)

    @abstractmethod
    def _convert(self, item: object) -> T | None:
        """The normalised item; None: it is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes(ListKind[str]):
    """Codes of a classification."""

    json_form = "array of strings"
    sql_type = "TEXT"
    operators = (Operator.IS,)
    canonical: Callable[[str], str | None]
    """The canonical form of a code, with "." between its levels; None: the text is not a code."""

    def key(self, item: str) -> bytes:
        """See `Kind.key`."""
        return item.encode()

    def item_of(self, key: bytes) -> str:
        """See `Kind.item_of`."""
        return key.decode()

    def matched(self, item: str) -> Iterable[str]:
        """The code and the codes above it."""
        return itertools.accumulate(item.split(LEVEL), f"{{}}{LEVEL}{{}}".format)

    def _split(self, value: object, notation: Notation) -> Iterable[object]:
        return _items(_INID.sub(" ", value) if isinstance(value, str) else value, notation.separators)

    def _convert(self, item: object) -> str | None:
        if isinstance(item, float) and item.is_integer():
            item = int(item)
        if isinstance(item, int) and not isinstance(item, bool):
            return self.canonical(str(item))
        return self.canonical(_without_fraction(item)) if isinstance(item, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers(ListKind[int]):
    """Whole numbers within bounds."""

    json_form = "array of numbers"
    sql_type = "INTEGER"
    operators = (Operator.IS, Operator.BETWEEN)
    least: int
    most: int

    def key(self, item: int) -> bytes:
        """See `Kind.key`."""
        return _number_key(item, self.least)

    def item_of(self, key: bytes) -> int:
        """See `Kind.item_of`."""
        return int.from_bytes(key, "big") + self.least

    def _split(self, value: object, notation: Notation) -> Iterable[object]:
        """Words such as "class" are left out, and the numbers of a range such as 9-12 are single items."""
        for item in _items(_RANGE.sub(self._expand, value) if isinstance(value, str) else value, notation.separators):
            if isinstance(item, str):
                expanded = _LABELS.sub(" ", _RANGE.sub(self._expand, item))
                yield from (part for part in _BETWEEN_NUMBERS.split(expanded) if part)
            else:
                yield item

    def _expand(self, match: re.Match[str]) -> str:
        first, last = int(match[1]), int(match[2])
        within = self.least <= first < last <= self.most
        return " ".join(map(str, range(first, last + 1))) if within else match[0]

    def _convert(self, item: object) -> int | None:
        if isinstance(item, str):
            item = _without_fraction(item)
        if isinstance(item, float) and item.is_integer():
            item = int(item)  # Parquet stores a column of whole numbers with gaps as floats
        try:
            number = int(item) if isinstance(item, str | int) and not isinstance(item, bool) else None
        except ValueError:
            return None
        return number if number is not None and self.least <= number <= self.most else None


def canonical_vienna_code(text: str) -> str | None:
    """A Vienna code in padded form: "27.5.1", "27/5/1", "27-05-01", "270501" and "A27.05.01" become "27.05.01".

    Categories ("27") and divisions ("27.05") stay short. None if the text is not a Vienna code.
    """
    text = text.strip()
    digits = VIENNA_DIGITS.match(text)
    if digits and 1 <= int(digits[2]) <= MOST_DIVISIONS:
        return LEVEL.join(part.zfill(2) for part in digits.groups())
    match = VIENNA.match(text)
    return LEVEL.join(part.zfill(2) for part in match.group(1, 3, 4) if part is not None) if match else None


def canonical_us_design_code(text: str) -> str | None:
    """A US design search code in the form of its manual: "020119" and "2.1.19" become "02.01.19".

    Categories ("02") and divisions ("02.01") are shorter. None if the text is not such a code.
    """
    text = text.strip()
    if US_DESIGN_DIGITS.match(text):
        text = LEVEL.join(text[i : i + 2] for i in range(0, len(text), 2))
    return canonical_vienna_code(text)


def clean_text(value: object) -> str | None:
    """Text in Unicode's NFC form, without control characters and surrounding space, cut at 10,000 characters.

    None if nothing remains. Raises TypeError for anything but text and numbers.
    """
    if is_missing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("not text")
    text = unicodedata.normalize("NFC", str(value)[: 2 * LONGEST_TEXT])
    if not text.isprintable():
        text = "".join(c for c in text if c in " \n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return text.strip()[:LONGEST_TEXT] or None


def words(text: str) -> list[str]:
    """The words of a text in a form that ignores case, diacritics and punctuation: "Café-Bär" has "cafe" and "bar".

    A run of letters and digits is one word, also in scripts that put no spaces between words.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return _WORD.findall("".join(c for c in folded if unicodedata.category(c) not in _MARKS))


def as_json(value: object, depth: int = DEEPEST_NESTING) -> JsonValue:  # noqa: PLR0911 - one line for each type
    """Any value in a form that JSON holds: dates in ISO 8601, NaN and infinity as null, unknown types as their text.

    Values nested deeper than `depth` become "…": a file may nest deeper than Python can follow.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return json_object(value, depth - 1) if depth else "…"
    if isinstance(value, list | tuple):
        return [as_json(item, depth - 1) for item in value] if depth else "…"
    if isinstance(value, dt.date):
        return value.isoformat()
    return clean_text(str(value))


def json_object(value: Mapping[Any, object], depth: int = DEEPEST_NESTING) -> dict[str, JsonValue]:
    """A mapping with its keys cleaned and cut at 200 characters, and its values as `as_json` returns them."""
    return {(clean_text(str(key)) or "")[:LONGEST_KEY]: as_json(item, depth) for key, item in value.items()}


def is_missing(value: object) -> bool:
    """Whether a value of a source is none: None, NaN or blank text."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def _items(value: object, separators: re.Pattern[str]) -> Iterable[object]:
    if is_missing(value):
        return ()
    if isinstance(value, str):
        bracketed = _BRACKETS.match(value)
        parts = separators.split((bracketed[1] if bracketed else value).strip())
        return [part for item in parts if (part := item.strip("'\""))]
    return value if isinstance(value, list | tuple) else (value,)


def _without_fraction(text: str) -> str:
    """Whole numbers as pandas writes them in a column with gaps ("9.0") become "9"."""
    match = _WHOLE_FLOAT.match(text.strip())
    return match[1] if match else text


def _number_key(number: int, least: int) -> bytes:
    return (number - least).to_bytes(8, "big")


def _one_line(text: str) -> str:
    return " ".join(text.split())
