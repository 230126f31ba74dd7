"""Which pictures a step learns from. A pure function of the seed, the step and the embeddings known so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from logo_similarity.training.dataset import Ints, TrainingSet

CANDIDATES = 8192
"""Groups among which the neighbours of a seed are looked for."""
TOO_NEAR = 0.9
"""Pictures of two groups that are nearer than this probably show the same thing under two names."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`pairs` (n, 2): two rows of one group; the same row twice where a picture has no fit partner."""

    pairs: Ints


class PairSampler:
    """Batches of pairs, half of them neighbours of each other: what is still hard to tell apart meets in one batch.

    Args:
        data: the training set.
        pairs: pairs of a batch.
        seeds: groups drawn at random in each batch; the rest are neighbours of these.
        multiple: share of the seeds drawn from trusted groups with several pictures, and from others with several.
        least: least cosine of two pictures that are only named alike, to be taken for the same thing.
    """

    def __init__(
        self, data: TrainingSet, *, pairs: int, seeds: int, multiple: tuple[float, float], least: float
    ) -> None:
        self._data, self._pairs, self._seeds, self._multiple, self._least = data, pairs, seeds, multiple, least
        self._members = data.members()
        sizes = np.array([len(rows) for rows in self._members])
        trusted = np.array([bool(data.trusted[rows[0]]) for rows in self._members])
        several = sizes > 1
        self._pools = [np.flatnonzero(several & trusted), np.flatnonzero(several & ~trusted), np.flatnonzero(~several)]
        self._families = np.array([data.families[rows[0]] for rows in self._members])

    def batch(self, bank: NDArray[np.float16], random: np.random.Generator) -> Batch:
        """The next batch. `bank` (n, d): the embedding of each picture as far as it is known."""
        shares = np.array([*self._multiple, 1 - sum(self._multiple)]) * [len(pool) > 0 for pool in self._pools]
        shares /= shares.sum()

        def drawn(count: int) -> Ints:
            counts = random.multinomial(count, shares)
            return np.concatenate(
                [random.choice(pool, number) for pool, number in zip(self._pools, counts, strict=True) if number]
            )

        seeds = drawn(self._seeds)
        candidates = drawn(CANDIDATES)
        rows = [random.choice(self._members[group]) for group in candidates]
        seed_rows = [random.choice(self._members[group]) for group in seeds]
        near = bank[seed_rows].astype(np.float32) @ bank[rows].astype(np.float32).T
        near[near > TOO_NEAR] = -1
        chosen, families = list(seeds), {int(self._families[group]) for group in seeds}
        each = -(-(self._pairs - self._seeds) // self._seeds)
        for order in np.argsort(-near, axis=1, kind="stable"):
            taken = 0
            for number in order:
                group = candidates[number]
                family = int(self._families[group])
                if family not in families:
                    families.add(family)
                    chosen.append(group)
                    taken += 1
                    if taken == each:
                        break
        return Batch(np.array([self._pair(int(group), bank, random) for group in chosen[: self._pairs]]))

    def _pair(self, group: int, bank: NDArray[np.float16], random: np.random.Generator) -> tuple[int, int]:
        rows = self._members[group]
        first = int(random.choice(rows))
        others = rows[rows != first]
        if len(others) and not self._data.trusted[first]:
            cosines = bank[others].astype(np.float32) @ bank[first].astype(np.float32)
            others = others[cosines >= self._least]
        return first, int(random.choice(others)) if len(others) else first
