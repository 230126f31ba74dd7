"""The first stage of a search: sources of candidates, and merging of their candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from logo_similarity.embed.describe import Description, Floats, Patches

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Logos that may be similar to a query: parallel arrays, nearest first, ties by id."""

    ids: Ids
    """(m,) int64. Their meaning depends on the source."""
    cosines: Floats
    """(m,) float32: cosine of the query's embedding and that of the candidate."""
    embeddings: Floats | None = None
    """(m, d) float32; None if the candidates are not to be re-ranked."""
    patches: Patches | None = None
    """(m, cells, channels) int8; None if the candidates are not to be re-ranked."""


class CandidateSource(Protocol):
    """Finds candidates. Safe to call from many threads at once."""

    def candidates(self, description: Description, k: int) -> Candidates:
        """At most `k` candidates, with embeddings and patches if the description has patches."""
        ...


def gather(ids: Ids, cosines: Floats, embeddings: Floats, patches: Patches | None) -> Candidates:
    """Candidates with their rows of the arrays, for re-ranking.

    Args:
        ids: (m,) int64, rows of `embeddings` and `patches`.
        cosines: (m,) float32.
        embeddings: (n, d) float32.
        patches: (n, cells, channels) int8; None: the candidates are not to be re-ranked.
    """
    if patches is None:
        return Candidates(ids, cosines)
    return Candidates(ids, cosines, embeddings[ids], patches[ids])


def merge(parts: Sequence[Candidates], k: int) -> Candidates:
    """The `k` nearest candidates of several sources; of candidates with the same id, only the nearest."""
    if len(parts) == 1:
        return parts[0]
    ids, cosines = (
        np.concatenate(arrays) for arrays in zip(*((part.ids, part.cosines) for part in parts), strict=True)
    )
    order = np.lexsort((ids, -cosines))
    _, first = np.unique(ids[order], return_index=True)
    best = order[np.sort(first)][:k]
    if any(part.patches is None for part in parts):
        return Candidates(ids[best], cosines[best])
    embeddings = np.concatenate([part.embeddings for part in parts if part.embeddings is not None])
    patches = np.concatenate([part.patches for part in parts if part.patches is not None])
    return Candidates(ids[best], cosines[best], embeddings[best], patches[best])
