"""The whole measurement: features of a gallery, its queries, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.labels import hard_queries
from logo_similarity.evaluation.ranking import Figures, Floats, Query, QueryFigures, mean_figures, rank_query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logo_similarity.evaluation.truth import Truth
    from logo_similarity.image.decode import Pixels

BLOCK = 256
"""Queries scored at once: 256 against 40,000 pictures take 40 MB."""
COPIED = 300
"""Pictures whose changed copies are looked for."""


@dataclass(frozen=True, slots=True)
class Part:
    """Figures of some of the queries, and of the same with the easy answers ignored."""

    name: str
    all: Figures
    hard: Figures | None


@dataclass(frozen=True, slots=True)
class CopyFigures:
    """How often the original of a changed copy is found first, and among the first ten."""

    change: str
    recall_at_1: float
    recall_at_10: float


@dataclass(frozen=True, slots=True)
class Split:
    """All of one split: the whole, its kinds and its sets; and the single queries, for looking at the worst."""

    name: str
    whole: Part
    kinds: tuple[Part, ...]
    sets: tuple[Part, ...]
    queries: tuple[QueryFigures, ...]


def evaluate_split(name: str, truth: Truth, thumbnails: Floats, features: Floats) -> Split:
    """Figures of one split.

    Args:
        name: of the split.
        truth: the gallery and its queries.
        thumbnails: (n, 1024) float32, as `labels.thumbnail` makes them: they tell which answers are easy.
        features: (n, d) float32, unit length.
    """
    queries = truth.splits[name]
    hard = hard_queries(queries, thumbnails)
    results = {result.row: result for result in rank_all(queries, features)}
    hard_results = {result.row: result for result in rank_all(hard, features)}

    def part(label: str, rows: Sequence[int]) -> Part:
        figures = mean_figures([results[row] for row in rows])
        if figures is None:
            raise ValueError(f"no queries in {label}")
        return Part(label, figures, mean_figures([hard_results[row] for row in rows if row in hard_results]))

    rows = [query.row for query in queries]

    def parts(label_of: Callable[[int], str | None]) -> tuple[Part, ...]:
        found = sorted({label for row in rows if (label := label_of(row))})
        return tuple(part(label, [row for row in rows if label_of(row) == label]) for label in found)

    return Split(
        name,
        part(name, rows),
        parts(lambda row: truth.labels[row].kind),
        parts(lambda row: truth.labels[row].icon_set),
        tuple(results[row] for row in rows),
    )


def rank_all(queries: Sequence[Query], features: Floats) -> list[QueryFigures]:
    """Every query against the whole gallery by cosine."""
    results: list[QueryFigures] = []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        scores = features[[query.row for query in block]] @ features.T
        results.extend(rank_query(query, row) for query, row in zip(block, scores, strict=True))
    return results


def copied_rows(truth: Truth, split: str, count: int = COPIED) -> list[int]:
    """Rows whose copies are looked for: evenly over the split's queries, so that the same gallery gives the same ones."""
    rows = [query.row for query in truth.splits[split]]
    return [rows[place] for place in np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def evaluate_copies(
    rows: Sequence[int], images: Callable[[int], Pixels], describe: Callable[[Pixels], Floats], features: Floats
) -> list[CopyFigures]:
    """The changed copies of some rows, each looked for in the whole gallery.

    Args:
        rows: of the gallery.
        images: gives the picture of a row.
        describe: gives a picture's features, (d,) float32, unit length.
        features: (n, d) float32 of the gallery, unit length.
    """
    found = []
    for name, change in CHANGES.items():
        copies = np.stack([describe(change(images(row))) for row in rows])
        scores = copies @ features.T
        own = scores[np.arange(len(rows)), rows]
        # Others with the same score count as ahead, as everywhere.
        ranks = (scores >= own[:, np.newaxis]).sum(axis=1)
        found.append(CopyFigures(name, float(np.mean(ranks <= 1)), float(np.mean(ranks <= 10))))
    return found
