"""Patches that are stored with 4 bits for each number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from logo_similarity.embed.describe import Patches
from logo_similarity.precision import Precision
from logo_similarity.search.candidates import Ids

Packed = NDArray[np.uint8]
"""(..., channels / 2), or half a byte more: two numbers in each byte, the first in its lower half."""

STEP = 8
"""Difference of two neighbouring levels, in units of `Patches`."""
HIGHEST = 7
"""Largest level, 56 of 127. Patches are shorter than 1, so few of their numbers are larger."""
ZERO = 8
"""The half byte of level 0."""


def _both(byte: NDArray[np.int64]) -> Patches:
    """The two numbers in each byte, (..., 2)."""
    return np.stack([((half - ZERO) * STEP).astype(np.int8) for half in (byte & 15, byte >> 4)], axis=-1)


_BOTH = np.ascontiguousarray(_both(np.arange(256))).view(np.int16)[:, 0]
"""The two numbers in each byte, as one."""


def packed_channels(channels: int) -> int:
    """Bytes of a packed patch of so many numbers."""
    return -(-channels // 2)


def pack(patches: Patches) -> Packed:
    """Patches, (..., channels) int8, rounded to the nearest level. To pack them again changes nothing."""
    if patches.shape[-1] % 2:
        patches = np.concatenate([patches, np.zeros_like(patches[..., :1])], axis=-1)
    levels = np.rint(patches.astype(np.float32) / STEP).clip(-HIGHEST, HIGHEST).astype(np.int8) + ZERO
    return (levels[..., ::2] | levels[..., 1::2] << 4).astype(np.uint8)


def unpack(packed: Packed, channels: int) -> Patches:
    """The patches, (..., channels) int8, that are packed in an array."""
    pairs: Patches = _BOTH.take(packed).view(np.int8)
    return pairs[..., :channels]


def packed(patches: Patches, precision: Precision) -> Patches | Packed:
    """Patches as a catalog of this precision stores them."""
    return pack(patches) if precision.patch_bits == 4 else patches


class PackedPatches:
    """The patches in an array of packed ones, (n, cells, ...), as int8.

    Args:
        packed: the array.
        channels: numbers in a patch.
    """

    def __init__(self, packed: Packed, channels: int) -> None:
        self._packed = packed
        self.shape: tuple[int, ...] = (*packed.shape[:2], channels)

    def __getitem__(self, ids: Ids | int) -> Patches:
        """The patches with these numbers, (m, cells, channels) int8; without the first axis for one number."""
        return unpack(self._packed[ids], self.shape[2])

    def __len__(self) -> int:
        return len(self._packed)

    def rounded(self, patches: Patches) -> Patches:
        """Other patches, (..., channels) int8, as they would be in the array."""
        return unpack(pack(patches), self.shape[2])
