"""The fields of a collection that filters compare: the numbers of the same keys as in the posting lists of a version.

A field holds numbers alone. A date is 20230901 and a number counts from the smallest of its kind, so that both have their
order; any other key is a digest of 62 bits, so that no text of a person is ever part of an expression, and a long name
takes no more memory than a short one. Two texts have the same digest with a probability of 2 ** -62.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logo_similarity.catalog.postings import VALUES, keys_of, parts_of
from logo_similarity.field_kinds import Date, Kind, ListKind, Number, Numbers
from logo_similarity.fields import Record, RegisterField, select_fields

if TYPE_CHECKING:
    from logo_similarity.milvus.client import CollectionSchema, IndexParams

MISSING = -1
"""The number of a missing value, below all others."""
MORE = 2**63 - 1
"""In a list: the logo has more keys than a list can hold. Milvus Lite has no negative numbers in functions."""
MOST_KEYS = 512
"""Maximum length of a list. Lists of goods have about 50 words."""
_LISTS_SINCE = (2, 5)
"""The version of Milvus that has indexes of lists."""


@dataclass(frozen=True, slots=True)
class FilterField:
    """A field of a collection: the values of a field of the register or a facet, or the words in them."""

    field: RegisterField[Any]
    part: str
    """`postings.VALUES` or `postings.WORDS`."""

    @property
    def name(self) -> str:
        """Its name in the collection. A facet may have any name, and Milvus' names have letters, digits and _ alone."""
        column = self.field.column
        name = self.field.name if column is None else f"extra_{hashlib.sha256(column.encode()).hexdigest()[:16]}"
        return f"{self.part}_{name}"

    @property
    def is_list(self) -> bool:
        """Whether a logo can have several keys."""
        return self.part != VALUES or isinstance(self.field.kind, ListKind)

    def value_of(self, record: Record) -> int | list[int]:
        """The value of a logo."""
        kind = self.field.kind
        numbers = sorted({number_of(kind, key) for key in keys_of(kind, self.part, self.field.value_of(record))})
        if self.is_list:
            return numbers if len(numbers) <= MOST_KEYS else [*numbers[: MOST_KEYS - 1], MORE]
        return numbers[0] if numbers else MISSING

    def add_to(self, schema: CollectionSchema) -> None:
        """Declare the field."""
        from logo_similarity.milvus.client import DataType

        if self.is_list:
            schema.add_field(self.name, DataType.ARRAY, element_type=DataType.INT64, max_capacity=MOST_KEYS)
        else:
            schema.add_field(self.name, DataType.INT64)

    def add_index(self, indexes: IndexParams, server_version: str) -> None:
        """Declare its index. Servers before Milvus 2.5 and Milvus Lite have none for lists, and compare each logo."""
        numbers = re.match(r"v(\d+)\.(\d+)", server_version)  # that of Milvus Lite begins with its name
        if not self.is_list:
            indexes.add_index(self.name, index_type="INVERTED" if numbers is None else "STL_SORT")
        elif numbers is not None and (int(numbers[1]), int(numbers[2])) >= _LISTS_SINCE:
            indexes.add_index(self.name, index_type="INVERTED")


def filter_fields(names: Collection[str]) -> tuple[FilterField, ...]:
    """The fields of a collection whose logos have these fields and facets, see `Manifest.filter_fields`."""
    return tuple(FilterField(field, part) for field in select_fields(names) for part in parts_of(field))


OFFICE_FIELD = filter_fields(["office"])[0]
"""The office of a logo."""


def number_of(kind: Kind[Any], key: bytes) -> int:
    """The number of a key, which is not negative. Those of dates and numbers have the order of the keys."""
    match kind:
        case Date():
            return int(key.replace(b"-", b""))
        case Number() | Numbers():
            return int.from_bytes(key, "big")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 2
