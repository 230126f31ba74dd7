"""The second stage: candidates of the index scored again by what their parts have in common. Pure arrays.

Each logo has a patch, a short vector, for every cell of a grid over its content. Two logos agree where a patch of the one has
its like in the other (late interaction, as in ColBERT: Khattab and Zaharia, arXiv 2004.12832), in both directions, and a match
counts for more the less it has moved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
StoredPatches = NDArray[np.int8]

STEPS = 127
"""A patch is no longer than 1; its coordinates are stored as int8 in steps of 1 / 127."""
EMPTY = 0.05
"""A cell whose patch has less than this share of the greatest weight shows nothing."""
BLOCK = 32
"""Candidates compared at once: their products then stay in the cache."""
CANDIDATES = 200
"""How many of the index's answers are scored again; all of them where more are asked for."""


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

    `patches` (n, cells, channels) int8, one row for each logo, cells of a square grid; `weight`, 0 to 1, the share of the
    agreement in a score, the cosine having the rest.
    """

    patches: StoredPatches
    weight: float
    _nearness: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_nearness", nearness(math.isqrt(self.patches.shape[1])))

    def score(self, query: StoredPatches, rows: NDArray[np.int64], cosines: Floats) -> Floats:
        """(m,) float32 scores of the candidates `rows` (m,), whose cosines with the query are known; 1 for the same picture."""
        return np.asarray((1 - self.weight) * cosines + self.weight * self.agreement(query, rows), np.float32)

    def agreement(self, query: StoredPatches, rows: NDArray[np.int64]) -> Floats:
        """(m,) float32, 0 to 1: what of the query is found again in each candidate, and the other way round, on average.

        With p_i the patches of the query, q_j those of the candidate and n_ij the nearness of their cells, the first is
        sum_i min(max_j(n_ij p_i q_j), p_i p_i) / sum_i p_i p_i: no cell counts for more than it would with its own like.
        """
        own = query.astype(np.float32)
        weights = _weights(own)
        found = np.empty(len(rows), np.float32)
        room = np.empty((BLOCK, len(own), len(own)), np.float32)
        for start in range(0, len(rows), BLOCK):
            others = self.patches[rows[start : start + BLOCK]].astype(np.float32)
            alike, other_weights = self._alike(own, others, room[: len(others)]), _weights(others)
            forward = np.minimum(alike.max(axis=1), weights).clip(0).sum(axis=1) / weights.sum()
            backward = np.minimum(alike.max(axis=2), other_weights).clip(0).sum(axis=1) / other_weights.sum(axis=1)
            found[start : start + BLOCK] = (forward + backward) / 2
        return found

    def matches(self, query: StoredPatches, row: int, least: float = 0.5) -> list[Match]:
        """Where the query and one logo agree: cells that are each other's best, strongest first, none under `least`."""
        own = query.astype(np.float32)
        others = self.patches[[row]].astype(np.float32)
        alike = self._alike(own, others, np.empty((1, len(own), len(own)), np.float32))[0]
        best, back = alike.argmax(axis=0), alike.argmax(axis=1)
        weights = _weights(own)
        shown = weights >= weights.max() * EMPTY
        found = [
            Match(cell, int(other), float(np.clip(alike[other, cell] / weights[cell], 0, 1)))
            for cell, other in enumerate(best)
            if back[other] == cell and shown[cell]
        ]
        return sorted((match for match in found if match.strength >= least), key=lambda match: -match.strength)

    def _alike(self, own: Floats, others: Floats, room: Floats) -> Floats:
        """Products of the patches, less where they are far apart: into `room`, (m, cells of the other, cells of the query)."""
        count, cells, channels = others.shape
        np.matmul(others.reshape(count * cells, channels), own.T, out=room.reshape(count * cells, cells))
        return np.multiply(room, self._nearness, out=room)


def stored(patches: Floats) -> StoredPatches:
    """Patches, none longer than 1, as int8."""
    return np.rint(patches * STEPS).astype(np.int8)


def nearness(grid: int) -> Floats:
    """(cells, cells) float32, symmetric: what a match counts, 1 in the same cell or the next, half far away."""
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    distance = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns))
    moved = np.maximum(distance - 1, 0)
    return np.asarray(0.5 + 0.5 * np.exp(-((moved / 2) ** 2) / 2), np.float32)


def _weights(patches: Floats) -> Floats:
    """Squared lengths, at least a little, so that an empty picture divides by something."""
    return np.asarray(np.maximum(np.einsum("...c,...c->...", patches, patches), 1e-3), np.float32)
