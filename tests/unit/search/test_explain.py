"""Why two logos resemble each other, on arrays whose matches are known."""

from __future__ import annotations

import numpy as np
import pytest

from logo_similarity.description import Place
from logo_similarity.image.preprocess import InputSpec, cell_boxes
from logo_similarity.search.explain import LEAST_COSINE, MOST_PAIRS, match_regions, place_cells

SPEC = InputSpec(128, 128, crop="content", resize="letterbox", mean=(0, 0, 0), std=(1, 1, 1))
BOXES = [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5)]


def test_the_nearest_pairs_come_first_and_the_wholes_are_left_out() -> None:
    own, others = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[0, 2, 1]]
    others[2] = (0.0, 0.8, 0.6)
    pairs = match_regions(own, BOXES, others, BOXES)
    whole, left, right = BOXES
    assert [(pair.query_box, pair.hit_box) for pair in pairs] == [(right, left), (left, right), (right, right)]
    assert whole not in {box for pair in pairs for box in (pair.query_box, pair.hit_box)}
    assert [pair.cosine for pair in pairs] == pytest.approx([1, 0.8, 0.6])
    assert all(pair.cosine >= LEAST_COSINE for pair in pairs)
    same = np.ones((6, 1), np.float32)
    assert len(match_regions(same, BOXES * 2, same, BOXES * 2)) == MOST_PAIRS


@pytest.mark.parametrize("margin", [0.0, 0.06])
@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.25])
def test_cells_cover_the_image_once(aspect: float, margin: float) -> None:
    spec = InputSpec(128, 128, "content", "letterbox", (0, 0, 0), (1, 1, 1), margin=margin)
    boxes = cell_boxes(spec, 8, aspect)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (widths * heights).sum() == pytest.approx(1, abs=1e-5)
    assert boxes.min() == 0
    assert boxes.max() == 1
    shown = 1 - 2 * margin  # share of the input's longer side
    middle = boxes[8 * 4 + 4]
    assert middle[2] - middle[0] == pytest.approx(min(0.5, 1 / 8 / (shown * min(1, aspect))), rel=1e-4)
    assert middle[3] - middle[1] == pytest.approx(min(0.5, 1 / 8 / (shown * min(1, 1 / aspect))), rel=1e-4)


def test_cells_have_their_place_in_the_picture() -> None:
    patches = np.zeros((64, 4), np.int8)
    patches[0], patches[63] = (100, 0, 0, 0), (0, 100, 0, 0)
    matches = place_cells(patches, Place(0, 0, 1, 1, 1.0), patches, Place(0.5, 0.5, 1, 1, 1.0), SPEC)
    by_box = {match.query_box: match for match in matches}
    first, last = by_box[(0.0, 0.0, 0.125, 0.125)], by_box[(0.875, 0.875, 1.0, 1.0)]
    assert first.hit_box == (0.5, 0.5, 0.5625, 0.5625)
    assert last.hit_box == (0.9375, 0.9375, 1.0, 1.0)
    assert first.strength == last.strength == 1
    covering = InputSpec(128, 128, "content", "cover", (0, 0, 0), (1, 1, 1))
    assert not place_cells(patches, Place(0, 0, 1, 1, 1.0), patches, Place(0, 0, 1, 1, 1.0), covering)
