"""The whole measurement: features of a gallery, its queries, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logo_similarity.errors import SourceError
from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.gallery import measure_speed, read_image
from logo_similarity.evaluation.labels import hard_queries
from logo_similarity.evaluation.ranking import Figures, Floats, LabelledQuery, QueryFigures, mean_figures, rank_query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from logo_similarity.embed.describe import Description
    from logo_similarity.engine import SearchEngine
    from logo_similarity.evaluation.features import Features
    from logo_similarity.evaluation.gallery import Describe, Gallery, Speed
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


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured."""

    features: str
    reranked: bool
    pictures: int
    dimension: int
    splits: tuple[Split, ...]
    copies: tuple[CopyFigures, ...]
    speed: Speed


def evaluate_gallery(
    gallery: Gallery,
    engine: SearchEngine | None,
    truth: Truth,
    splits: Sequence[str] | None,
    copies: int,
    images: Path,
    on_change: Callable[[int, int], None],
) -> Evaluation:
    """Measure a gallery.

    Args:
        gallery: the features.
        engine: the catalog that they are from, if any.
        truth: the right answers, of the same files.
        splits: which ones; None: all but `train`.
        copies: pictures of the first split whose changed copies are looked for.
        images: folder of the gallery's files.
        on_change: gets the number of changes whose copies were looked for, and of all.

    Raises:
        SourceError: no queries in a split.
    """
    names = splits or [name for name in truth.splits if name != "train"] or list(truth.splits)
    if missing := [name for name in names if name not in truth.splits]:
        raise SourceError(f"no queries in the split {missing[0]!r}; there are {', '.join(truth.splits)}")
    found: list[CopyFigures] = []
    if copies:
        found = evaluate_copies(
            copied_queries(truth, names[0], copies),
            lambda row: read_image(images / gallery.files[row]),
            gallery.describe,
            gallery.features.scores,
            on_change,
        )
    return Evaluation(
        gallery.name,
        gallery.features.patches is not None,
        len(gallery.files),
        gallery.features.embeddings.shape[1],
        tuple(evaluate_split(name, truth, gallery) for name in names),
        tuple(found),
        measure_speed(gallery, images, engine),
    )


def evaluate_split(name: str, truth: Truth, gallery: Gallery) -> Split:
    """Figures of one split. The gallery's thumbnails tell which answers are easy."""
    queries = truth.splits[name]
    hard = hard_queries(queries, gallery.thumbnails)
    results = {result.row: result for result in rank_all(queries, gallery.features)}
    hard_results = {result.row: result for result in rank_all(hard, gallery.features)}

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


def rank_all(queries: Sequence[LabelledQuery], features: Features) -> list[QueryFigures]:
    """Figures of every query against the whole gallery."""
    results: list[QueryFigures] = []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        cosines = features.embeddings[[query.row for query in block]] @ features.embeddings.T
        for query, row in zip(block, cosines, strict=True):
            results.append(rank_query(query, features.scores(features.description(query.row), row)))
    return results


def copied_queries(truth: Truth, split: str, count: int = COPIED) -> list[LabelledQuery]:
    """Queries whose copies are looked for: evenly over the split, so that the same gallery gives the same ones."""
    queries = truth.splits[split]
    return [
        queries[place] for place in np.unique(np.linspace(0, len(queries) - 1, min(count, len(queries))).astype(int))
    ]


def evaluate_copies(
    queries: Sequence[LabelledQuery],
    images: Callable[[int], Pixels],
    describe: Describe,
    score: Callable[[Description], Floats],
    on_change: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[CopyFigures]:
    """The changed copies of some pictures, each looked for in the whole gallery.

    Other drawings of the same brand are no wrong answers, and are left out.

    Args:
        queries: the originals.
        images: gives the picture of a row.
        describe: gives a picture's features.
        score: gives the scores, (n,) float32, of the gallery for a picture's features.
        on_change: gets the number of changes done, and of all.
    """
    originals = [(query, images(query.row)) for query in queries]
    found = []
    for done, (name, change) in enumerate(CHANGES.items(), 1):
        ranks = []
        for query, image in originals:
            scores = score(describe(change(image)))
            ahead = scores >= scores[query.row]  # others with the same score count as ahead, as everywhere
            ahead[[*query.relevant, *query.ignored, query.row]] = False
            ranks.append(1 + int(np.count_nonzero(ahead)))
        first = np.array(ranks)
        found.append(CopyFigures(name, float(np.mean(first <= 1)), float(np.mean(first <= 10))))
        on_change(done, len(CHANGES))
    return found
