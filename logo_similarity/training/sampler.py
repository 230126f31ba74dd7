"""The choice of the pairs of a training step: a pure function of the random generator and the current embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from logo_similarity.training.dataset import Ints, TrainingSet

CANDIDATES = 8192
"""Number of random groups among which the neighbours of the seeds are searched for."""
TOO_NEAR = 0.9
"""Groups with a higher cosine probably show the same mark under two names; they are not chosen as neighbours."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The pairs of one training step."""

    pairs: Ints
    """(n, 2) int64: two rows of one group; the same row twice if the image has no suitable partner."""


class PairSampler:
    """Samples batches of pairs: some groups at random, the others as their nearest neighbours (hard negatives).

    Args:
        data: the training set.
        pairs: number of pairs in a batch.
        seeds: number of groups drawn at random in each batch; the others are neighbours of these.
        multiple: share of the seeds drawn from groups with several images of one subject, and from other groups with
            several images; the rest come from groups of one image.
        least: smallest cosine of two images of different subjects that may form a pair.
    """

    def __init__(
        self, data: TrainingSet, *, pairs: int, seeds: int, multiple: tuple[float, float], least: float
    ) -> None:
        self._data, self._pairs, self._seeds, self._multiple, self._least = data, pairs, seeds, multiple, least
        self._members = data.members()
        sizes = np.array([len(rows) for rows in self._members])
        certain = np.array([len(np.unique(data.subjects[rows])) < len(rows) for rows in self._members])
        self._pools = [np.flatnonzero(pool) for pool in (certain, (sizes > 1) & ~certain, sizes == 1)]
        self._families = np.array([data.families[rows[0]] for rows in self._members])

    def batch(self, bank: NDArray[np.float16], random: np.random.Generator) -> Batch:
        """The next batch.

        Args:
            bank: (n, d) float16, unit length: the latest embedding of each image.
            random: the source of randomness; the same state gives the same batch.
        """
        shares = np.array([*self._multiple, 1 - sum(self._multiple)]) * [len(pool) > 0 for pool in self._pools]
        shares /= shares.sum()

        def draw(count: int) -> Ints:
            counts = random.multinomial(count, shares)
            return np.concatenate(
                [random.choice(pool, number) for pool, number in zip(self._pools, counts, strict=True) if number]
            )

        seeds = draw(self._seeds)
        candidates = draw(CANDIDATES)
        rows = [random.choice(self._members[group]) for group in candidates]
        seed_rows = [random.choice(self._members[group]) for group in seeds]
        cosines = bank[seed_rows].astype(np.float32) @ bank[rows].astype(np.float32).T
        cosines[cosines > TOO_NEAR] = -1
        groups, families = list(seeds), {int(self._families[group]) for group in seeds}
        neighbours_per_seed = -(-(self._pairs - self._seeds) // self._seeds)
        for order in np.argsort(-cosines, axis=1, kind="stable"):
            neighbours = 0
            for position in order:
                group = candidates[position]
                family = int(self._families[group])
                if family not in families:
                    families.add(family)
                    groups.append(group)
                    neighbours += 1
                    if neighbours == neighbours_per_seed:
                        break
        return Batch(np.array([self._pair(int(group), bank, random) for group in groups[: self._pairs]]))

    def _pair(self, group: int, bank: NDArray[np.float16], random: np.random.Generator) -> tuple[int, int]:
        rows = self._members[group]
        first = int(random.choice(rows))
        others = rows[rows != first]
        cosines = bank[others].astype(np.float32) @ bank[first].astype(np.float32)
        others = others[(self._data.subjects[others] == self._data.subjects[first]) | (cosines >= self._least)]
        return first, int(random.choice(others)) if len(others) else first
