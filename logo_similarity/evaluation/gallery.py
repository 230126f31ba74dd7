"""Where the features of a gallery come from: its pictures through an encoder or a baseline, or a built catalog."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logo_similarity.errors import SourceError
from logo_similarity.evaluation.features import unit
from logo_similarity.evaluation.labels import thumbnail
from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import preprocess
from logo_similarity.search.build import measure_recall
from logo_similarity.search.rerank import Query, Reranker, stored

if TYPE_CHECKING:
    from logo_similarity.embed.encoder import Encoder
    from logo_similarity.evaluation.ranking import Floats
    from logo_similarity.image.decode import Pixels
    from logo_similarity.search.pipeline import SearchEngine
    from logo_similarity.search.rerank import StoredPatches

RECALL_K, RECALL_QUERIES = 100, 500
TIMED = 100
"""Pictures that latency is measured on."""
ROWS_AT_ONCE = 10_000
Report = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a picture: features (d,) of unit length, patches (cells, channels) int8 or None."""

    features: Floats
    patches: StoredPatches | None = None


Describe = Callable[["Pixels"], Described]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures that are searched, in the order of their names."""

    name: str
    """Of what made the features."""
    files: tuple[str, ...]
    features: Floats
    """(n, d), unit length."""
    thumbnails: Floats
    """(n, 1024)."""
    reranker: Reranker | None
    """The second stage over the same rows, if any."""
    describe: Describe
    """The way the gallery's own features were made."""


def image_files(folder: Path) -> list[str]:
    """Paths of the pictures below a folder, which must not be empty."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if not files:
        raise SourceError(f"{folder}: no pictures there")
    return files


def describe_by(encoder: Encoder) -> Describe:
    """An encoder as one way to describe a picture."""
    spec = encoder.model.input_spec

    def describe(image: Pixels) -> Described:
        prepared = preprocess(image, spec)[np.newaxis]
        if not encoder.has_patches:
            return Described(encoder.infer(prepared)[0])
        embeddings, patches = encoder.infer_with_patches(prepared)
        return Described(embeddings[0], stored(patches[0]))

    return describe


def describe_as(name: str, baseline: Callable[[Pixels], Floats]) -> Describe:
    """One of `BASELINES` as a way to describe a picture."""
    return lambda image: Described(unit(baseline(image)[np.newaxis], name)[0])


def describe_gallery(
    name: str, describe: Describe, weight: float, folder: Path, files: Iterable[str], *, threads: int, report: Report
) -> Gallery:
    """Features of picture files.

    Args:
        name: of what makes them.
        describe: makes them.
        weight: of the agreement of patches, where it gives some.
        folder: the files are below it.
        files: the gallery.
        threads: pictures at a time.
        report: gets the progress.

    Raises:
        SourceError: a picture can't be read; it names the file.
        ValueError: the features are useless (see `features.unit`).
    """
    files = tuple(files)

    def work(file: str) -> tuple[Described, Floats]:
        image = read_image(folder / file)
        return describe(image), thumbnail(image)

    rows, patches, thumbnails = [], [], []
    with ThreadPoolExecutor(threads) as pool:
        for done, (one, small) in enumerate(pool.map(work, files), 1):
            rows.append(one.features)
            if one.patches is not None:
                patches.append(one.patches)
            thumbnails.append(small)
            if done % 100 == 0 or done == len(files):
                report(name, done, len(files))
    features = unit(np.stack(rows), name)
    reranker = Reranker(np.stack(patches), features, weight) if patches and weight else None
    return Gallery(name, files, features, np.stack(thumbnails), reranker, describe)


def open_gallery(engine: SearchEngine, folder: Path, *, threads: int, report: Report) -> Gallery:
    """The logos of a catalog, with the embeddings that are in its index.

    Raises:
        SourceError: a logo's picture is not below `folder`.
    """
    names: list[str] = []
    for start in range(0, engine.index.count, ROWS_AT_ONCE):
        rows = list(range(start, min(start + ROWS_AT_ONCE, engine.index.count)))
        names.extend(logo.filename for logo in engine.metadata.fetch(rows))
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing is not None:
        raise SourceError(f"{folder / missing}: a logo of the catalog has no picture there")
    order = np.argsort(np.array(names))
    files = tuple(names[row] for row in order)
    thumbnails = []
    with ThreadPoolExecutor(threads) as pool:
        for done, small in enumerate(pool.map(lambda file: thumbnail(read_image(folder / file)), files), 1):
            thumbnails.append(small)
            if done % 500 == 0 or done == len(files):
                report("thumbnails", done, len(files))
    name, reranker = engine.encoder.model.id, engine.reranker
    features = unit(np.ascontiguousarray(engine.index.vectors[order]), name)
    if reranker is not None:
        reranker = Reranker(reranker.patches[order], features, reranker.weight)
    return Gallery(name, files, features, np.stack(thumbnails), reranker, describe_by(engine.encoder))


def read_image(path: Path) -> Pixels:
    """(h, w, 3) uint8 RGB. What is wrong with a file is said with its name."""
    try:
        return decode(path.read_bytes())
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians in milliseconds for one picture on one thread."""

    describe: float
    rerank: float | None
    """Of 100 candidates, where there is a second stage."""
    search: float | None
    """Of the index, where there is one."""
    recall: float | None
    """recall@100 of the index against exact search."""


def measure_speed(gallery: Gallery, folder: Path, engine: SearchEngine | None) -> Speed:
    """Latency, and the recall that the index has at it."""
    places = np.unique(np.linspace(0, len(gallery.files) - 1, min(TIMED, len(gallery.files))).astype(int))
    describing, reranking, searching = [], [], []
    for image in [read_image(folder / gallery.files[place]) for place in places]:
        started = time.perf_counter()
        described = gallery.describe(image)
        describing.append(time.perf_counter() - started)
        if gallery.reranker is not None and described.patches is not None:
            rows = np.argsort(-(gallery.features @ described.features))[:RECALL_K]
            cosines = gallery.features[rows] @ described.features
            started = time.perf_counter()
            gallery.reranker.score(Query(described.features, described.patches), rows, cosines)
            reranking.append(time.perf_counter() - started)
        if engine is not None:
            started = time.perf_counter()
            engine.index.search(described.features, RECALL_K, ef_search=engine.manifest.index.ef_search)
            searching.append(time.perf_counter() - started)
    recall = None
    if engine is not None:
        breadth = (engine.manifest.index.ef_search,)
        rows = np.unique(np.linspace(0, engine.index.count - 1, RECALL_QUERIES).astype(int))
        asked = np.ascontiguousarray(engine.index.vectors[rows])
        recall = measure_recall(engine.index, asked, k=RECALL_K, ef_searches=breadth, threads=1)[0].value
    return Speed(_median(describing) or 0.0, _median(reranking), _median(searching), recall)


def _median(seconds: list[float]) -> float | None:
    return 1000 * statistics.median(seconds) if seconds else None
