"""Finding the parts of a mark, on pictures whose parts are known."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from logo_similarity.embed import parts as parts_module
from logo_similarity.embed.describe import describe, describe_parts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.embed.parts import MOST_PARTS, Part, cut_part
from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import Box, border_colour

WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (200, 20, 30)
CROSS, RING = Box(20, 40, 120, 140), Box(180, 40, 280, 140)


def paper(height: int = 180, width: int = 300, colour: tuple[int, int, int] = WHITE) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def find_parts(image: Pixels) -> list[Part]:
    return parts_module.find_parts(image, border_colour(image))


def draw_cross(image: Pixels, box: Box, colour: tuple[int, int, int] = BLACK) -> None:
    """A cross that fills its box."""
    width, height = box.right - box.left, box.bottom - box.top
    image[box.top : box.bottom, box.left + width * 2 // 5 : box.left + width * 3 // 5] = colour
    image[box.top + height * 2 // 5 : box.top + height * 3 // 5, box.left : box.right] = colour


def draw_corner(image: Pixels, box: Box, colour: tuple[int, int, int] = BLACK) -> None:
    """The left and lower edges of a box, thick."""
    width, height = (box.right - box.left) // 4, (box.bottom - box.top) // 4
    image[box.top : box.bottom, box.left : box.left + width] = colour
    image[box.bottom - height : box.bottom, box.left : box.right] = colour


def near(part: Part, box: Box, tolerance: int = 3) -> bool:
    return bool(np.abs(np.subtract(part.box, box)).max() <= tolerance)


def test_two_figures_are_two_parts() -> None:
    image = paper()
    draw_cross(image, CROSS)
    draw_corner(image, RING)
    parts = find_parts(image)
    assert len(parts) == 2
    assert near(parts[0], CROSS) != near(parts[0], RING)
    assert near(parts[1], CROSS) != near(parts[1], RING)
    assert {part.background for part in parts} == {WHITE}


def test_a_figure_alone_has_no_parts() -> None:
    image = paper()
    draw_cross(image, CROSS)
    assert find_parts(image) == []


@pytest.mark.parametrize("image", [paper(), paper(8, 8), paper(1, 300), paper(2000, 3), paper(8, 8, BLACK)])
def test_a_blank_picture_has_no_parts(image: Pixels) -> None:
    assert find_parts(image) == []


def test_letters_are_one_part() -> None:
    image = paper(200, 700)
    draw_cross(image, Box(20, 40, 140, 160))
    cv2.putText(image, "WORD", (220, 140), cv2.FONT_HERSHEY_SIMPLEX, 3.5, BLACK, 14)
    parts = find_parts(image)
    word = Box(*cv2.boundingRect((image[:, 180:, 0] < 128).astype(np.uint8)))
    assert any(
        near(part, Box(180 + word.left, word.top, 180 + word.left + word.right, word.top + word.bottom), 8)
        for part in parts
    )
    assert any(near(part, Box(20, 40, 140, 160), 5) for part in parts)


def test_what_stands_in_a_frame_is_a_part() -> None:
    image = paper(300, 300)
    cv2.rectangle(image, (10, 10), (289, 289), BLACK, 6)
    draw_cross(image, Box(100, 90, 200, 190))
    assert [near(part, Box(100, 90, 200, 190)) for part in find_parts(image)] == [True]


def test_all_that_stands_in_a_frame_is_a_part_too() -> None:
    """So a label without its frame is found by a label with one."""
    image = paper(300, 400)
    cv2.rectangle(image, (10, 10), (389, 289), BLACK, 6)
    left, right = Box(60, 100, 160, 200), Box(240, 100, 340, 200)
    draw_cross(image, left)
    draw_corner(image, right)
    parts = find_parts(image)
    for box in (left, right, Box(60, 100, 340, 200)):
        assert any(near(part, box) for part in parts)


def test_a_ring_around_nothing_has_no_figure_in_it() -> None:
    image = paper(300, 300)
    cv2.rectangle(image, (10, 10), (289, 289), BLACK, 6)
    assert not any(near(part, Box(100, 90, 200, 190)) for part in find_parts(image))


def test_what_stands_on_a_plate_is_a_part_with_the_colour_of_the_plate() -> None:
    image = paper(300, 300)
    cv2.circle(image, (150, 150), 130, RED, -1)
    draw_cross(image, Box(100, 100, 200, 200), WHITE)
    (part,) = find_parts(image)
    assert near(part, Box(100, 100, 200, 200))
    assert part.background == RED


def test_two_figures_on_a_plate_are_two_parts_and_one_together() -> None:
    image = paper(300, 400, RED)
    image[:, :10] = image[:, -10:] = image[:10] = image[-10:] = WHITE
    left, right = Box(60, 100, 160, 200), Box(240, 100, 340, 200)
    draw_cross(image, left, WHITE)
    draw_corner(image, right, WHITE)
    parts = find_parts(image)
    for box in (left, right, Box(60, 100, 340, 200)):
        assert any(near(part, box) for part in parts)


def test_small_things_are_no_parts() -> None:
    image = paper()
    draw_cross(image, CROSS)
    image[60:64, 250:254] = BLACK
    assert [near(part, CROSS) for part in find_parts(image)] in ([], [True])


def test_the_size_of_the_picture_makes_no_difference() -> None:
    image = paper(400, 800)
    draw_cross(image, Box(100, 100, 300, 300))
    draw_corner(image, Box(500, 100, 700, 300))
    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    small, big = find_parts(image), find_parts(large)
    assert len(small) == len(big) == 2
    np.testing.assert_allclose([part.box for part in big], 3 * np.array([part.box for part in small]), atol=25)


def test_noise_has_few_parts() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 700, 3), np.uint8)
    checks = np.indices((500, 700)).sum(axis=0)[..., np.newaxis].repeat(3, 2) % 2 * 255
    for image in (noise, checks.astype(np.uint8)):
        assert len(find_parts(image)) <= MOST_PARTS
    dots = paper(700, 700)
    dots[::9, ::9] = BLACK
    assert len(find_parts(dots)) <= MOST_PARTS


def test_parts_are_inside_of_the_picture_and_ordered_by_size() -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        image = paper(int(random.integers(30, 400)), int(random.integers(30, 400)))
        for _ in range(8):
            left, top = int(random.integers(image.shape[1])), int(random.integers(image.shape[0]))
            image[top : top + 40, left : left + 40] = random.integers(0, 256, 3)
        parts = find_parts(image)
        assert len(parts) <= MOST_PARTS
        for part in parts:
            left, top, right, bottom = part.box
            assert 0 <= left < right <= image.shape[1]
            assert 0 <= top < bottom <= image.shape[0]
        areas = [(part.box.right - part.box.left) * (part.box.bottom - part.box.top) for part in parts]
        assert all(first >= 0.9 * second for first, second in itertools.pairwise(areas))


def test_a_part_is_cut_out_with_a_margin_of_its_background() -> None:
    image = paper(100, 100, RED)
    image[20:40, 30:60] = BLACK
    pixels = cut_part(image, Part(Box(30, 20, 60, 40), RED))
    assert pixels.shape == (28, 38, 3)
    assert (pixels[4:-4, 4:-4] == BLACK).all()
    assert (pixels[0] == RED).all()
    assert (pixels[:, -1] == RED).all()


def test_a_part_is_embedded_like_the_figure_alone() -> None:
    encoder = Encoder.open(default_model_folder(), device="cpu", threads=1)
    image, alone = paper(), paper()
    for picture in (image, alone):
        draw_cross(picture, CROSS, RED)
    draw_corner(image, RING)
    parts = describe_parts(image, encoder)
    assert parts.embeddings.shape == (2, encoder.dimension)
    assert parts.embeddings.dtype == parts.boxes.dtype == np.float32
    cosines = parts.embeddings @ describe(alone, encoder).embedding
    assert cosines.max() > 0.98
    assert cosines.min() < 0.8
    boxes = parts.boxes * (300, 180, 300, 180)
    np.testing.assert_allclose(boxes[cosines.argmax()], CROSS, atol=3)
    on_a_page = np.full((900, 1500, 3), 255, np.uint8)
    on_a_page[300:480, 600:900] = image
    found = describe_parts(on_a_page, encoder).boxes * (1500, 900, 1500, 900) - (600, 300, 600, 300)
    np.testing.assert_allclose(found, boxes, atol=4)
    none = describe_parts(alone, encoder)
    assert (none.embeddings.shape, none.boxes.shape) == ((0, encoder.dimension), (0, 4))
