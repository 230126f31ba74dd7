"""How surprising a similarity is: the number of unrelated logos that a catalog shows at it by chance.

Similarities to one query fall off nearly exponentially among the most similar logos, so the number of logos at or above
a similarity s is about c exp(-(s - t) / b), with t the similarity at rank c and b fitted to the ranks before it. Sequence
search reports the same number (Karlin and Altschul, PNAS 87, 1990). It counts a logo as unrelated unless it is among
the very first: these ranks may be right answers, and only count as being above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from logo_similarity.embed.describe import Floats

FIRST, LAST = 7, 60
"""Ranks to which a tail is fitted, from 1. Chosen so that 100 candidates are enough, and measured by `evaluate`."""
SMALLEST_SCALE = 1e-4
"""Least b: of a catalog of nearly identical images, all are equally similar."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The tail of the similarities to one query."""

    threshold: float
    """The similarity at rank `LAST`."""
    scale: float
    """By this much more similarity, the number of logos falls to 1 / e."""

    @classmethod
    def fit(cls, similarities: Floats) -> Self | None:
        """Fit a tail by maximum likelihood (Hill, Annals of Statistics 3, 1975), with the first ranks censored.

        Args:
            similarities: (m,) float32 of the most similar logos, descending.

        Returns:
            None if there are fewer than `LAST`.
        """
        if len(similarities) < LAST:
            return None
        excesses = similarities[FIRST - 1 : LAST].astype(np.float64) - similarities[LAST - 1]
        scale = (excesses.sum() + (FIRST - 1) * excesses[0]) / (LAST - FIRST)
        return cls(float(similarities[LAST - 1]), max(float(scale), SMALLEST_SCALE))

    def log_expect(self, similarities: Floats) -> Floats:
        """Natural logarithm of the expected number of unrelated logos at or above each similarity, (m,) float32."""
        return np.asarray(np.log(LAST) - (similarities - self.threshold) / self.scale, np.float32)

    def similarity(self, log_expects: Floats) -> Floats:
        """The inverse of `log_expect`: the similarities that are as surprising, (m,) float32."""
        return np.asarray(self.threshold + (np.log(LAST) - log_expects) * self.scale, np.float32)
