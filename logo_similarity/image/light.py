"""The light on a page: paper that is darker on one side, and ink that is pale everywhere.

Only pictures that show it are changed: a page is flattened if the colours along its sides change smoothly, and contrast
is stretched if no ink is darker than a fifth of full contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import BORDER_TOLERANCE, Colour, edge_pixels

Floats = NDArray[np.float32]

GRID = 32
"""Cells along each side of the picture in which paper is looked for: the light changes slowly."""
DEPTH = 3
"""Cells from the sides in which paper is first looked for."""
FITS = 8.0
"""Levels by which a cell of paper may differ from the smooth surface."""
MOSTLY = 0.7
"""Share of the cells along the sides that must be paper."""
DARKEST = 90
"""Darker backgrounds are drawn, not paper in bad light."""
SHADES = 0.02
"""Share of the outermost pixels that must differ from the border's colour by more than its tolerance, but not by a step
from their neighbours: where ink begins there is one."""
NEAR_SHADES = 0.1
"""Share of the outermost pixels that must differ by less than that: between paper and ink there are few."""
EXACT = 8
"""Levels by which the pixels of evenly lit paper differ."""
STEP = 10
"""Levels between pixels two apart."""
COLOURFUL = 64
"""Levels between the channels of a background that is drawn, not paper."""
RIDGE = 1e-3 * np.eye(6, dtype=np.float32)
"""Added to the normal equations, which keeps them solvable whatever the cells are."""
ROUNDS = 6
"""Of fitting a surface: each gives cells that are far from it less weight."""


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The colour of the paper as a quadratic function of the place."""

    terms: Floats
    """(6, 3) float32: factors of 1, x, y, xx, xy and yy, with x and y from -1 to 1 across the picture."""
    brightest: Colour
    """The colour of the paper in the best light."""

    def flatten(self, image: Pixels, part: tuple[float, float, float, float] = (-1, -1, 1, 1)) -> Pixels:
        """The picture as if all of it were in the best light.

        Args:
            image: (h, w, 3) uint8 RGB.
            part: left, top, right and bottom of the image in the coordinates of `terms`.
        """
        height, width = image.shape[:2]
        left, top, right, bottom = part
        field = _basis(np.linspace(left, right, GRID), np.linspace(top, bottom, GRID)) @ self.terms
        gain = np.array(self.brightest, np.float32) / np.maximum(field, 1).astype(np.float32)
        gain = cv2.resize(gain.reshape(GRID, GRID, 3), (width, height), interpolation=cv2.INTER_LINEAR)
        return cv2.multiply(image, gain, dtype=cv2.CV_8U)


def find_light(image: Pixels, border: Colour) -> Light | None:
    """The light on a page; None if its sides do not show that it is uneven.

    Args:
        image: (h, w, 3) uint8 RGB.
        border: the median of its outermost pixels.
    """
    if not _shades(edge_pixels(image), border):
        return None
    cells = cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float32)
    basis, sides = _page()
    terms = _fit(basis[sides], cells[sides])
    is_paper = _distance(basis, terms, cells) < FITS
    if is_paper[sides].mean() < MOSTLY:
        return None
    terms = _solve(basis[is_paper], cells[is_paper])
    paper = basis[is_paper] @ terms
    brightest = paper[np.argmax(paper.sum(axis=1))]
    if paper.max(axis=1).min() < DARKEST or np.ptp(brightest) > COLOURFUL:
        return None
    red, green, blue = np.clip(np.rint(brightest), 0, 255).astype(int).tolist()
    return Light(terms, (red, green, blue))


def _shades(edge: Pixels, border: Colour) -> bool:
    """Whether the colours of the outermost pixels, (n, 3), turn into each other without steps, as light does."""
    differences = cv2.absdiff(edge[np.newaxis], (*border, 0))[0]
    largest = np.maximum(np.maximum(differences[:, 0], differences[:, 1]), differences[:, 2])
    if np.count_nonzero((largest > EXACT) & (largest <= BORDER_TOLERANCE)) < NEAR_SHADES * len(edge):
        return False
    shades = (largest > BORDER_TOLERANCE) & (largest <= 2 * BORDER_TOLERANCE)
    smooth = cv2.absdiff(largest[2:], largest[:-2]).ravel() <= STEP
    return int(np.count_nonzero(shades[1:-1] & smooth)) >= SHADES * len(edge)


@cache
def _page() -> tuple[Floats, NDArray[np.bool_]]:
    """The basis for all cells of a page, (GRID * GRID, 6), and which of them are at its sides."""
    steps = np.linspace(-1, 1, GRID)
    at_side = np.ones((GRID, GRID), bool)
    at_side[DEPTH:-DEPTH, DEPTH:-DEPTH] = False
    return _basis(steps, steps), at_side.ravel()


def _fit(basis: Floats, colours: Floats) -> Floats:
    """A surface through most of the colours: least squares, weighted by the distance (Tukey's biweight)."""
    terms = _solve(basis, colours)
    for _ in range(ROUNDS):
        distance = _distance(basis, terms, colours)
        scale = max(FITS, 3 * float(np.median(distance)))
        weights = (1 - np.minimum(1, distance / scale) ** 2) ** 2
        terms = _solve(basis, colours, weights)
    return terms


def _solve(basis: Floats, colours: Floats, weights: Floats | float = 1.0) -> Floats:
    """Least squares by the normal equations, (6, 3) float32."""
    weighted = basis.T * weights
    return np.linalg.solve(weighted @ basis + RIDGE, weighted @ colours)


def _distance(basis: Floats, terms: Floats, colours: Floats) -> Floats:
    return np.asarray(np.abs(colours - basis @ terms).max(axis=1), np.float32)


def _basis(x: NDArray[np.float64], y: NDArray[np.float64]) -> Floats:
    """(len(y) * len(x), 6) float32, row by row."""
    across, down = (grid.ravel() for grid in np.meshgrid(x, y))
    return np.stack((np.ones_like(across), across, down, across**2, across * down, down**2), axis=1).astype(np.float32)
