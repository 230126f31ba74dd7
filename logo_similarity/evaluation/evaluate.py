"""The complete evaluation of a gallery: retrieval figures per split, changed copies, and latency."""

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
"""Queries scored at once: the scores of 256 queries against 40,000 images take 40 MB."""
COPIED = 300
"""Default number of images whose changed copies are searched for."""


@dataclass(frozen=True, slots=True)
class Part:
    """Figures of a subset of the queries."""

    name: str
    all: Figures
    hard: Figures | None
    """The same with easy answers ignored; None if every query has only easy answers."""


@dataclass(frozen=True, slots=True)
class CopyFigures:
    """Share of changed copies whose original is the first result, or one of the first ten."""

    change: str
    recall_at_1: float
    recall_at_10: float


@dataclass(frozen=True, slots=True)
class Split:
    """Figures of one split."""

    name: str
    whole: Part
    kinds: tuple[Part, ...]
    """By kind of mark."""
    sets: tuple[Part, ...]
    """By icon set."""
    queries: tuple[QueryFigures, ...]
    """Of each query, to find the worst ones."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of an evaluation."""

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
    """Evaluate the features of a gallery against ground truth.

    Args:
        gallery: the features.
        engine: the catalog that contains the features; None: they were computed from the images.
        truth: the relevant answers, for the same files.
        splits: names of the splits to measure; None: all but `train`.
        copies: number of images of the first split whose changed copies are searched for; 0: none.
        images: folder of the gallery's files.
        on_change: called with the number of changes evaluated so far and their total.

    Raises:
        SourceError: a split has no queries, or an image cannot be read.
    """
    names = splits or [name for name in truth.splits if name != "train"] or list(truth.splits)
    if missing := [name for name in names if name not in truth.splits]:
        raise SourceError(f"split {missing[0]!r} has no queries; available splits: {', '.join(truth.splits)}")
    copy_figures: list[CopyFigures] = []
    if copies:
        copy_figures = evaluate_copies(
            choose_copied_queries(truth, names[0], copies),
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
        tuple(copy_figures),
        measure_speed(gallery, images, engine),
    )


def evaluate_split(name: str, truth: Truth, gallery: Gallery) -> Split:
    """Figures of one split. An answer is easy if its thumbnail correlates with that of the query (`hard_queries`)."""
    queries = truth.splits[name]
    hard = hard_queries(queries, gallery.thumbnails)
    results = {result.row: result for result in rank_all(queries, gallery.features)}
    hard_results = {result.row: result for result in rank_all(hard, gallery.features)}

    def part(label: str, rows: Sequence[int]) -> Part:
        figures = mean_figures([results[row] for row in rows])
        if figures is None:
            raise ValueError(f"{label!r} has no queries")
        return Part(label, figures, mean_figures([hard_results[row] for row in rows if row in hard_results]))

    rows = [query.row for query in queries]

    def parts(label_of: Callable[[int], str | None]) -> tuple[Part, ...]:
        labels = sorted({label for row in rows if (label := label_of(row))})
        return tuple(part(label, [row for row in rows if label_of(row) == label]) for label in labels)

    return Split(
        name,
        part(name, rows),
        parts(lambda row: truth.labels[row].kind),
        parts(lambda row: truth.labels[row].icon_set),
        tuple(results[row] for row in rows),
    )


def rank_all(queries: Sequence[LabelledQuery], features: Features) -> list[QueryFigures]:
    """Figures of each query, ranked against the whole gallery, in the order of `queries`."""
    results: list[QueryFigures] = []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        cosines = features.embeddings[[query.row for query in block]] @ features.embeddings.T
        for query, row in zip(block, cosines, strict=True):
            results.append(rank_query(query, features.scores(features.description(query.row), row)))
    return results


def choose_copied_queries(truth: Truth, split: str, count: int = COPIED) -> list[LabelledQuery]:
    """At most `count` queries, spread evenly over the split: the same gallery always gives the same ones."""
    queries = truth.splits[split]
    positions = np.unique(np.linspace(0, len(queries) - 1, min(count, len(queries))).astype(int))
    return [queries[position] for position in positions]


def evaluate_copies(
    queries: Sequence[LabelledQuery],
    images: Callable[[int], Pixels],
    describe: Describe,
    score: Callable[[Description], Floats],
    on_change: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[CopyFigures]:
    """Search the whole gallery for changed copies of some images.

    Other drawings of the same brand are ignored: they count as neither right nor wrong.

    Args:
        queries: the originals.
        images: returns the image of a row, (h, w, 3) uint8 RGB.
        describe: computes the description of an image.
        score: returns the scores of the gallery for a description, (n,) float32.
        on_change: called with the number of changes evaluated so far and their total.

    Returns:
        One entry for each of `CHANGES`, in the same order.
    """
    originals = [(query, images(query.row)) for query in queries]
    figures = []
    for done, (name, change) in enumerate(CHANGES.items(), 1):
        ranks = []
        for query, image in originals:
            scores = score(describe(change(image)))
            ahead = scores >= scores[query.row]  # ties count against the original, as in `rank_query`
            ahead[[*query.relevant, *query.ignored, query.row]] = False
            ranks.append(1 + int(np.count_nonzero(ahead)))
        original_ranks = np.array(ranks)
        figures.append(CopyFigures(name, float(np.mean(original_ranks <= 1)), float(np.mean(original_ranks <= 10))))
        on_change(done, len(CHANGES))
    return figures
