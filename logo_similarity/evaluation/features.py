"""The descriptions of a gallery, compared exactly; and simple descriptions to measure an encoder against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from logo_similarity.embed.describe import Description, Floats, Patches
from logo_similarity.evaluation.labels import thumbnail
from logo_similarity.image.preprocess import InputSpec, preprocess
from logo_similarity.search.candidates import gather
from logo_similarity.search.score import RERANKED, score

if TYPE_CHECKING:
    from logo_similarity.image.decode import Pixels

Baseline = Callable[["Pixels"], Floats]
"""(h, w, 3) uint8 RGB to (d,) float32; what it gives need not have unit length."""

BELOW = 10
"""Subtracted from the cosines of what is not re-ranked: below every score."""


@dataclass(frozen=True, slots=True)
class Features:
    """The descriptions of a gallery's pictures, row by row."""

    embeddings: Floats
    """(n, d) float32, unit length."""
    patches: Patches | None = None
    """(n, cells, channels) int8; None: candidates are not re-ranked."""
    weight: float = 0.0
    """Share of the agreement of patches in a score."""

    def description(self, row: int) -> Description:
        """The description of one picture."""
        return Description(self.embeddings[row], None if self.patches is None else self.patches[row])

    def scores(self, query: Description, cosines: Floats | None = None) -> Floats:
        """(n,) float32 scores of the whole gallery: the best candidates re-ranked, all others in their order below them.

        Args:
            query: may be of a picture of the gallery.
            cosines: (n,) float32, if they are known.
        """
        if cosines is None:
            cosines = self.embeddings @ query.embedding
        if self.patches is None or query.patches is None:
            return cosines
        count = min(RERANKED, len(cosines))
        rows = np.argpartition(-cosines, count - 1)[:count].astype(np.int64)
        scores = cosines - BELOW
        scores[rows] = score(query, gather(rows, cosines[rows], self.embeddings, self.patches), self.weight)
        return scores


HOG_SIDE, HOG_CELL, HOG_BINS = 64, 8, 9
PHASH_SIDE, PHASH_KEPT = 32, 8


def hog(image: Pixels) -> Floats:
    """(1764,): histograms of oriented gradients (Dalal and Triggs, CVPR 2005).

    64 x 64 pixels, cells of 8 x 8, 9 unsigned orientations, overlapping blocks of 2 x 2 cells, each of unit length.
    """
    grey = _grey(image, HOG_SIDE)
    down, across = np.gradient(grey)
    strength = np.hypot(across, down)
    place = (np.arctan2(down, across) % np.pi) / np.pi * HOG_BINS
    low = np.floor(place).astype(int)
    share = place - low
    cells = HOG_SIDE // HOG_CELL
    histograms = np.zeros((cells, cells, HOG_BINS), np.float32)
    rows, columns = np.indices(grey.shape) // HOG_CELL
    for bins, weight in ((low, 1 - share), (low + 1, share)):  # each gradient counts for the two nearest orientations
        np.add.at(histograms, (rows, columns, bins % HOG_BINS), strength * weight)
    blocks = np.concatenate([histograms[y : cells - 1 + y, x : cells - 1 + x] for y in (0, 1) for x in (0, 1)], axis=2)
    lengths = np.linalg.norm(blocks, axis=2, keepdims=True)
    return (blocks / np.maximum(lengths, 1e-6)).ravel().astype(np.float32)


def phash(image: Pixels) -> Floats:
    """(64,): perceptual hash, as signs (1 or -1) of the 8 x 8 lowest cosine coefficients against their median.

    Of the grey 32 x 32 picture. The cosine of two is 1 - 2 x Hamming distance / 64.
    """
    low = cv2.dct(_grey(image, PHASH_SIDE))[:PHASH_KEPT, :PHASH_KEPT].ravel()
    return np.where(low > np.median(low[1:]), 1, -1).astype(np.float32)


BASELINES: dict[str, Baseline] = {"grey": thumbnail, "hog": hog, "phash": phash}
"""Simple descriptions by name."""


def unit(features: Floats, what: str) -> Floats:
    """The same rows at unit length.

    Raises:
        ValueError: a number is not finite, or all rows are the same: such features would rank by chance, and ties
            must not pass for answers.
    """
    if not np.isfinite(features).all():
        raise ValueError(
            f"{what}: {int((~np.isfinite(features)).any(axis=1).sum())} pictures have features that are no numbers"
        )
    if len(features) > 1 and bool((features == features[0]).all()):
        raise ValueError(f"{what}: all pictures have the same features")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1), np.float32)


def _grey(image: Pixels, side: int) -> Floats:
    spec = InputSpec(side, side, crop="content", resize="letterbox", mean=(0, 0, 0), std=(1, 1, 1), layout="nhwc")
    return cv2.cvtColor(preprocess(image, spec), cv2.COLOR_RGB2GRAY)
