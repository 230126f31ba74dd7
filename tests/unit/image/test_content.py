from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from logo_similarity.image import ink
from logo_similarity.image.content import LONGEST_SIDE, cut, find_content
from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import Box, Colour, border_colour, content_box
from tests.pictures import noise

WHITE, BLACK, RED, BLUE = (255, 255, 255), (0, 0, 0), (200, 30, 40), (30, 60, 160)
BOX = Box(350, 400, 650, 600)
"""The mark on a page of 1000 x 1000."""


def page(height: int = 1000, width: int = 1000, paper: Colour = WHITE) -> Pixels:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = paper
    return image


def draw(image: Pixels, box: Box = BOX, colour: Colour = RED) -> Pixels:
    """A ring with a bar beside it: two parts."""
    side = box.bottom - box.top
    radius = side // 2
    cv2.circle(image, (box.left + radius, box.top + radius), radius - side // 10, colour, side // 5 - 1)
    image[box.top : box.bottom, box.right - side // 4 : box.right] = colour
    image[box.top : box.bottom, box.left + 1 : box.left + side // 5] = colour
    return image


def marked(paper: Colour = WHITE, colour: Colour = RED) -> Pixels:
    return draw(page(paper=paper), colour=colour)


CLEAN = content_box(marked(), WHITE)


def assert_content(image: Pixels, box: Box = CLEAN, within: float = 3) -> None:
    assert tuple(find_content(image).box) == pytest.approx(tuple(box), abs=within)


def test_of_a_clean_picture_nothing_changes() -> None:
    image = marked()
    content = find_content(image)
    assert (content.box, content.paper, content.light, content.noisy, content.gain) == (CLEAN, WHITE, None, False, 1.0)
    pixels = cut(image, content)
    assert np.shares_memory(pixels, image)
    np.testing.assert_array_equal(
        pixels, image[content.box.top : content.box.bottom, content.box.left : content.box.right]
    )


@pytest.mark.parametrize("paper", [WHITE, BLACK, BLUE, (128, 128, 128)])
def test_specks_do_not_move_the_box(paper: Colour) -> None:
    image = marked(paper)
    for top, left in ((3, 3), (990, 20), (500, 980), (40, 600), (800, 500), (0, 300), (640, 30), (997, 997)):
        image[top : top + 3, left : left + 3] = 90
        assert_content(image, within=0)


def test_specks_beside_separate_letters() -> None:
    image = page(300, 700)
    for left in range(220, 420, 34):
        image[118:154, left : left + 20] = 0
    clean = content_box(image, WHITE)
    image[114:119, 187:192] = image[116:120, 2:6] = 0  # 3 % of a letter, less than 1 % of all
    assert_content(image, clean, within=0)


def test_a_speck_of_a_small_mark_on_a_large_page() -> None:
    image = page(1754, 1240)
    draw(image, Box(500, 800, 560, 840))
    clean = find_content(image).box
    assert clean == pytest.approx((500, 800, 560, 840), abs=3)
    for top, left in ((10, 10), (600, 900), (1100, 300), (1700, 1200)):
        image[top : top + 3, left : left + 3] = 0
    assert tuple(find_content(image).box) == pytest.approx(tuple(clean), abs=4)


@pytest.mark.parametrize("size", [2, 6, 15])
def test_small_parts_near_a_mark_belong_to_it(size: int) -> None:
    image = marked()
    image[BOX.top - 20 : BOX.top - 20 + size, BOX.right + 10 : BOX.right + 10 + size] = 0  # as (R) and TM stand
    assert_content(image, content_box(image, WHITE), within=0)


def test_parts_that_are_not_tiny_belong_to_a_mark_however_far() -> None:
    image = marked()
    image[40:60, 900:960] = 0
    assert_content(image, content_box(image, WHITE), within=0)
    image = marked()
    image[280:300, 680:700] = 0  # smaller, and nearer
    assert_content(image, content_box(image, WHITE), within=0)


def test_small_parts_in_a_row_belong_to_a_mark() -> None:
    image = page()
    cv2.circle(image, (500, 300), 200, BLACK, 80)
    for left in range(120, 900, 60):  # widely spaced letters that go beyond it
        image[560:580, left : left + 6] = 0
    assert_content(image, content_box(image, WHITE), within=0)


def test_the_darkest_part_of_something_pale_is_no_speck() -> None:
    image = page(256, 256)
    cv2.rectangle(image, (20, 20), (236, 236), (236, 238, 250), -1)  # not ink by itself
    image[228:236, 20:24] = 225
    image[90:200, 90:130] = 40
    box = find_content(image).box
    assert (box.left, box.bottom) == (20, 236)
    image[20:237, 20:237] = 255
    image[228:236, 20:24] = 225
    image[90:200, 90:130] = 40
    assert find_content(image).box == (90, 90, 130, 200)


def test_a_pattern_of_dots_is_no_dirt() -> None:
    image = page()
    for top in range(50, 950, 60):
        for left in range(50, 950, 60):
            image[top : top + 4, left : left + 4] = 0
    assert_content(image, content_box(image, WHITE), within=0)


def framed(distance: int, thickness: int = 3) -> Pixels:
    image = marked()
    left, top, right, bottom = BOX
    first, last = (left - distance, top - distance), (right + distance, bottom + distance)
    cv2.rectangle(image, first, last, BLACK, thickness)
    return image


@pytest.mark.parametrize("distance", [45, 100, 150, 300])
def test_a_thin_frame_far_from_the_mark_is_left_out(distance: int) -> None:
    assert_content(framed(distance))


@pytest.mark.parametrize(("distance", "thickness"), [(12, 3), (45, 20), (100, 30), (300, 25)])
def test_a_frame_that_is_near_or_thick_belongs_to_the_mark(distance: int, thickness: int) -> None:
    image = framed(distance, thickness)
    assert_content(image, content_box(image, WHITE), within=0)


def test_a_frame_around_nothing_or_little_is_the_mark() -> None:
    image = cv2.rectangle(page(), (100, 100), (900, 900), BLACK, 3)
    assert_content(image, Box(99, 99, 902, 902), within=1)
    image[480:520, 480:520] = RED
    assert_content(image, Box(99, 99, 902, 902), within=1)


def test_a_ring_around_a_figure_belongs_to_the_mark() -> None:
    image = cv2.circle(marked(), (500, 500), 300, BLACK, 4)
    assert_content(image, content_box(image, WHITE), within=0)


def test_scanner_edges_are_left_out() -> None:
    image = marked()
    image[:, 970:] = 30
    image[975:, 500:] = 45
    assert_content(image)
    image[:, :20] = 200
    image[:4] = 0
    assert_content(image)
    image = marked()
    image[:, :55] = 100
    assert_content(image)


def test_a_bar_beside_content_near_the_side_is_no_scanner_edge() -> None:
    image = marked()
    image[:, :10] = 0
    image[200:700, 35:50] = RED
    assert_content(image, content_box(image, WHITE), within=0)


def test_bars_at_the_sides_are_the_mark_if_there_is_nothing_else_or_it_is_near() -> None:
    bars = page()
    bars[:, 970:] = 30
    bars[:40] = 30
    assert_content(bars, content_box(bars, WHITE), within=0)
    word = page(150, 400)  # trimmed: an underline that reaches from side to side
    word[6:110, 6:60] = word[6:110, 100:250] = word[6:110, 300:394] = 0
    word[144:] = 0
    assert_content(word, Box(0, 6, 400, 150), within=0)
    letters = page(100, 300)
    letters[6:94, :14] = letters[6:94, 80:180] = letters[6:94, 210:] = 0  # the first letter stands apart
    assert_content(letters, Box(0, 6, 300, 94), within=0)


@pytest.mark.parametrize("degrees", [-3, -1, 2, 3])
def test_black_corners_of_a_skewed_page(degrees: float) -> None:
    straight = cv2.getRotationMatrix2D((500, 500), degrees, 1)
    skewed = cv2.warpAffine(marked(), straight, (1000, 1000), borderValue=BLACK)
    expected = cv2.warpAffine(marked(), straight, (1000, 1000), borderValue=WHITE)
    content = find_content(skewed)
    assert content.paper == WHITE
    assert tuple(content.box) == pytest.approx(tuple(content_box(expected, WHITE)), abs=3)


def shade(image: Pixels, darkest: float, *, curved: bool = False) -> Pixels:
    rows, columns = (np.linspace(0, 1, side) for side in image.shape[:2])
    share = (rows[:, np.newaxis] + columns) / 2
    light = 1 - (1 - darkest) * (share**2 if curved else share)
    return np.asarray(np.rint(image * light[..., np.newaxis]), np.uint8)


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("darkest", [0.5, 0.6, 0.75])
@pytest.mark.parametrize("paper", [WHITE, (250, 240, 215)])
def test_uneven_light_is_flattened(paper: Colour, darkest: float, curved: bool) -> None:
    image = marked(paper)
    content = find_content(shade(image, darkest, curved=curved))
    assert tuple(content.box) == pytest.approx(tuple(CLEAN), abs=3)
    assert content.paper == pytest.approx(paper, abs=6)
    got = cut(shade(image, darkest, curved=curved), content)
    left, top, right, bottom = content.box
    difference = cv2.absdiff(got, image[top:bottom, left:right])
    assert np.percentile(difference, 98) <= 12


def test_uneven_light_does_not_hide_specks_edges_and_corners() -> None:
    image = shade(marked(), 0.7)
    image[:, 980:] = 20
    image[100:104, 100:104] = 0
    assert_content(image, within=4)


@pytest.mark.parametrize(("first", "last"), [((250, 80, 80), (120, 20, 140)), ((40, 40, 90), (90, 60, 130))])
def test_a_drawn_gradient_stays(first: Colour, last: Colour) -> None:
    share = np.linspace(0, 1, 400)[:, np.newaxis, np.newaxis]
    background = np.array(first) * (1 - share) + np.array(last) * share
    image = np.asarray(np.broadcast_to(background, (400, 400, 3)), np.uint8).copy()
    image[150:250, 100:300] = 255
    content = find_content(image)
    assert content.light is None
    assert np.shares_memory(cut(image, content), image)


@pytest.mark.parametrize("darkest", [20, 110])
def test_a_cloudy_or_dark_background_is_no_paper(darkest: int) -> None:
    if darkest < 100:  # smooth, but dark
        grey = np.linspace(darkest, 160, 400, dtype=np.float32)[np.newaxis].repeat(300, axis=0)
    else:
        clouds = np.random.default_rng(3).integers(darkest, 256, (6, 8)).astype(np.float32)
        grey = cv2.resize(clouds, (400, 300), interpolation=cv2.INTER_CUBIC)
    image = np.clip(grey, 0, 255).astype(np.uint8)[..., np.newaxis].repeat(3, axis=2)
    assert find_content(image).light is None


@pytest.mark.parametrize("share", [0.02, 0.03])
def test_salt_and_pepper(share: float) -> None:
    image = cv2.resize(marked(), (256, 256), interpolation=cv2.INTER_AREA)
    clean = content_box(image, WHITE)
    values = np.random.default_rng(1).random(image.shape[:2])
    noisy = image.copy()
    noisy[values < share / 2], noisy[values > 1 - share / 2] = 0, 255
    content = find_content(noisy)
    assert tuple(content.box) == pytest.approx(tuple(clean), abs=4)
    left, top, right, bottom = content.box
    got = cut(noisy, content)
    assert np.mean(cv2.absdiff(got, image[top:bottom, left:right]) > 60) < 0.005


@pytest.mark.parametrize("deviation", [4, 8, 12])
def test_noise_of_a_scanner(deviation: float) -> None:
    random = np.random.default_rng(0)
    clean = marked((235, 235, 235))
    clean[100:103, 100:103] = clean[900:903, 700:703] = 0
    image = np.clip(clean + random.normal(0, deviation, (1000, 1000, 1)), 0, 255).astype(np.uint8)
    assert_content(image, within=8)


def test_a_trimmed_mark_is_not_noisy() -> None:
    image = page(200, 300)
    image[:, 10::40] = image[:, 11::40] = image[:, 12::40] = image[:, 13::40] = 0
    content = find_content(image)
    assert not content.noisy
    assert np.shares_memory(cut(image, content), image)


@pytest.mark.parametrize("contrast", [0.08, 0.1, 0.15])
@pytest.mark.parametrize(("paper", "colour"), [(WHITE, BLACK), (WHITE, RED), (BLACK, WHITE), (WHITE, (20, 20, 255))])
def test_pale_ink_is_stretched(paper: Colour, colour: Colour, contrast: float) -> None:
    image = marked(paper, colour).astype(np.float64)
    pale = np.rint(np.array(paper) + (image - np.array(paper)) * contrast).astype(np.uint8)
    content = find_content(pale)
    assert tuple(content.box) == pytest.approx(tuple(CLEAN), abs=2)
    got = cut(pale, content)
    left, top, right, bottom = content.box
    assert np.abs(got - image[top:bottom, left:right]).mean() < 25
    assert tuple(got[50, 10]) == pytest.approx(colour, abs=45)


def test_pale_grey_beside_full_colour_is_not_stretched() -> None:
    image = marked(colour=(225, 225, 225))
    draw(image, Box(350, 650, 650, 850), BLACK)
    content = find_content(image)
    assert content.gain == 1
    assert_content(image, content_box(image, WHITE), within=0)


@pytest.mark.parametrize("darkest", [247, 225])
def test_faint_noise_is_not_stretched(darkest: int) -> None:
    image = np.random.default_rng(0).integers(darkest, 256, (300, 400, 3), dtype=np.uint8)
    content = find_content(image)
    assert (content.box, content.gain) == ((0, 0, 400, 300), 1.0)


def test_ink_that_is_hardly_there_is_not_stretched() -> None:
    content = find_content(marked(colour=(249, 249, 249)))
    assert (content.box, content.gain) == ((0, 0, 1000, 1000), 1.0)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_is_its_own_content(value: int) -> None:
    assert find_content(page(60, 80, (value,) * 3)).box == (0, 0, 80, 60)


def test_a_small_mark_is_cut_from_the_large_picture() -> None:
    image = page(3000, 2400)
    draw(image, Box(1000, 1500, 1090, 1560))
    image[100:104, 200:204] = 0
    pixels = cut(image, find_content(image))
    assert pixels.shape == pytest.approx((60, 90, 3), abs=6)
    np.testing.assert_array_equal(np.unique(pixels.reshape(-1, 3), axis=0), sorted({RED, WHITE}))  # nothing resampled


def test_a_shaded_large_picture_is_shrunk_before_it_is_flattened() -> None:
    image = shade(draw(page(2000, 2400), Box(300, 300, 2100, 1700)), 0.6)
    pixels = cut(image, find_content(image))
    assert max(pixels.shape) == LONGEST_SIDE


def test_cropping_is_the_same_for_every_size_of_picture() -> None:
    image = marked()
    large = cv2.resize(image, (2600, 2600), interpolation=cv2.INTER_NEAREST)
    assert tuple(find_content(large).box) == pytest.approx([2.6 * side for side in CLEAN], abs=6)


def dots(side: int, period: int, size: int) -> Pixels:
    image = page(side, side, BLACK)
    row = np.arange(side) % period < size
    image[np.outer(row, row)] = 255
    return image


def single(places: tuple[tuple[int, int], ...]) -> Pixels:
    image = page(500, 700, BLACK)
    for top, left in places:
        image[top, left] = 255
    return image


HOSTILE = {
    "noise": noise(900, 1000),
    "black and white noise": (noise(900, 1000) & 128)[..., :1].repeat(3, axis=2) * 2 - 1,
    "checkerboard": np.bitwise_xor(dots(800, 2, 1), dots(800, 2, 1)[::-1, ::-1]),
    "dots": dots(1000, 3, 1),
    "separate dots": dots(1024, 33, 2),
    "stripes": np.tile(noise(600, 1), (1, 700, 1)),
    "one pixel": single(((400, 200),)),
    "a pixel in each corner": single(((0, 0), (0, 699), (499, 0), (499, 699))),
    "a row": noise(1, 5000),
    "a column": noise(5000, 1),
    "a pixel": noise(1, 1),
    "a long strip": noise(8, 100_000),
    "a large page of noise": noise(3000, 3000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_bounded_whatever_the_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = HOSTILE[name]
    grids: list[Pixels] = []
    connected = cv2.connectedComponentsWithStats

    def count(grid: Pixels) -> Any:
        grids.append(grid)
        return connected(grid)

    monkeypatch.setattr(cv2, "connectedComponentsWithStats", count)
    content = find_content(image)
    assert len(grids) <= ink.ROUNDS
    assert all(max(grid.shape) <= ink.CELLS for grid in grids)
    left, top, right, bottom = content.box
    assert 0 <= left < right <= image.shape[1]
    assert 0 <= top < bottom <= image.shape[0]
    pixels = cut(image, content)
    assert min(pixels.shape) >= 1
    assert np.shares_memory(pixels, image) or max(pixels.shape) <= LONGEST_SIDE


def test_the_border_colour_of_a_page_is_its_paper() -> None:
    assert border_colour(marked(BLUE)) == find_content(marked(BLUE)).paper == BLUE
