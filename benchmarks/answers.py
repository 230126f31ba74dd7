"""The check of every search that a benchmark times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_SCORE = 0.999
"""Of a logo whose own file is the query."""
TIE = 1e-5
"""Scores that differ by less are equal: sums of float32 products that each processor adds in its own order."""


def check_hits(hits: Sequence[Mapping[str, Any]], logo_id: str, top_k: int) -> None:
    """Check the hits, best first, of a search with the file of a logo.

    The logo may tie with others for the first place: a synthetic near copy can score 1.0 too, more often on a CPU without
    VNNI, where the int8 encoder rounds differently.

    Raises:
        ValueError: there are not `top_k` hits, or the logo is not among the best of them.
    """
    if len(hits) != top_k:
        raise ValueError(f"{logo_id}: {len(hits)} hits instead of {top_k}")
    own = next((hit["score"] for hit in hits if hit["id"] == logo_id), -math.inf)
    if own < max(LEAST_SCORE, hits[0]["score"] - TIE):
        raise ValueError(f"{logo_id}: its score is {own:.6f}, and {hits[0]['id']} has {hits[0]['score']:.6f}")
