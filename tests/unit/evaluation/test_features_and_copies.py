"""Baselines and changed copies on real logos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.features import BASELINES, normalise
from logo_similarity.image.decode import Pixels, decode
from logo_similarity.image.preprocess import border_colour, content_box

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "images").glob("*.jpg"))[::40][:40]


@pytest.fixture(scope="module")
def images() -> list[Pixels]:
    return [decode(path.read_bytes()) for path in SAMPLES]


@pytest.mark.parametrize(("name", "dimension"), [("grey", 1024), ("hog", 1764), ("phash", 64)])
def test_a_baseline_finds_a_blurred_copy(images: list[Pixels], name: str, dimension: int) -> None:
    describe = BASELINES[name]
    gallery = normalise(np.stack([describe(image) for image in images]), name)
    copies = normalise(np.stack([describe(CHANGES["blurred, JPEG 20"](image)) for image in images]), name)
    assert gallery.shape == (len(images), dimension)
    assert np.mean((copies @ gallery.T).argmax(axis=1) == np.arange(len(images))) > 0.9


def test_features_that_are_not_finite_or_all_the_same_are_errors() -> None:
    with pytest.raises(ValueError, match="broken: the features of 1 images are not finite"):
        normalise(np.array([[1, np.nan], [1, 2]], np.float32), "broken")
    with pytest.raises(ValueError, match="all images have the same features"):
        normalise(np.ones((3, 4), np.float32), "constant")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_changes_and_always_in_the_same_way(images: list[Pixels], name: str) -> None:
    for image in images[:8]:
        before = image.copy()
        changed = CHANGES[name](image)
        assert changed.dtype == np.uint8
        assert changed.ndim == 3
        assert np.array_equal(image, before)
        assert np.array_equal(changed, CHANGES[name](image))
    coloured = np.full((60, 80, 3), 255, np.uint8)
    coloured[10:30, 10:50] = (200, 30, 30)
    assert not np.array_equal(CHANGES[name](coloured), coloured)


def test_thirty_per_cent_are_covered() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    image[50:150, 20:180] = 0
    covered = CHANGES["30 % covered"](image)
    assert np.mean(covered[50:150, 20:180] == 128) == pytest.approx(0.3, abs=0.01)
    assert np.array_equal(covered[:50], image[:50])


def test_the_word_stands_under_the_mark(images: list[Pixels]) -> None:
    image = images[0]
    changed = CHANGES["a word under it"](image)
    mark, whole = content_box(image, border_colour(image)), content_box(changed, border_colour(changed))
    assert whole.bottom - whole.top > mark.bottom - mark.top
    assert whole.right - whole.left == pytest.approx(mark.right - mark.left, abs=2)
