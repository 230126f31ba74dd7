"""The second stage of a search: scores of the candidates. Pure functions of arrays.

Each logo has a patch, a short vector, for every cell of a grid over its content; it is zero if the cell shows only the
background. Two logos agree where a patch of one has a similar patch in the other (late interaction, as in ColBERT:
Khattab and Zaharia, arXiv 2004.12832), in both directions; the weight of a match decreases with the distance of its
cells.

A candidate that is similar to all other candidates is probably a hub, which is near to every query (Radovanovic et al.,
JMLR 11, 2010). Scores are corrected for that with the mean of the candidates.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from logo_similarity.embed.describe import Description, Floats, Patches
from logo_similarity.search.candidates import Candidates

BLOCK = 100
"""Candidates compared at once; this bounds the memory."""
RERANKED = 100
"""Number of candidates that are re-ranked, or more if a query asks for more results. 200 do not improve recall."""


@dataclass(frozen=True, slots=True)
class Match:
    """A cell of the query and the most similar cell of another logo. Cells are numbered row by row from 0."""

    cell: int
    other: int
    strength: float
    """Share of the cell's content that the other cell repeats, 0 to 1."""


def score(query: Description, candidates: Candidates, weight: float) -> Floats:
    """(m,) float32 scores of candidates, which must be sorted nearest first.

    Without patches the scores are the cosines. With s the mean of cosine and agreement, q the query's embedding, c a
    candidate's and m the mean of the first `RERANKED` candidates, a score is s + (1 - s) (q - c) m: 1 for an identical
    picture, whatever the other candidates are.

    Args:
        query: the query's embedding, and its patches if the candidates are to be re-ranked.
        candidates: with embeddings and patches if the query has patches.
        weight: share of the agreement in s, 0 to 1; the cosine has the rest.
    """
    if query.patches is None or candidates.patches is None or candidates.embeddings is None:
        return candidates.cosines
    scores = (1 - weight) * candidates.cosines + weight * agreement(query.patches, candidates.patches)
    embeddings = candidates.embeddings
    common = embeddings[:RERANKED].mean(axis=0)
    apart = np.minimum(query.embedding @ common - embeddings @ common, 1)
    return np.asarray(np.clip(scores + (1 - scores) * apart, -1, 1), np.float32)


def agreement(query: Patches, others: Patches) -> Floats:
    """(m,) float32, 0 to 1: the mean of the share of the query that each other logo repeats, and the reverse.

    With p_i the patches of the query, q_j those of the other and n_ij the nearness of their cells, the first share is
    sum_i min(max_j(n_ij p_i q_j), p_i p_i) / sum_i p_i p_i: no cell counts for more than an identical one would.

    Args:
        query: (cells, channels) int8.
        others: (m, cells, channels) int8.
    """
    inked = np.flatnonzero(query.any(axis=1))  # zero patches match nothing
    result = np.zeros(len(others), np.float32)
    if not len(inked):
        return result
    own = query[inked].astype(np.float32)
    near, weights = nearness(_grid(query))[inked, np.newaxis], _weights(own)[:, np.newaxis]
    for start in range(0, len(others), BLOCK):
        block = others[start : start + BLOCK].astype(np.float32)
        alike, block_weights = _alike(own, block, near), _weights(block)
        forward = np.minimum(alike.max(axis=2), weights).clip(0).sum(axis=0) / weights.sum()
        backward = np.minimum(alike.max(axis=0), block_weights).clip(0).sum(axis=1)
        result[start : start + BLOCK] = (forward + backward / np.maximum(block_weights.sum(axis=1), 1)) / 2
    return result


def match_cells(query: Patches, other: Patches, least: float = 0.5) -> list[Match]:
    """The matches of two logos: pairs of cells that are each other's best match, strongest first.

    Args:
        query: (cells, channels) int8.
        other: the same.
        least: minimum strength of a match, 0 to 1.
    """
    own = query.astype(np.float32)
    alike = _alike(own, other[np.newaxis].astype(np.float32), nearness(_grid(query))[:, np.newaxis])[:, 0]
    best, back = alike.argmax(axis=1), alike.argmax(axis=0)
    weights = _weights(own)
    matches = [
        Match(cell, int(other_cell), float(np.clip(alike[cell, other_cell] / weights[cell], 0, 1)))
        for cell, other_cell in enumerate(best)
        if weights[cell] > 0 and back[other_cell] == cell
    ]
    return sorted((match for match in matches if match.strength >= least), key=lambda match: -match.strength)


@functools.lru_cache(maxsize=8)
def nearness(grid: int) -> Floats:
    """Weight of a match by the positions of its two cells, (cells, cells) float32, symmetric.

    It is 1 for the same or an adjacent cell, and falls to 0.5 as a Gaussian of the further distance, with a standard
    deviation of two cells.
    """
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    distance = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns))
    moved = np.maximum(distance - 1, 0)
    weights = np.asarray(0.5 + 0.5 * np.exp(-((moved / 2) ** 2) / 2), np.float32)
    weights.flags.writeable = False  # shared by all callers
    return weights


def _grid(patches: Patches) -> int:
    return math.isqrt(patches.shape[0])


def _alike(own: Floats, others: Floats, near: Floats) -> Floats:
    """Products of the patches, weighted by nearness: (cells of the query, m, cells of the others)."""
    count, cells, channels = others.shape
    alike = (own @ others.reshape(count * cells, channels).T).reshape(len(own), count, cells)
    return np.multiply(alike, near, out=alike)


def _weights(patches: Floats) -> Floats:
    """Squared lengths."""
    return np.asarray(np.einsum("...c,...c->...", patches, patches), np.float32)
