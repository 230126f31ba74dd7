"""Image and words in one ranking."""

from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.search.word_fusion import NO_WORDS, fuse_words, limit_identical, places_of
from logo_similarity.search.words import WordMatches

WORDS = WordMatches(np.arange(3), np.array([1.0, 0.25, 0.0], np.float32), np.array([0, 1, -1]))
IMAGE = np.array([0.5, 0.75, 1.0], np.float32)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_score_is_the_weighted_mean_and_a_logo_without_words_is_between(weight: float) -> None:
    words = np.array([1.0, 0.25, NO_WORDS])
    np.testing.assert_allclose(fuse_words(IMAGE, WORDS, weight), (1 - weight) * IMAGE + weight * words, atol=1e-6)
    assert fuse_words(IMAGE, WORDS, weight).dtype == np.float32


def test_a_hit_has_its_words_or_none() -> None:
    assert [WORDS.similarity_of(place) for place in (2, 0, 1)] == [None, 1.0, 0.25]
    assert [WORDS.field_of(place) for place in (2, 0, 1)] == [None, "text", "company"]


def test_places_are_those_of_the_ids() -> None:
    assert places_of(np.array([7, 2, 9]), np.array([9, 9, 2, 7])).tolist() == [2, 2, 1, 0]


def test_of_logos_with_the_same_image_and_words_only_the_first_remain() -> None:
    vectors = np.array([5, 5, 6, 5, 5, 5])
    similarities = np.array([1.0, 1.0, 1.0, 0.5, 1.0, 0.5], np.float32)
    assert limit_identical(vectors, similarities, 1).tolist() == [0, 2, 3]
    assert limit_identical(vectors, similarities, 2).tolist() == [0, 1, 2, 3, 5]
    assert limit_identical(vectors[:0], similarities[:0], 1).tolist() == []
