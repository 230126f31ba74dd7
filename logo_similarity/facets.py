"""Facets: further columns of a source that its mapping declares, to filter and count by. Their names and values."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from logo_similarity.field_kinds import (
    JsonValue,
    ListKind,
    Notation,
    Operator,
    UnreadableError,
    as_json,
    clean_text,
    is_missing,
)

EXTRA = "extra."
"""What the name of a facet begins with wherever those of register fields are meant, too: `extra.colour`."""
MOST_FACETS = 20
"""Maximum number of facets of a catalog."""
LONGEST_FACET = 64
"""Maximum length of the name of a facet, in characters."""
_RESERVED = frozenset('="\\')
"""The first ends a name on the command line; the others are escaped in the names of form fields, in several ways."""
_WRITTEN_LIST = re.compile(r"^\s*\[(.*)\]\s*$", re.DOTALL)
"""A list that a program wrote as text: ['red', 'blue']."""


def facet_name(text: str) -> str:
    """The name of a facet without `EXTRA`, in Unicode's NFC form.

    Raises:
        ValueError: it cannot be one; the text of the error is the reason.
    """
    name = unicodedata.normalize("NFC", text[: 2 * LONGEST_FACET])
    if not name or len(name) > LONGEST_FACET:
        raise ValueError(f"{name!r:.80} cannot be the name of a facet: it must have 1 to {LONGEST_FACET} characters")
    if not _RESERVED.isdisjoint(name) or not name.isprintable() or name != name.strip():
        raise ValueError(
            f"{name!r:.80} cannot be the name of a facet: it must have none of {' '.join(sorted(_RESERVED))}, no control "
            "characters and no blanks around it"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords(ListKind[str]):
    """Several words or short texts, which are compared as a whole."""

    item: str = "value"
    json_form = "string, array of strings or null"
    sql_type = "TEXT"
    operators = (Operator.IS,)

    def to_json(self, value: tuple[str, ...]) -> JsonValue:
        """A single value is not in an array."""
        return list[JsonValue](value) if len(value) > 1 else next(iter(value), None)

    def from_json(self, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - any further value of a source
        """The texts and numbers in any JSON value; in other values than `to_json` writes, the rest does not count."""
        texts = map(self._convert, value if isinstance(value, list) else (value,))
        return tuple(sorted({text for text in texts if text is not None}))

    def parse_items(self, value: object) -> tuple[str, ...]:
        """See `Kind.parse_items`. A text is not split: it is one value."""
        texts = set()
        for item in value if isinstance(value, list | tuple) else (value,):
            text = self._convert(item)
            if text is None:
                raise UnreadableError((), as_json(item))
            texts.add(text)
        return tuple(sorted(texts))

    def key(self, item: str) -> bytes:
        """See `Kind.key`."""
        return item.encode()

    def item_of(self, key: bytes) -> str:
        """See `Kind.item_of`."""
        return key.decode()

    def _split(self, value: object, notation: Notation) -> Iterable[object]:
        items: Iterable[object] = value if isinstance(value, list | tuple) else (value,)
        if isinstance(value, str):
            written = _WRITTEN_LIST.match(value)
            items = notation.keyword_separators.split(value if written is None else written[1])
            items = items if written is None else [item.strip().strip("'\"") for item in items]
        return (item for item in items if not is_missing(item))

    def _convert(self, item: object) -> str | None:
        if isinstance(item, bool):
            return str(item).lower()
        if isinstance(item, dt.date):
            return item.isoformat()
        if isinstance(item, float) and item.is_integer():
            item = int(item)  # Parquet stores a column of whole numbers with gaps as floats
        try:
            return clean_text(item)
        except (TypeError, ValueError):  # ValueError: an integer of thousands of digits
            return None
