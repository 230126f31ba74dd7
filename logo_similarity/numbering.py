"""The numbering of the rows or the vectors of several segments, one segment after another."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Numbering:
    """Number `i` of segment `s` is `starts[s] + i` of all."""

    starts: NDArray[np.int64]
    """(segments + 1,) int64, ascending from 0."""

    @classmethod
    def of(cls, counts: Iterable[int]) -> Self:
        """The numbering of segments with these many rows or vectors."""
        return cls(np.fromiter(itertools.accumulate(counts, initial=0), np.int64))

    @property
    def total(self) -> int:
        """How many all segments have."""
        return int(self.starts[-1])

    @property
    def slices(self) -> list[slice]:
        """The numbers of each segment."""
        return [slice(first, end) for first, end in itertools.pairwise(self.starts.tolist())]

    def locate(self, number: int) -> tuple[int, int]:
        """The segment of a number, and the number in it."""
        segment = bisect.bisect_right(self.starts, number) - 1  # for one number, faster than NumPy's
        return segment, number - int(self.starts[segment])

    def split(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """For each segment that has some of the numbers: the segment, their positions, and the numbers in it."""
        segments = np.searchsorted(self.starts, numbers, side="right") - 1
        for segment in np.unique(segments).tolist():
            positions = np.flatnonzero(segments == segment)
            yield segment, positions, numbers[positions] - self.starts[segment]
