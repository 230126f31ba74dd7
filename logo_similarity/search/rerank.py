"""The second stage: candidates of the index scored again by what their parts have in common. Pure arrays.

Each logo has a patch, a short vector, for every cell of a grid over its content; zero where the cell shows nothing but paper. Two
logos agree where a patch of the one has its like in the other (late interaction, as in ColBERT: Khattab and Zaharia, arXiv
2004.12832), in both directions, and a match counts for more the less it has moved.

What a candidate has in common with all the others says little: it is likely to be near to everything (a hub, as Radovanovic et
al., JMLR 11, 2010, call it). Scores are corrected for that by the mean of the candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
StoredPatches = NDArray[np.int8]

STEPS = 127
"""A patch is no longer than 1; its coordinates are stored as int8 in steps of 1 / 127."""
BLOCK = 100
"""Candidates compared at once, for the sake of memory."""
CANDIDATES = 100
"""How many of the index's answers are scored again; all of them where more are asked for. 200 find no more."""


class Query(NamedTuple):
    """What the encoder says of a picture: embedding (d,) float32 of unit length, patches (cells, channels) int8."""

    embedding: Floats
    patches: StoredPatches


@dataclass(frozen=True, slots=True)
class Match:
    """One cell of the query and the cell of the other logo that is most like it; cells count row by row from the top left."""

    cell: int
    other: int
    strength: float
    """0 to 1: how much of what is in the cell is found again."""


@dataclass(frozen=True, slots=True)
class Reranker:
    """The patches of a catalog and how much they count. Safe to use from many threads at once.

    `patches` (n, cells, channels) int8 and `vectors` (n, d) float32, one row for each logo, cells of a square grid;
    `weight`, 0 to 1, the share of the agreement in a score, the cosine having the rest.
    """

    patches: StoredPatches
    vectors: Floats
    weight: float
    _nearness: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_nearness", nearness(math.isqrt(self.patches.shape[1])))

    def score(self, query: Query, rows: NDArray[np.int64], cosines: Floats) -> Floats:
        """(m,) float32 scores of the candidates `rows` (m,), nearest first; their cosines with the query are known.

        With s the mean of cosine and agreement, q the query's embedding, c a candidate's and m the mean of the first `CANDIDATES`
        of them, a score is s + (1 - s) (q - c) m: 1 for the same picture, whatever the others are.
        """
        scores = (1 - self.weight) * cosines + self.weight * self.agreement(query.patches, rows)
        vectors = self.vectors[rows]
        common = vectors[:CANDIDATES].mean(axis=0)
        apart = np.minimum(query.embedding @ common - vectors @ common, 1)
        return np.asarray(np.clip(scores + (1 - scores) * apart, -1, 1), np.float32)

    def agreement(self, query: StoredPatches, rows: NDArray[np.int64]) -> Floats:
        """(m,) float32, 0 to 1: what of the query is found again in each candidate, and the other way round, on average.

        With p_i the patches of the query, q_j those of the candidate and n_ij the nearness of their cells, the first is
        sum_i min(max_j(n_ij p_i q_j), p_i p_i) / sum_i p_i p_i: no cell counts for more than it would with its own like.
        """
        shown = np.flatnonzero(query.any(axis=1))  # a cell without a patch is like nothing: it need not be compared
        found = np.zeros(len(rows), np.float32)
        if not len(shown):
            return found
        own = query[shown].astype(np.float32)
        near, weights = self._nearness[shown, np.newaxis], _weights(own)[:, np.newaxis]
        for start in range(0, len(rows), BLOCK):
            others = self.patches[rows[start : start + BLOCK]].astype(np.float32)
            alike, other_weights = _alike(own, others, near), _weights(others)
            forward = np.minimum(alike.max(axis=2), weights).clip(0).sum(axis=0) / weights.sum()
            backward = np.minimum(alike.max(axis=0), other_weights).clip(0).sum(axis=1)
            found[start : start + BLOCK] = (forward + backward / np.maximum(other_weights.sum(axis=1), 1)) / 2
        return found

    def matches(self, query: StoredPatches, row: int, least: float = 0.5) -> list[Match]:
        """Where the query and one logo agree: cells that are each other's best, strongest first, none under `least`."""
        own = query.astype(np.float32)
        others = self.patches[[row]].astype(np.float32)
        alike = _alike(own, others, self._nearness[:, np.newaxis])[:, 0]
        best, back = alike.argmax(axis=1), alike.argmax(axis=0)
        weights = _weights(own)
        found = [
            Match(cell, int(other), float(np.clip(alike[cell, other] / weights[cell], 0, 1)))
            for cell, other in enumerate(best)
            if weights[cell] > 0 and back[other] == cell
        ]
        return sorted((match for match in found if match.strength >= least), key=lambda match: -match.strength)


def stored(patches: Floats) -> StoredPatches:
    """Patches, none longer than 1, as int8."""
    return np.rint(patches * STEPS).astype(np.int8)


def nearness(grid: int) -> Floats:
    """(cells, cells) float32, symmetric: the weight of a match, 1 in the same cell or the next, half far away.

    In between it falls as a Gaussian with a standard deviation of two cells, measured from the next cell.
    """
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    distance = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns))
    moved = np.maximum(distance - 1, 0)
    return np.asarray(0.5 + 0.5 * np.exp(-((moved / 2) ** 2) / 2), np.float32)


def _alike(own: Floats, others: Floats, near: Floats) -> Floats:
    """(cells of the query, m, cells of the others): products of the patches, less where they are far apart."""
    count, cells, channels = others.shape
    alike = (own @ others.reshape(count * cells, channels).T).reshape(len(own), count, cells)
    return np.multiply(alike, near, out=alike)


def _weights(patches: Floats) -> Floats:
    """Squared lengths."""
    return np.asarray(np.einsum("...c,...c->...", patches, patches), np.float32)
