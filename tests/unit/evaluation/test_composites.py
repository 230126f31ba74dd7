"""Marks in composites: each shows the mark where it says, always in the same way."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.evaluation.composites import COMPOSITES, SIDE, Composite, generator
from logo_similarity.image.decode import Pixels, decode
from logo_similarity.image.preprocess import Box, border_colour, content_box

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "images").glob("*.jpg"))[::100][:12]


@pytest.fixture(scope="module")
def images() -> list[Pixels]:
    return [decode(path.read_bytes()) for path in SAMPLES]


def square(ink: int = 0, paper: int = 255) -> Pixels:
    image = np.full((200, 200, 3), paper, np.uint8)
    image[40:160, 40:160] = ink
    return image


def compose(kind: str, mark: Pixels, *others: Pixels, file: str = "a.jpg") -> Composite:
    return COMPOSITES[kind](mark, others or (square(), square()), generator(kind, file))


def grey(image: Pixels, box: Box) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    region = cv2.cvtColor(image[box.top : box.bottom, box.left : box.right], cv2.COLOR_RGB2GRAY)
    small = cv2.resize(region, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(1, float(np.linalg.norm(small))), np.float32)


@pytest.mark.parametrize("kind", COMPOSITES)
def test_the_mark_is_where_the_composite_says(images: list[Pixels], kind: str) -> None:
    correlations, elsewhere = [], []
    for number, image in enumerate(images):
        others = [images[number - 1], images[number - 2]]
        composite = compose(kind, image, *others, file=SAMPLES[number].name)
        box = composite.box
        height, width = composite.pixels.shape[:2]
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height
        mark = grey(image, content_box(image, border_colour(image)))
        correlations.append(abs(float(mark @ grey(composite.pixels, box))))
        flipped = Box(width - box.right, height - box.bottom, width - box.left, height - box.top)
        elsewhere.append(abs(float(mark @ grey(composite.pixels, flipped))))
    assert np.mean(correlations) > 0.8
    assert min(correlations) > 0.3
    if kind not in {
        "white in a badge",
        "on a gradient",
        "on a photograph",
        "cut by a frame",
    }:  # the mark is in the centre
        assert np.mean(elsewhere) < 0.5


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_composite_is_always_the_same_and_leaves_the_marks_as_they_are(images: list[Pixels], kind: str) -> None:
    marks = images[:3]
    before = [image.copy() for image in marks]
    first, second = (compose(kind, *marks) for _ in range(2))
    assert first.box == second.box
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.pixels.dtype == np.uint8
    assert all(np.array_equal(image, copy) for image, copy in zip(marks, before, strict=True))


def test_composites_vary_with_the_file_and_not_with_the_process() -> None:
    draws = [int(generator(*names).integers(1_000_000)) for names in (("a", "x.jpg"), ("a", "y.jpg"), ("b", "x.jpg"))]
    assert draws == [369939, 314202, 974573]
    words = [compose("a word to its right", square(), file=f"{n}.jpg").pixels for n in range(5)]
    assert len({word.tobytes() for word in words}) > 1


def pieces(image: Pixels) -> int:
    return int(cv2.connectedComponents((image.max(axis=2) < 128).astype(np.uint8))[0]) - 1


@pytest.mark.parametrize("file", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
def test_marks_touch_and_overlap(file: str) -> None:
    disc = np.full((200, 200, 3), 255, np.uint8)
    cv2.circle(disc, (100, 100), 70, (0, 0, 0), -1)
    sizes = {}
    for kind, count in (("beside another mark", 2), ("touching another mark", 1), ("overlapping another mark", 1)):
        composite = compose(kind, disc, disc, disc, file=file)
        assert pieces(composite.pixels) == count
        sizes[kind] = content_box(composite.pixels, (255, 255, 255))
    shares = {kind: (2 * SIDE - (box.right - box.left)) / SIDE for kind, box in sizes.items()}
    assert shares["beside another mark"] == pytest.approx(-0.15, abs=0.01)
    assert shares["touching another mark"] == pytest.approx(0, abs=0.02)
    assert 0.14 < shares["overlapping another mark"] < 0.26


def strokes(*boxes: tuple[int, int, int, int]) -> Pixels:
    """Black rectangles on white, as left, top, right and bottom."""
    image = np.full((200, 200, 3), 255, np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 0
    return image


COLON = strokes((90, 20, 110, 40), (90, 160, 110, 180))


@pytest.mark.parametrize(
    ("other", "count"),
    [
        (strokes((20, 90, 180, 110)), 3),  # a dash: no row with ink in common
        (strokes((20, 90, 180, 110), (170, 20, 180, 180)), 1),  # it reaches over the colon before it touches
    ],
)
def test_narrow_marks_touch_where_they_can(other: Pixels, count: int) -> None:
    for number in range(8):
        composite = compose("touching another mark", COLON, other, other, file=f"{number}.jpg")
        assert pieces(composite.pixels) == count
        assert composite.pixels.shape[1] < 350
        assert composite.box.left >= 0


@pytest.mark.parametrize("kind", ["beside another mark", "small in a label", "on a screen"])
def test_the_side_of_the_mark_varies(kind: str) -> None:
    assert len({compose(kind, square(), file=f"{number}.jpg").box.left for number in range(12)}) > 1


@pytest.mark.parametrize(("kind", "side"), [("small in a label", 110), ("on a screen", 256)])
def test_the_mark_is_small_in_a_large_picture(kind: str, side: int) -> None:
    box = compose(kind, square()).box
    assert (box.right - box.left, box.bottom - box.top) == (side, side)


def test_a_screen_is_1280_pixels_wide() -> None:
    assert compose("on a screen", square()).pixels.shape == (800, 1280, 3)


@pytest.mark.parametrize("file", ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"])
def test_the_line_of_a_frame_crosses_the_mark(file: str) -> None:
    blue = np.full((200, 200, 3), 255, np.uint8)
    blue[40:160, 40:160] = (0, 0, 200)
    composite = compose("cut by a frame", blue, file=file)
    box, black = composite.box, composite.pixels.max(axis=2) < 50
    inside = black[box.top : box.bottom, box.left : box.right]
    assert 0.01 < inside.mean() < 0.15
    assert black.sum() > inside.sum()


def test_a_word_stands_to_the_right_of_the_mark() -> None:
    composite = compose("a word to its right", square())
    word = composite.pixels.copy()
    word[:, : composite.box.right] = 255
    letters = content_box(word, (255, 255, 255))
    assert letters.left > composite.box.right
    assert (letters.bottom - letters.top) / SIDE == pytest.approx(0.7, abs=0.02)


def test_a_mark_is_white_in_a_badge() -> None:
    composite = compose("white in a badge", square())
    box = composite.box
    assert (composite.pixels[box.top : box.bottom, box.left : box.right] == 255).all()
    assert (composite.pixels[box.top - 4, box.left : box.right].max(axis=1) <= 200).all()


@pytest.mark.parametrize("kind", ["on a gradient", "on a photograph"])
@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0)])
def test_ink_is_visible_on_a_coloured_background(kind: str, ink: int, paper: int) -> None:
    composite = compose(kind, square(ink, paper))
    box = composite.box
    assert (composite.pixels[box.top : box.bottom, box.left : box.right] == ink).all()
    around = np.delete(composite.pixels, np.s_[box.top : box.bottom], axis=0)
    assert np.abs(around.astype(int) - ink).min() > 100
    assert len(np.unique(around.reshape(-1, 3), axis=0)) > 100


def test_another_mark_on_a_dark_background_is_inverted() -> None:
    composite = compose("beside another mark", square(), square(255, 0), square())
    assert border_colour(composite.pixels) == (255, 255, 255)
    assert pieces(composite.pixels) == 2
