"""Views: many kinds, reproducible, and never nothing to see."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.image.decode import Pixels, decode
from logo_similarity.training.views import GENTLE, STRONG, ViewOdds, Views, ink_mask

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "images").glob("*.jpg"))[::100][:20]
NEVER = ViewOdds(**{field.name: 0.0 for field in fields(ViewOdds)})
SIDE = 96


@pytest.fixture(scope="module")
def images() -> list[Pixels]:
    return [decode(path.read_bytes()) for path in SAMPLES]


@pytest.mark.parametrize("odds", [GENTLE, STRONG])
def test_a_view_shows_something_and_the_same_seed_shows_the_same(images: list[Pixels], odds: ViewOdds) -> None:
    views = Views(SIDE)
    for number, image in enumerate(images):
        for seed in range(10):
            one, same = (
                views.make(image, images[number - 1], odds, np.random.default_rng((number, seed))) for _ in range(2)
            )
            assert one.dtype == np.uint8
            assert one.shape[2] == 3
            assert np.array_equal(one, same)
            assert ink_mask(one).mean() > 1


@pytest.mark.parametrize("change", [field.name for field in fields(ViewOdds) if field.name != "joined"])
def test_each_change_happens(images: list[Pixels], change: str) -> None:
    views = Views(SIDE)
    odds = replace(NEVER, **{change: 1.0})
    changed = 0
    for number, image in enumerate(images):
        plain = views.make(image, None, NEVER, np.random.default_rng(number))
        view = views.make(image, None, odds, np.random.default_rng(number))
        changed += plain.shape != view.shape or not np.array_equal(plain, view)
    assert changed > len(images) // 4  # not every mark has parts, colours or paper to change


def test_a_cut_shows_half_to_all_of_the_mark(images: list[Pixels]) -> None:
    views = Views(SIDE)
    shares = []
    for seed in range(100):
        image = images[seed % len(images)]
        whole, part = (
            ink_mask(views.make(image, None, odds, np.random.default_rng(seed)))
            for odds in (NEVER, replace(NEVER, cut=1.0))
        )
        _, _, width, height = cv2.boundingRect(whole)
        shares.append(part.size / (width * height))
    assert 0.3 < min(shares) < 0.55  # half of one side, or a fifth of each: .6 x .6
    assert max(shares) > 0.85


def test_another_mark_stands_beside(images: list[Pixels]) -> None:
    views = Views(SIDE)
    alone = views.make(images[0], None, NEVER, np.random.default_rng(0))
    joined = views.make(images[0], images[1], NEVER, np.random.default_rng(0))
    assert joined.size > alone.size


def test_words_are_set_in_the_fonts_that_are_given(images: list[Pixels], tmp_path: Path) -> None:
    views = Views(SIDE, fonts=(tmp_path / "missing.ttf",))
    with pytest.raises(OSError, match="cannot open resource"):
        views.make(images[0], None, replace(NEVER, word=1.0), np.random.default_rng(0))
