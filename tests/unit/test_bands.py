"""Bands of hits, and how `evaluate` measures them."""

from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.description import Description
from logo_similarity.domain import Band, Hit, Logo, band_of
from logo_similarity.embed.describe import Floats
from logo_similarity.evaluation.evaluate import EXPECTS, count_chance_hits, measure_bands
from logo_similarity.evaluation.features import Features
from logo_similarity.evaluation.ranking import LabelledQuery

NONE = np.empty(0, np.int64)
GALLERY, BRANDS = 3_000, 150


@pytest.mark.parametrize(
    ("score", "expect", "band"),
    [
        (0.95, 50.0, Band.NEAR_IDENTICAL),
        (1.0, None, Band.NEAR_IDENTICAL),
        (0.949, 0.01, Band.STRONG),
        (0.949, 0.0101, Band.POSSIBLE),
        (0.1, 1.0, Band.POSSIBLE),
        (0.9, 1.01, Band.WEAK),
        (0.9, None, None),
    ],
)
def test_bands(score: float, expect: float | None, band: Band | None) -> None:
    assert band_of(score, expect) == band


def test_the_band_is_that_of_the_image() -> None:
    logo = Logo(0, "a", "a.jpg", "{}")
    assert Hit(0.97, 0.9, logo, 0, 0.5).band is Band.NEAR_IDENTICAL
    assert Hit(0.97, 0.9, logo, 0, 0.5, image_score=0.8, word_similarity=1.0).band is Band.POSSIBLE
    assert Hit(0.6, 0.9, logo, 0, 5.0, image_score=0.96).band is Band.NEAR_IDENTICAL
    assert Hit(1.0, None, logo, 0, word_similarity=1.0).band is None


def gallery(near: float) -> tuple[Features, list[LabelledQuery]]:
    """Random directions; the first 300 rows are pairs, each the right answer of the other, with this cosine."""
    random = np.random.default_rng(3)
    vectors: Floats = random.normal(size=(GALLERY, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for first in range(0, 2 * BRANDS, 2):
        vectors[first + 1] = near * vectors[first] + np.sqrt(1 - near**2) * vectors[first + 1]
        vectors[first + 1] /= np.linalg.norm(vectors[first + 1])
    queries = [LabelledQuery(row, np.array([row ^ 1]), NONE) for row in range(2 * BRANDS)]
    return Features(vectors), queries


@pytest.mark.parametrize(("near", "band"), [(0.99, Band.NEAR_IDENTICAL), (0.85, Band.STRONG)])
def test_right_answers_are_in_their_band(near: float, band: Band) -> None:
    features, queries = gallery(near)
    figures = {one.band: one for one in measure_bands(queries, features)}
    assert set(figures) == set(Band)
    assert figures[band].share > 0.9
    assert (figures[band].precision or 0) > 0.9
    assert figures[Band.WEAK].hits > 50
    assert figures[Band.WEAK].precision == pytest.approx(0, abs=1e-3)
    assert sum(one.share for one in figures.values()) == pytest.approx(1)


def test_chance_hits_are_about_as_many_as_expected() -> None:
    features, queries = gallery(0.9)
    counted = {one.expect: one.hits for one in count_chance_hits(queries, features)}
    assert set(counted) == set(EXPECTS)
    assert counted[0.1] < 0.2  # the tail of random directions is lighter than the exponential one
    for expect in (1.0, 10.0):
        assert expect / 3 < counted[expect] < 2 * expect


def test_a_removed_image_is_no_hit() -> None:
    features, queries = gallery(0.99)
    query = features.description(0)
    rows, _, expects = features.hits(query, np.array([0, 1]))
    assert not np.isin([0, 1], rows[expects < 100]).any()
    assert np.isin([1], features.hits(query, np.array([0]))[0]).all()
    with pytest.raises(ValueError, match="too few"):
        Features(features.embeddings[:59]).hits(Description(query.embedding, None), NONE)
    assert count_chance_hits(queries[:20], Features(features.embeddings[:59])) == []
    assert measure_bands(queries[:20], Features(features.embeddings[:59])) == []
