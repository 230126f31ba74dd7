"""The figures, against values worked out by hand and against a plain count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logo_similarity.evaluation.ranking import LabelledQuery, mean_figures, rank_query

NONE = np.empty(0, np.int64)


def rows(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, np.int64)


def test_a_ranking_worked_out_by_hand() -> None:
    # Without the query (row 0) the order is 3, 1, 4, 2: the relevant rows 1 and 2 have the ranks 2 and 4.
    found = rank_query(LabelledQuery(0, rows(1, 2), NONE), np.array([9, 0.8, 0.1, 0.9, 0.5], np.float32))
    assert found.average_precision == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.first_rank == 2
    assert found.normalised_rank == pytest.approx((2 + 4 - 3) / (4 * 2))


def test_ignored_rows_take_no_rank() -> None:
    found = rank_query(LabelledQuery(0, rows(1), rows(2)), np.array([9, 0.5, 0.9, 0.1], np.float32))
    assert (found.first_rank, found.average_precision) == (1, 1.0)


def test_features_that_are_all_the_same_find_nothing() -> None:
    found = rank_query(LabelledQuery(0, rows(1), NONE), np.ones(101, np.float32))
    assert found.first_rank == 100
    assert found.average_precision == pytest.approx(1 / 100)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="query 0: a score is not finite"):
        rank_query(LabelledQuery(0, rows(1), NONE), np.array([1, bad, 0], np.float32))


def test_a_query_without_answers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no relevant rows"):
        rank_query(LabelledQuery(0, NONE, NONE), np.ones(3, np.float32))


@given(st.data())
def test_equal_to_a_plain_count(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 30))
    scores = np.array(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)), np.float32)
    relevant = data.draw(st.sets(st.integers(1, count - 1), min_size=1))
    ignored = data.draw(st.sets(st.integers(1, count - 1))) - relevant
    found = rank_query(LabelledQuery(0, rows(*sorted(relevant)), rows(*sorted(ignored))), scores)
    others = [row for row in range(1, count) if row not in ignored]
    order = sorted(others, key=lambda row: (-scores[row], row in relevant))
    ranks = [place for place, row in enumerate(order, 1) if row in relevant]
    assert found.first_rank == ranks[0]
    assert found.average_precision == pytest.approx(np.mean([hit / rank for hit, rank in enumerate(ranks, 1)]))
    ideal = len(ranks) * (len(ranks) + 1) / 2
    assert found.normalised_rank == pytest.approx((sum(ranks) - ideal) / (len(others) * len(ranks)))


@pytest.mark.parametrize(
    ("rank", "found"),
    [(1, (1, 1, 1)), (2, (0, 1, 1)), (10, (0, 1, 1)), (11, (0, 0, 1)), (100, (0, 0, 1)), (101, (0, 0, 0))],
)
def test_recall_counts_an_answer_at_its_very_rank(rank: int, found: tuple[int, int, int]) -> None:
    scores = np.zeros(200, np.float32)
    scores[1] = 0.5
    scores[2 : rank + 1] = 0.9  # so many wrong answers are ahead of row 1; row 0 asks
    figures = mean_figures([rank_query(LabelledQuery(0, rows(1), NONE), scores)])
    assert figures is not None
    assert (figures.recall_at_1, figures.recall_at_10, figures.recall_at_100) == found


def test_means() -> None:
    results = [
        rank_query(LabelledQuery(0, rows(1), NONE), np.array([9, 2, 1], np.float32)),
        rank_query(LabelledQuery(0, rows(1), NONE), np.array([9, 1, 2], np.float32)),
    ]
    figures = mean_figures(results)
    assert figures is not None
    assert (figures.queries, figures.recall_at_1, figures.recall_at_10) == (2, 0.5, 1.0)
    assert figures.mean_average_precision == pytest.approx(0.75)
    assert mean_figures([]) is None
