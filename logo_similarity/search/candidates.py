"""The first stage of a search: sources of candidates, and merging of their candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.filters import Filter

if TYPE_CHECKING:
    from logo_similarity.search.halves import HalfRows
    from logo_similarity.search.nibbles import PackedPatches

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
NO_IDS: Ids = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class IdSet:
    """The ids that may be candidates: in a catalog, the vectors of the logos that pass a filter."""

    mask: Mask
    """(n,) bool: whether each id belongs to the set."""
    count: int
    """Number of ids in the set."""
    condition: Filter | None = None
    """A filter that the logos of these ids pass, except `besides`, for a source that filters by itself. Other ids may
    pass it, too: the mask decides."""
    besides: Ids = field(default_factory=lambda: NO_IDS)
    """(m,) int64, ascending: ids that may belong to the set although their own logos do not pass the filter."""

    @classmethod
    def of(cls, mask: Mask, condition: Filter | None = None, besides: Ids = NO_IDS) -> Self:
        """The ids where `mask`, (n,) bool, is true."""
        return cls(mask, int(np.count_nonzero(mask)), condition, besides)

    @property
    def ids(self) -> Ids:
        """The ids, (count,) int64, ascending."""
        return np.flatnonzero(self.mask)

    def within(self, numbers: slice) -> Self | None:
        """The ids of a range, counted from its start; None if it has no others."""
        first, end = np.searchsorted(self.besides, (numbers.start, numbers.stop))
        part = self.of(self.mask[numbers], self.condition, self.besides[first:end] - numbers.start)
        return None if part.count == len(part.mask) else part


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
    exact: bool = False
    """Whether they are certainly the nearest: the source compared the query with every logo."""


class CandidateSource(Protocol):
    """Finds candidates. Safe to call from many threads at once."""

    def candidates(self, description: Description, k: int, allowed: IdSet | None = None) -> Candidates:
        """At most `k` candidates, with embeddings and patches if the description has patches.

        Args:
            description: the query.
            k: maximum number of candidates.
            allowed: the ids that may be candidates; None: all.
        """
        ...


def gather(
    ids: Ids,
    cosines: Floats,
    embeddings: Floats | HalfRows,
    patches: Patches | PackedPatches | None,
    *,
    exact: bool = False,
) -> Candidates:
    """Candidates with their rows of the arrays, for re-ranking.

    Args:
        ids: (m,) int64, rows of `embeddings` and `patches`.
        cosines: (m,) float32.
        embeddings: (n, d) float32.
        patches: (n, cells, channels) int8; None: the candidates are not to be re-ranked.
        exact: whether they are certainly the nearest.
    """
    if patches is None:
        return Candidates(ids, cosines, exact=exact)
    return Candidates(ids, cosines, embeddings[ids], patches[ids], exact)


def merge(parts: Sequence[Candidates], k: int) -> Candidates:
    """The `k` nearest candidates of several sources; of candidates with the same id, only the nearest."""
    if len(parts) == 1:
        return parts[0]
    ids, cosines = np.concatenate([part.ids for part in parts]), np.concatenate([part.cosines for part in parts])
    order = np.lexsort((ids, -cosines))
    _, first = np.unique(ids[order], return_index=True)
    return concatenate(parts, order[np.sort(first)][:k])


def concatenate(parts: Sequence[Candidates], order: Ids) -> Candidates:
    """The candidates of several sources at some positions, counted through all of them."""
    ids, cosines = np.concatenate([part.ids for part in parts])[order], np.concatenate([part.cosines for part in parts])
    exact = all(part.exact for part in parts)
    if any(part.patches is None for part in parts):
        return Candidates(ids, cosines[order], exact=exact)
    embeddings = np.concatenate([part.embeddings for part in parts if part.embeddings is not None])
    patches = np.concatenate([part.patches for part in parts if part.patches is not None])
    return Candidates(ids, cosines[order], embeddings[order], patches[order], exact)
