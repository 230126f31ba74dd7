"""Where the ink of a picture is: the colour of its paper, and the box around what is drawn on it.

Scans have specks of dust, dark edges where the page ends, and frames around the mark. They would move a box around all
ink, so they are recognised and left out. All work is bounded: ink is grouped in at most 64 x 64 cells, however many
pixels or specks a picture has.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.image.decode import Pixels

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Mask = NDArray[np.uint8]
"""(h, w), 255 for ink and 0 for paper."""

BORDER_TOLERANCE = 24
"""A pixel has the border's colour if no channel differs by more. Wide enough for JPEG noise around a mark (measured on
256-pixel images of quality 85), narrow enough for pale grey marks on white."""

CELLS = 64
"""Cells along the longer side when ink is grouped: parts nearer than a cell or two are one group."""
FAR_SPECK, FAR = 0.04, 2.0
"""A group of less ink than this share of the largest one is a speck if it is farther from the large ones than so many
times their size."""
SPECK = 0.01
"""And a group of less ink than this share of all large ones is a speck unless it is near."""
NEAR = 0.1
"""Dots, (R) and TM are no farther from the rest than this share of its longer side."""
CHAIN = 4
"""What is near to what is near belongs to the content, too, so many times: letters and dots in a row."""
EDGE = 0.06
"""Depth of scanner edges and skewed corners, as a share of the page's longer side."""
FREE = 1.5
"""Content is farther than this multiple of that depth from all sides of the page."""
FRAME_CELLS = 2
"""A frame lies in so many cells along the sides of its own box."""
FRAME_LINE = 0.02
"""Thickest line of a frame, as a share of its longer side. The rings of round and square icons are thicker."""
FRAME_DISTANCE = 0.1
"""A frame nearer to the content than this share of the content's longer side belongs to the mark."""
FRAMED = 0.25
"""Content of a smaller share of its frame's longer side does not replace the frame."""
ROUNDS = 4
"""What is left out makes the box smaller, and its cells too: another round sees more."""


class Box(NamedTuple):
    """A rectangle in pixels: left and top inside, right and bottom outside."""

    left: int
    top: int
    right: int
    bottom: int


def border_colour(image: Pixels) -> Colour:
    """The median colour of the outermost pixels, channel by channel."""
    return median_colour(edge_pixels(image))


def content_box(image: Pixels, border: Colour) -> Box:
    """The tightest box around the pixels that differ from the border's colour; the whole image if none do."""
    return ink_box(ink_mask(image, border)) or Box(0, 0, image.shape[1], image.shape[0])


def edge_pixels(image: Pixels | Mask, depth: int = 0) -> NDArray[np.uint8]:
    """The pixels on a rectangle `depth` pixels inside the outermost ones: (n, 3), or (n,) of a mask."""
    inner = image[depth : image.shape[0] - depth, depth : image.shape[1] - depth]
    return np.concatenate((inner[0], inner[-1], inner[:, 0], inner[:, -1]))


def median_colour(pixels: Pixels) -> Colour:
    """The median of (n, 3) pixels, channel by channel."""
    middle = len(pixels) // 2
    red, green, blue = np.partition(pixels, middle, axis=0)[middle].tolist()
    return red, green, blue


def ink_mask(image: Pixels, paper: Colour, tolerance: int = BORDER_TOLERANCE) -> Mask:
    """The pixels of which a channel differs from the paper's colour by more than `tolerance`."""
    low = tuple(max(0, channel - tolerance) for channel in paper)
    high = tuple(min(255, channel + tolerance) for channel in paper)
    return cv2.bitwise_not(cv2.inRange(image, low, high))


def find_ink(mask: Mask, faint: Mask | None = None) -> Box | None:
    """The box around the ink without specks, scanner edges, skewed corners and distant thin frames; None without ink.

    Args:
        mask: the ink.
        faint: the ink with paler pixels, by which it is grouped; None: `mask`.
    """
    box = ink_box(mask)
    for _ in range(ROUNDS):
        if box is None:
            return None
        groups = _Groups(mask, mask if faint is None else faint, box)
        left_out = groups.left_out()
        if left_out is None:
            break
        box = groups.around_others(left_out)
    return box


def ink_box(mask: Mask) -> Box | None:
    """The box around all ink; None without ink."""
    left, top, width, height = cv2.boundingRect(mask)
    return Box(left, top, left + width, top + height) if width else None


class _Groups:
    """Ink in a box, counted in cells; cells of ink that touch, also at their corners, are one group."""

    def __init__(self, mask: Mask, faint: Mask, box: Box) -> None:
        self._box, self._page = box, (mask.shape[1], mask.shape[0])
        self._mask, part = (image[box.top : box.bottom, box.left : box.right] for image in (mask, faint))
        height, width = part.shape
        self._cell = max(1.0, max(width, height) / CELLS)
        """Pixels along the side of a cell."""
        size = (max(1, round(width / self._cell)), max(1, round(height / self._cell)))
        self._ink = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        self._count, self._labels, stats, _ = cv2.connectedComponentsWithStats(self._ink)
        """The groups, and label 0 for paper."""
        self._cells = stats[:, cv2.CC_STAT_AREA]
        self._boxes = np.concatenate((stats[:, :2], stats[:, :2] + stats[:, 2:4]), axis=1)
        """Left, top, right and bottom, in cells."""

    def left_out(self) -> NDArray[np.bool_] | None:
        """(count,): the labels that do not belong to the content; None if all do."""
        if self._count <= 2:
            return None
        self._amounts = np.bincount(self._labels.ravel(), self._ink.ravel())
        self._amounts[0] = 0
        for labels in (self._edges(), self._frames(), self._specks()):
            if labels is not None and labels.any():
                return labels
        return None

    def around_others(self, left_out: NDArray[np.bool_]) -> Box | None:
        """The box around the ink of the other groups."""
        height, width = self._mask.shape
        kept = cv2.resize(np.where(left_out, 0, 255).astype(np.uint8)[self._labels], (width, height), interpolation=0)
        box = ink_box(cv2.bitwise_and(self._mask, kept))
        left, top = self._box[:2]
        return None if box is None else Box(left + box.left, top + box.top, left + box.right, top + box.bottom)

    def _edges(self) -> NDArray[np.bool_] | None:
        """Groups along the sides of the page, if the rest is far from all of its sides."""
        at_side = [side == edge for side, edge in zip(self._box, (0, 0, *self._page), strict=True)]
        if not any(at_side):
            return None
        depth = EDGE * max(self._page)
        edges = self._within(at_side, math.ceil(depth / self._cell)) & self._touch(at_side)
        rest = self._around_large(edges)
        if rest is None:
            return None
        left, top, right, bottom = self._cell * rest + (self._box[:2] * 2)
        is_inside = min(left, top, self._page[0] - right, self._page[1] - bottom) >= FREE * depth
        return edges if is_inside else None

    def _frames(self) -> NDArray[np.bool_] | None:
        """A thin rectangle along the sides of the box, if the rest is large and far from it."""
        height, width = self._ink.shape
        spans = (self._boxes == (0, 0, width, height)).all(axis=1)
        spans[0] = False
        if not spans.any():
            return None
        longer = max(height, width)
        thin = self._amounts / 255 <= FRAME_LINE * longer * 2 * (height + width)
        frames = spans & thin & self._within([True] * 4, FRAME_CELLS)
        rest = self._around_large(frames)
        if rest is None:
            return None
        side = max(rest[2:] - rest[:2])
        distance = min(*rest[:2], width - rest[2], height - rest[3]) - FRAME_CELLS / 2
        return frames if side >= FRAMED * longer and distance >= FRAME_DISTANCE * side else None

    def _specks(self) -> NDArray[np.bool_] | None:
        """Groups of little ink that are far from those of much."""
        least = FAR_SPECK * self._amounts.max()
        if self._amounts[1:].min() >= least:
            return None
        kept = self._amounts >= least
        total = self._amounts[kept].sum()
        for share, distance in ((SPECK, FAR), *((0, NEAR),) * CHAIN):
            around = self._around(kept)
            gaps = np.maximum(around[:2] - self._boxes[:, 2:], self._boxes[:, :2] - around[2:]).max(axis=1)
            kept |= (self._amounts > share * total) & (gaps <= max(1, distance * max(around[2:] - around[:2])))
        kept[0] = True
        return ~kept

    def _within(self, sides: list[bool], depth: int) -> NDArray[np.bool_]:
        """(count,): groups with all of their cells no deeper than `depth` at one of the sides."""
        strips = np.zeros(self._ink.shape, bool)
        for side, strip in zip(sides, _strips(depth), strict=True):
            strips[strip] |= side
        within = np.bincount(self._labels[strips], minlength=self._count) == self._cells
        within[0] = False
        return within

    def _touch(self, sides: list[bool]) -> NDArray[np.bool_]:
        """(count,): groups with a cell at one of the sides."""
        touch = np.zeros(self._count, bool)
        for side, strip in zip(sides, _strips(1), strict=True):
            if side:
                touch[self._labels[strip]] = True
        return touch

    def _around_large(self, others: NDArray[np.bool_]) -> NDArray[np.int32] | None:
        """Left, top, right and bottom, in cells, of the groups that are neither specks nor `others`."""
        amounts = np.where(others, 0, self._amounts)
        return self._around(amounts >= SPECK * amounts.max()) if amounts.any() else None

    def _around(self, groups: NDArray[np.bool_]) -> NDArray[np.int32]:
        boxes = self._boxes[groups]
        return np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))


def _strips(depth: int) -> tuple[tuple[slice, slice], ...]:
    """Indices of the strips along the left, upper, right and lower side of an array."""
    everything, first, last = slice(None), slice(depth), slice(-depth, None)
    return (everything, first), (first, everything), (everything, last), (last, everything)
