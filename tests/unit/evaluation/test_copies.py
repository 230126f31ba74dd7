"""Each change on pictures whose changed pixels are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.image.decode import Pixels

WHITE = 255


def canvas(height: int, width: int, colour: int = WHITE) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def changed(name: str, image: Pixels) -> Pixels:
    return CHANGES[name](image)


def centre_of(dark: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(dark)
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((255, 255, 255), (255, 255, 255)),
        ((0, 0, 0), (0, 0, 127)),
        ((200, 30, 40), (40, 200, 57)),
        ((10, 200, 30), (30, 10, 227)),
        ((1, 2, 255), (255, 1, 2)),
    ],
)
def test_colours_are_rotated_and_black_becomes_dark_blue(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    assert changed("recoloured", np.full((2, 3, 3), before, np.uint8)).tolist() == [[list(after)] * 3] * 2


def test_grey_is_the_luminance() -> None:
    image = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255)]], np.uint8)
    assert changed("greyscale", image).tolist() == [[[76] * 3, [150] * 3, [29] * 3]]


def test_a_negative() -> None:
    image = np.array([[(255, 0, 100)]], np.uint8)
    assert changed("inverted", image).tolist() == [[[0, 255, 155]]]


def test_a_quarter_turn_and_a_mirror_image() -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    (a, b, c), (d, e, f) = image.tolist()
    assert changed("rotated 90", image).tolist() == [[c, f], [b, e], [a, d]]
    assert changed("mirrored", image).tolist() == [[c, b, a], [f, e, d]]


@pytest.mark.parametrize("background", [WHITE, 40])
def test_fifteen_degrees_anticlockwise(background: int) -> None:
    image = canvas(80, 120, background)
    image[38:43, 98:103] = 255 - background  # 40 pixels to the right of the centre
    turned = changed("rotated 15", image)
    assert turned.shape == (140, 180, 3)
    assert (turned[[0, 0, -1, -1], [0, -1, 0, -1]] == background).all()
    row, column = centre_of(np.abs(turned[..., 0].astype(int) - background) > 100)
    assert row == pytest.approx(30 + 40 - 40 * np.sin(np.radians(15)), abs=1)
    assert column == pytest.approx(30 + 60 + 40 * np.cos(np.radians(15)), abs=1)


def test_the_lower_right_corner_of_the_mark_is_covered() -> None:
    image = canvas(200, 240)
    image[50:150, 20:180] = 0
    covered = changed("30 % covered", image)
    side = 0.3**0.5
    top, left = 150 - round(100 * side), 180 - round(160 * side)
    assert (covered[top:150, left:180] == 128).all()
    covered[top:150, left:180] = 0
    assert np.array_equal(covered, image)


@pytest.mark.parametrize(
    ("background", "mark", "ink"), [(WHITE, 90, 0), (20, 90, WHITE), (129, 90, 0), (128, 90, WHITE)]
)
def test_the_word_has_the_width_of_the_mark_and_contrasts_with_the_background(
    background: int, mark: int, ink: int
) -> None:
    image = canvas(300, 400, background)
    image[100:200, 50:350] = mark
    word = changed("a word under it", image)
    assert word.shape[1] == 300 + 24
    assert (word[12:112, 12:312] == mark).all()
    for border in (word[:12], word[-12:], word[:, :12], word[:, -12:], word[112:122]):
        assert (border == background).all()
    letters = word[122:-12, 12:312]
    assert 40 < len(letters) < 80
    assert (np.abs(letters.astype(int) - ink) < 60).any()
    lines = np.nonzero((letters != background).any(axis=(0, 2)))[0]
    assert lines[0] < 5
    assert lines[-1] > 294


def test_the_letters_keep_their_shape() -> None:
    heights = []
    for width in (150, 300, 600):
        image = canvas(300, width + 100)
        image[100:200, 50 : 50 + width] = 90
        heights.append(changed("a word under it", image).shape[0] - 24 - 100 - 10)
    assert heights == pytest.approx([heights[1] / 2, heights[1], heights[1] * 2], abs=1)


def test_the_image_is_shrunk_into_the_upper_left_corner() -> None:
    image = canvas(90, 60)
    image[30:60, 30:45] = 0
    moved = changed("in a corner", image)
    expected = canvas(90, 60)
    expected[10:20, 10:15] = 0
    assert np.array_equal(moved, expected)
    tiny = canvas(1, 2)
    assert changed("in a corner", tiny).shape == (1, 2, 3)


def test_only_the_outline_stays() -> None:
    image = canvas(40, 40)
    image[10:30, 10:30] = 100
    image[20, 20] = 139  # a contrast of 39 is no edge
    outline = changed("outline only", image)
    expected = canvas(40, 40)
    expected[9:31, 9:31] = 0
    expected[11:29, 11:29] = WHITE
    assert np.array_equal(outline, expected)
    image[20, 20] = 141
    assert (changed("outline only", image)[19:22, 19:22] == 0).all()


def test_a_blurred_copy_has_a_sigma_of_two_pixels_and_the_traces_of_compression() -> None:
    image = canvas(64, 64)
    image[16:48, 16:48] = (200, 0, 0)
    copy = changed("blurred, JPEG 20", image).astype(int)
    errors = {sigma: np.abs(copy - cv2.GaussianBlur(image, (0, 0), sigma)).mean() for sigma in (1, 2, 3)}
    assert errors[2] == min(errors.values()) < 6
    by_quality = [
        cv2.imdecode(
            cv2.imencode(".jpg", cv2.GaussianBlur(image, (0, 0), 2), [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1
        )
        for quality in (19, 20, 21)
    ]
    assert [np.array_equal(copy, other) for other in by_quality] == [False, True, False]
