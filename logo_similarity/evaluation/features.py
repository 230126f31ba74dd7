"""The features of a gallery with exact scoring, and hand-crafted baselines to compare an encoder with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.description import Description, Parts
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.evaluation.labels import thumbnail
from logo_similarity.image.preprocess import InputSpec, preprocess
from logo_similarity.search.candidates import Candidates, Ids
from logo_similarity.search.expect import Tail
from logo_similarity.search.fusion import further_candidates, fuse
from logo_similarity.search.parts import MOST_EXPECTED, WHOLE, Comparison, Regions, match_parts, shorten
from logo_similarity.search.score import COMPLETED_RERANKED, RERANKED, score

if TYPE_CHECKING:
    from logo_similarity.image.decode import Pixels

Baseline = Callable[["Pixels"], Floats]
"""Maps an image, (h, w, 3) uint8 RGB, to features, (d,) float32 of any length."""

NONE = np.empty(0, np.int64)
BELOW = 1_000
"""Subtracted from the cosines of images that are no candidates, to place them below every candidate."""


@dataclass(frozen=True, slots=True)
class GalleryParts:
    """The parts of a gallery's images. The parts of image i are those from `offsets[i]` up to `offsets[i + 1]`."""

    offsets: Ids
    """(n + 1,) int64."""
    parts: Parts
    """All of them."""
    shortened: Floats
    """(p, d) float32: their embeddings as from `search.parts.shorten`."""

    @classmethod
    def of(cls, parts: Sequence[Parts]) -> Self:
        """The parts of each image, in order."""
        offsets = np.cumsum([0, *(len(one.embeddings) for one in parts)])
        embeddings, boxes = (
            np.concatenate([one.embeddings for one in parts]),
            np.concatenate([one.boxes for one in parts]),
        )
        return cls(offsets, Parts(embeddings, boxes), shorten(embeddings))

    def __getitem__(self, row: int) -> Parts:
        """The parts of one image."""
        own = slice(self.offsets[row], self.offsets[row + 1])
        return Parts(self.parts.embeddings[own], self.parts.boxes[own])

    @property
    def owners(self) -> Ids:
        """(p,) int64: the image of each part."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def replace(self, row: int, parts: Parts) -> GalleryParts:
        """A gallery in which one image has other parts."""
        first, last = self.offsets[row], self.offsets[row + 1]
        offsets = self.offsets.copy()
        offsets[row + 1 :] += len(parts.embeddings) - (last - first)

        def replaced(old: Floats, new: Floats) -> Floats:
            return np.concatenate([old[:first], new, old[last:]])

        return GalleryParts(
            offsets,
            Parts(replaced(self.parts.embeddings, parts.embeddings), replaced(self.parts.boxes, parts.boxes)),
            replaced(self.shortened, shorten(parts.embeddings)),
        )


@dataclass(frozen=True, slots=True)
class Features:
    """The descriptions of a gallery's images, row by row."""

    embeddings: Floats
    """(n, d) float32, unit length."""
    patches: Patches | None = None
    """(n, cells, channels) int8; None: candidates are not re-ranked."""
    weight: float = 0.0
    """Share of the patch agreement in a score, 0 to 1."""
    parts: GalleryParts | None = None
    """None: only whole images are compared."""

    def description(self, row: int) -> Description:
        """The description of one image."""
        return Description(
            self.embeddings[row],
            None if self.patches is None else self.patches[row],
            None if self.parts is None else self.parts[row],
        )

    def scores(
        self,
        query: Description,
        cosines: Floats | None = None,
        *,
        replaced: Mapping[int, Description] = MappingProxyType({}),
    ) -> Floats:
        """Values by which a search ranks the whole gallery, (n,) float32, higher first.

        The nearest candidates are compared further; all others follow below them in the order of their cosines. The
        value of a candidate is its score, or if parts are compared, minus the logarithm of its expected number.

        Args:
            query: description of the query image; without parts, only whole images are compared.
            cosines: (n,) float32, if already computed.
            replaced: descriptions of other images, by the rows that they replace in this search.
        """
        cosines = self.embeddings @ query.embedding if cosines is None else cosines.copy()
        parts = self.parts
        for row, description in replaced.items():
            cosines[row] = description.embedding @ query.embedding
            parts = None if parts is None or description.parts is None else parts.replace(row, description.parts)
        if parts is None and (self.patches is None or query.patches is None):
            return cosines
        scores = cosines - BELOW
        rows, log_expects, candidate_scores = self._compare(query, cosines, parts, replaced)
        scores[rows] = candidate_scores if parts is None or log_expects is None else -log_expects
        return scores

    def hits(self, query: Description, excluded: Ids) -> tuple[Ids, Floats, Floats]:
        """The rows that were compared further, their scores and their expected numbers, in any order.

        Args:
            query: description of the query image.
            excluded: (m,) int64: rows that this search leaves out.

        Returns:
            (m,) int64, (m,) float32 and (m,) float32.

        Raises:
            ValueError: the gallery has too few images.
        """
        cosines = self.embeddings @ query.embedding
        cosines[excluded] = -1
        rows, log_expects, scores = self._compare(query, cosines, self.parts, excluded=excluded)
        if log_expects is None:
            raise ValueError(f"a gallery of {len(cosines)} images has too few for an expected number")
        return rows, scores, np.exp(log_expects)

    def _compare(
        self,
        query: Description,
        cosines: Floats,
        parts: GalleryParts | None,
        replaced: Mapping[int, Description] = MappingProxyType({}),
        excluded: Ids = NONE,
    ) -> tuple[Ids, Floats | None, Floats]:
        """The rows of the candidates, the logarithms of their expected numbers, and their scores.

        The logarithms are None if the gallery is too small for them.
        """
        rows = _nearest(cosines, COMPLETED_RERANKED if query.completed else RERANKED)
        nearest = self._candidates(rows, cosines, replaced)
        scores = score(query, nearest, self.weight)
        tail = Tail.fit(np.sort(scores)[::-1])
        if tail is None or parts is None or query.parts is None:
            return rows, None if tail is None else tail.log_expect(scores), scores
        wholes, regions = _Wholes(self.embeddings, replaced, excluded), _PartPool.of(parts, excluded)
        matches = match_parts(query, Comparison(wholes, wholes), Comparison(regions, regions))
        further = further_candidates(matches, rows, RERANKED, MOST_EXPECTED)
        further_scores = score(query, self._candidates(further, cosines, replaced), self.weight, nearest)
        rows, scores = np.concatenate([rows, further]), np.concatenate([scores, further_scores])
        return rows, fuse(rows, scores, tail, matches)[0], scores

    def _candidates(self, rows: Ids, cosines: Floats, replaced: Mapping[int, Description]) -> Candidates:
        embeddings = self.embeddings[rows]
        patches = None if self.patches is None else self.patches[rows]
        for row, description in replaced.items():
            embeddings[rows == row] = description.embedding
            if patches is not None:
                patches[rows == row] = 0 if description.patches is None else description.patches
        return Candidates(rows, cosines[rows], embeddings, patches)


@dataclass(frozen=True, slots=True)
class _Wholes:
    """The whole images of a gallery as a pool of an exact search."""

    embeddings: Floats
    replaced: Mapping[int, Description]
    excluded: Ids

    def nearest(self, embeddings: Sequence[Floats], k: int) -> list[Regions]:
        return [self._nearest(embedding, k) for embedding in embeddings]

    def _nearest(self, embedding: Floats, k: int) -> Regions:
        cosines = self.embeddings @ embedding
        for row, description in self.replaced.items():
            cosines[row] = description.embedding @ embedding
        cosines[self.excluded] = -1
        rows = _nearest(cosines, k)
        return Regions(rows, np.full(len(rows), WHOLE), cosines[rows])


@dataclass(frozen=True, slots=True)
class _PartPool:
    """The parts of a gallery as a pool of an exact search."""

    parts: GalleryParts
    owners: Ids
    excluded: NDArray[np.bool_]

    @classmethod
    def of(cls, parts: GalleryParts, excluded: Ids) -> Self:
        owners = parts.owners
        return cls(parts, owners, np.isin(owners, excluded))

    def nearest(self, embeddings: Sequence[Floats], k: int) -> list[Regions]:
        return [self._nearest(embedding, k) for embedding in embeddings]

    def _nearest(self, embedding: Floats, k: int) -> Regions:
        cosines = self.parts.shortened @ shorten(embedding)
        cosines[self.excluded] = -1
        rows = _nearest(cosines, k)
        owners = self.owners[rows]
        return Regions(owners, rows - self.parts.offsets[owners], cosines[rows])


def _nearest(cosines: Floats, k: int) -> Ids:
    """The rows of the `k` largest cosines, largest first, ties by row."""
    k = min(k, len(cosines))
    rows = np.argpartition(-cosines, k - 1)[:k]
    return rows[np.lexsort((rows, -cosines[rows]))]


HOG_SIDE, HOG_CELL, HOG_BINS = 64, 8, 9
PHASH_SIDE, PHASH_KEPT = 32, 8


def hog(image: Pixels) -> Floats:
    """Histogram of oriented gradients, (1764,) float32 (Dalal and Triggs, CVPR 2005).

    64 x 64 pixels, cells of 8 x 8 pixels, 9 unsigned orientations, overlapping blocks of 2 x 2 cells, each normalised.
    """
    grey = _grey(image, HOG_SIDE)
    down, across = np.gradient(grey)
    magnitude = np.hypot(across, down)
    position = (np.arctan2(down, across) % np.pi) / np.pi * HOG_BINS
    low = np.floor(position).astype(int)
    fraction = position - low
    cells = HOG_SIDE // HOG_CELL
    histograms = np.zeros((cells, cells, HOG_BINS), np.float32)
    rows, columns = np.indices(grey.shape) // HOG_CELL
    for bins, weight in ((low, 1 - fraction), (low + 1, fraction)):  # shared between the two nearest orientations
        np.add.at(histograms, (rows, columns, bins % HOG_BINS), magnitude * weight)
    blocks = np.concatenate([histograms[y : cells - 1 + y, x : cells - 1 + x] for y in (0, 1) for x in (0, 1)], axis=2)
    lengths = np.linalg.norm(blocks, axis=2, keepdims=True)
    return (blocks / np.maximum(lengths, 1e-6)).ravel().astype(np.float32)


def phash(image: Pixels) -> Floats:
    """Perceptual hash, (64,) float32: each value is 1 where a DCT coefficient exceeds the median, else -1.

    The coefficients are the 8 x 8 lowest frequencies of the grey 32 x 32 image. The cosine of two hashes is
    1 - 2 x Hamming distance / 64.
    """
    coefficients = cv2.dct(_grey(image, PHASH_SIDE))[:PHASH_KEPT, :PHASH_KEPT].ravel()
    return np.where(coefficients > np.median(coefficients[1:]), 1, -1).astype(np.float32)


BASELINES: dict[str, Baseline] = {"grey": thumbnail, "hog": hog, "phash": phash}
"""The baselines by name."""


def normalise(features: Floats, name: str) -> Floats:
    """The rows of `features`, (n, d), scaled to unit length; a zero row stays zero. `name` is for the error messages.

    Raises:
        ValueError: a value is not finite, or all rows are equal: the ranking would be arbitrary.
    """
    if not np.isfinite(features).all():
        count = int((~np.isfinite(features)).any(axis=1).sum())
        raise ValueError(f"{name}: the features of {count} images are not finite")
    if len(features) > 1 and bool((features == features[0]).all()):
        raise ValueError(f"{name}: all images have the same features")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1), np.float32)


def _grey(image: Pixels, side: int) -> Floats:
    spec = InputSpec(side, side, crop="content", resize="letterbox", mean=(0, 0, 0), std=(1, 1, 1), layout="nhwc")
    return cv2.cvtColor(preprocess(image, spec), cv2.COLOR_RGB2GRAY)
