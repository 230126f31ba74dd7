"""The search itself: image bytes in, hits out. Knows no HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.manifest import INDEX, METADATA, MODEL_FOLDER, Manifest, check_sizes, read_manifest
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.versions import CatalogFolder
from logo_similarity.domain import Hit, Logo, SearchResult, Timings
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError, InvalidRequestError
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.preprocess import PREPROCESSING_VERSION, preprocess
from logo_similarity.search.index import VectorIndex

DEFAULT_TOP_K = 100
MAX_TOP_K = 1_000


@dataclass(frozen=True, slots=True)
class SearchEngine:
    """One opened catalog version and its encoder. Safe to use from many threads at once.

    >>> with SearchEngine.open(Path("catalogs")) as engine:
    ...     result = engine.search(Path("logo.png").read_bytes(), top_k=10)
    """

    version: str
    manifest: Manifest
    encoder: Encoder
    index: VectorIndex
    metadata: Metadata
    limits: ImageLimits

    @classmethod
    def open(
        cls, catalogs: Path, *, version: str | None = None, device: str = "auto", limits: ImageLimits | None = None
    ) -> Self:
        """Open a catalog version (the live one unless named), warm, with its files mapped and not read.

        Raises:
            CatalogError: there is none, or it is damaged as far as sizes, headers and a trial search can tell; `verify`
                reads every byte.
            EncoderError: its model can't be used here.
            NotFoundError: no version of that name.
        """
        folders = CatalogFolder(catalogs)
        folder = folders.current() if version is None else folders.folder(version)
        manifest = read_manifest(folder)
        check_sizes(folder, manifest)
        _check_versions(folder, manifest)
        encoder = Encoder.open(folder / MODEL_FOLDER, device=device, threads=1)
        index = VectorIndex.open(folder / INDEX)
        metadata = Metadata(folder / METADATA)
        counts = {"manifest.json": manifest.count, INDEX: index.count, METADATA: metadata.count()}
        if len(set(counts.values())) > 1:
            raise CatalogError(f"{folder}: its files disagree on the number of logos: {counts}")
        if not manifest.dimension == index.dimension == encoder.dimension:
            raise CatalogError(f"{folder}: its encoder and its index disagree on the dimension")
        if encoder.model.sha256 != manifest.encoder.sha256:
            raise CatalogError(f"{folder / MODEL_FOLDER}: not the encoder that made the embeddings")
        index.check(ef_search=manifest.index.ef_search)
        encoder.warm_up()
        return cls(folder.name, manifest, encoder, index, metadata, limits or ImageLimits())

    def search(
        self, image: bytes | NDArray[np.uint8], *, top_k: int = DEFAULT_TOP_K, min_score: float | None = None
    ) -> SearchResult:
        """The logos most similar to an image, best first.

        Args:
            image: the bytes of an image file, or (h, w, 3) uint8 RGB pixels.
            top_k: at most this many hits, 1 to 1000.
            min_score: leave out hits whose cosine is smaller, -1 to 1.

        Raises:
            BadImageError: the image is refused (see its subclasses).
            InvalidRequestError: a parameter is out of its range.
        """
        check_parameters(top_k, min_score)
        clock = _Clock()
        pixels = decode(image, self.limits) if isinstance(image, bytes) else check_pixels(image)
        decoded = clock.lap()
        prepared = preprocess(pixels, self.encoder.model.input_spec)
        preprocessed = clock.lap()
        embedding = self.encoder.infer(prepared[np.newaxis])[0]
        embedded = clock.lap()
        rows, scores = self.index.search(embedding, top_k, ef_search=self.manifest.index.ef_search)
        if min_score is not None:
            enough = scores >= min_score
            rows, scores = rows[enough], scores[enough]
        searched = clock.lap()
        logos = self.metadata.fetch(rows.tolist())
        hits = tuple(Hit(score, logo) for score, logo in zip(scores.tolist(), logos, strict=True))
        timings = Timings(decoded, preprocessed, embedded, searched, clock.lap())
        return SearchResult(hits, self.version, timings)

    def logo(self, logo_id: str) -> Logo | None:
        """The logo with this public id."""
        return self.metadata.find(logo_id)

    def close(self) -> None:
        """Close the metadata's connections. The maps go with the last reference."""
        self.metadata.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_parameters(top_k: int, min_score: float | None) -> None:
    """Raise InvalidRequestError where a parameter of a search is out of its range."""
    if not 1 <= top_k <= MAX_TOP_K:
        raise InvalidRequestError(f"top_k is {top_k}; it must be from 1 to {MAX_TOP_K}")
    if min_score is not None and not -1 <= min_score <= 1:
        raise InvalidRequestError(f"min_score is {min_score}; it must be from -1 to 1")


def check_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The array itself. Raises InvalidRequestError where it is not (h, w, 3) uint8 with something in it."""
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        raise InvalidRequestError("an image is bytes of a file, or an array of shape (h, w, 3) and dtype uint8, RGB")
    if image.size == 0:
        raise InvalidRequestError("the image has no pixels")
    return np.ascontiguousarray(image)


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        passed, self._last = (now - self._last) * 1000, now
        return passed


def _check_versions(folder: Path, manifest: Manifest) -> None:
    if manifest.encoder.preprocessing != PREPROCESSING_VERSION:
        raise CatalogError(
            f"{folder}: its images were prepared by preprocessing version {manifest.encoder.preprocessing}, this software "
            f"prepares queries by version {PREPROCESSING_VERSION}, and the scores would be wrong: build the catalog again"
        )
