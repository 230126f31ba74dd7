"""What the numbers of a search mean, in words for people who read a printed report."""

from __future__ import annotations

import math
from typing import Any

from logo_similarity.classification import Classification
from logo_similarity.domain import Band
from logo_similarity.facets import EXTRA
from logo_similarity.field_kinds import Operator
from logo_similarity.fields import FIELDS
from logo_similarity.filters import And, Condition, Filter, Not, Or
from logo_similarity.wording import counted

BANDS = {
    Band.NEAR_IDENTICAL: "most likely the same drawing",
    Band.STRONG: "chance hardly explains it",
    Band.POSSIBLE: "chance may explain it",
    Band.WEAK: "chance explains it",
}
_UNITS = ((1_000_000_000_000, "trillion"), (1_000_000_000, "billion"), (1_000_000, "million"))
_LARGEST = 1e15
_FIELDS = {field.name: field for field in FIELDS}


def describe_expect(expect: float | None) -> str:
    """The expected number of unrelated logos as a sentence: "By chance, 1 of 300 searches shows ..."."""
    if expect is None:
        return "How often chance shows a logo as similar as this one is not known."
    if expect >= 0.95:
        return (
            f"By chance, every search shows about {counted(round_number(expect), 'unrelated logo')} as similar as this."
        )
    searches = _large(min(1 / expect, _LARGEST) if expect > 0 else _LARGEST)
    return f"By chance, about 1 of {searches} searches shows an unrelated logo as similar as this."


def round_number(number: float) -> int:
    """The number with two significant digits."""
    digits = max(0, math.floor(math.log10(number)) - 1) if number >= 1 else 0
    return int(round(number / 10**digits) * 10**digits)


def label(field: str) -> str:
    """The name of a register field for people: "Vienna codes"; that of a facet as the source has it."""
    if field.startswith(EXTRA):
        return field.removeprefix(EXTRA)
    return field.replace("_", " ").capitalize()


def describe_filter(condition: Filter, vienna: Classification, nice: Classification) -> str:
    """A filter on one line: "Vienna codes: 26.01 (...) or 27.05 (...); not: status: ended"."""
    match condition:
        case Condition():
            return f"{label(condition.field)}: {_describe_values(condition, vienna, nice)}"
        case Not():
            return f"not ({describe_filter(condition.part, vienna, nice)})"
        case And():
            return "; ".join(_grouped(part, vienna, nice) for part in condition.parts)
        case Or():
            return " or ".join(_grouped(part, vienna, nice) for part in condition.parts)
    raise TypeError(type(condition))


def describe_codes(codes: tuple[Any, ...], classification: Classification) -> str:
    """Codes with their names, those with the same name together: "26.01.01, 26.04 (Geometric shapes); 9 (...)"."""
    groups: dict[str | None, list[str]] = {}
    for code in map(str, codes):
        groups.setdefault(classification.name(code), []).append(code)
    return "; ".join(", ".join(group) + (f" ({name})" if name else "") for name, group in groups.items())


def _grouped(part: Filter, vienna: Classification, nice: Classification) -> str:
    text = describe_filter(part, vienna, nice)
    return f"({text})" if isinstance(part, And | Or) else text


def _describe_values(condition: Condition, vienna: Classification, nice: Classification) -> str:
    values = condition.values
    if condition.operator is Operator.BETWEEN:
        first, last = values
        if first is None or last is None:
            return "any" if first == last else f"from {first}" if last is None else f"until {last}"
        return f"from {first} to {last}"
    if condition.operator is Operator.WORDS:
        return " or ".join(f"all words of “{text}”" for text in values)
    classification = {"vienna_codes": vienna, "nice_classes": nice}.get(condition.field)
    return " or ".join(
        str(value) if classification is None else describe_codes((value,), classification) for value in values
    )


def _large(number: float) -> str:
    """A large number in words: "300", "2,500", "1.2 million"."""
    number = float(f"{number:.2g}")
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:,g} {name}"
    return f"{number:,.0f}"
