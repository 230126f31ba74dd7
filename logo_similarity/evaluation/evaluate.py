"""The complete evaluation of a gallery: retrieval per split, changed copies, scans, composites, and latency."""

from __future__ import annotations

import collections
import functools
import itertools
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from logo_similarity.domain import Band, band_of
from logo_similarity.errors import SourceError
from logo_similarity.evaluation.composites import COMPOSITES, OTHERS, Composite, generator
from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.gallery import measure_speed, read_image, save_and_decode
from logo_similarity.evaluation.labels import hard_queries
from logo_similarity.evaluation.ranking import Figures, LabelledQuery, QueryFigures, mean_figures, rank_query
from logo_similarity.evaluation.scans import SCANS
from logo_similarity.search.expect import LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from logo_similarity.description import Description
    from logo_similarity.engine import SearchEngine
    from logo_similarity.evaluation.copies import Change
    from logo_similarity.evaluation.features import Features
    from logo_similarity.evaluation.gallery import Gallery, Speed
    from logo_similarity.evaluation.ranking import Floats
    from logo_similarity.evaluation.truth import Truth
    from logo_similarity.image.decode import Pixels

BLOCK = 256
"""Queries scored at once: the scores of 256 queries against 40,000 images take 40 MB."""
EXPECTS = (0.01, 0.1, 1.0, 10.0)
"""Expected numbers at which chance hits are counted."""
CHANCE_QUERIES = 700
TURNED = {f"{name}, with `turned`": CHANGES[name] for name in ("rotated 90", "rotated 180", "rotated 270")}
"""Changed copies that are searched for as they look when turned, too."""
CUT = {f"{name}, with `part_of_mark`": SCANS[name] for name in ("cropped by 20 %", "left half")}
"""Scans that are searched for as parts of a mark, too."""
COPIED = 300
"""Default number of images whose changed copies, scans and composites are searched for."""


@dataclass(frozen=True, slots=True)
class Part:
    """Figures of a subset of the queries."""

    name: str
    all: Figures
    hard: Figures | None
    """The same with easy answers ignored; None if every query has only easy answers."""


@dataclass(frozen=True, slots=True)
class CopyFigures:
    """Share of changed copies, or of scans, whose original is the first result, or one of the first ten."""

    change: str
    recall_at_1: float
    recall_at_10: float


@dataclass(frozen=True, slots=True)
class Recalls:
    """Share of the searches whose right answer is the first result, or one of the first ten."""

    recall_at_1: float
    recall_at_10: float


@dataclass(frozen=True, slots=True)
class CompositeFigures:
    """Figures of one kind of composite, in both directions."""

    composite: str
    mark_finds_composite: Recalls
    """The mark is the query; the composite is in the gallery, in the mark's place."""
    composite_finds_mark: Recalls
    """The composite is the query; the mark is in the gallery."""


@dataclass(frozen=True, slots=True)
class ChanceHits:
    """What an expected number is worth: the hits of searches whose right answers were removed."""

    expect: float
    hits: float
    """Mean number of hits with at most this expected number; ideally the same."""


@dataclass(frozen=True, slots=True)
class BandFigures:
    """What the hits in one band are."""

    band: str
    hits: float
    """Mean number of hits of a search; the query's own image is not counted."""
    precision: float | None
    """Share of these hits that are right answers; None if there are none."""
    share: float
    """Share of all right answers that are in this band."""


@dataclass(frozen=True, slots=True)
class Split:
    """Figures of one split."""

    name: str
    whole: Part
    answerable: Part | None
    """Without the queries that are labelled as alone: no answer shows what they show. None if no query is."""
    kinds: tuple[Part, ...]
    """By kind of mark."""
    sets: tuple[Part, ...]
    """By icon set."""
    queries: tuple[QueryFigures, ...]
    """Of each query, to find the worst ones."""

    def parts(self, *, sets: bool) -> list[Part]:
        """The whole split, its answerable queries, and each kind of mark; with `sets`, each icon set, too."""
        answerable = () if self.answerable is None else (self.answerable,)
        return [self.whole, *answerable, *self.kinds, *(self.sets if sets else ())]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of an evaluation."""

    features: str
    reranked: bool
    pictures: int
    dimension: int
    splits: tuple[Split, ...]
    copies: tuple[CopyFigures, ...]
    scans: tuple[CopyFigures, ...]
    composites: tuple[CompositeFigures, ...]
    chance_hits: tuple[ChanceHits, ...]
    """Of the first split; empty if the gallery is too small for expected numbers."""
    bands: tuple[BandFigures, ...]
    """As `chance_hits`."""
    speed: Speed


def evaluate_gallery(
    gallery: Gallery,
    engine: SearchEngine | None,
    truth: Truth,
    splits: Sequence[str] | None,
    copies: int,
    images: Path,
    threads: int,
    on_change: Callable[[int, int], None],
) -> Evaluation:
    """Evaluate the features of a gallery against ground truth.

    Args:
        gallery: the features.
        engine: the catalog that contains the features; None: they were computed from the images.
        truth: the relevant answers, for the same files.
        splits: names of the splits to measure; None: all but `train`.
        copies: number of images of the first split whose changed copies, scans and composites are searched for; 0: none.
        images: folder of the gallery's files.
        threads: number of changed images described at once.
        on_change: called with the number of changes and composites evaluated so far and their total.

    Raises:
        SourceError: a split has no queries, composites need a second brand, or an image cannot be read.
    """
    names = splits or [name for name in truth.splits if name != "train"] or list(truth.splits)
    if missing := [name for name in names if name not in truth.splits]:
        raise SourceError(f"split {missing[0]!r} has no queries; available splits: {', '.join(truth.splits)}")
    copy_figures: list[CopyFigures] = []
    scan_figures: list[CopyFigures] = []
    composite_figures: list[CompositeFigures] = []
    if copies:
        queries = choose_copied_queries(truth, names[0], copies)
        bystanders = {query.row: other_brands(query, truth.splits[names[0]]) for query in queries}
        done, total = itertools.count(1), sum(len(kinds) for kinds in (CHANGES, TURNED, SCANS, CUT, COMPOSITES))
        with ThreadPoolExecutor(threads) as pool:
            shared = (
                gallery,
                lambda row: read_image(images / gallery.files[row]),
                pool,
                lambda: on_change(next(done), total),
            )
            copy_figures = evaluate_copies(CHANGES, queries, *shared)
            copy_figures += evaluate_copies(TURNED, queries, *shared, describe_turned)
            scan_figures = evaluate_copies(SCANS, queries, *shared)
            if gallery.complete is not None and gallery.features.patches is not None:
                scan_figures += evaluate_copies(CUT, queries, *shared, describe_completed)
            composite_figures = evaluate_composites(bystanders, queries, *shared)
    return Evaluation(
        gallery.name,
        gallery.features.patches is not None,
        len(gallery.files),
        gallery.features.embeddings.shape[1],
        tuple(evaluate_split(name, truth, gallery) for name in names),
        tuple(copy_figures),
        tuple(scan_figures),
        tuple(composite_figures),
        tuple(count_chance_hits(truth.splits[names[0]], gallery.features)),
        tuple(measure_bands(truth.splits[names[0]], gallery.features)),
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

    answerable = [row for row in rows if not truth.labels[row].alone]
    return Split(
        name,
        part(name, rows),
        part(f"{name}, answerable", answerable) if 0 < len(answerable) < len(rows) else None,
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


def count_chance_hits(queries: Sequence[LabelledQuery], features: Features) -> list[ChanceHits]:
    """Search for marks whose own brand is left out of the gallery, and count the hits at each of `EXPECTS`.

    Args:
        queries: `CHANCE_QUERIES` of them, spread evenly, are searched for.
        features: of the whole gallery.
    """
    if not _has_expected_numbers(queries, features):
        return []
    counts = []
    for query in spread(queries, CHANCE_QUERIES):
        _, _, expects = features.hits(features.description(query.row), np.array(brand_rows(query)))
        counts.append([np.count_nonzero(expects <= expect) for expect in EXPECTS])
    return [ChanceHits(expect, float(hits)) for expect, hits in zip(EXPECTS, np.mean(counts, axis=0), strict=True)]


def measure_bands(queries: Sequence[LabelledQuery], features: Features) -> list[BandFigures]:
    """Search for marks, and sort the hits into bands. Arguments as of `count_chance_hits`."""
    if not _has_expected_numbers(queries, features):
        return []
    searched = spread(queries, CHANCE_QUERIES)
    all_hits, right_hits = collections.Counter[Band | None](), collections.Counter[Band | None]()
    for query in searched:
        excluded = np.array([query.row, *query.ignored])
        rows, scores, expects = features.hits(features.description(query.row), excluded)
        bands = list(map(band_of, scores.tolist(), expects.tolist()))
        all_hits.update(bands)
        right_hits.update(itertools.compress(bands, np.isin(rows, query.relevant)))
    answers = sum(len(query.relevant) for query in searched)
    return [
        BandFigures(
            band,
            all_hits[band] / len(searched),
            right_hits[band] / all_hits[band] if all_hits[band] else None,
            right_hits[band] / answers,
        )
        for band in Band
    ]


def _has_expected_numbers(queries: Sequence[LabelledQuery], features: Features) -> bool:
    return len(features.embeddings) >= LAST + max(len(brand_rows(query)) for query in queries)


def choose_copied_queries(truth: Truth, split: str, count: int = COPIED) -> list[LabelledQuery]:
    """At most `count` queries of a split."""
    return spread(truth.splits[split], count)


def spread(queries: Sequence[LabelledQuery], count: int) -> list[LabelledQuery]:
    """At most `count` queries, evenly spread over all of them: the same queries always give the same ones."""
    positions = np.unique(np.linspace(0, len(queries) - 1, min(count, len(queries))).astype(int))
    return [queries[position] for position in positions]


def other_brands(query: LabelledQuery, queries: Sequence[LabelledQuery]) -> list[LabelledQuery]:
    """The queries of other brands, whose marks may stand beside this one in a composite.

    Raises:
        SourceError: there are none.
    """
    brand = {query.row, *query.relevant.tolist(), *query.ignored.tolist()}
    others = [other for other in queries if other.row not in brand]
    if not others:
        raise SourceError("composites need marks of two brands, and the queries have one; use --copies 0")
    return others


def evaluate_copies(
    changes: Mapping[str, Change],
    queries: Sequence[LabelledQuery],
    gallery: Gallery,
    image: Callable[[int], Pixels],
    pool: Executor,
    on_change: Callable[[], None] = lambda: None,
    describe: Callable[[Gallery, Pixels], Sequence[Description]] = lambda gallery, pixels: [gallery.describe(pixels)],
) -> list[CopyFigures]:
    """Search the whole gallery for changed copies of some images.

    Other drawings of the same brand are ignored: they count as neither right nor wrong.

    Args:
        changes: by name.
        queries: the originals.
        gallery: contains the originals.
        image: returns the image of a row, (h, w, 3) uint8 RGB.
        pool: describes and scores the copies of a change.
        on_change: called after each change.
        describe: the descriptions of a copy; the best of them counts.

    Returns:
        One entry for each of `changes`, in the same order.
    """

    def rank(change: Change, query: LabelledQuery) -> int:
        copies = describe(gallery, save_and_decode(change(image(query.row))))
        scores = np.max([gallery.features.scores(copy) for copy in copies], axis=0)
        return _rank(query.row, scores, brand_rows(query))

    figures = []
    for name, change in changes.items():
        recalls = _recalls(pool.map(functools.partial(rank, change), queries))
        figures.append(CopyFigures(name, recalls.recall_at_1, recalls.recall_at_10))
        on_change()
    return figures


def describe_turned(gallery: Gallery, pixels: Pixels) -> list[Description]:
    """What a search with `turned` compares: the picture, and without parts what it looks like turned by quarter turns."""
    turns = [gallery.describe(np.ascontiguousarray(np.rot90(pixels, turns))) for turns in (1, 2, 3)]
    return [gallery.describe(pixels), *(replace(turn, parts=None) for turn in turns)]


def describe_completed(gallery: Gallery, pixels: Pixels) -> list[Description]:
    """What a search with `part_of_mark` compares. The gallery can complete pictures."""
    if gallery.complete is None:
        raise ValueError(f"{gallery.name} completes no pictures")
    return [gallery.describe(pixels), gallery.complete(pixels)]


def evaluate_composites(
    bystanders: Mapping[int, Sequence[LabelledQuery]],
    queries: Sequence[LabelledQuery],
    gallery: Gallery,
    image: Callable[[int], Pixels],
    pool: Executor,
    on_composite: Callable[[], None] = lambda: None,
) -> list[CompositeFigures]:
    """Search for composites with their marks, and for marks with their composites.

    In the first direction the composite replaces the mark in the gallery. In both directions the other drawings of the
    mark's brand are ignored, as are the other marks in the composite and the drawings of their brands.

    Args:
        bystanders: for the row of each query, the marks that may stand beside it.
        queries: the marks.
        gallery: contains the marks.
        image: returns the image of a row, (h, w, 3) uint8 RGB.
        pool: describes and scores the composites of a kind.
        on_composite: called after each kind of composite.

    Returns:
        One entry for each of `COMPOSITES`, in the same order.
    """
    features = gallery.features

    def ranks(kind: str, query: LabelledQuery) -> tuple[int, int]:
        composite, others = make_composite(kind, query, bystanders[query.row], gallery.files, image)
        ignored = [row for mark in (query, *others) for row in brand_rows(mark)]
        description = gallery.describe(save_and_decode(composite.pixels))
        mark_finds = features.scores(features.description(query.row), replaced={query.row: description})
        composite_finds = features.scores(description)
        return _rank(query.row, mark_finds, ignored), _rank(query.row, composite_finds, ignored)

    figures = []
    for kind in COMPOSITES:
        mark_ranks, composite_ranks = zip(*pool.map(functools.partial(ranks, kind), queries), strict=True)
        figures.append(CompositeFigures(kind, _recalls(mark_ranks), _recalls(composite_ranks)))
        on_composite()
    return figures


def make_composite(
    kind: str,
    query: LabelledQuery,
    bystanders: Sequence[LabelledQuery],
    files: Sequence[str],
    image: Callable[[int], Pixels],
) -> tuple[Composite, list[LabelledQuery]]:
    """A composite of a mark, and the other marks that it may show. The same arguments always give the same result.

    Args:
        kind: one of `COMPOSITES`.
        query: the mark.
        bystanders: the marks that may stand beside it.
        files: the names of the gallery's files.
        image: returns the image of a row, (h, w, 3) uint8 RGB.
    """
    random = generator(kind, files[query.row])
    others = [bystanders[position] for position in random.integers(len(bystanders), size=OTHERS)]
    return COMPOSITES[kind](image(query.row), [image(other.row) for other in others], random), others


def brand_rows(query: LabelledQuery) -> list[int]:
    """The rows of all drawings of a query's brand."""
    return [query.row, *query.relevant, *query.ignored]


def _rank(row: int, scores: Floats, ignored: Sequence[int]) -> int:
    """Rank of a row, starting at 1, without the ignored rows. Ties count against it, as in `rank_query`."""
    ahead = scores >= scores[row]
    ahead[ignored] = False
    return 1 + int(np.count_nonzero(ahead))


def _recalls(ranks: Iterable[int]) -> Recalls:
    array = np.array(list(ranks))
    return Recalls(float(np.mean(array <= 1)), float(np.mean(array <= 10)))
