"""Weighing scores of whole images against matches of parts."""

from __future__ import annotations

import numpy as np

from logo_similarity.domain import NEAR_IDENTICAL_SCORE
from logo_similarity.search.expect import LAST, Tail
from logo_similarity.search.fusion import further_candidates, fuse, match_rows
from logo_similarity.search.parts import PartMatches

TAIL = Tail(threshold=0.5, scale=0.05)
IDS = np.array([7, 3, 9, 5])
SCORES = np.array([0.9, 0.5, 0.4, 0.3], np.float32)
NONE = np.empty(0, np.int64)


def matches(ids: list[int], log_expects: list[float]) -> PartMatches:
    return PartMatches(
        np.array(ids), np.array(log_expects, np.float32), np.zeros(len(ids), int), np.ones(len(ids), int)
    )


def test_the_more_surprising_evidence_counts() -> None:
    log_expects, rows = fuse(IDS, SCORES, TAIL, matches([1, 3, 5, 7], [0.0, -1.5, 30.0, 0.0]))
    by_score = TAIL.log_expect(SCORES)
    np.testing.assert_allclose(log_expects, [by_score[0], -1.5, by_score[2], by_score[3]])
    assert rows.tolist() == [-1, 1, -1, -1]


def test_no_match_is_more_surprising_than_a_nearly_identical_image() -> None:
    scores = np.array([1.0, 0.96, 0.5], np.float32)
    log_expects, rows = fuse(np.array([0, 1, 2]), scores, TAIL, matches([2], [-100.0]))
    assert log_expects[0] < log_expects[1] < log_expects[2]
    assert log_expects[2] == TAIL.log_expect(np.full(1, NEAR_IDENTICAL_SCORE, np.float32))[0]
    assert rows.tolist() == [-1, -1, 0]


def test_without_matches_the_scores_count() -> None:
    nothing = PartMatches(NONE, np.empty(0, np.float32), NONE, NONE)
    log_expects, rows = fuse(IDS, SCORES, TAIL, nothing)
    np.testing.assert_array_equal(log_expects, TAIL.log_expect(SCORES))
    np.testing.assert_allclose(np.exp(log_expects[1]), LAST, rtol=1e-5)
    assert (rows == -1).all()
    assert further_candidates(nothing, IDS, 10, 99).tolist() == []


def test_rows_of_matches() -> None:
    assert match_rows(np.array([2, 9, 4, 0]), matches([0, 2, 4], [0, 0, 0])).tolist() == [1, -1, 2, 0]


def test_further_candidates_are_the_most_surprising_that_are_not_known() -> None:
    found = matches([1, 3, 4, 6, 8], [-2.0, -9.0, 1.0, -3.0, 3.0])
    assert further_candidates(found, IDS, 10, 2.0).tolist() == [6, 1, 4]
    assert further_candidates(found, IDS, 2, 2.0).tolist() == [6, 1]
