"""Groups of hits: those that show the same picture, or have the same company. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids, Mask

SAME_PICTURE = 0.992
"""Cosine from which two pictures count as the same one: the same drawing in another file format, size, margin or colour.
No two of the 2,305 samples with different drawings or words reach it (`benchmarks/group_threshold.py`)."""


class Groups(NamedTuple):
    """The groups on one page, best first."""

    places: Ids
    """(g,) int64: the position of the best hit of each."""
    others: tuple[Ids, ...]
    """For each the positions of its further hits, ascending."""
    more: bool
    """Whether there are groups after these."""


def group_pictures(embeddings: Floats) -> Ids:
    """For each hit, best first, the position of the best hit of its group, (m,) int64.

    A hit belongs to the best hit that shows the same picture and belongs to no other.

    Args:
        embeddings: (m, d) float32, unit length.
    """
    same = embeddings @ embeddings.T >= SAME_PICTURE
    leaders = np.full(len(embeddings), -1)
    for place in range(len(embeddings)):
        if leaders[place] < 0:
            leaders[same[place] & (leaders < 0)] = place
            leaders[place] = place  # even if its embedding is shorter than 1 by a rounding error
    return leaders


def group_names(names: Sequence[Hashable]) -> Ids:
    """The same for hits with equal names. One whose name is empty or None is a group of its own."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(name, place) if name else place for place, name in enumerate(names)], np.int64)


def take_groups(leaders: Ids, shown: Mask, most: int) -> Groups:
    """The first groups that are not shown yet.

    Args:
        leaders: (m,) int64, of `group_pictures` or `group_names`.
        shown: (m,) bool: whether an earlier page shows each hit as the best of its group.
        most: maximum number of groups.
    """
    places = np.flatnonzero((leaders == np.arange(len(leaders))) & ~shown)
    others = tuple(np.flatnonzero(leaders == place)[1:] for place in places[:most].tolist())
    return Groups(places[:most], others, len(places) > most)
