"""Search by parts: the query and its parts against the logos of a catalog and theirs.

A fixed weight of the similarity of parts cannot be right: a circle or a letter is a part of many marks, a rare figure of
few. So each comparison of a region of the query counts by how surprising it is in this catalog (`search.expect`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids
from logo_similarity.search.expect import Tail

DIMENSIONS = 128
"""Number of dimensions that are kept of the embedding of a part; the first ones tell most."""
NEAREST = 120
"""Parts that are searched for each region of the query. A logo may have several of them, and a tail needs 60 logos."""
NEAREST_WHOLES = 80
"""Whole images that are searched for each part of the query."""
SHORTEST = 1e-6
"""Least length that a vector is divided by."""
PART_PENALTY = 1.0
"""Added to the logarithm of an expected number: several regions are compared, and the best counts."""
DISTANCE_PENALTY = 25.0
"""Added to it for each 1 of distance (1 - cosine): a part that is rare, but not the same, is no evidence."""
MOST_EXPECTED = float(np.log(10))
"""Logarithm of the largest expected number at which a match makes a logo a candidate."""
WHOLE = -1
"""Stands for the whole image in the place of the number of a part."""

_Found = tuple[Ids, Floats, NDArray[np.int64], NDArray[np.int64]]
"""The fields of a `PartMatches`."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Regions of logos that are near to a region of the query, nearest first."""

    ids: Ids
    """(m,) int64: the candidates that they belong to."""
    parts: NDArray[np.int64]
    """(m,) int64: the number of each among the parts of its logo, from 0; or `WHOLE`."""
    cosines: Floats
    """(m,) float32."""


class Pool(Protocol):
    """Regions that can be searched: whole images, or parts."""

    def nearest(self, embeddings: Sequence[Floats], k: int) -> list[Regions]:
        """The `k` nearest regions to each of some embeddings, (d,) float32 of unit length."""
        ...


@dataclass(frozen=True, slots=True)
class PartMatches:
    """The most surprising comparison of each logo that has one: parallel arrays, by id."""

    ids: Ids
    """(m,) int64, all different."""
    log_expects: Floats
    """(m,) float32: logarithm of the expected number of logos with such a comparison."""
    query_parts: NDArray[np.int64]
    """(m,) int64: the region of the query, as `Regions.parts`."""
    parts: NDArray[np.int64]
    """(m,) int64: the region of the logo."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a part of a query is searched in, and what its tail is fitted to: the same pool, but for a filter."""

    pool: Pool
    background: Pool


def match_parts(query: Description, wholes: Comparison, parts: Comparison | None = None) -> PartMatches:
    """Compare the regions of a query with those of a catalog, but for whole images with whole images.

    Args:
        query: with parts.
        wholes: the whole images of the catalog.
        parts: its parts; None: it has none.
    """
    regions = [] if query.parts is None else list(enumerate(query.parts.embeddings))
    # A catalog stores the first dimensions of its parts only: the parts of a logo of it cannot be compared with wholes.
    comparable = [(number, region) for number, region in regions if len(region) == len(query.embedding)]
    found = _compare(comparable, wholes, NEAREST_WHOLES)
    if parts is not None:
        found += _compare([(WHOLE, query.embedding), *regions], parts, NEAREST)
    return _most_surprising(found)


def _compare(regions: Sequence[tuple[int, Floats]], comparison: Comparison, k: int) -> list[_Found]:
    """The `k` nearest regions to each of some regions of a query, which have numbers, and how surprising each is."""
    if not regions:
        return []
    numbers, embeddings = zip(*regions, strict=True)
    nearest = comparison.pool.nearest(embeddings, k)
    is_background = comparison.background is comparison.pool
    background = nearest if is_background else comparison.background.nearest(embeddings, k)
    found = []
    for number, near, common in zip(numbers, nearest, background, strict=True):
        tail = Tail.fit(_best_of_each(common))
        if tail is not None:
            log_expects = tail.log_expect(near.cosines) + PART_PENALTY + DISTANCE_PENALTY * (1 - near.cosines)
            found.append((near.ids, log_expects, np.full(len(near.ids), number), near.parts))
    return found


def shorten(embeddings: Floats) -> Floats:
    """The first `DIMENSIONS` dimensions of embeddings, (..., d) float32, as vectors of unit length again."""
    first = embeddings[..., :DIMENSIONS]
    lengths = np.linalg.norm(first, axis=-1, keepdims=True)
    return np.asarray(first / np.maximum(lengths, SHORTEST), np.float32)


def _best_of_each(regions: Regions) -> Floats:
    """The cosine of the nearest region of each logo, descending."""
    _, first = np.unique(regions.ids, return_index=True)
    return regions.cosines[np.sort(first)]


def _most_surprising(found: Sequence[_Found]) -> PartMatches:
    if not found:
        none = np.empty(0, np.int64)
        return PartMatches(none, np.empty(0, np.float32), none, none)
    ids, log_expects, query_parts, parts = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.lexsort((parts, query_parts, log_expects))
    best = order[np.unique(ids[order], return_index=True)[1]]
    return PartMatches(ids[best], log_expects[best], query_parts[best], parts[best])
