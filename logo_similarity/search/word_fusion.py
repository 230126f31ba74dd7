"""The evidence of the image and of the words of a query in one ranking. Pure functions of arrays."""

from __future__ import annotations

import numpy as np

from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids
from logo_similarity.search.words import WordMatches

NO_WORDS = 0.3
"""Counts as the similarity of a logo without words: it may or may not have those of the query."""


def places_of(ids: Ids, wanted: Ids) -> Ids:
    """The position of each wanted id in `ids`, which are all different and contain it."""
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def fuse_words(image: Floats, words: WordMatches, weight: float) -> Floats:
    """The scores of a query with an image and words, (m,) float32: their mean with the weight of the words, 0 to 1."""
    similarities = np.where(words.fields < 0, np.float32(NO_WORDS), words.similarities)
    return np.asarray((1 - weight) * image + weight * similarities, np.float32)


def limit_identical(vectors: Ids, similarities: Floats, most: int) -> Ids:
    """The positions of the first `most` logos with each image and similarity of words, ascending."""
    _, groups = np.unique(np.stack((vectors, similarities.view(np.int32))), axis=1, return_inverse=True)
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    return np.sort(order[np.arange(len(order)) - np.searchsorted(ordered, ordered) < most])
