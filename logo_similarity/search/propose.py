"""Codes for an image, proposed by the logos that it resembles most. A help for filtering, not a classification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from logo_similarity.domain import Hit, ValueShare
from logo_similarity.field_kinds import Codes
from logo_similarity.fields import select_fields

ASKED = 30
"""Number of hits that propose their codes."""
MOST_PROPOSED = 10
LEAST = 2
"""A code that fewer of these hits have is not proposed."""


def propose_codes(hits: Sequence[Hit], fields: Iterable[str]) -> dict[str, tuple[ValueShare, ...]]:
    """The most frequent codes of the best hits, for each field of codes, with the share of these hits that have them.

    Only hits that have a code in the field count.

    Args:
        hits: best first.
        fields: names of the catalog's fields.
    """
    proposed = {}
    for field in select_fields(set(fields)):
        if isinstance(field.kind, Codes):
            lists = [codes for hit in hits[:ASKED] if (codes := getattr(hit.logo.record, field.name))]
            counts = Counter(code for codes in lists for code in codes)
            proposed[field.name] = tuple(
                ValueShare(code, count / len(lists))
                for code, count in counts.most_common(MOST_PROPOSED)
                if count >= LEAST
            )
    return proposed
