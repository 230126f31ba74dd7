"""Scans and photographs of marks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.evaluation.scans import SCANS, on_page
from logo_similarity.image.decode import Pixels, decode
from logo_similarity.image.preprocess import border_colour, content_box

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "images").glob("*.jpg"))[::100][:6]


@pytest.fixture(scope="module")
def images() -> list[Pixels]:
    return [decode(path.read_bytes()) for path in SAMPLES]


@pytest.fixture
def mark() -> Pixels:
    """A dark rectangle of 160 x 80 pixels, its left half lighter."""
    image = np.full((200, 200, 3), 255, np.uint8)
    image[60:140, 20:180] = 40
    image[60:140, 20:100] = 90
    return image


@pytest.mark.parametrize("name", SCANS)
def test_a_scan_changes_the_mark_and_always_in_the_same_way(images: list[Pixels], name: str) -> None:
    for image in images:
        before = image.copy()
        scan = SCANS[name](image)
        assert scan.dtype == np.uint8
        assert scan.shape[2:] == (3,)
        assert np.array_equal(image, before)
        assert np.array_equal(scan, SCANS[name](image))
        assert not np.array_equal(scan, image)


def dark(image: Pixels) -> Pixels:
    return np.asarray(image.max(axis=2) < 128, np.uint8)


@pytest.mark.parametrize(
    ("name", "specks", "size", "longest"),
    [
        ("one speck", 1, (1000, 1000), 300),
        ("ten specks", 10, (1000, 1000), 300),
        ("3 cm on A4", 0, (1754, 1240), 177),
        ("3 cm on A4, one speck", 1, (1754, 1240), 177),
        ("1 cm on A4", 0, (1754, 1240), 59),
    ],
)
def test_a_mark_on_a_page_with_specks(
    mark: Pixels, name: str, specks: int, size: tuple[int, int], longest: int
) -> None:
    page = SCANS[name](mark)
    assert page.shape[:2] == size
    count, _, stats, _ = cv2.connectedComponentsWithStats(dark(page))
    areas = sorted(stats[1:count, cv2.CC_STAT_AREA].tolist())
    assert areas[:-1] == [9] * specks
    assert max(stats[1:count, cv2.CC_STAT_WIDTH]) == longest


@pytest.mark.parametrize(("name", "distance"), [("frame 15 % away", 45), ("frame 50 % away", 150)])
def test_a_frame_at_a_distance(mark: Pixels, name: str, distance: int) -> None:
    page, box = on_page(mark)
    frame = content_box(SCANS[name](mark), (255, 255, 255))
    assert box.left - frame.left == pytest.approx(distance, abs=3)
    assert frame.bottom - box.bottom == pytest.approx(distance, abs=3)
    changed = (SCANS[name](mark) != page).any(axis=2)
    assert not changed[box.top : box.bottom, box.left : box.right].any()


def test_the_edges_of_a_scan_are_dark_and_its_paper_is_white(mark: Pixels) -> None:
    scan = SCANS["dark scanner edges"](mark)
    assert scan[:, -1].max() < 60
    assert scan[-1, -400:].max() < 60
    assert border_colour(scan) == (255, 255, 255)


def test_light_falls_to_150(mark: Pixels) -> None:
    scan = SCANS["uneven light"](mark)
    assert (scan[0, 0].max(), scan[-1, -1].max()) == (255, 150)
    assert scan[0, -1].max() == pytest.approx(202, abs=2)


def test_a_skewed_page_has_black_corners(mark: Pixels) -> None:
    scan = SCANS["skewed, black corners"](mark)
    assert scan[-1, 0].max() == 0
    (_, _), (width, height), angle = cv2.minAreaRect(np.argwhere(dark(scan[200:800, 200:800])).astype(np.float32))
    assert min(angle % 90, 90 - angle % 90) == pytest.approx(2, abs=0.3)
    assert {round(width, -1), round(height, -1)} == {500, 250}


def test_a_tenth_of_the_contrast_is_left(mark: Pixels) -> None:
    scan = SCANS["contrast of 10 %"](mark)
    assert scan.min() == round(255 - (255 - 40) * 0.1)
    assert scan.max() == 255


def test_parts_of_a_mark(mark: Pixels) -> None:
    assert SCANS["a quarter of the size"](mark).shape == (50, 50, 3)
    assert SCANS["cropped by 20 %"](mark).shape == (48, 96, 3)
    half = SCANS["left half"](mark)
    assert half.shape == (80, 80, 3)
    assert (half == 90).all()


def test_a_fax_is_black_and_white(mark: Pixels) -> None:
    scan = SCANS["bilevel, TIFF group 4"](mark)
    assert set(np.unique(scan)) == {0, 255}
    assert np.array_equal(scan == 0, mark < 255)


def test_salt_and_pepper_replace_two_per_cent(mark: Pixels) -> None:
    scan = SCANS["salt and pepper"](np.full_like(mark, 100))
    assert np.mean(scan == 0) == pytest.approx(0.01, abs=0.002)
    assert np.mean(scan == 255) == pytest.approx(0.01, abs=0.002)


def test_the_smallest_marks_have_scans() -> None:
    image = np.full((8, 8, 3), 255, np.uint8)
    image[3, 4] = 0
    assert all(min(change(image).shape) > 0 for change in SCANS.values())
