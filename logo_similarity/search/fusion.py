"""One order from two kinds of evidence: the score of whole images, and the most surprising match of parts."""

from __future__ import annotations

import numpy as np

from logo_similarity.domain import NEAR_IDENTICAL_SCORE
from logo_similarity.embed.describe import Floats
from logo_similarity.search.candidates import Ids
from logo_similarity.search.expect import Tail
from logo_similarity.search.parts import PartMatches


def fuse(ids: Ids, scores: Floats, tail: Tail, matches: PartMatches) -> tuple[Floats, Ids]:
    """Weigh the score of each candidate against its match of parts: the more surprising one counts.

    Nothing is more surprising than a nearly identical image: a match counts for no more than the score
    `NEAR_IDENTICAL_SCORE`.

    Args:
        ids: (m,) int64.
        scores: (m,) float32, -1 to 1; -inf where the whole image does not count.
        tail: of the scores of the nearest logos.
        matches: of any logos.

    Returns:
        Logarithms of the expected numbers, (m,) float32, and the rows in `matches` of the matches that count, (m,)
        int64; -1 where the score does.
    """
    by_score = tail.log_expect(scores)
    rows = match_rows(ids, matches)
    by_parts = np.full(len(ids), np.inf, np.float32)
    by_parts[rows >= 0] = np.maximum(
        matches.log_expects[rows[rows >= 0]], tail.log_expect(np.full(1, NEAR_IDENTICAL_SCORE, np.float32))
    )
    return np.minimum(by_score, by_parts), np.where(by_parts < by_score, rows, -1)


def match_rows(ids: Ids, matches: PartMatches) -> Ids:
    """The row of each id among the matches, (m,) int64; -1 if it is not there."""
    if not len(matches.ids):
        return np.full(len(ids), -1)
    places = np.minimum(np.searchsorted(matches.ids, ids), len(matches.ids) - 1)
    return np.where(matches.ids[places] == ids, places, -1)


def further_candidates(matches: PartMatches, ids: Ids, most: int, largest: float) -> Ids:
    """The most surprising matches that are no candidates yet, (m,) int64.

    Args:
        matches: of any logos.
        ids: the candidates.
        most: maximum number of further candidates.
        largest: logarithm of the largest expected number that makes a logo a candidate.
    """
    order = np.argsort(matches.log_expects, kind="stable")
    order = order[matches.log_expects[order] <= largest]
    further = matches.ids[order]
    return further[~np.isin(further, ids)][:most]
