"""Retrieval figures of rankings: average precision, recall and normalised average rank. Pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query and its relevant answers, as rows of the gallery."""

    row: int
    relevant: Rows
    ignored: Rows
    """Rows removed from the ranking, as neither right nor wrong. The query's own row is always removed."""


@dataclass(frozen=True, slots=True)
class QueryFigures:
    """Figures of one query's ranking."""

    row: int
    average_precision: float
    first_rank: int
    """Rank of the best relevant answer, starting at 1."""
    normalised_rank: float
    """0 if all relevant answers come first; about 0.5 for a random ranking."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over queries."""

    queries: int
    mean_average_precision: float
    recall_at_1: float
    recall_at_10: float
    recall_at_100: float
    normalised_average_rank: float


def rank_query(query: LabelledQuery, scores: Floats) -> QueryFigures:
    """Figures of one ranking.

    Average precision is over all relevant rows. With R relevant rows among N, the normalised rank is
    (sum of the relevant ranks - R (R + 1) / 2) / (N R), as for the METU trademark set (Tursun et al.,
    arXiv 1701.05766).

    Args:
        query: has at least one relevant row.
        scores: (n,) float32, one for each row of the gallery; higher is better. Among equal scores, wrong answers
            rank first, so that a constant feature does not earn a good rank.

    Raises:
        ValueError: a score is not finite, or the query has no relevant rows.
    """
    if not np.isfinite(scores).all():
        raise ValueError(f"query {query.row}: a score is not finite")
    if len(query.relevant) == 0:
        raise ValueError(f"query {query.row}: no relevant rows")
    wrong = np.ones(len(scores), dtype=bool)
    wrong[query.relevant] = False
    wrong[query.ignored] = False
    wrong[query.row] = False
    right_scores = np.sort(scores[query.relevant])[::-1]
    wrong_scores = np.sort(scores[wrong])
    ahead = len(wrong_scores) - np.searchsorted(wrong_scores, right_scores, side="left")
    order = np.arange(1, len(right_scores) + 1)
    ranks = ahead + order
    count = len(right_scores)
    total = count + len(wrong_scores)
    return QueryFigures(
        row=query.row,
        average_precision=float(np.mean(order / ranks)),
        first_rank=int(ranks[0]),
        normalised_rank=float((ranks.sum() - count * (count + 1) / 2) / (total * count)),
    )


def mean_figures(results: Sequence[QueryFigures]) -> Figures | None:
    """Means over queries; None if `results` is empty."""
    if not results:
        return None
    first_ranks = np.array([result.first_rank for result in results])
    return Figures(
        queries=len(results),
        mean_average_precision=float(np.mean([result.average_precision for result in results])),
        recall_at_1=float(np.mean(first_ranks <= 1)),
        recall_at_10=float(np.mean(first_ranks <= 10)),
        recall_at_100=float(np.mean(first_ranks <= 100)),
        normalised_average_rank=float(np.mean([result.normalised_rank for result in results])),
    )
