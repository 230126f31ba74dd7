from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.description import Description
from logo_similarity.embed.describe import quantize_patches
from logo_similarity.search.candidates import Candidates, gather
from logo_similarity.search.score import RERANKED, agreement, match_cells, nearness, repeated, score

GRID = 4
CELLS, CHANNELS = GRID * GRID, 6
Floats = NDArray[np.float32]


def patches(seed: int, count: int = 1) -> Floats:
    """Unlike each other, of lengths between 0 and 1."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, CELLS, CHANNELS))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return (rows * random.uniform(0.1, 0.95, (count, CELLS, 1))).astype(np.float32)


def unit(seed: int, count: int) -> Floats:
    """Embeddings."""
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def score_all(
    query: Description, vectors: Floats, gallery: NDArray[np.int8], weight: float, rows: NDArray[np.int64] | None = None
) -> Floats:
    """Scores of rows of a gallery; None: of all."""
    rows = np.arange(len(vectors)) if rows is None else rows
    return score(query, gather(rows, vectors[rows] @ query.embedding, vectors, gallery), weight)


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
    found = agreement(quantize_patches(query), quantize_patches(gallery))
    np.testing.assert_allclose(found, [by_definition(query, other) for other in gallery], atol=0.01)


def test_what_a_logo_shows_besides_a_completed_query_does_not_count_against_it() -> None:
    query = patches(2)[0]
    query[CELLS // 2 :] = 0
    whole, half, other = patches(2)[0], query, patches(6)[0]
    gallery = quantize_patches(np.stack([whole, half, other]))
    np.testing.assert_allclose(repeated(quantize_patches(query), gallery)[:2], 1, atol=0.01)
    vectors = np.tile(unit(4, 1), (3, 1))
    scores = score_all(Description(vectors[0], quantize_patches(query), completed=True), vectors, gallery, 0.0)
    np.testing.assert_allclose(scores[:2], 1, atol=0.01)
    assert scores[2] < 0.9


@pytest.mark.parametrize("copies", [1, 30])
def test_the_same_picture_has_score_one_and_nothing_has_more(copies: int) -> None:
    """Among strangers, and among so many that are nearly the same that the mean of all is closer to each than they are."""
    gallery, vectors = quantize_patches(patches(3, 40)), unit(1, 40)
    vectors[:copies] = vectors[7] + 0.05 * unit(2, copies)
    vectors[7] = unit(3, 1)[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = score_all(Description(vectors[7], gallery[7]), vectors, gallery, 0.4)
    assert scores[7] == pytest.approx(1, abs=1e-5)
    assert np.delete(scores, 7).max() < 0.99


def test_a_cosine_rounded_above_one_gives_no_score_above_one() -> None:
    vectors, gallery = unit(1, 2), quantize_patches(patches(3, 2))
    candidates = gather(np.arange(2), np.array([1 + 1e-6, 0], np.float32), vectors, gallery)
    assert score(Description(vectors[0], gallery[0]), candidates, 0.0).max() == 1


@pytest.mark.parametrize("missing", ["query", "embeddings", "patches"])
def test_scores_are_the_cosines_if_anything_for_re_ranking_is_missing(missing: str) -> None:
    vectors, gallery = unit(1, 2), quantize_patches(patches(3, 2))
    cosines = np.array([0.5, 0.25], np.float32)
    query = Description(vectors[0], None if missing == "query" else gallery[0])
    candidates = Candidates(
        np.arange(2),
        cosines,
        None if missing == "embeddings" else vectors,
        None if missing == "patches" else gallery,
    )
    np.testing.assert_array_equal(score(query, candidates, 0.4), cosines)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_score_is_the_mean_of_cosine_and_agreement_less_what_all_candidates_share(weight: float) -> None:
    gallery, vectors, query = (
        quantize_patches(patches(4, 5)),
        unit(4, 5),
        Description(unit(5, 1)[0], quantize_patches(patches(5)[0])),
    )
    rows = np.array([4, 0, 2])
    assert query.patches is not None
    cosines = vectors[rows] @ query.embedding
    means = (1 - weight) * cosines + weight * agreement(query.patches, gallery[rows])
    common = vectors[rows].mean(axis=0)
    expected = [
        mean + (1 - mean) * (query.embedding - vectors[row]) @ common for mean, row in zip(means, rows, strict=True)
    ]
    np.testing.assert_allclose(score_all(query, vectors, gallery, weight, rows), expected, atol=1e-6)


def test_a_hub_falls_behind() -> None:
    """Of two candidates as near to the query, that which is near to all the others too comes second."""
    crowd = np.zeros((20, 8), np.float32)
    crowd[:, 0], crowd[:, 1] = 0.6, 0.8
    vectors = np.concatenate((crowd, np.eye(8, dtype=np.float32)[2:3] * 0.8 + np.eye(8, dtype=np.float32)[:1] * 0.6))
    asked = Description(np.eye(8, dtype=np.float32)[0], np.zeros((CELLS, CHANNELS), np.int8))
    scores = score_all(asked, vectors, np.zeros((21, CELLS, CHANNELS), np.int8), 0.4)
    assert scores[20] > scores[:20].max() + 0.1


def test_scores_of_the_first_do_not_depend_on_how_many_are_asked_for() -> None:
    gallery, vectors = quantize_patches(patches(3, 2 * RERANKED)), unit(6, 2 * RERANKED)
    query = Description(unit(7, 1)[0], gallery[0])
    rows = np.argsort(-(vectors @ query.embedding))
    some = score_all(query, vectors, gallery, 0.4, rows[:RERANKED])
    np.testing.assert_array_equal(score_all(query, vectors, gallery, 0.4, rows)[:RERANKED], some)


def test_a_part_that_has_moved_is_found_again_and_counts_less() -> None:
    mark = patches(6)[0].reshape(GRID, GRID, CHANNELS)
    mark[1:] = mark[:, 1:] = 0
    mark[0, 0] = (0.9, 0, 0, 0, 0, 0)
    moved = [np.roll(mark, steps, axis=1).reshape(CELLS, CHANNELS) for steps in (0, 1, 2, 3)]
    gallery = np.stack([quantize_patches(value) for value in [*moved, patches(7)[0]]])
    same, next_cell, two_cells, three_cells, other = agreement(gallery[0], gallery)
    assert same == next_cell == pytest.approx(1, abs=1e-5)
    assert same > two_cells > three_cells > other


def test_matches_are_each_others_best_and_strongest_first() -> None:
    mark = patches(8)[0]
    mark *= 0.8 / np.linalg.norm(mark, axis=1, keepdims=True)
    mark[3] = 0  # nothing in this cell
    half = mark.copy()
    half[CELLS // 2 :] = 0.3 * patches(9)[0][CELLS // 2 :]
    found = match_cells(quantize_patches(mark), quantize_patches(half), least=0.9)
    assert {match.cell for match in found} >= set(range(CELLS // 2)) - {3}
    assert all(match.cell != 3 for match in found)
    assert all(match.cell == match.other for match in found if match.cell < CELLS // 2)
    strengths = [match.strength for match in found]
    assert strengths == sorted(strengths, reverse=True)
    assert match_cells(quantize_patches(mark), quantize_patches(half), least=1.01) == []


def test_matches_name_the_cell_of_each_logo_and_how_much_of_it_is_found() -> None:
    """Three parts have changed places in a circle and faded; both logos leave their first cell empty."""
    query, other = (np.zeros((CELLS, CHANNELS), np.float32) for _ in range(2))
    moves = {5: (6, 0.6), 6: (9, 0.9), 9: (5, 0.75)}
    for channel, (cell, (target, length)) in enumerate(moves.items()):
        query[cell, channel], other[target, channel] = 0.9, length
    found = match_cells(quantize_patches(query), quantize_patches(other))
    assert [(match.cell, match.other) for match in found] == [(6, 9), (9, 5), (5, 6)]
    assert [match.strength for match in found] == pytest.approx([1, 0.75 / 0.9, 0.6 / 0.9], abs=0.01)


def test_a_match_exactly_as_strong_as_asked_for_is_kept() -> None:
    mark = np.zeros((CELLS, CHANNELS), np.int8)
    mark[5, 0] = 127
    (match,) = match_cells(mark, mark, least=1.0)
    assert match.strength == 1


def test_the_faintest_patch_is_matched() -> None:
    mark = np.zeros((CELLS, CHANNELS), np.int8)
    mark[5, 0] = 1
    (match,) = match_cells(mark, mark)
    assert (match.cell, match.other, match.strength) == (5, 5, 1)


def test_a_cell_is_matched_once() -> None:
    """Two cells of the query have the same best in the other logo: the better one gets it."""
    query, other = (np.zeros((CELLS, CHANNELS), np.float32) for _ in range(2))
    query[0, 0], query[1, 0], other[0, 0] = 0.6, 0.9, 0.9
    found = match_cells(quantize_patches(query), quantize_patches(other))
    assert [(match.cell, match.other) for match in found] == [(1, 0)]


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_two_logos_without_ink_are_compared_by_their_cosine(weight: float) -> None:
    """An identical one scores 1; a pair of which only one has ink agrees in nothing."""
    vectors, inkless = unit(1, 6), np.zeros((CELLS, CHANNELS), np.int8)
    gallery = np.stack([inkless, quantize_patches(patches(3)[0]), inkless, *quantize_patches(patches(4, 3))])
    query = Description(vectors[0], inkless)
    scores = score_all(query, vectors, gallery, weight)
    cosines = vectors @ query.embedding
    means = np.where(gallery.any(axis=(1, 2)), (1 - weight) * cosines, cosines)
    expected = means + (1 - means) * ((query.embedding - vectors) @ vectors.mean(axis=0))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert scores[0] == pytest.approx(1, abs=1e-6)


def test_a_logo_with_ink_agrees_in_nothing_with_one_without() -> None:
    vectors, gallery = unit(1, 2), np.stack([np.zeros((CELLS, CHANNELS), np.int8), quantize_patches(patches(3)[0])])
    scores = score_all(Description(vectors[1], gallery[1]), vectors, gallery, 1.0)
    correction = (vectors[1] - vectors[0]) @ vectors.mean(axis=0)
    np.testing.assert_allclose(scores, [correction, 1], atol=1e-6)


def test_an_empty_picture_agrees_with_nothing() -> None:
    gallery = np.stack([quantize_patches(patches(10)[0]), np.zeros((CELLS, CHANNELS), np.int8)])
    np.testing.assert_array_equal(agreement(np.zeros((CELLS, CHANNELS), np.int8), gallery), 0)


@pytest.mark.parametrize("sign", [0, -1])
def test_patches_without_a_like_agree_in_nothing(sign: int) -> None:
    """At right angles to all of the other logo's, or opposite to them: exactly 0, whichever direction is compared."""
    query, other = (np.zeros((CELLS, CHANNELS), np.float32) for _ in range(2))
    query[:, 0], other[:, 0], other[:, 1] = 0.5, sign * 0.5, 0.5
    assert agreement(quantize_patches(query), quantize_patches(other)[np.newaxis]) == 0


def test_stored_patches_fill_the_range_of_int8() -> None:
    np.testing.assert_array_equal(
        quantize_patches(np.array([-1, -0.5, 0, 1 / 127, 1], np.float32)), [-127, -64, 0, 1, 127]
    )


def test_nearness_falls_as_a_gaussian_of_two_cells_beyond_the_next_cell() -> None:
    near = nearness(20)
    np.testing.assert_allclose(near[0, :6], [1, 1, 0.941248, 0.803265, 0.662326, 0.567668], atol=1e-6)
    assert near[0, 3 * 20 + 1] == near[0, 3]  # the larger of the distances along the two axes
    assert near[0, 19] == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_array_equal(near, near.T)


def test_the_score_of_a_selection_is_that_among_all() -> None:
    gallery, vectors = quantize_patches(patches(4, 30)), unit(4, 30)
    query = Description(unit(5, 1)[0], quantize_patches(patches(5)[0]))
    every = gather(np.arange(30), vectors @ query.embedding, vectors, gallery)
    rows = np.array([3, 20, 7])
    few = gather(rows, vectors[rows] @ query.embedding, vectors, gallery)
    np.testing.assert_allclose(score(query, few, 0.4, every), score(query, every, 0.4)[rows], atol=1e-6)
    assert np.abs(score(query, few, 0.4) - score(query, every, 0.4)[rows]).max() > 0.01
    none = gather(rows[:0], np.empty(0, np.float32), vectors, gallery)
    assert score(query, none, 0.4, every).shape == (0,)
