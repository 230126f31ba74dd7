"""Pictures that show a part of a mark: which sides cut it, and the picture with empty paper where the mark goes on."""

from __future__ import annotations

import cv2
import numpy as np

from logo_similarity.image.content import Content
from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import Mask, ink_mask

DEPTH = 0.04
"""How far inside a side its ink is compared with that on the side itself, as a share of the content's length."""
FLAT = 0.6
"""Least share of the ink inside that reaches a side that cuts: a round shape touches its box with less."""
LEAST = 0.02
"""Least share of a side that is ink where the side cuts."""
BESIDE, AROUND = 1.0, 1 / 3
"""Paper that is added, as a share of the content's length: if one of two opposite sides cuts, as much as half of a mark is
missing; if both do, a fifth of it at each."""


def complete(mark: Pixels, content: Content) -> Pixels:
    """The content of a picture with paper beyond the sides that cut the mark; the content alone if none does.

    Args:
        mark: the content, (h, w, 3) uint8 RGB, as from `cut`.
        content: as from `find_content`.
    """
    ink = ink_mask(mark, content.paper)
    left, right = _paper(_cuts(ink.T), _cuts(ink.T[::-1]), mark.shape[1])
    top, bottom = _paper(_cuts(ink), _cuts(ink[::-1]), mark.shape[0])
    return cv2.copyMakeBorder(mark, top, bottom, left, right, cv2.BORDER_CONSTANT, value=content.paper)


def _cuts(ink: Mask) -> bool:
    """Whether the upper side of a mask cuts its ink: it has about as much ink as a row a little further in."""
    depth = max(1, round(DEPTH * len(ink)))
    side, inside = np.count_nonzero(ink[0]), np.count_nonzero(ink[min(depth, len(ink) - 1)])
    return bool(side >= LEAST * ink.shape[1] and side >= FLAT * inside)


def _paper(first: bool, last: bool, length: int) -> tuple[int, int]:  # noqa: FBT001 - two sides of one axis
    """Pixels of paper before and after the content."""
    added = round((AROUND if first and last else BESIDE) * length)
    return added * first, added * last
