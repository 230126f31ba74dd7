from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.search.candidates import Candidates, IdSet, gather, merge

EMBEDDINGS = np.arange(12, dtype=np.float32).reshape(6, 2)
PATCHES = np.arange(24, dtype=np.int8).reshape(6, 2, 2)


def candidates(cosines: dict[int, float], *, patches: bool = True, exact: bool = False) -> Candidates:
    """Nearest first; embeddings and patches are those of the id."""
    ids = np.array(sorted(cosines, key=lambda one: -cosines[one]), np.int64)
    values = np.array([cosines[one] for one in ids.tolist()], np.float32)
    return gather(ids, values, EMBEDDINGS, PATCHES if patches else None, exact=exact)


def test_candidates_of_two_sources_become_one_list_nearest_first() -> None:
    merged = merge([candidates({0: 0.9, 3: 0.2}), candidates({5: 0.5, 1: 0.1})], 3)
    assert merged.ids.tolist() == [0, 5, 3]
    assert merged.cosines.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert merged.embeddings is not None
    assert merged.patches is not None
    np.testing.assert_array_equal(merged.embeddings, EMBEDDINGS[[0, 5, 3]])
    np.testing.assert_array_equal(merged.patches, PATCHES[[0, 5, 3]])


def test_an_id_that_two_sources_give_comes_once_with_its_better_cosine() -> None:
    merged = merge([candidates({0: 0.9, 3: 0.2, 4: 0.15}), candidates({3: 0.7, 0: 0.1})], 10)
    assert merged.ids.tolist() == [0, 3, 4]
    assert merged.cosines.tolist() == pytest.approx([0.9, 0.7, 0.15])


def test_equal_cosines_are_ordered_by_id() -> None:
    assert merge([candidates({5: 0.5, 4: 0.5}), candidates({2: 0.5})], 10).ids.tolist() == [2, 4, 5]


def test_without_patches_only_ids_and_cosines_are_merged() -> None:
    merged = merge([candidates({0: 0.9}, patches=False), candidates({1: 0.8}, patches=False)], 10)
    assert merged.ids.tolist() == [0, 1]
    assert merged.embeddings is None
    assert merged.patches is None


def test_one_source_needs_no_merging() -> None:
    only = candidates({0: 0.9})
    assert merge([only], 5) is only


@pytest.mark.parametrize("patches", [True, False])
def test_merged_candidates_are_exact_if_all_parts_are(patches: bool) -> None:
    one, other = (candidates({n: 0.5}, patches=patches, exact=True) for n in (0, 1))
    assert merge([one, other], 2).exact
    assert not merge([one, candidates({2: 0.1}, patches=patches)], 2).exact


def test_the_ids_of_a_set() -> None:
    rows = IdSet.of(np.array([False, True, False, True]))
    assert rows.count == 2
    assert rows.ids.dtype == np.int64
    assert rows.ids.tolist() == [1, 3]
