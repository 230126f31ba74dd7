"""The search itself: image bytes in, hits out. Knows no HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.manifest import (
    INDEX,
    METADATA,
    MODEL_FOLDER,
    PATCHES,
    Manifest,
    check_sizes,
    read_manifest,
)
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.versions import CatalogFolder
from logo_similarity.domain import Hit, Logo, SearchResult, Timings
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError, InvalidRequestError
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.preprocess import PREPROCESSING_VERSION, preprocess
from logo_similarity.search.index import VectorIndex
from logo_similarity.search.rerank import CANDIDATES, Query, Reranker, stored

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
    reranker: Reranker | None
    """None where the catalog has no patches."""
    metadata: Metadata
    decoder: Decoder

    @classmethod
    def open(
        cls, catalogs: Path, *, version: str | None = None, device: str = "auto", limits: ImageLimits | None = None
    ) -> Self:
        """Open a catalog version (the live one unless named), warm, with its files mapped and not read.

        Raises:
            CatalogError: there is none, or it is damaged as far as sizes, headers and one whole search can show; `check`
                searches more, and `verify` reads every byte.
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
        reranker = _open_patches(folder, encoder, index) if PATCHES in manifest.files else None
        counts = {"manifest.json": manifest.count, INDEX: index.count, METADATA: metadata.count()}
        if reranker is not None:
            counts[PATCHES] = len(reranker.patches)
        if len(set(counts.values())) > 1:
            raise CatalogError(f"{folder}: its files disagree on the number of logos: {counts}")
        if not manifest.dimension == index.dimension == encoder.dimension:
            raise CatalogError(f"{folder}: its encoder and its index disagree on the dimension")
        if encoder.model.sha256 != manifest.encoder.sha256:
            raise CatalogError(f"{folder / MODEL_FOLDER}: not the encoder that made the embeddings")
        if index.edges != manifest.index.m:
            raise CatalogError(
                f"{folder}: its index has {index.edges} edges per node, its manifest says {manifest.index.m}"
            )
        engine = cls(folder.name, manifest, encoder, index, reranker, metadata, Decoder(limits or ImageLimits()))
        engine.check((manifest.count // 2,))
        return engine

    def check(self, rows: Sequence[int]) -> None:
        """Run one whole search of a drawn picture, and look these rows up in every file. The first search pays for warming up.

        Raises:
            CatalogError: an embedding, the patches or the metadata of a row are damaged.
            EncoderError: the encoder gives something else than unit vectors.
        """
        found = self.search(_drawn_picture())
        if not found.hits or not all(math.isfinite(hit.score) for hit in found.hits):
            raise CatalogError(f"{self.version}: damaged: a search of a drawn picture finds nothing")
        self.index.check(rows, ef_search=self.manifest.index.ef_search)
        for row, logo in zip(rows, self.metadata.fetch(rows), strict=True):
            try:
                _ = logo.record
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise CatalogError(f"{self.version}: damaged: the metadata of row {row} cannot be read") from None
            if self.reranker is not None:
                vector = np.array(self.index.vectors[row])
                candidates, cosines = self.index.search(vector, CANDIDATES, ef_search=self.manifest.index.ef_search)
                scores = self.reranker.score(Query(vector, self.reranker.patches[row]), candidates, cosines)
                if not np.isfinite(scores).all():
                    raise CatalogError(f"{self.version}: damaged: row {row} has scores that are not finite")

    def search(
        self,
        image: bytes | NDArray[np.uint8],
        *,
        top_k: int = DEFAULT_TOP_K,
        min_score: float | None = None,
        rerank: bool | None = None,
    ) -> SearchResult:
        """The logos most similar to an image, best first.

        Args:
            image: the bytes of an image file, or (h, w, 3) uint8 RGB pixels.
            top_k: at most this many hits, 1 to 1000.
            min_score: leave out hits whose score is smaller, -1 to 1.
            rerank: whether the first candidates are scored again by their parts; None: where the catalog can, which finds
                more.

        Raises:
            BadImageError: the image is refused (see its subclasses).
            InvalidRequestError: a parameter is out of its range.
        """
        check_parameters(top_k, min_score)
        reranker = self._chosen(rerank=rerank)
        clock = _Clock()
        pixels = self.decoder.decode(image) if isinstance(image, bytes) else check_pixels(image)
        decoded = clock.lap()
        prepared = preprocess(pixels, self.encoder.model.input_spec)
        preprocessed = clock.lap()
        if reranker is None:
            embedding, query = self.encoder.infer(prepared[np.newaxis])[0], None
        else:
            embeddings, patches = self.encoder.infer_with_patches(prepared[np.newaxis])
            embedding = embeddings[0]
            query = Query(embedding, stored(patches[0]))
        embedded = clock.lap()
        wanted = top_k if query is None else max(top_k, CANDIDATES)
        rows, cosines = self.index.search(embedding, wanted, ef_search=self.manifest.index.ef_search)
        scores = cosines
        searched = clock.lap()
        if reranker is not None and query is not None:
            scores = reranker.score(query, rows, cosines)
            order = np.lexsort((rows, -scores))[:top_k]
            rows, cosines, scores = rows[order], cosines[order], scores[order]
        if min_score is not None:
            enough = scores >= min_score
            rows, cosines, scores = rows[enough], cosines[enough], scores[enough]
        reranked = clock.lap()
        logos = self.metadata.fetch(rows.tolist())
        hits = tuple(map(Hit, scores.tolist(), cosines.tolist(), logos))
        timings = Timings(decoded, preprocessed, embedded, searched, reranked, clock.lap())
        return SearchResult(hits, query is not None, self.version, timings)

    def _chosen(self, *, rerank: bool | None) -> Reranker | None:
        """The re-ranker of a search that asks for it, doesn't, or leaves it to us."""
        if rerank and self.reranker is None:
            raise InvalidRequestError(
                "this catalog can't re-rank: its encoder gives no patches, or it was built without"
            )
        return None if rerank is False else self.reranker

    def logo(self, logo_id: str) -> Logo | None:
        """The logo with this public id."""
        return self.metadata.find(logo_id)

    def close(self) -> None:
        """Close the metadata's connections and end the decoder's children. The maps go with the last reference."""
        self.metadata.close()
        self.decoder.close()

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


def _open_patches(folder: Path, encoder: Encoder, index: VectorIndex) -> Reranker:
    """Map the patches, and compare their shape with what the encoder gives."""
    try:
        patches = np.load(folder / PATCHES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CatalogError(f"{folder / PATCHES}: damaged: {error}") from None
    if patches.ndim != 3 or patches.dtype != np.int8:
        raise CatalogError(f"{folder / PATCHES}: not patches: {patches.dtype} {patches.shape}")
    prepared = preprocess(_drawn_picture(), encoder.model.input_spec)
    cells = encoder.infer_with_patches(prepared[np.newaxis])[1].shape[1:]
    if patches.shape[1:] != cells:
        raise CatalogError(f"{folder / PATCHES}: patches of shape {patches.shape[1:]}; the encoder's are {cells}")
    return Reranker(patches, index.vectors, encoder.model.rerank_weight)


def _drawn_picture() -> NDArray[np.uint8]:
    """(64, 64, 3) uint8: a cross on white."""
    canvas = np.full((64, 64, 3), 255, np.uint8)
    canvas[28:36, 8:56] = canvas[8:56, 28:36] = (200, 80, 20)
    return canvas


def _check_versions(folder: Path, manifest: Manifest) -> None:
    if manifest.encoder.preprocessing != PREPROCESSING_VERSION:
        raise CatalogError(
            f"{folder}: its images were prepared by preprocessing version {manifest.encoder.preprocessing}, this software "
            f"prepares queries by version {PREPROCESSING_VERSION}, and the scores would be wrong: build the catalog again"
        )
