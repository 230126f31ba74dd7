"""Phrases that messages share: a count with its noun, and the values that are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 logo", "2,305 logos". `plural` is needed if it is not the noun with an "s"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def allowed_values(schema: Mapping[str, Any]) -> str:
    """The values that the JSON Schema of a scalar allows, as "a whole number from 1 to 65535"."""
    match schema:
        case {"enum": values}:
            return f"one of {', '.join(values)}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "integer"}:
            return f"a whole number{_range(schema)}"
        case {"type": "number"}:
            return f"a number{_range(schema)}"
        case {"type": "string", "minLength": shortest, "maxLength": longest}:
            return f"a text of {shortest} to {longest} characters"
        case _:
            return f"a {schema['type']}"


def _range(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"minimum": lowest, "maximum": highest}:
            return f" from {lowest} to {highest}"
        case {"exclusiveMinimum": lowest, "maximum": highest}:
            return f" greater than {lowest} and at most {highest}"
        case {"minimum": lowest}:
            return f" of at least {lowest}"
        case {"exclusiveMinimum": lowest}:
            return f" greater than {lowest}"
        case _:
            return ""
