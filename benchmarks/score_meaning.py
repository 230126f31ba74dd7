"""The scores of right answers, of other brands and of meaningless pictures, on the retrieval benchmark.

The queries are drawings of brands that the encoder was not trained on; the gallery contains them. A score depends on the
gallery, and the best of many wrong answers grows with their number, so it is measured with two sizes of gallery.

    python -m benchmarks.make_benchmark --out data/benchmark      # once
    python -m benchmarks.score_meaning [FOLDER]                   # some ten minutes on two cores
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.machine import DATA, ROOT, write_result
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.cpu import usable_cores
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.gallery import read_image

if TYPE_CHECKING:
    from logo_similarity.image.decode import Pixels

SMALL = 5_000
COPIED = 300
"""Number of drawings that are copied with changes."""
MEANINGLESS = 500
"""Number of pictures of noise, and of pictures of random shapes."""
SIDE = 256
QUANTILES = (5, 25, 50, 75, 95)
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
NOT_FOUND = -np.inf
"""Stands for the score of a right answer that is not among the hits."""

Labels = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores by the kind of query and of hit."""

    saved_again: list[float]
    changed: list[float]
    drawings: list[float]
    """Scores of the other drawings of the query's brand and kind."""
    other_brands: list[list[float]]
    """For each query, the scores of the hits of other brands, best first."""
    noise: list[float]
    shapes: list[float]


def measure(folder: Path) -> dict[str, object]:
    """Measure on two galleries, with re-ranking and without."""
    labels: Labels = json.loads((folder / "labels.json").read_bytes())
    galleries = {}
    for size in (SMALL, len(labels)):
        catalogs = make_gallery(folder, labels, size)
        with SearchEngine.open(catalogs, device="cpu") as engine:
            galleries[str(size)] = {
                name: summary(search_all(engine, folder, labels, rerank=rerank))
                for name, rerank in (("score", True), ("cosine", False))
            }
            encoder = engine.encoder.model.id
    return write_result("score_meaning", {"encoder": encoder, "top_k": Query(image=b"").top_k, "galleries": galleries})


def make_gallery(folder: Path, labels: Labels, size: int) -> Path:
    """A catalog of all query drawings, and of others up to a size."""
    queries = sorted(file for file, label in labels.items() if label["split"] == "public")
    others = sorted(labels.keys() - set(queries))
    chosen = np.random.default_rng(1).permutation(len(others))[: size - len(queries)]
    gallery = DATA / f"score_meaning_{size}"
    gallery.mkdir(parents=True, exist_ok=True)
    table = gallery / "marks.jsonl"
    table.write_text("\n".join(json.dumps({"filename": file}) for file in [*queries, *(others[row] for row in chosen)]))
    source = open_source(table, images=folder / "images")
    build_catalog(source, gallery / "catalogs", BuildOptions(threads=usable_cores()))
    return gallery / "catalogs"


def search_all(engine: SearchEngine, folder: Path, labels: Labels, *, rerank: bool) -> Scores:
    """Search with every kind of picture."""
    images = folder / "images"
    queries = sorted(file for file, label in labels.items() if label["split"] == "public" and label["brand"])
    by_brand: defaultdict[str, set[str]] = defaultdict(set)
    for file, label in labels.items():
        if label["brand"]:
            by_brand[label["brand"]].add(file)
    copied = [queries[row] for row in np.linspace(0, len(queries) - 1, COPIED).astype(int)]

    def hits(picture: bytes | Pixels) -> dict[str, float]:
        return {hit.logo.filename: hit.score for hit in engine.search(Query(image=picture, rerank=rerank)).hits}

    def best(picture: Pixels) -> float:
        return max(hits(picture).values())

    def copy(change: Callable[[Pixels], bytes | Pixels], file: str) -> float:
        return hits(change(read_image(images / file))).get(file, NOT_FOUND)

    def right_and_wrong(file: str) -> tuple[list[float], list[float]]:
        scores = hits((images / file).read_bytes())
        same = by_brand[labels[file]["brand"]]
        kind = labels[file]["kind"]
        right = [scores.get(name, NOT_FOUND) for name in same - {file} if labels[name]["kind"] == kind]
        wrong = [score for name, score in scores.items() if name not in same]
        return right, sorted(wrong, reverse=True)

    with ThreadPoolExecutor(usable_cores()) as pool:
        drawings = list(pool.map(right_and_wrong, queries))
        return Scores(
            saved_again=list(pool.map(partial(copy, save_again), copied)),
            changed=[score for change in CHANGES.values() for score in pool.map(partial(copy, change), copied)],
            drawings=[score for right, _ in drawings for score in right],
            other_brands=[wrong for _, wrong in drawings],
            noise=list(pool.map(best, _noise())),
            shapes=list(pool.map(best, _shapes())),
        )


def summary(scores: Scores) -> dict[str, object]:
    """The figures of one gallery and one kind of score."""
    best_wrong = [wrong[0] for wrong in scores.other_brands]
    return {
        "queries": len(scores.other_brands),
        "quantiles": {
            "the same drawing, saved again at 70 % of its size as JPEG 50": _quantiles(scores.saved_again),
            "the same drawing, recoloured, turned, covered, ...": _quantiles(scores.changed),
            "another drawing of the same brand": _quantiles(scores.drawings),
            "the best hit of another brand": _quantiles(best_wrong),
            "the best hit for random shapes": _quantiles(scores.shapes),
            "the best hit for noise": _quantiles(scores.noise),
        },
        "thresholds": {
            str(threshold): {
                "saved_again_kept": _share(scores.saved_again, threshold),
                "changed_kept": _share(scores.changed, threshold),
                "drawings_kept": _share(scores.drawings, threshold),
                "other_brands_a_query": round(
                    float(np.mean([sum(score >= threshold for score in wrong) for wrong in scores.other_brands])), 2
                ),
                "queries_without_another_brand": round(1 - _share(best_wrong, threshold), 3),
            }
            for threshold in THRESHOLDS
        },
    }


def save_again(image: Pixels) -> bytes:
    """The picture at 70 % of its size, as a JPEG file of quality 50."""
    small = cv2.resize(image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 50])[1])


def _noise() -> Iterable[Pixels]:
    random = np.random.default_rng(2)
    return (random.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(MEANINGLESS))


def _shapes() -> Iterable[Pixels]:
    random = np.random.default_rng(3)
    for _ in range(MEANINGLESS):
        image = np.full((SIDE, SIDE, 3), 255, np.uint8)
        for _ in range(random.integers(1, 7)):
            colour = random.integers(0, 230, 3).tolist()
            if random.random() < 0.5:
                corners = random.integers(20, SIDE - 20, (random.integers(3, 7), 2), np.int32)
                cv2.fillPoly(image, [corners], colour)
            else:
                centre, axes = random.integers(60, SIDE - 60, 2).tolist(), random.integers(8, 60, 2).tolist()
                cv2.ellipse(image, centre, axes, float(random.integers(0, 180)), 0, 360, colour, -1)
        yield image


def _quantiles(scores: list[float]) -> list[float | None]:
    """One for each of `QUANTILES`; None: not among the hits."""
    quantiles = np.percentile(scores, QUANTILES, method="lower")
    return [None if value == NOT_FOUND else round(float(value), 3) for value in quantiles]


def _share(scores: list[float], threshold: float) -> float:
    return round(float(np.mean(np.array(scores) >= threshold)), 3)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "data" / "benchmark"), indent=2))
