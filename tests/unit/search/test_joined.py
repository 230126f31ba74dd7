"""The rows and vectors of several segments as those of one catalog."""

from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.numbering import Numbering
from logo_similarity.search.joined import JoinedMap, find_images, first_of_each
from logo_similarity.search.rows import GroupedMap, IdentityMap

# Rows 0 to 3, 4 to 6, 7 to 9; vectors 0 to 2, 3 to 5, 6 and 7.
MAPS = (GroupedMap.of(np.array([0, 1, 0, 2], np.int32)), IdentityMap(), GroupedMap.of(np.array([0, 1, 0], np.int32)))
ROWS, VECTORS = Numbering.of((4, 3, 3)), Numbering.of((3, 3, 2))
OF_LIVE = np.array([0, 4, 2, 0, 4])
"""Vector 3 is a twin of 0, 5 of 2, 6 of 0 and 7 of 4."""
OWNERS = np.array([0, 1, 0, 2, 0, 4, 2, 0, 4, 0])
"""The vector of each row."""


@pytest.fixture
def joined() -> JoinedMap:
    return JoinedMap.of(MAPS, ROWS, VECTORS, OF_LIVE)


def test_twins_have_the_vector_of_the_oldest(joined: JoinedMap) -> None:
    np.testing.assert_array_equal(joined.vector_of(np.arange(10)), OWNERS)
    np.testing.assert_array_equal(joined.vector_of(np.array([9, 0, 5])), [0, 0, 4])


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_the_rows_of_a_vector_ascend_through_all_segments(joined: JoinedMap, most: int) -> None:
    wanted = np.array([4, 0, 1, 2])
    rows, positions = joined.rows_of(wanted, most)
    expected = [np.flatnonzero(vector == OWNERS)[:most] for vector in wanted]
    np.testing.assert_array_equal(rows, np.concatenate(expected))
    np.testing.assert_array_equal(positions, np.repeat(np.arange(4), list(map(len, expected))))
    np.testing.assert_array_equal(joined.copies_of(wanted), [1, 4, 0, 1])


def test_no_vectors_have_no_rows(joined: JoinedMap) -> None:
    none = np.empty(0, np.int64)
    assert [len(numbers) for numbers in joined.rows_of(none, 10)] == [0, 0]
    assert len(joined.copies_of(none)) == len(joined.vector_of(none)) == 0


def test_a_vector_has_a_row_if_a_twin_has_one(joined: JoinedMap) -> None:
    for row in range(10):
        mask = np.zeros(10, np.bool_)
        mask[row] = True
        np.testing.assert_array_equal(np.flatnonzero(joined.vectors_with(mask)), [OWNERS[row]])


def test_numbers_are_split_by_segment() -> None:
    numbers = np.array([9, 0, 4, 3, 7])
    split = [(segment, positions.tolist(), local.tolist()) for segment, positions, local in ROWS.split(numbers)]
    assert split == [(0, [1, 3], [0, 3]), (1, [2], [0]), (2, [0, 4], [2, 0])]
    assert [ROWS.locate(number) for number in (0, 3, 4, 9)] == [(0, 0), (0, 3), (1, 0), (2, 2)]
    assert (ROWS.total, ROWS.slices) == (10, [slice(0, 4), slice(4, 7), slice(7, 10)])


def test_images_are_found_by_their_whole_digest() -> None:
    digests = np.random.default_rng(0).integers(0, 256, (100_000, 32), np.uint8)
    digests[70_000] = digests[5]
    digests[6, :8] = digests[7, :8]
    wanted = np.concatenate((digests[[70_000, 99_999, 7, 6, 99_999]], np.zeros((1, 32), np.uint8)))
    np.testing.assert_array_equal(find_images(digests, wanted), [5, 99_999, 7, 6, 99_999, -1])
    np.testing.assert_array_equal(first_of_each(wanted), [0, 1, 2, 3, 1, 5])
