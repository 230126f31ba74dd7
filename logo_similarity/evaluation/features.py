"""The features of a gallery with exact scoring, and hand-crafted baselines to compare an encoder with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from logo_similarity.embed.describe import Description, Floats, Patches
from logo_similarity.evaluation.labels import thumbnail
from logo_similarity.image.preprocess import InputSpec, preprocess
from logo_similarity.search.candidates import Candidates
from logo_similarity.search.score import RERANKED, score

if TYPE_CHECKING:
    from logo_similarity.image.decode import Pixels

Baseline = Callable[["Pixels"], Floats]
"""Maps an image, (h, w, 3) uint8 RGB, to features, (d,) float32 of any length."""

BELOW = 10
"""Subtracted from the cosines of images that are not re-ranked, to place them below every re-ranked score."""


@dataclass(frozen=True, slots=True)
class Features:
    """The descriptions of a gallery's images, row by row."""

    embeddings: Floats
    """(n, d) float32, unit length."""
    patches: Patches | None = None
    """(n, cells, channels) int8; None: candidates are not re-ranked."""
    weight: float = 0.0
    """Share of the patch agreement in a score, 0 to 1."""

    def description(self, row: int) -> Description:
        """The description of one image."""
        return Description(self.embeddings[row], None if self.patches is None else self.patches[row])

    def scores(
        self,
        query: Description,
        cosines: Floats | None = None,
        *,
        replaced: Mapping[int, Description] = MappingProxyType({}),
    ) -> Floats:
        """Scores of the whole gallery, (n,) float32.

        The nearest candidates are re-ranked; all others follow below them in the order of their cosines.

        Args:
            query: description of the query image.
            cosines: (n,) float32, if already computed.
            replaced: descriptions of other images, by the rows that they replace in this search.
        """
        cosines = self.embeddings @ query.embedding if cosines is None else cosines.copy()
        for row, description in replaced.items():
            cosines[row] = description.embedding @ query.embedding
        if self.patches is None or query.patches is None:
            return cosines
        count = min(RERANKED, len(cosines))
        rows = np.argpartition(-cosines, count - 1)[:count].astype(np.int64)
        scores = cosines - BELOW
        embeddings, patches = self.embeddings[rows], self.patches[rows]
        for row, description in replaced.items():
            embeddings[rows == row] = description.embedding
            patches[rows == row] = 0 if description.patches is None else description.patches
        scores[rows] = score(query, Candidates(rows, cosines[rows], embeddings, patches), self.weight)
        return scores


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
