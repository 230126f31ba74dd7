from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.search.nibbles import HIGHEST, STEP, PackedPatches, pack, packed_channels

RANDOM = np.random.default_rng(0)
LARGEST = STEP * HIGHEST


@pytest.mark.parametrize("channels", [16, 15])
def test_packed_patches_are_near_the_others(channels: int) -> None:
    patches = RANDOM.integers(-LARGEST, LARGEST + 1, (9, 4, channels)).astype(np.int8)
    patches[:, 1] = 0
    stored = PackedPatches(pack(patches), channels)
    assert pack(patches).shape == (9, 4, packed_channels(channels))
    assert (len(stored), stored.shape) == (9, (9, 4, channels))
    chosen = np.array([7, 2, 2])
    found = stored[chosen]
    assert found.dtype == np.int8
    assert found.shape == (3, 4, channels)
    assert np.abs(found.astype(int) - patches[chosen]).max() == STEP // 2
    assert not found[:, 1].any(), "a cell without ink got some"
    np.testing.assert_array_equal(stored[2], found[1])


def test_to_pack_them_again_changes_nothing() -> None:
    patches = RANDOM.integers(-127, 128, (50, 4, 16)).astype(np.int8)
    once = pack(patches)
    stored = PackedPatches(once, 16)
    np.testing.assert_array_equal(pack(stored[np.arange(50)]), once)
    np.testing.assert_array_equal(stored.rounded(patches), stored[np.arange(50)])
    assert np.abs(stored.rounded(patches)).max() == LARGEST
