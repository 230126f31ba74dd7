"""Pictures that cut their mark are continued with paper where it goes on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.image.content import cut, find_content
from logo_similarity.image.cut import complete

Pixels = NDArray[np.uint8]
PAPER, INK = (250, 250, 250), (20, 40, 90)


def ring(*, square: bool = False) -> Pixels:
    """A ring of 240 pixels, or a square one with round corners, with a bar through its middle both ways."""
    image = np.full((300, 300, 3), PAPER, np.uint8)
    if square:
        cv2.rectangle(image, (30, 30), (269, 269), INK, 30)
    else:
        cv2.circle(image, (150, 150), 110, INK, 20)
    image[140:160, 60:240] = image[60:240, 140:160] = INK
    return image


def added(image: Pixels) -> tuple[float, float, float, float]:
    """The paper at the left, top, right and bottom, as shares of the content's sides."""
    content = find_content(image)
    mark = cut(image, content)
    whole = complete(mark, content)
    height, width = mark.shape[:2]
    found = cv2.matchTemplate(whole, mark, cv2.TM_SQDIFF)
    _, _, (left, top), _ = cv2.minMaxLoc(found)
    assert np.array_equal(whole[top : top + height, left : left + width], mark)
    rest = whole.copy()
    rest[top : top + height, left : left + width] = PAPER
    assert (rest == PAPER).all()
    right, bottom = whole.shape[1] - width - left, whole.shape[0] - height - top
    return left / width, top / height, right / width, bottom / height


def test_a_whole_mark_is_not_continued() -> None:
    assert added(ring()) == (0, 0, 0, 0)
    assert added(ring()[30:271, 30:271]) == (0, 0, 0, 0)  # nor if the picture ends where it touches


@pytest.mark.parametrize(
    ("shown", "paper"),
    [
        ((slice(None), slice(None, 150)), (0, 0, 1, 0)),
        ((slice(None), slice(150, None)), (1, 0, 0, 0)),
        ((slice(None, 150), slice(None)), (0, 0, 0, 1)),
        ((slice(150, None), slice(None)), (0, 1, 0, 0)),
        ((slice(None, 150), slice(None, 150)), (0, 0, 1, 1)),
    ],
)
def test_the_other_half_is_missing_beyond_a_side_that_cuts(
    shown: tuple[slice, slice], paper: tuple[float, float, float, float]
) -> None:
    assert added(ring()[shown]) == paper


def test_a_fifth_is_missing_at_each_of_two_opposite_sides_that_cut() -> None:
    assert added(ring()[78:222, 78:222]) == pytest.approx((1 / 3,) * 4, abs=0.01)
    assert added(ring()[:, 78:222]) == pytest.approx((1 / 3, 0, 1 / 3, 0), abs=0.01)


def test_a_mark_with_straight_sides_may_go_on_beyond_them() -> None:
    assert added(ring(square=True)) == pytest.approx((1 / 3,) * 4, abs=0.01)
