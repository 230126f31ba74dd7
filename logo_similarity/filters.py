"""Exact filters on register fields: trees of conditions whose values are parsed and normalised when they are made.

>>> Filter.where(vienna_codes="26.01", nice_classes=[9, 42]) & ~Filter.where(status="ended")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from logo_similarity.errors import InvalidRequestError
from logo_similarity.facets import EXTRA
from logo_similarity.field_kinds import JsonValue, Kind, Operator, UnreadableError, as_json, words
from logo_similarity.fields import FIELDS, RegisterField, facet_field

DEEPEST = 8
"""Maximum depth of a tree that is read from JSON."""
MOST_CONDITIONS = 32
MOST_VALUES = 256
"""Maximum number of values and words in all conditions of a tree that is read from JSON."""
_FIELDS = {name: field for field in FIELDS for name in (field.parameter, field.name)}
"""Each field of the register by its names."""
OPEN_RANGE = ".."
EXCLUDED = "-"


class Filter:
    """Which logos a search may find. Immutable; combined with `&` (both), `|` (either) and `~` (all but these)."""

    __slots__ = ()

    @staticmethod
    def where(**values: object) -> Filter:
        """The logos that meet all of these conditions, each a field with its values.

        A value, or a list of which one must match: `status="registered"`, `nice_classes=[9, 42]`. A code also matches
        the codes below it. A pair (a tuple) is a range that includes its ends, of which one may be None:
        `application_date=("2010-01-01", None)`. A field of free text is compared by its words, see `words`. A facet is
        written `**{"extra.colour": "red"}`; whether a catalog has it is checked by the engine.

        Raises:
            InvalidRequestError: a field, an operator or a value is not valid.
        """
        return _all(
            _condition(name, Operator.BETWEEN if isinstance(value, tuple) else _kind(name).operators[0], value)
            for name, value in values.items()
        )

    @staticmethod
    def words(**texts: object) -> Filter:
        """The logos that have all words of a text in each of these fields: `company="example bakery"`.

        Of a list of texts, one must match. The order of the words, their case and diacritics do not matter.

        Raises:
            InvalidRequestError: a field has no words, or a text has none.
        """
        return _all(_condition(name, Operator.WORDS, value) for name, value in texts.items())

    @staticmethod
    def parse(conditions: Iterable[tuple[str, str]], tree: JsonValue = None) -> Filter | None:
        """The logos that meet all conditions, each a field and a text that a person wrote, and pass a tree of `from_json`.

        `26.01,3.1` means one of several values, `2010..2015`, `2010..` and `..2015` a range, `-25` all logos but these. A
        field of names or of free text is compared by its words: `example bakery`. None: there is neither a condition nor
        a tree.

        Raises:
            InvalidRequestError: a text or the tree is not valid, or they exceed the bounds of this module together.
        """
        parts: list[Filter] = [_read_text(name, text.strip()) for name, text in conditions]
        if tree is not None:
            parts.append(_read_tree(tree, DEEPEST))
        return _within_bounds(_all(iter(parts))) if parts else None

    @staticmethod
    def from_json(tree: JsonValue) -> Filter:
        """The filter that `to_json` wrote, or that a client wrote in this form.

        Raises:
            InvalidRequestError: the tree is not a filter, or exceeds the bounds of this module.
        """
        return _within_bounds(_read_tree(tree, DEEPEST))

    def to_json(self) -> dict[str, JsonValue]:
        """The filter as JSON: `{"and": [...]}`, `{"or": [...]}`, `{"not": {...}}`, `{"field": name, operator: values}`."""
        raise NotImplementedError

    def conditions(self) -> Iterator[Condition]:
        """All conditions in the tree, in order."""
        raise NotImplementedError

    def __and__(self, other: Filter) -> Filter:
        return And((*_parts(self, And), *_parts(other, And)))

    def __or__(self, other: Filter) -> Filter:
        return Or((*_parts(self, Or), *_parts(other, Or)))

    def __invert__(self) -> Filter:
        return Not(self)


@dataclass(frozen=True, slots=True)
class Condition(Filter):
    """A comparison of one field. Made by `Filter.where`, `Filter.words` and `Filter.from_json`, which check its values."""

    field: str
    operator: Operator
    values: tuple[Any, ...]
    """Values of the field's kind, of which one must match; the first and the last value of a range, None for an open end;
    or texts of normalised words with a space between them."""

    @property
    def kind(self) -> Kind[Any]:
        """The kind of the field."""
        return find_field(self.field).kind

    def to_json(self) -> dict[str, JsonValue]:
        """See `Filter.to_json`."""
        return {"field": self.field, self.operator.value: [as_json(value) for value in self.values]}

    def conditions(self) -> Iterator[Condition]:
        """See `Filter.conditions`."""
        yield self


@dataclass(frozen=True, slots=True)
class _Group(Filter):
    parts: tuple[Filter, ...]
    name: ClassVar[str]

    def to_json(self) -> dict[str, JsonValue]:
        """See `Filter.to_json`."""
        return {self.name: [part.to_json() for part in self.parts]}

    def conditions(self) -> Iterator[Condition]:
        """See `Filter.conditions`."""
        for part in self.parts:
            yield from part.conditions()


class And(_Group):
    """The logos that pass all parts."""

    __slots__ = ()
    name = "and"


class Or(_Group):
    """The logos that pass at least one of the parts."""

    __slots__ = ()
    name = "or"


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """The logos that do not pass the part, including those without a value in its fields."""

    part: Filter

    def to_json(self) -> dict[str, JsonValue]:
        """See `Filter.to_json`."""
        return {"not": self.part.to_json()}

    def conditions(self) -> Iterator[Condition]:
        """See `Filter.conditions`."""
        return self.part.conditions()


def _parts(whole: Filter, node: type[And | Or]) -> tuple[Filter, ...]:
    """The parts of a node of this type; of any other filter, itself. A long chain of `&` thus has a depth of one."""
    return whole.parts if isinstance(whole, node) else (whole,)


def _all(conditions: Iterator[Filter]) -> Filter:
    parts = tuple(conditions)
    if not parts:
        raise InvalidRequestError("a filter needs at least one condition")
    return parts[0] if len(parts) == 1 else And(parts)


def _within_bounds(whole: Filter) -> Filter:
    conditions = list(whole.conditions())
    size = sum(len(str(value).split()) for condition in conditions for value in condition.values)
    if len(conditions) > MOST_CONDITIONS or size > MOST_VALUES:
        raise InvalidRequestError(
            f"the filter has {len(conditions)} conditions with {size} values; at most {MOST_CONDITIONS} with "
            f"{MOST_VALUES} are accepted"
        )
    return whole


def find_field(name: str) -> RegisterField[Any]:
    """The field with this name or parameter; of a facet, which only some catalogs have, by the form of its name.

    Raises:
        InvalidRequestError: no field has this name.
    """
    if name in _FIELDS:
        return _FIELDS[name]
    if not name.startswith(EXTRA):
        fields = ", ".join(field.name for field in FIELDS)
        raise InvalidRequestError(
            f"no field {name!r:.50}; the fields are {fields}, and {EXTRA}NAME for a facet of the catalog"
        )
    try:
        return facet_field(name)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None


def _kind(name: str) -> Kind[Any]:
    return find_field(name).kind


def _read_text(name: str, text: str) -> Filter:
    """See `Filter.parse`."""
    operators = _kind(name).operators
    wanted = text.removeprefix(EXCLUDED)
    first, between, last = wanted.partition(OPEN_RANGE)
    if Operator.WORDS in operators:
        condition = _condition(name, Operator.WORDS, wanted)
    elif between and Operator.BETWEEN in operators:
        condition = _condition(name, Operator.BETWEEN, [end.strip() or None for end in (first, last)])
    else:
        condition = _condition(name, Operator.IS, [value.strip() for value in wanted.split(",")])
    return ~condition if text.startswith(EXCLUDED) else condition


def _condition(name: str, operator: str, operand: object) -> Condition:
    """A condition with normalised values. Raises InvalidRequestError if a part of it is not valid."""
    kind = _kind(name)
    name = find_field(name).name
    if operator not in kind.operators:
        operators = ", ".join(kind.operators)
        raise InvalidRequestError(f"{name} has no operator '{operator:.50}'; its operators are {operators}")
    read = {Operator.IS: _read_values, Operator.BETWEEN: _read_range, Operator.WORDS: _read_words}[Operator(operator)]
    try:
        return Condition(name, Operator(operator), read(kind, operand))
    except UnreadableError as error:
        example = as_json(kind.items(find_field(name).example)[0])
        reason = f"{error.unreadable!r:.100} is not a valid value; {example!r} is one"
    except ValueError as error:
        reason = str(error)
    raise InvalidRequestError(f"{name} {operator}: {reason}")


def _read_values(kind: Kind[Any], operand: object) -> tuple[Any, ...]:
    values = kind.parse_items(operand)
    if not values:
        raise ValueError("needs at least one value")
    return values


def _read_words(kind: Kind[Any], operand: object) -> tuple[str, ...]:
    texts = {" ".join(words(text)) for text in kind.parse_items(operand)}
    if not texts or "" in texts:
        raise ValueError("needs at least one word")
    return tuple(sorted(texts))


def _read_range(kind: Kind[Any], operand: object) -> tuple[Any, Any]:
    if not isinstance(operand, list | tuple) or len(operand) != 2:
        raise ValueError("needs two values, the first and the last; None leaves an end open")
    first, last = (None if end is None else _read_end(kind, end) for end in operand)
    if first is not None and last is not None and first > last:
        raise ValueError(f"the first value, {first}, is after the last, {last}")
    return first, last


def _read_end(kind: Kind[Any], end: object) -> Any:  # noqa: ANN401 - of the kind's type
    values = kind.parse_items(end)
    if len(values) != 1:
        raise ValueError("each end of a range is one value")
    return values[0]


def _read_tree(tree: JsonValue, depth: int) -> Filter:
    if depth == 0:
        raise InvalidRequestError(f"the filter is nested more than {DEEPEST} levels deep")
    match tree:
        case {"and": [_, *_] as parts, **others} if not others:
            return And(tuple(_read_tree(part, depth - 1) for part in parts))
        case {"or": [_, *_] as parts, **others} if not others:
            return Or(tuple(_read_tree(part, depth - 1) for part in parts))
        case {"not": part, **others} if not others:
            return Not(_read_tree(part, depth - 1))
        case {"field": str(field), **others} if len(others) == 1:
            ((operator, operand),) = others.items()
            return _condition(field, str(operator), operand)
    raise InvalidRequestError(
        'a part of the filter is not {"and": [...]}, {"or": [...]}, {"not": {...}} or {"field": name, operator: values}'
    )
