from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.image.decode import Pixels, decode
from logo_similarity.image.preprocess import Box, InputSpec, border_colour, content_box, inked_cells, preprocess
from tests.pictures import encode, noise

# A mean of 0 and a deviation of 1/255 make values that are pixels again.
PLAIN = InputSpec(96, 96, crop="none", resize="letterbox", mean=(0, 0, 0), std=(1 / 255,) * 3, layout="nhwc")
COVER = replace(PLAIN, resize="cover")
CONTENT = replace(PLAIN, crop="content")
WHITE, GREEN, RED = (255, 255, 255), (20, 140, 60), (200, 30, 40)


def pixels(image: Pixels, spec: InputSpec) -> NDArray[np.uint8]:
    """What the encoder would see, as an image."""
    return np.asarray(preprocess(image, spec).round(), np.uint8)


def framed(height: int, width: int, border: tuple[int, int, int] = WHITE, fill: tuple[int, int, int] = RED) -> Pixels:
    """A filled picture with a line of another colour around it."""
    image = np.full((height, width, 3), fill, np.uint8)
    image[[0, -1]] = border
    image[:, [0, -1]] = border
    return image


def with_mark(border: tuple[int, int, int], box: Box, fill: tuple[int, int, int] = RED) -> Pixels:
    image = np.full((200, 300, 3), border, np.uint8)
    image[box.top : box.bottom, box.left : box.right] = fill
    return image


def extent(mask: NDArray[Any]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def reddish(image: NDArray[np.uint8]) -> NDArray[Any]:
    """Where it is nearer to red than to white."""
    return image[..., 1].astype(int) < 140


@pytest.mark.parametrize(
    ("height", "width"), [(200, 200), (100, 200), (200, 100), (30, 40), (333, 77), (1024, 683), (97, 96), (8, 9)]
)
@pytest.mark.parametrize("size", [(96, 96), (128, 64), (64, 128)])
def test_letterbox_keeps_the_aspect_and_centres(height: int, width: int, size: tuple[int, int]) -> None:
    spec = replace(PLAIN, width=size[0], height=size[1])
    # Columns red, the border line too thin to count: what is not padding is the picture.
    image = np.full((height, width, 3), RED, np.uint8)
    image[0], image[-1] = WHITE, WHITE
    image[:, 0], image[:, -1] = WHITE, WHITE
    scale = min(size[0] / width, size[1] / height)
    got = pixels(image, spec)
    assert got.shape == (size[1], size[0], 3)
    box = extent(reddish(got))
    inner_width, inner_height = (width - 2) * scale, (height - 2) * scale
    assert box.right - box.left == pytest.approx(inner_width, abs=2)
    assert box.bottom - box.top == pytest.approx(inner_height, abs=2)
    assert abs(box.left - (size[0] - box.right)) <= 1
    assert abs(box.top - (size[1] - box.bottom)) <= 1


@pytest.mark.parametrize(("height", "width"), [(50, 200), (200, 50), (101, 300), (300, 101)])
def test_letterbox_geometry_to_a_pixel(height: int, width: int) -> None:
    image = noise(height, width)
    image[[0, -1]] = 77
    image[:, [0, -1]] = 77
    got = pixels(image, PLAIN)
    padding = (got == 77).all(axis=2)
    short = round(min(height, width) * 96 / max(height, width))
    free = 96 - short
    across = padding.all(axis=1) if width > height else padding.all(axis=0)
    before, after = int(np.argmin(across)), int(np.argmin(across[::-1]))
    assert abs(before - after) <= 1
    assert before in (free // 2, free - free // 2)
    assert before + after == free
    assert not across[before : 96 - after].any()


@pytest.mark.parametrize("border", [WHITE, GREEN, (0, 0, 0), (1, 2, 3)])
def test_padding_has_the_border_colour(border: tuple[int, int, int]) -> None:
    got = pixels(framed(60, 240, border=border), PLAIN)
    assert (got[:36] == border).all()
    assert (got[60:] == border).all()
    assert tuple(got[48, 48]) == RED


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.25])
def test_margin_stays_free(margin: float) -> None:
    spec = replace(CONTENT, margin=margin, width=100, height=100)
    got = pixels(with_mark(WHITE, Box(50, 50, 150, 150)), spec)
    side = round(100 * margin)
    assert extent(reddish(got)) == Box(side, side, 100 - side, 100 - side)


@pytest.mark.parametrize(("box", "top", "left"), [(Box(50, 20, 130, 180), 10, 30), (Box(50, 50, 210, 130), 30, 10)])
def test_margin_stays_free_on_the_longer_side(box: Box, top: int, left: int) -> None:
    got = pixels(with_mark(WHITE, box), replace(CONTENT, margin=0.1, width=100, height=100))
    assert extent(reddish(got)) == Box(left, top, 100 - left, 100 - top)


@pytest.mark.parametrize("height_width", [(300, 100), (100, 300), (200, 200), (777, 333)])
@pytest.mark.parametrize("size", [(96, 96), (128, 64), (64, 128)])
def test_cover_fills_with_the_centre_unstretched(height_width: tuple[int, int], size: tuple[int, int]) -> None:
    height, width = height_width
    # A square around the centre, a quarter of the shorter side of what is kept.
    scale = max(size[0] / width, size[1] / height)
    half = round(min(size) / scale / 4)
    image = np.full((height, width, 3), 255, np.uint8)
    centre_y, centre_x = height // 2, width // 2
    image[centre_y - half : centre_y + half, centre_x - half : centre_x + half] = RED
    got = pixels(image, replace(COVER, width=size[0], height=size[1]))
    assert got.shape == (size[1], size[0], 3)
    box = extent(reddish(got))
    for side in (box.right - box.left, box.bottom - box.top):
        assert side == pytest.approx(2 * half * scale, abs=2)
    assert (box.left + box.right) / 2 == pytest.approx(size[0] / 2, abs=1.5)
    assert (box.top + box.bottom) / 2 == pytest.approx(size[1] / 2, abs=1.5)


def test_cover_cuts_the_longer_side_and_keeps_the_shorter_one() -> None:
    image = np.full((100, 300, 3), 255, np.uint8)
    image[:, :90] = RED  # cut away: the middle third is kept
    image[:8, 100:200], image[-8:, 100:200] = GREEN, GREEN
    got = pixels(image, COVER)
    assert not (got == RED).all(axis=2).any()
    assert tuple(got[0, 48]) == GREEN
    assert tuple(got[-1, 48]) == GREEN


def test_of_a_line_one_pixel_high_the_middle_one_is_kept() -> None:
    image = np.full((1, 1001, 3), GREEN, np.uint8)
    image[0, 500] = RED
    assert (pixels(image, COVER) == RED).all()


@pytest.mark.parametrize("spec", [PLAIN, COVER, CONTENT, replace(CONTENT, resize="cover")])
@pytest.mark.parametrize(("height", "width"), [(8, 2000), (2000, 8), (8, 8), (1, 1), (1, 1000), (1024, 1)])
def test_extreme_shapes(spec: InputSpec, height: int, width: int) -> None:
    got = preprocess(noise(height, width), spec)
    assert got.shape == (96, 96, 3)
    assert np.isfinite(got).all()
    assert got.min() >= 0
    assert got.max() <= 255.001


def test_a_long_strip_is_a_line_across_the_middle() -> None:
    image = np.full((8, 2000, 3), RED, np.uint8)
    image[:, :1500] = GREEN
    got = pixels(image, PLAIN)
    assert (got == GREEN).all(axis=2).sum() > 96 * 94  # padded with the colour of most of its border
    assert 20 <= (got == RED).all(axis=2).any(axis=0).sum() <= 24
    assert (got == RED).all(axis=2).any(axis=1).sum() == 1


BOX = Box(70, 40, 170, 130)


@pytest.mark.parametrize("border", [WHITE, GREEN, (0, 0, 0), (128, 128, 128)])
def test_content_box_is_tight(border: tuple[int, int, int]) -> None:
    image = with_mark(border, BOX)
    assert border_colour(image) == border
    assert content_box(image, border) == BOX


def test_content_box_reaches_every_part_of_the_mark() -> None:
    image = with_mark(WHITE, BOX)
    image[10, 20] = image[190, 280] = RED
    assert content_box(image, WHITE) == Box(20, 10, 281, 191)


@pytest.mark.parametrize("border", [WHITE, GREEN])
@pytest.mark.parametrize("quality", [75, 85, 95])
def test_content_box_of_a_noisy_jpeg(border: tuple[int, int, int], quality: int) -> None:
    image = decode(encode(with_mark(border, BOX, fill=(30, 40, 120)), "JPEG", quality=quality, subsampling=2))
    assert content_box(image, border_colour(image)) == pytest.approx(BOX, abs=8)  # half a block of the coarser colours


def test_content_box_ignores_faint_noise_and_sees_a_pale_mark() -> None:
    faint = np.random.default_rng(0).integers(235, 256, (200, 300, 3), dtype=np.uint8)
    faint[40:130, 70:170] = 210
    assert content_box(faint, border_colour(faint)) == BOX


def test_one_channel_is_enough_to_differ() -> None:
    for channel in range(3):
        fill = list(GREEN)
        fill[channel] += 40
        assert content_box(with_mark(GREEN, BOX, fill=(fill[0], fill[1], fill[2])), GREEN) == BOX


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("difference", "seen"), [(24, False), (25, True)])
def test_more_than_24_levels_of_difference_are_a_mark(sign: int, difference: int, seen: bool) -> None:
    image = with_mark((128, 128, 128), BOX, fill=(128, 128, 128 + sign * difference))
    assert (content_box(image, (128, 128, 128)) == BOX) is seen


@pytest.mark.parametrize("box", [Box(250, 0, 300, 60), Box(0, 0, 60, 50), Box(100, 150, 200, 200)])
def test_a_border_with_a_few_other_pixels_keeps_its_colour(box: Box) -> None:
    image = with_mark(GREEN, box)
    assert border_colour(image) == GREEN
    assert content_box(image, GREEN) == box


def covering_a_side(side: str) -> Pixels:
    """Red but for three of its sides, which are green. The red side is a long one."""
    height, width = (30, 90) if side in {"top", "bottom"} else (90, 30)
    image = framed(height, width, border=GREEN)
    {"top": image[0], "bottom": image[-1], "left": image[:, 0], "right": image[:, -1]}[side][:] = RED
    return image


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_mark_that_covers_one_side_leaves_the_border_its_colour(side: str) -> None:
    image = covering_a_side(side)
    assert border_colour(image) == GREEN
    spec = replace(PLAIN, height=image.shape[0], width=image.shape[1])
    assert inked_cells(preprocess(image, spec)[np.newaxis], spec, 5).all()
    image[1:-1, 1:-1] = GREEN
    inked = inked_cells(preprocess(image, spec)[np.newaxis], spec, 5).reshape(5, 5)
    expected = np.zeros((5, 5), bool)
    {"top": expected[0], "bottom": expected[-1], "left": expected[:, 0], "right": expected[:, -1]}[side][:] = True
    np.testing.assert_array_equal(inked, expected)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_is_its_own_content(value: int) -> None:
    image = np.full((60, 80, 3), value, np.uint8)
    assert content_box(image, border_colour(image)) == Box(0, 0, 80, 60)
    assert (pixels(image, CONTENT) == value).all()


def test_crop_makes_place_and_size_of_the_mark_irrelevant() -> None:
    small = pixels(with_mark(WHITE, Box(5, 5, 55, 55)), CONTENT)
    large = pixels(with_mark(WHITE, Box(100, 20, 270, 190)), CONTENT)
    np.testing.assert_array_equal(small, large)
    assert (small == RED).all()
    assert not (pixels(with_mark(WHITE, Box(5, 5, 55, 55)), PLAIN) == RED).all()


def test_crop_pads_with_the_border_that_was_cut_off() -> None:
    got = pixels(with_mark(GREEN, Box(50, 80, 250, 120)), CONTENT)
    assert tuple(got[0, 0]) == tuple(got[-1, -1]) == GREEN
    assert extent((got == RED).all(axis=2)) == Box(0, 38, 96, 57)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("resize", ["letterbox", "cover"])
def test_values_of_a_constant_image(
    layout: Literal["nchw", "nhwc"], channels: Literal["rgb", "bgr"], resize: Literal["letterbox", "cover"]
) -> None:
    spec = InputSpec(40, 24, crop="content", resize=resize, mean=MEAN, std=STD, channels=channels, layout=layout)
    got = preprocess(np.full((50, 70, 3), RED, np.uint8), spec)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert got.shape == ((3, 24, 40) if layout == "nchw" else (24, 40, 3))
    ordered = RED if channels == "rgb" else RED[::-1]
    expected = (np.array(ordered) / 255 - MEAN) / STD
    last = got.transpose(1, 2, 0) if layout == "nchw" else got
    np.testing.assert_allclose(last, np.broadcast_to(expected, last.shape), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("value", "expected"), [(0, -1.0), (255, 1.0)])
def test_the_ends_of_the_range(value: int, expected: float) -> None:
    for layout in ("nchw", "nhwc"):
        spec = InputSpec(16, 16, "none", "letterbox", mean=(0.5,) * 3, std=(0.5,) * 3, layout=layout)
        np.testing.assert_allclose(preprocess(np.full((9, 9, 3), value, np.uint8), spec), expected, rtol=0, atol=1e-6)


def test_layouts_hold_the_same_values() -> None:
    image = noise(120, 90)
    spec = replace(PLAIN, mean=MEAN, std=STD)
    last, first = preprocess(image, spec), preprocess(image, replace(spec, layout="nchw"))
    np.testing.assert_allclose(last.transpose(2, 0, 1), first, rtol=0, atol=2e-6)


def test_bgr_is_rgb_reversed() -> None:
    image = noise(120, 90)
    np.testing.assert_array_equal(
        preprocess(image, replace(PLAIN, channels="bgr"))[..., ::-1], preprocess(image, PLAIN)
    )


@pytest.mark.parametrize("spec", [PLAIN, COVER, CONTENT])
def test_the_image_is_left_alone_and_the_result_is_repeatable(spec: InputSpec) -> None:
    image = noise(150, 80)
    kept = image.copy()
    first = preprocess(image, spec)
    preprocess(noise(80, 150, seed=1), spec)
    np.testing.assert_array_equal(preprocess(image, spec), first)
    np.testing.assert_array_equal(image, kept)
    assert not np.shares_memory(first, image)


def test_an_image_of_the_wanted_size_is_not_resampled() -> None:
    image = noise(96, 96)
    for spec in (PLAIN, COVER):
        np.testing.assert_array_equal(pixels(image, spec), image)


def test_shrinking_averages_every_pixel() -> None:
    image = np.zeros((960, 960, 3), np.uint8)
    image[::2] = 200  # sampling would see one kind of line only
    assert (pixels(image, COVER) == 100).all()


@pytest.mark.parametrize("spec", [PLAIN, COVER])
def test_enlarging_does_not_overshoot(spec: InputSpec) -> None:
    image = np.full((20, 20, 3), 50, np.uint8)
    image[:, 10:] = 200
    got = pixels(image, spec)
    assert (got.min(), got.max()) == (50, 200)


@pytest.mark.parametrize("border", [WHITE, GREEN])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("grid", [4, 8, 7])  # 96 is no multiple of 7
def test_inked_cells_are_those_with_another_colour_than_the_border(
    border: tuple[int, int, int], layout: Literal["nchw", "nhwc"], grid: int
) -> None:
    image = np.full((96, 96, 3), border, np.uint8)
    image[30:50, 60:70] = RED
    image[80:, :] = np.array(border) - 10  # the noise that a JPEG leaves
    spec = replace(PLAIN, layout=layout, std=(0.5, 0.4, 0.3), mean=(0.1, 0.5, 0.9))
    found = inked_cells(preprocess(image, spec)[np.newaxis], spec, grid)
    edges = [cell * 96 // grid for cell in range(grid + 1)]
    expected = [
        [edges[r + 1] > 30 and edges[r] < 50 and edges[c + 1] > 60 and edges[c] < 70 for c in range(grid)]
        for r in range(grid)
    ]
    np.testing.assert_array_equal(found[0].reshape(grid, grid), expected)


@pytest.mark.parametrize("channel", range(3))
def test_ink_may_differ_in_one_channel_alone(channel: int) -> None:
    image = np.full((96, 96, 3), GREEN, np.uint8)
    image[30, 60, channel] += 40
    found = inked_cells(preprocess(image, PLAIN)[np.newaxis], PLAIN, 4)
    assert np.flatnonzero(found[0]).tolist() == [1 * 4 + 2]
