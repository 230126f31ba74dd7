"""Expected numbers, on similarities whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.embed.describe import Floats
from logo_similarity.search.expect import FIRST, LAST, SMALLEST_SCALE, Tail


def similarities(seed: int, logos: int = 5_000, scale: float = 0.05) -> Floats:
    """Of unrelated logos, exponential above 0, descending."""
    return np.sort(np.random.default_rng(seed).exponential(scale, logos).astype(np.float32))[::-1]


def fit(values: Floats) -> Tail:
    tail = Tail.fit(values)
    assert tail is not None
    return tail


def test_the_scale_is_that_of_the_distribution() -> None:
    scales = [fit(similarities(seed)[:200]).scale for seed in range(300)]
    assert np.mean(scales) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("expect", [0.1, 1.0, 10.0])
def test_as_many_unrelated_logos_as_expected(expect: float) -> None:
    counts = []
    for seed in range(2_000):
        values = similarities(seed)[:200]
        counts.append(np.count_nonzero(np.exp(fit(values).log_expect(values)) <= expect))
    # The scale of each fit is uncertain, and the far tail is sensitive to it.
    assert expect / 1.1 < np.mean(counts) < 1.6 * expect


def test_right_answers_do_not_change_the_tail() -> None:
    values = similarities(3)[:200]
    answers = np.concatenate([np.array([0.98, 0.9], np.float32), values])
    assert fit(answers).scale == pytest.approx(fit(values).scale, rel=0.2)
    assert np.exp(fit(answers).log_expect(answers[:1]))[0] < 0.01


def test_a_hit_far_above_the_others_is_surprising_and_the_threshold_is_not() -> None:
    values = similarities(4)[:200]
    tail = fit(values)
    log_expects = tail.log_expect(np.array([tail.threshold, tail.threshold + tail.scale], np.float32))
    np.testing.assert_allclose(np.exp(log_expects), [LAST, LAST / np.e], rtol=1e-4)


def test_ranks_above_the_first_are_only_counted() -> None:
    values = similarities(5)[:200].copy()
    before = fit(values)
    values[: FIRST - 1] += np.linspace(0.5, 0, FIRST - 1, dtype=np.float32)
    assert fit(values) == before


def test_too_few_similarities_have_no_tail() -> None:
    assert Tail.fit(similarities(6)[: LAST - 1]) is None
    assert Tail.fit(similarities(6)[:LAST]) is not None


def test_equal_similarities_have_a_finite_tail() -> None:
    tail = fit(np.full(100, 0.7, np.float32))
    assert tail.scale == SMALLEST_SCALE
    assert np.isfinite(tail.log_expect(np.array([0.7, 1.0], np.float32))).all()
