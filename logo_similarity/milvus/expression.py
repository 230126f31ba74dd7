"""A filter as an expression of Milvus, which all logos that pass the filter meet.

Others meet it only where a list is not complete (`fields.MORE`), because such a list meets every condition, negated or not,
and where two texts have the same digest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from logo_similarity.catalog.postings import VALUES, WORDS
from logo_similarity.field_kinds import Number, Numbers, Operator
from logo_similarity.filters import And, Condition, Filter, Not, Or, find_field
from logo_similarity.milvus.fields import MORE, FilterField, number_of

ALL, NONE = "id >= 0", "id < 0"
"""What every entity and no entity meets."""
_LARGEST = 2**63 - 1


def expression_of(condition: Filter, names: Collection[str], *, negated: bool = False) -> str:
    """The expression of a filter.

    Args:
        condition: the filter.
        names: of the fields in the collection. A condition on another field is met by no logo.
        negated: whether the expression is that of the logos that do not pass.
    """
    match condition:
        case Not(part):
            return expression_of(part, names, negated=not negated)
        case And(parts) | Or(parts):
            operator = " and " if isinstance(condition, And) != negated else " or "
            return _join(operator, (expression_of(part, names, negated=negated) for part in parts))
        case Condition():
            field = FilterField(find_field(condition.field), WORDS if condition.operator is Operator.WORDS else VALUES)
            if field.name not in names:
                return ALL if negated else NONE
            if field.is_list:
                met = _list_condition(field.name, condition)
                more = f"array_contains({field.name}, {MORE})"
                return f"({f'not {met}' if negated else met} or {more})"
            met = _scalar_condition(field.name, condition)
            return f"(not {met})" if negated else met
    raise TypeError(f"not a filter: {condition!r}")


def offices_of(condition: Filter) -> list[int] | None:
    """The numbers of the offices of which all logos that pass a filter are; None: it is not limited to offices."""
    match condition:
        case And(parts):
            return next((offices for part in parts if (offices := offices_of(part)) is not None), None)
        case Condition("office", Operator.IS):
            return _numbers(condition)
    return None


def _scalar_condition(name: str, condition: Condition) -> str:
    if condition.operator is Operator.IS:
        return f"({name} in {_numbers(condition)})"
    first, last = _ends(condition)
    return f"({name} >= {first} and {name} <= {last})"


def _list_condition(name: str, condition: Condition) -> str:
    match condition.operator:
        case Operator.IS:
            return f"array_contains_any({name}, {_numbers(condition)})"
        case Operator.BETWEEN:
            first, last = _ends(condition)
            return f"array_contains_any({name}, {list(range(first, last + 1))})"
        case Operator.WORDS:
            texts = (
                sorted({number_of(condition.kind, word.encode()) for word in text.split()}) for text in condition.values
            )
            return _join(" or ", (f"array_contains_all({name}, {numbers})" for numbers in texts))


def _numbers(condition: Condition) -> list[int]:
    """The numbers of the values."""
    kind = condition.kind
    return sorted({number_of(kind, kind.key(value)) for value in condition.values})


def _ends(condition: Condition) -> tuple[int, int]:
    """The numbers of the ends of a range. A missing value is below all."""
    kind = condition.kind
    first, last = (None if end is None else number_of(kind, kind.key(end)) for end in condition.values)
    largest = kind.most - kind.least if isinstance(kind, Number | Numbers) else _LARGEST
    return 0 if first is None else first, largest if last is None else last


def _join(operator: str, parts: Iterable[str]) -> str:
    return f"({operator.join(parts)})"
