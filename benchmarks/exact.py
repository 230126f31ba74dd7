"""Approximate answers against exact search, and the breadth of search that reaches a recall."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from logo_similarity.cpu import usable_cores
from logo_similarity.embed.describe import Floats
from logo_similarity.search.build import TIE
from logo_similarity.search.candidates import Ids


@dataclass(frozen=True, slots=True)
class Exact:
    """The exact answers to some queries."""

    vectors: Floats
    queries: Floats
    k: int
    floors: Floats
    """The lowest score that is an answer to each query; all rows that reach it are answers, so that ties may differ."""

    @classmethod
    def of(cls, vectors: Floats, queries: Floats, k: int) -> Exact:
        """Compare (q, d) queries with (n, d) vectors, both float32 of unit length, on all cores."""
        faiss.omp_set_num_threads(usable_cores())
        scores, _ = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        return cls(vectors, queries, k, scores[:, -1] - TIE)

    def recall(self, answers: Sequence[Ids]) -> float:
        """The share of the exact answers among the rows of each query; a row counts once.

        Raises:
            ValueError: a query has more than `k` rows.
        """
        hits = 0
        for query, floor, rows in zip(self.queries, self.floors, answers, strict=True):
            if len(rows) > self.k:
                raise ValueError(f"{len(rows)} rows instead of {self.k}")
            hits += int(np.count_nonzero(self.vectors[np.unique(rows)] @ query >= floor))
        return hits / (self.k * len(self.queries))


def least_breadth(recall: Callable[[int], float], target: float, breadths: range) -> int:
    """The smallest breadth whose recall reaches the target; the largest if none does. The recall grows with the breadth."""
    return breadths[min(bisect.bisect_left(breadths, target, key=recall), len(breadths) - 1)]
