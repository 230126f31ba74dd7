"""What the images of some logos say about a query: parallel arrays, and how those of several pictures are combined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from logo_similarity.domain import PartsMode, Query
from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids, Mask
from logo_similarity.search.parts import PartMatches


@dataclass(frozen=True, slots=True, eq=False)
class ImageEvidence:
    """The evidence of some images, in any order."""

    ids: Ids
    """(m,) int64 vectors, all different."""
    scores: Floats
    """(m,) float32 of the whole images."""
    cosines: Floats
    log_expects: Floats
    """(m,) float32: logarithm of the expected number; smaller for more evidence."""
    equal: Floats
    """(m,) float32: the score, or if a part counts, the score that is as surprising."""
    matched: Ids
    """(m,) int64: the row of the match that counts among those of its picture; -1: the whole image does."""
    pictures: Ids
    """(m,) int64: the number of the query's picture that counts."""
    matches: tuple[PartMatches | None, ...]
    """For each picture of the query."""
    exact: bool
    logos: int | None
    """Number of logos in the catalog, the largest expected number; None: they are too few to expect anything."""

    @classmethod
    def best_of(cls, pictures: Sequence[Self]) -> Self:
        """The evidence of several pictures of one mark: for each image that of the picture it resembles most.

        The best of n comparisons is n times as likely by chance, so n times as many logos are expected.
        """
        if len(pictures) == 1:
            return pictures[0]
        arrays = {
            field.name: np.concatenate([getattr(one, field.name) for one in pictures])
            for field in fields(cls)
            if field.name not in ("matches", "exact", "logos", "pictures")
        }
        whole = cls(
            **arrays,
            pictures=np.repeat(np.arange(len(pictures)), [len(one.ids) for one in pictures]),
            matches=tuple(one.matches[0] for one in pictures),
            exact=all(one.exact for one in pictures),
            logos=pictures[0].logos,
        )
        order = np.lexsort((whole.pictures, whole.log_expects))
        best = order[np.unique(whole.ids[order], return_index=True)[1]]
        return replace(whole.at(best), log_expects=whole.log_expects[best] + math.log(len(pictures)))

    @property
    def expects(self) -> Floats | None:
        """The expected numbers, (m,) float32: no more than there are logos; None: not known."""
        return None if self.logos is None else np.exp(np.minimum(self.log_expects, math.log(self.logos)))

    def meets(self, query: Query) -> Mask:
        """Whether each has the match of parts and the expected number that a query asks for, (m,) bool."""
        mask = np.ones(len(self.ids), np.bool_)
        if query.parts is PartsMode.ONLY:
            mask &= self.matched >= 0
        expects = self.expects
        if query.max_expect is not None and expects is not None:
            mask &= expects <= query.max_expect
        return mask

    def at(self, places: Ids) -> Self:
        """Those at some positions."""
        return replace(
            self,
            ids=self.ids[places],
            scores=self.scores[places],
            cosines=self.cosines[places],
            log_expects=self.log_expects[places],
            equal=self.equal[places],
            matched=self.matched[places],
            pictures=self.pictures[places],
        )
