from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.search.rerank import Reranker, nearness, stored

GRID = 4
CELLS, CHANNELS = GRID * GRID, 6
Floats = NDArray[np.float32]


def patches(seed: int, count: int = 1) -> Floats:
    """Unlike each other, of lengths between 0 and 1."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, CELLS, CHANNELS))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return (rows * random.uniform(0.1, 0.95, (count, CELLS, 1))).astype(np.float32)


def by_definition(query: Floats, other: Floats) -> float:
    """The same, cell by cell, in floats."""
    near = nearness(GRID)
    total = 0.0
    for one, two in ((query, other), (other, query)):
        best = [
            min(max(0, *(near[i, j] * float(one[i] @ two[j]) for j in range(CELLS))), float(one[i] @ one[i]))
            for i in range(CELLS)
        ]
        total += sum(best) / float(np.sum(one * one))
    return total / 2


def test_agreement_is_what_the_formula_says() -> None:
    gallery = patches(1, 70)
    query = patches(2)[0]
    found = Reranker(stored(gallery), 0.3).agreement(stored(query), np.arange(70))
    np.testing.assert_allclose(found, [by_definition(query, other) for other in gallery], atol=0.01)


def test_the_same_picture_has_score_one_and_nothing_has_more() -> None:
    gallery = stored(patches(3, 40))
    reranker = Reranker(gallery, 0.4)
    scores = reranker.score(gallery[7], np.arange(40), np.ones(40, np.float32))
    assert scores[7] == pytest.approx(1, abs=1e-5)
    assert np.delete(scores, 7).max() < 0.99


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_score_is_the_mean_of_cosine_and_agreement(weight: float) -> None:
    reranker = Reranker(stored(patches(4, 5)), weight)
    cosines = np.array([0.9, 0.1, -0.5], np.float32)
    rows = np.array([4, 0, 2])
    agreement = reranker.agreement(stored(patches(5)[0]), rows)
    expected = (1 - weight) * cosines + weight * agreement
    np.testing.assert_allclose(reranker.score(stored(patches(5)[0]), rows, cosines), expected, atol=1e-6)


def test_a_part_that_has_moved_is_found_again_and_counts_less() -> None:
    mark = patches(6)[0].reshape(GRID, GRID, CHANNELS)
    mark[1:] = mark[:, 1:] = 0
    mark[0, 0] = (0.9, 0, 0, 0, 0, 0)
    moved = [np.roll(mark, steps, axis=1).reshape(CELLS, CHANNELS) for steps in (0, 1, 2, 3)]
    gallery = np.stack([stored(value) for value in [*moved, patches(7)[0]]])
    same, next_cell, two_cells, three_cells, other = Reranker(gallery, 1).agreement(gallery[0], np.arange(5))
    assert same == next_cell == pytest.approx(1, abs=1e-5)
    assert same > two_cells > three_cells > other


def test_matches_are_each_others_best_and_strongest_first() -> None:
    mark = patches(8)[0]
    mark *= 0.8 / np.linalg.norm(mark, axis=1, keepdims=True)
    mark[3] = 0  # nothing in this cell
    half = mark.copy()
    half[CELLS // 2 :] = 0.3 * patches(9)[0][CELLS // 2 :]
    reranker = Reranker(np.stack([stored(half)]), 0.5)
    found = reranker.matches(stored(mark), 0, least=0.9)
    assert {match.cell for match in found} >= set(range(CELLS // 2)) - {3}
    assert all(match.cell != 3 for match in found)
    assert all(match.cell == match.other for match in found if match.cell < CELLS // 2)
    strengths = [match.strength for match in found]
    assert strengths == sorted(strengths, reverse=True)
    assert reranker.matches(stored(mark), 0, least=1.01) == []


def test_a_cell_is_matched_once() -> None:
    """Two cells of the query have the same best in the other logo: the better one gets it."""
    query, other = (np.zeros((CELLS, CHANNELS), np.float32) for _ in range(2))
    query[0, 0], query[1, 0], other[0, 0] = 0.6, 0.9, 0.9
    found = Reranker(np.stack([stored(other)]), 1).matches(stored(query), 0)
    assert [(match.cell, match.other) for match in found] == [(1, 0)]


def test_an_empty_picture_agrees_with_nothing() -> None:
    gallery = np.stack([stored(patches(10)[0]), np.zeros((CELLS, CHANNELS), np.int8)])
    agreement = Reranker(gallery, 1).agreement(np.zeros((CELLS, CHANNELS), np.int8), np.arange(2))
    np.testing.assert_array_equal(agreement, 0)
