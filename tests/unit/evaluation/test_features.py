from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats
from logo_similarity.evaluation.features import BASELINES, BELOW, Features, _grey, hog, normalise, phash
from logo_similarity.image.decode import Pixels
from logo_similarity.search.candidates import gather
from logo_similarity.search.score import RERANKED, score

COUNT = RERANKED + 50


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture
def features() -> Features:
    random = np.random.default_rng(7)
    patches = random.integers(-60, 60, (COUNT, 16, 4), np.int8)
    return Features(unit(random.normal(size=(COUNT, 8)).astype(np.float32)), patches, weight=0.4)


def test_the_nearest_are_reranked_and_all_others_follow(features: Features) -> None:
    query = features.description(3)
    cosines = features.embeddings @ query.embedding
    nearest = np.argsort(-cosines, kind="stable")[:RERANKED].astype(np.int64)
    expected = cosines - BELOW
    candidates = gather(nearest, cosines[nearest], features.embeddings, features.patches)
    expected[nearest] = score(query, candidates, 0.4)
    np.testing.assert_allclose(features.scores(query), expected, atol=1e-6)
    assert features.scores(query).argmax() == 3
    np.testing.assert_array_equal(features.scores(query, cosines), features.scores(query))


def test_the_cosines_given_are_used(features: Features) -> None:
    query = features.description(3)
    given = np.linspace(0, 1, COUNT, dtype=np.float32)
    scores = features.scores(query, given)
    assert (scores[:50] == given[:50] - BELOW).all()
    assert (scores[50:] >= -1).all()


def test_a_small_gallery_is_reranked_whole(features: Features) -> None:
    few = Features(features.embeddings[:3], None if features.patches is None else features.patches[:3], 0.4)
    assert (few.scores(features.description(1)) >= -1).all()


def test_without_patches_the_scores_are_the_cosines(features: Features) -> None:
    query = features.description(5)
    cosines = features.embeddings @ query.embedding
    np.testing.assert_array_equal(features.scores(Description(query.embedding, None)), cosines)
    bare = Features(features.embeddings)
    assert bare.description(5).patches is None
    np.testing.assert_array_equal(bare.scores(query), cosines)


@pytest.fixture
def image() -> Pixels:
    random = np.random.default_rng(5)
    image = np.full((70, 90, 3), 255, np.uint8)
    image[10:60, 10:80] = random.integers(0, 256, (50, 70, 3), np.uint8)
    return image


def hog_by_definition(grey: Floats) -> Floats:
    histograms = np.zeros((8, 8, 9))
    down, across = np.gradient(grey, axis=0), np.gradient(grey, axis=1)
    for row in range(64):
        for column in range(64):
            x, y = float(across[row, column]), float(down[row, column])
            position = (np.degrees(np.arctan2(y, x)) % 180) / 20
            low, fraction = int(position), position % 1
            histograms[row // 8, column // 8, low % 9] += (1 - fraction) * np.hypot(x, y)
            histograms[row // 8, column // 8, (low + 1) % 9] += fraction * np.hypot(x, y)
    blocks = []
    for row in range(7):
        for column in range(7):
            block = np.concatenate([histograms[row + y, column + x] for y in (0, 1) for x in (0, 1)])
            blocks.append(block / np.linalg.norm(block))
    return np.concatenate(blocks)


def test_hog_is_as_published(image: Pixels) -> None:
    np.testing.assert_allclose(hog(image), hog_by_definition(_grey(image, 64)), atol=1e-4)


def test_hog_of_a_blank_image_is_zero() -> None:
    assert not hog(np.full((40, 40, 3), 255, np.uint8)).any()


def test_phash_compares_the_lowest_frequencies_with_their_median(image: Pixels) -> None:
    size = np.arange(32)
    cosine = np.cos(np.pi * (2 * size + 1) * size[:, None] / 64) * np.sqrt(2 / 32)  # DCT-II, orthonormal
    cosine[0] /= np.sqrt(2)
    coefficients = (cosine @ _grey(image, 32) @ cosine.T)[:8, :8].ravel()
    hashed = phash(image)
    assert hashed.tolist() == [1 if value > np.median(coefficients[1:]) else -1 for value in coefficients]
    assert set(BASELINES) == {"grey", "hog", "phash"}


def test_normalised_rows_have_unit_length_and_a_zero_row_stays() -> None:
    rows = np.array([[3, 4], [0, 0], [0, 0.25]], np.float32)
    normalised = normalise(rows, "a name")
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, np.array([[0.6, 0.8], [0, 0], [0, 1]], np.float32))
    np.testing.assert_allclose(normalise(rows[:1], "a single image"), normalised[:1])


def test_features_without_a_ranking_are_errors() -> None:
    broken = np.array([[1, np.nan, np.inf], [1, 2, 3], [np.inf, 1, 1]], np.float32)
    with pytest.raises(ValueError, match=r"^broken: the features of 2 images are not finite$"):
        normalise(broken, "broken")
    with pytest.raises(ValueError, match=r"^same: all images have the same features$"):
        normalise(np.ones((2, 4), np.float32), "same")
    normalise(np.array([[1, 1], [1, 2]], np.float32), "one value differs")
