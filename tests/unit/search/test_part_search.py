"""Comparing the regions of a query with those of a catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from logo_similarity.description import Description, Parts
from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids
from logo_similarity.search.expect import Tail
from logo_similarity.search.parts import (
    DISTANCE_PENALTY,
    NEAREST,
    NEAREST_WHOLES,
    PART_PENALTY,
    WHOLE,
    Comparison,
    PartMatches,
    Regions,
    match_parts,
    shorten,
)

DIMENSION = 32


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def random_unit(count: int, seed: int) -> Floats:
    return unit(np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Exact:
    """A pool that is searched exactly."""

    embeddings: Floats
    owners: Ids
    parts: Ids

    def nearest(self, embeddings: Sequence[Floats], k: int) -> list[Regions]:
        return [self._nearest(embedding, k) for embedding in embeddings]

    def _nearest(self, embedding: Floats, k: int) -> Regions:
        cosines = self.embeddings @ embedding
        order = np.argsort(-cosines)[:k]
        return Regions(self.owners[order], self.parts[order], cosines[order])


@pytest.fixture
def wholes() -> Exact:
    return Exact(random_unit(500, 0), np.arange(500), np.full(500, WHOLE))


@pytest.fixture
def parts() -> Exact:
    """Two parts for each of 500 logos."""
    return Exact(random_unit(1_000, 1), np.arange(1_000) // 2, np.arange(1_000) % 2)


def query(whole: Floats, *own: Floats) -> Description:
    return Description(
        whole, None, Parts(np.array(own, np.float32).reshape(-1, DIMENSION), np.zeros((len(own), 4), np.float32))
    )


def best(matches: PartMatches) -> int:
    return int(np.argmin(matches.log_expects))


def test_a_part_of_the_query_finds_the_whole_logo(wholes: Exact, parts: Exact) -> None:
    matches = match_parts(
        query(random_unit(1, 9)[0], random_unit(1, 8)[0], wholes.embeddings[42]), *both(wholes, parts)
    )
    row = best(matches)
    assert (matches.ids[row], matches.query_parts[row], matches.parts[row]) == (42, 1, WHOLE)


def test_the_whole_query_finds_a_part_of_a_logo(wholes: Exact, parts: Exact) -> None:
    matches = match_parts(query(parts.embeddings[333]), *both(wholes, parts))
    row = best(matches)
    assert (matches.ids[row], matches.query_parts[row], matches.parts[row]) == (166, WHOLE, 1)


def test_a_part_finds_a_part(wholes: Exact, parts: Exact) -> None:
    matches = match_parts(query(random_unit(1, 9)[0], parts.embeddings[10]), *both(wholes, parts))
    row = best(matches)
    assert (matches.ids[row], matches.query_parts[row], matches.parts[row]) == (5, 0, 0)


def both(wholes: Exact, parts: Exact) -> tuple[Comparison, Comparison]:
    return Comparison(wholes, wholes), Comparison(parts, parts)


def test_whole_images_are_not_compared_with_each_other(wholes: Exact) -> None:
    assert len(match_parts(query(wholes.embeddings[3]), Comparison(wholes, wholes)).ids) == 0


def test_every_logo_is_there_once_and_ids_ascend(wholes: Exact, parts: Exact) -> None:
    matches = match_parts(query(random_unit(1, 9)[0], *random_unit(3, 8)), *both(wholes, parts))
    assert (np.diff(matches.ids) > 0).all()
    assert len(matches.ids) > NEAREST


def test_the_expected_number_is_of_this_comparison_with_its_penalties(wholes: Exact) -> None:
    part = random_unit(1, 8)[0]
    matches = match_parts(query(random_unit(1, 9)[0], part), Comparison(wholes, wholes))
    cosines = np.sort(wholes.embeddings @ part)[::-1][:NEAREST_WHOLES]
    tail = Tail.fit(cosines)
    assert tail is not None
    expected = tail.log_expect(cosines) + PART_PENALTY + DISTANCE_PENALTY * (1 - cosines)
    np.testing.assert_allclose(np.sort(matches.log_expects), expected, rtol=1e-5)


def test_a_common_part_is_less_surprising_than_a_rare_one(wholes: Exact, parts: Exact) -> None:
    """One part is shared, nearly the same, by eighty logos."""
    embeddings = parts.embeddings.copy()
    common, rare = random_unit(2, 7)
    noise = 0.05 * np.random.default_rng(3).normal(size=(80, DIMENSION)).astype(np.float32)
    embeddings[100:260:2] = unit(common + noise)
    embeddings[100], embeddings[301] = common, rare
    pool = Exact(embeddings, parts.owners, parts.parts)
    matches = match_parts(query(random_unit(1, 9)[0], common, rare), *both(wholes, pool))
    log_expect = dict(zip(matches.ids.tolist(), matches.log_expects.tolist(), strict=True))
    assert log_expect[150] < 0 < log_expect[50] + 5
    assert log_expect[150] < log_expect[50] - 3


def test_several_parts_of_one_logo_do_not_make_it_common(wholes: Exact) -> None:
    """The tail is that of logos: a logo with ten near parts counts once."""
    embeddings = random_unit(900, 2)
    part = random_unit(1, 8)[0]
    embeddings[:10] = part
    owners = np.concatenate([np.zeros(10, np.int64), np.arange(1, 891)])
    pool = Exact(embeddings, owners, np.zeros(900, np.int64))
    matches = match_parts(query(random_unit(1, 9)[0], part), *both(wholes, pool))
    assert matches.ids[best(matches)] == 0
    assert matches.log_expects.min() < 0


def test_a_pool_too_small_for_a_tail_has_no_matches(wholes: Exact) -> None:
    few = Exact(wholes.embeddings[:30], wholes.owners[:30], wholes.parts[:30])
    assert len(match_parts(query(random_unit(1, 9)[0], wholes.embeddings[3]), Comparison(few, few)).ids) == 0


def test_the_background_decides_how_surprising_a_match_is(wholes: Exact) -> None:
    part = wholes.embeddings[3]
    few = Exact(wholes.embeddings[:5], wholes.owners[:5], wholes.parts[:5])
    matches = match_parts(query(random_unit(1, 9)[0], part), Comparison(few, wholes))
    everywhere = match_parts(query(random_unit(1, 9)[0], part), Comparison(wholes, wholes))
    assert matches.ids.tolist() == [0, 1, 2, 3, 4]
    assert matches.log_expects[3] == everywhere.log_expects[everywhere.ids == 3][0]


def test_shortened_embeddings_are_of_unit_length() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32))
    short = shorten(vectors)
    assert short.shape == (5, 128)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(short[0] / short[0, 0], vectors[0, :128] / vectors[0, 0], rtol=1e-4)
    np.testing.assert_array_equal(shorten(vectors[0]), short[0])
    assert shorten(vectors[:, :20]).shape == (5, 20)
