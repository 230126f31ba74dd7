"""Galleries: features computed by an encoder or a baseline, or read from a catalog; and the measurement of latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from logo_similarity.description import Description
from logo_similarity.embed.describe import describe_completed, describe_parts, describe_with_parts
from logo_similarity.errors import BadImageError, SourceError
from logo_similarity.evaluation.features import Features, GalleryParts, normalise
from logo_similarity.evaluation.labels import thumbnail
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.search.build import measure_recall
from logo_similarity.search.candidates import gather
from logo_similarity.search.score import score

if TYPE_CHECKING:
    from logo_similarity.description import Parts
    from logo_similarity.embed.describe import Floats
    from logo_similarity.embed.encoder import Encoder
    from logo_similarity.engine import SearchEngine
    from logo_similarity.image.decode import Pixels

RECALL_K, RECALL_QUERIES = 100, 500
TIMED = 100
"""Number of images on which latency is measured."""
ROWS_AT_ONCE = 10_000
Report = Callable[[str, int, int | None], None]
"""Called with the stage, the work done, and the total (None while it is unknown)."""
Describe = Callable[["Pixels"], Description]
"""Computes the description of an image, (h, w, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images that are searched, in the order of their names."""

    name: str
    """Id of the encoder, or name of the baseline."""
    files: tuple[str, ...]
    """Paths relative to the image folder."""
    features: Features
    thumbnails: Floats
    """(n, 1024) float32, see `labels.thumbnail`."""
    describe: Describe
    """Describes a query in the same way as the gallery."""
    complete: Describe | None = None
    """Describes a query as a part of a mark; None: the features are not compared cell by cell."""


def image_files(folder: Path) -> list[str]:
    """Paths of all files below a folder, relative to it and sorted.

    Raises:
        SourceError: the folder has no files.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if not files:
        raise SourceError(f"{folder}: contains no images")
    return files


def describe_by(encoder: Encoder) -> Describe:
    """A function that describes images and their parts with an encoder."""
    return partial(describe_with_parts, encoder=encoder)


def complete_by(encoder: Encoder) -> Describe | None:
    """A function that describes images as parts of marks with an encoder; None: it has no patches."""
    return partial(describe_completed, encoder=encoder) if encoder.has_patches else None


def describe_as(name: str, baseline: Callable[[Pixels], Floats]) -> Describe:
    """A function that describes images with one of `BASELINES`."""
    return lambda pixels: Description(normalise(baseline(pixels)[np.newaxis], name)[0], None)


def describe_gallery(
    name: str, describe: Describe, weight: float, folder: Path, files: Iterable[str], *, threads: int, report: Report
) -> Gallery:
    """Compute the features of image files.

    Args:
        name: id of the encoder, or name of the baseline.
        describe: computes the description of one image.
        weight: share of the patch agreement in a score; 0: patches are not kept.
        folder: the folder that `files` are relative to.
        files: the gallery.
        threads: number of images described at once.
        report: called with the progress.

    Raises:
        SourceError: an image cannot be read; the message names the file.
        ValueError: the features are not finite or all the same.
    """
    files = tuple(files)

    def work(file: str) -> tuple[Description, Floats]:
        image = read_image(folder / file)
        return describe(image), thumbnail(image)

    embeddings, patches, parts, thumbnails = [], [], [], []
    with ThreadPoolExecutor(threads) as pool:
        for done, (description, small) in enumerate(pool.map(work, files), 1):
            embeddings.append(description.embedding)
            if description.patches is not None:
                patches.append(description.patches)
            if description.parts is not None:
                parts.append(description.parts)
            thumbnails.append(small)
            if done % 100 == 0 or done == len(files):
                report(name, done, len(files))
    features = Features(
        normalise(np.stack(embeddings), name),
        np.stack(patches) if patches and weight else None,
        weight,
        GalleryParts.of(parts) if parts else None,
    )
    return Gallery(name, files, features, np.stack(thumbnails), describe)


def open_gallery(engine: SearchEngine, folder: Path, *, threads: int, report: Report) -> Gallery:
    """A gallery of the logos of a catalog, with the embeddings and patches that it stores.

    The parts are found again: of their embeddings, a catalog stores only what a search compares.

    Args:
        engine: the opened catalog.
        folder: the folder that the catalog's filenames are relative to.
        threads: number of images read at once.
        report: called with the progress.

    Raises:
        SourceError: the image of a logo is missing or cannot be read.
    """
    names: list[str] = []
    base = engine.base
    for start in range(0, engine.manifest.count, ROWS_AT_ONCE):
        rows = list(range(start, min(start + ROWS_AT_ONCE, engine.manifest.count)))
        names.extend(logo.filename for logo in engine.metadata.fetch(rows))
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing is not None:
        raise SourceError(f"{folder / missing}: not found, but the catalog contains this logo; check the image folder")
    order = np.argsort(np.array(names))
    files = tuple(names[row] for row in order)
    has_parts = engine.manifest.parts is not None

    def work(file: str) -> tuple[Parts | None, Floats]:
        image = read_image(folder / file)
        return describe_parts(image, engine.encoder) if has_parts else None, thumbnail(image)

    parts, thumbnails = [], []
    with ThreadPoolExecutor(threads) as pool:
        for done, (own_parts, small) in enumerate(pool.map(work, files), 1):
            thumbnails.append(small)
            if own_parts is not None:
                parts.append(own_parts)
            if done % 500 == 0 or done == len(files):
                report("parts and thumbnails" if has_parts else "thumbnails", done, len(files))
    name, patches = engine.encoder.model.id, base.patches
    vectors = base.row_map.vector_of(order)
    embeddings = normalise(np.ascontiguousarray(base.index.vectors[vectors]), name)
    features = Features(
        embeddings,
        None if patches is None else patches[vectors],
        engine.encoder.model.rerank_weight,
        GalleryParts.of(parts) if parts else None,
    )

    def as_stored(describe: Describe) -> Describe:
        return lambda pixels: engine.as_stored(describe(pixels))

    complete = complete_by(engine.encoder)
    return Gallery(
        name,
        files,
        features,
        np.stack(thumbnails),
        as_stored(describe_by(engine.encoder)),
        None if complete is None else as_stored(complete),
    )


def read_image(path: Path) -> Pixels:
    """The pixels of an image file, (h, w, 3) uint8 RGB.

    Raises:
        SourceError: the image cannot be read or decoded; the message names the file.
    """
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    except BadImageError as error:
        raise SourceError(f"{path}: {error}") from None


def save_and_decode(image: Pixels) -> Pixels:
    """An image of any size, (h, w, 3) uint8 RGB, as it is decoded from a lossless file."""
    file = cv2.imencode(".bmp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    return decode(file, ImageLimits(max_bytes=len(file), min_side=1))


@dataclass(frozen=True, slots=True)
class Speed:
    """Median times in milliseconds for one image on one thread, and the recall of the index."""

    describe: float
    rerank: float | None
    """For 100 candidates; None if candidates are not re-ranked."""
    search: float | None
    """Of the index; None without a catalog."""
    recall: float | None
    """Recall@100 of the index against exact search, 0 to 1; None without a catalog."""


def measure_speed(gallery: Gallery, folder: Path, engine: SearchEngine | None) -> Speed:
    """Measure the latency of each stage, and the recall of the index at the same breadth of search.

    Args:
        gallery: at most `TIMED` of its images are queries.
        folder: the folder that the gallery's files are relative to.
        engine: the opened catalog, if there is an index to measure.

    Raises:
        SourceError: an image cannot be read.
    """
    positions = np.unique(np.linspace(0, len(gallery.files) - 1, min(TIMED, len(gallery.files))).astype(int))
    features = gallery.features
    describe_seconds, rerank_seconds, search_seconds = [], [], []
    for pixels in [read_image(folder / gallery.files[position]) for position in positions]:
        start = time.perf_counter()
        query = gallery.describe(pixels)
        describe_seconds.append(time.perf_counter() - start)
        if features.patches is not None and query.patches is not None:
            cosines = features.embeddings @ query.embedding
            rows = np.argsort(-cosines)[:RECALL_K]
            start = time.perf_counter()
            score(query, gather(rows, cosines[rows], features.embeddings, features.patches), features.weight)
            rerank_seconds.append(time.perf_counter() - start)
        if engine is not None:
            start = time.perf_counter()
            engine.base.index.search(query.embedding, RECALL_K, ef_search=engine.base.ef_search)
            search_seconds.append(time.perf_counter() - start)
    recall = None
    if engine is not None:
        index = engine.base.index
        rows = np.unique(np.linspace(0, index.count - 1, RECALL_QUERIES).astype(int))
        queries = np.ascontiguousarray(index.vectors[rows])
        recall = measure_recall(index, queries, k=RECALL_K, ef_searches=(engine.base.ef_search,), threads=1)[0].value
    return Speed(_median_ms(describe_seconds) or 0.0, _median_ms(rerank_seconds), _median_ms(search_seconds), recall)


def _median_ms(seconds: list[float]) -> float | None:
    return 1000 * statistics.median(seconds) if seconds else None
