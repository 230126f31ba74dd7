"""Why two logos resemble each other: the regions and the cells that match. Pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from logo_similarity.description import Box, Place
from logo_similarity.domain import CellMatch, RegionMatch
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.image.preprocess import InputSpec, cell_boxes
from logo_similarity.search.score import match_cells

LEAST_COSINE, MOST_PAIRS = 0.5, 10
"""Pairs of regions that are named: at least this similar, and at most this many."""


def match_regions(
    own: Floats, own_boxes: Sequence[Box], others: Floats, other_boxes: Sequence[Box]
) -> tuple[RegionMatch, ...]:
    """The nearest pairs of regions of two logos, but for that of the whole images, nearest first.

    Args:
        own: (m, d) float32, unit length: the whole image, then its parts.
        own_boxes: m boxes.
        others: (n, d) float32: the same of the other logo.
        other_boxes: n boxes.
    """
    cosines = own @ others.T
    pairs = [
        RegionMatch(own_boxes[one], other_boxes[other], float(cosines[one, other]))
        for one, other in np.ndindex(cosines.shape)
        if one + other > 0 and cosines[one, other] >= LEAST_COSINE
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.cosine)[:MOST_PAIRS])


def place_cells(
    own: Patches, own_place: Place, others: Patches, other_place: Place, spec: InputSpec
) -> tuple[CellMatch, ...]:
    """The matching cells of two logos as boxes in their pictures, the strongest first.

    Args:
        own: (cells, channels) int8.
        own_place: where the encoder looked in the picture.
        others: the same of the other logo.
        other_place: where the encoder looked in its picture.
        spec: the input of the encoder. Its cells have a place if it letterboxes.
    """
    if spec.resize != "letterbox":
        return ()
    boxes, other_boxes = (_in_picture(place, spec, math.isqrt(len(own))) for place in (own_place, other_place))
    return tuple(
        CellMatch(as_box(boxes[match.cell]), as_box(other_boxes[match.other]), match.strength)
        for match in match_cells(own, others)
    )


def as_box(sides: Floats) -> Box:
    """A box from (4,) float32."""
    left, top, right, bottom = sides.tolist()
    return left, top, right, bottom


def _in_picture(place: Place, spec: InputSpec, grid: int) -> Floats:
    """The cells of a grid over the encoder's input, (cells, 4) float32, as shares of the sides of the picture."""
    left, top, right, bottom, aspect = place
    sides, corner = np.array([right - left, bottom - top] * 2), np.array([left, top] * 2)
    return np.asarray(cell_boxes(spec, grid, aspect) * sides + corner, np.float32)
