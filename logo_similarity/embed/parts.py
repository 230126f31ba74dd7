"""The parts of a mark: figures, words, and what stands in a frame or on a coloured plate. Pure functions of pixels.

A part is a region of ink that stands apart from the rest. Ink is closed over gaps first, so that the strokes of a
drawing and the letters of a word stay together: once over small gaps, and once over larger ones, because a mark may be a
part at either scale. A component that surrounds others is a frame, and one with content inside its own ink is a plate;
their content is divided in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import Box, Colour, Mask, ink_box, ink_mask

MOST_PARTS = 5
SIDE = 192
"""Longer side of the copy in which parts are found, in pixels."""
GAPS = (0.035, 0.09)
"""Gaps over which ink is closed, as shares of the longer side of the content."""
SMALLEST = 0.02
"""Smallest part, as a share of the content's area."""
LARGEST = 0.9
"""A part that covers a larger share of the content is no part."""
THINNEST = 5
"""Smallest side of a part in the copy, in pixels."""
SAME = 0.8
"""Boxes whose intersection is a larger share of their union are the same part."""
SURROUNDING = 0.6
"""Smallest share of the content that the box of a frame or plate covers."""
PLATE_CONTENT = 0.6
"""Largest share of a plate that its content covers."""
SAMPLED = 1_000
"""Most pixels of a plate whose median is its colour."""
EDGE = np.ones((5, 5), np.uint8)
"""Kernel for the edge of a plate: two pixels are cut off."""
DEPTH = 1
"""Number of frames and plates inside each other whose content is looked at."""
MARGIN = 4
"""Background around the pixels of a part, in pixels, so that its border has one colour."""


class Part(NamedTuple):
    """A part of an image: its box, and the colour that surrounds it."""

    box: Box
    background: Colour


def find_parts(image: Pixels, background: Colour) -> list[Part]:
    """The parts of an image, largest first, at most `MOST_PARTS`; none if the mark is one piece.

    Args:
        image: (h, w, 3) uint8 RGB.
        background: the colour of its paper.
    """
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    ink = ink_mask(small, background)
    content = ink_box(ink)
    if content is None:
        return []
    found = _divide(_Region(small, ink, content, background), depth=0)
    found = [part for part in found if _area(part.box) <= LARGEST * _area(content)]
    found.sort(key=lambda part: (-_area(part.box), part.box))
    chosen: list[Part] = []
    for part in found:
        if len(chosen) < MOST_PARTS and not any(_overlap(part.box, other.box) > SAME for other in chosen):
            chosen.append(part)
    return [Part(_enlarged(part.box, scale, image), part.background) for part in chosen]


def cut_part(image: Pixels, part: Part) -> Pixels:
    """The pixels of a part, (h, w, 3) uint8 RGB, with a margin of its background."""
    box = part.box
    pixels = image[box.top : box.bottom, box.left : box.right]
    framed: Pixels = cv2.copyMakeBorder(
        pixels, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=part.background
    )
    return framed


@dataclass(frozen=True, slots=True)
class _Region:
    """Ink on a background of one colour."""

    image: Pixels
    ink: Mask
    """Of the same size as the image; empty outside of the region."""
    box: Box
    """Bounds of the ink."""
    background: Colour


def _divide(region: _Region, depth: int) -> list[Part]:
    """The parts of a region, in any order and with duplicates."""
    parts: list[Part] = []
    least = SMALLEST * _area(region.box)
    longer = max(_width(region.box), _height(region.box))
    for gap in GAPS:
        # Large ones first: noise has tens of thousands of components.
        closed = (box for box in map(_bounds, _outlines(_closed(region.ink, gap * longer))) if _is_large(box, least))
        boxes = [box for box in (_ink_box(region.ink, box) for box in closed) if _is_large(box, least)]
        if len(boxes) > 1:
            parts += [Part(box, region.background) for box in boxes]
    around = _surrounding(region) if depth < DEPTH else None
    if around is not None:
        for inner in (_inside_frame(region, around), _on_plate(region, around)):
            if inner is not None:
                parts.append(Part(inner.box, inner.background))
                parts += _divide(inner, depth + 1)
    return parts


class _Component(NamedTuple):
    """A connected component of ink."""

    ink: Mask
    filled: Mask
    """With its holes."""


def _inside_frame(region: _Region, frame: _Component) -> _Region | None:
    """The ink in the holes of a component; None if there is none."""
    inside = cv2.bitwise_and(region.ink, cv2.bitwise_and(frame.filled, cv2.bitwise_not(frame.ink)))
    return _content(region, inside, region.background)


def _on_plate(region: _Region, plate: _Component) -> _Region | None:
    """What has another colour than the component on which it stands; None if the component has only one colour."""
    colour = _median(region.image, plate.ink)
    differs = cv2.bitwise_and(ink_mask(region.image, colour), plate.filled)
    if cv2.countNonZero(differs) > PLATE_CONTENT * cv2.countNonZero(plate.filled):
        return None
    # The edge of a plate has mixed colours.
    return _content(region, cv2.bitwise_and(differs, cv2.erode(plate.filled, EDGE, borderValue=0)), colour)


def _median(image: Pixels, mask: Mask) -> Colour:
    """The median of some pixels of a mask, channel by channel; the mean of both if two are in the middle."""
    places = np.flatnonzero(mask)
    some = np.ascontiguousarray(image.reshape(-1, 3)[places[:: 1 + len(places) // SAMPLED]].T)
    middle = [(some.shape[1] - 1) // 2, some.shape[1] // 2]
    red, green, blue = (np.partition(some, middle)[:, middle].sum(axis=1, dtype=np.intp) // 2).tolist()
    return red, green, blue


def _content(region: _Region, ink: Mask, background: Colour) -> _Region | None:
    """The part of a region with this ink; None if it is too small to be a part."""
    box = ink_box(ink)
    if box is None or not _is_large(box, SMALLEST * _area(region.box)):
        return None
    return _Region(region.image, ink, box, background)


def _surrounding(region: _Region) -> _Component | None:
    """The component of ink that extends over most of the region; None if there is none."""
    bounded = [(_bounds(outline), outline) for outline in _outlines(region.ink)]
    # Of equal ones, the topmost.
    bounded.sort(key=lambda each: (-_area(each[0]), each[0].top, each[0].left))
    if not bounded or _area(bounded[0][0]) < SURROUNDING * _area(region.box):
        return None
    outline = bounded[0][1]
    _, labels = cv2.connectedComponents(region.ink)
    left, top = outline[0, 0].tolist()
    ink = cv2.compare(labels, int(labels[top, left]), cv2.CMP_EQ)
    return _Component(ink, cv2.drawContours(np.zeros_like(ink), [outline], -1, 255, cv2.FILLED))


def _outlines(mask: Mask) -> list[NDArray[np.int32]]:
    """The outer outline of each connected component, (n, 1, 2) of x and y."""
    outlines, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None:
        return []
    is_hole = hierarchy[0, :, 3] >= 0
    return [outline for outline, hole in zip(outlines, is_hole.tolist(), strict=True) if not hole]


def _bounds(outline: NDArray[np.int32]) -> Box:
    """The box around an outline."""
    left, top, width, height = cv2.boundingRect(outline)
    return Box(left, top, left + width, top + height)


def _ink_box(ink: Mask, box: Box) -> Box:
    """Bounds of the ink in a box. At the edge of a picture, closing adds pixels up to the edge."""
    left, top, width, height = cv2.boundingRect(ink[box.top : box.bottom, box.left : box.right])
    return Box(box.left + left, box.top + top, box.left + left + width, box.top + top + height)


def _closed(ink: Mask, gap: float) -> Mask:
    """Ink with gaps up to `gap` pixels closed."""
    side = 1 + 2 * max(1, round(gap / 2))
    closed: Mask = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return closed


def _is_large(box: Box, area: float) -> bool:
    """Whether a box can be a part: not too thin, and at least of this area in pixels."""
    return min(_width(box), _height(box)) >= THINNEST and _area(box) >= area


def _overlap(box: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    width = min(box.right, other.right) - max(box.left, other.left)
    height = min(box.bottom, other.bottom) - max(box.top, other.top)
    common = max(0, width) * max(0, height)
    return common / (_area(box) + _area(other) - common)


def _enlarged(box: Box, scale: float, image: Pixels) -> Box:
    """The place in the image of a box in a copy of this scale."""
    height, width = image.shape[:2]
    return Box(
        int(box.left / scale),
        int(box.top / scale),
        min(width, int(np.ceil(box.right / scale))),
        min(height, int(np.ceil(box.bottom / scale))),
    )


def _width(box: Box) -> int:
    return box.right - box.left


def _height(box: Box) -> int:
    return box.bottom - box.top


def _area(box: Box) -> int:
    return _width(box) * _height(box)
