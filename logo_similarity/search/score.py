"""The second stage of a search: scores of the candidates. Pure functions of arrays.

Each logo has a patch, a short vector, for every cell of a grid over its content; it is zero if the cell shows only the
background. Two logos agree where a patch of one has a similar patch in the other (late interaction, as in ColBERT:
Khattab and Zaharia, arXiv 2004.12832), in both directions; the weight of a match decreases with the distance of its
cells.

A candidate that is similar to all other candidates is probably a hub, which is near to every query (Radovanovic et al.,
JMLR 11, 2010). Scores are corrected for that with the mean of the candidates, or under a filter, of the candidates
without the filter.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.search.candidates import Candidates

BLOCK = 100
"""Candidates compared at once; this bounds the memory."""
RERANKED = 100
"""Number of candidates that are re-ranked, or more if a query asks for more results. 200 do not improve recall."""
COMPLETED_RERANKED, COMPLETED_WEIGHT = 1000, 0.85
"""The same for completed queries, whose embedding says less, and the share of what is repeated in their scores."""


@dataclass(frozen=True, slots=True)
class Match:
    """A cell of the query and the most similar cell of another logo. Cells are numbered row by row from 0."""

    cell: int
    other: int
    strength: float
    """Share of the cell's content that the other cell repeats, 0 to 1."""


def score(query: Description, candidates: Candidates, weight: float, nearest: Candidates | None = None) -> Floats:
    """Scores of candidates, (m,) float32, -1 to 1.

    Without patches the scores are the cosines. With s the weighted mean of cosine and agreement, q the embedding of the
    query, c that of the candidate and m the mean of those of the first `RERANKED` nearest logos, the score is
    s + (1 - s) (q - c) m. It is 1 for an identical image, regardless of the other candidates.

    Of a completed query, only the share that the other logo repeats counts, with the weight `COMPLETED_WEIGHT`.

    If neither the query nor the candidate has a patch that is not zero, as a blank or very pale image, s is the cosine.

    Args:
        query: with patches if the candidates are to be re-ranked.
        candidates: nearest first; with embeddings and patches if the query has patches.
        weight: share of the agreement in s, 0 to 1; the cosine has the rest.
        nearest: the nearest logos of all, with embeddings, if the candidates are a selection; None: the candidates.
    """
    if query.patches is None or candidates.patches is None or candidates.embeddings is None or not len(candidates.ids):
        return candidates.cosines
    if query.completed:
        weight, agreements = COMPLETED_WEIGHT, repeated(query.patches, candidates.patches)
    else:
        agreements = agreement(query.patches, candidates.patches)
    if not query.patches.any():
        inkless = ~candidates.patches.any(axis=(1, 2))
        agreements[inkless] = candidates.cosines[inkless]
    scores = (1 - weight) * candidates.cosines + weight * agreements
    embeddings = candidates.embeddings
    common = embeddings if nearest is None or nearest.embeddings is None else nearest.embeddings
    mean = common[:RERANKED].mean(axis=0)
    correction = np.minimum(query.embedding @ mean - embeddings @ mean, 1)
    return np.asarray(np.clip(scores + (1 - scores) * correction, -1, 1), np.float32)


def agreement(query: Patches, others: Patches) -> Floats:
    """Agreement of a query with other logos, (m,) float32, 0 to 1.

    It is the mean of two shares: the part of the query that the other logo repeats, and the reverse. With p_i the
    patches of the query, q_j those of the other logo and n_ij the nearness of their cells, the first share is
    sum_i min(max_j(n_ij p_i q_j), p_i p_i) / sum_i p_i p_i: a match counts for no more than that of an identical cell.

    Args:
        query: (cells, channels) int8.
        others: (m, cells, channels) int8.
    """
    return np.mean(_shares(query, others), axis=0, dtype=np.float32)


def repeated(query: Patches, others: Patches) -> Floats:
    """The first of the two shares of `agreement` alone: how much of the query other logos repeat, (m,) float32, 0 to 1."""
    return _shares(query, others)[0]


def _shares(query: Patches, others: Patches) -> Floats:
    """The share of the query that each other logo repeats, and the reverse, (2, m) float32."""
    inked = np.flatnonzero(query.any(axis=1))  # zero patches match nothing
    result = np.zeros((2, len(others)), np.float32)
    if not len(inked):
        return result
    patches = query[inked].astype(np.float32)
    weights = _weights(patches)[:, np.newaxis]
    nearby = nearness(_grid(query))[inked].T[:, :, np.newaxis] * patches
    for start in range(0, len(others), BLOCK):
        # (cells of the others, channels, m): so the maxima are of whole rows of memory, which halves the time.
        block = others[start : start + BLOCK].transpose(1, 2, 0).astype(np.float32, order="C")
        products = nearby @ block  # (cells of the others, inked cells of the query, m)
        block_weights = np.einsum("jcm,jcm->jm", block, block)
        forward = np.minimum(products.max(axis=0), weights).clip(0).sum(axis=0) / weights.sum()
        backward = np.minimum(products.max(axis=1), block_weights).clip(0).sum(axis=0)
        result[0, start : start + BLOCK] = forward
        result[1, start : start + BLOCK] = backward / np.maximum(block_weights.sum(axis=0), 1)
    return result


def match_cells(query: Patches, other: Patches, least: float = 0.5) -> list[Match]:
    """The matches of two logos: pairs of cells that are each other's best match, strongest first.

    Args:
        query: (cells, channels) int8.
        other: the same.
        least: minimum strength of a match, 0 to 1.
    """
    patches = query.astype(np.float32)
    products = (patches @ other.astype(np.float32).T) * nearness(_grid(query))
    best_other, best_cell = products.argmax(axis=1), products.argmax(axis=0)
    weights = _weights(patches)
    matches = [
        Match(cell, int(other_cell), float(np.clip(products[cell, other_cell] / weights[cell], 0, 1)))
        for cell, other_cell in enumerate(best_other)
        if weights[cell] > 0 and best_cell[other_cell] == cell
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


def _weights(patches: Floats) -> Floats:
    """Squared lengths."""
    return np.asarray(np.einsum("...c,...c->...", patches, patches), np.float32)
