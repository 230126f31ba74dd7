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

from logo_similarity.embed.describe import Description, describe
from logo_similarity.errors import BadImageError, SourceError
from logo_similarity.evaluation.features import Features, unit
from logo_similarity.evaluation.labels import thumbnail
from logo_similarity.image.decode import decode
from logo_similarity.search.build import measure_recall
from logo_similarity.search.candidates import gather
from logo_similarity.search.score import score

if TYPE_CHECKING:
    from logo_similarity.embed.describe import Floats
    from logo_similarity.embed.encoder import Encoder
    from logo_similarity.engine import SearchEngine
    from logo_similarity.image.decode import Pixels

RECALL_K, RECALL_QUERIES = 100, 500
TIMED = 100
"""Pictures that latency is measured on."""
ROWS_AT_ONCE = 10_000
Report = Callable[[str, int, int | None], None]


Describe = Callable[["Pixels"], Description]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures that are searched, in the order of their names."""

    name: str
    """Of what made the features."""
    files: tuple[str, ...]
    features: Features
    thumbnails: Floats
    """(n, 1024)."""
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
    return lambda pixels: describe(pixels, encoder)


def describe_as(name: str, baseline: Callable[[Pixels], Floats]) -> Describe:
    """One of `BASELINES` as a way to describe a picture."""
    return lambda pixels: Description(unit(baseline(pixels)[np.newaxis], name)[0], None)


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

    def work(file: str) -> tuple[Description, Floats]:
        image = read_image(folder / file)
        return describe(image), thumbnail(image)

    embeddings, patches, thumbnails = [], [], []
    with ThreadPoolExecutor(threads) as pool:
        for done, (one, small) in enumerate(pool.map(work, files), 1):
            embeddings.append(one.embedding)
            if one.patches is not None:
                patches.append(one.patches)
            thumbnails.append(small)
            if done % 100 == 0 or done == len(files):
                report(name, done, len(files))
    features = Features(unit(np.stack(embeddings), name), np.stack(patches) if patches and weight else None, weight)
    return Gallery(name, files, features, np.stack(thumbnails), describe)


def open_gallery(engine: SearchEngine, folder: Path, *, threads: int, report: Report) -> Gallery:
    """The logos of a catalog, with the embeddings that are in its index.

    Raises:
        SourceError: a logo's picture is not below `folder`.
    """
    names: list[str] = []
    base = engine.base
    for start in range(0, base.index.count, ROWS_AT_ONCE):
        rows = list(range(start, min(start + ROWS_AT_ONCE, base.index.count)))
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
    name, patches = engine.encoder.model.id, base.patches
    embeddings = unit(np.ascontiguousarray(base.index.vectors[order]), name)
    features = Features(embeddings, None if patches is None else patches[order], engine.encoder.model.rerank_weight)
    return Gallery(name, files, features, np.stack(thumbnails), describe_by(engine.encoder))


def read_image(path: Path) -> Pixels:
    """(h, w, 3) uint8 RGB. Raises SourceError, which names the file, if it cannot be read or decoded."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    except BadImageError as error:
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
    features = gallery.features
    describing, reranking, searching = [], [], []
    for pixels in [read_image(folder / gallery.files[place]) for place in places]:
        started = time.perf_counter()
        query = gallery.describe(pixels)
        describing.append(time.perf_counter() - started)
        if features.patches is not None and query.patches is not None:
            cosines = features.embeddings @ query.embedding
            rows = np.argsort(-cosines)[:RECALL_K]
            started = time.perf_counter()
            score(query, gather(rows, cosines[rows], features.embeddings, features.patches), features.weight)
            reranking.append(time.perf_counter() - started)
        if engine is not None:
            started = time.perf_counter()
            engine.base.index.search(query.embedding, RECALL_K, ef_search=engine.base.ef_search)
            searching.append(time.perf_counter() - started)
    recall = None
    if engine is not None:
        index = engine.base.index
        rows = np.unique(np.linspace(0, index.count - 1, RECALL_QUERIES).astype(int))
        queries = np.ascontiguousarray(index.vectors[rows])
        recall = measure_recall(index, queries, k=RECALL_K, ef_searches=(engine.base.ef_search,), threads=1)[0].value
    return Speed(_median(describing) or 0.0, _median(reranking), _median(searching), recall)


def _median(seconds: list[float]) -> float | None:
    return 1000 * statistics.median(seconds) if seconds else None
