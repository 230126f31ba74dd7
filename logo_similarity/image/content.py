"""What a picture shows without the page around it: where the content is, and its pixels as if scanned well."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import (
    BORDER_TOLERANCE,
    Box,
    Colour,
    Mask,
    border_colour,
    edge_pixels,
    find_ink,
    ink_box,
    ink_mask,
    median_colour,
)
from logo_similarity.image.light import Light, find_light

LONGEST_SIDE = 1024
"""Content is looked for in a copy of at most this many pixels a side, and cut from the whole picture."""

INSET = 0.05
"""Where the outermost pixels have many colours, the paper's is looked for this share of the sides further in."""
MANY = 0.25
"""Share of the outermost pixels with another colour than their median."""
FEW = 0.1
"""Share of the pixels further in that may have another colour than the paper's."""
GRAINS = 4
"""A picture is noisy if so many separate pixels among the outermost ones are ink."""
LONGEST_GRAIN = 2
"""Pixels of such a grain, on average."""
PALE = 48
"""Ink that differs from the paper by no more than so many levels is stretched to full contrast."""
PALEST = 10
"""Ink that differs by fewer levels is not told from noise."""
SAMPLE = 64
"""Pixels a side in which dark ink is looked for first."""


@dataclass(frozen=True, slots=True)
class Content:
    """Where the content of a picture is, and what it takes to see it as if scanned well."""

    box: Box
    paper: Colour
    light: Light | None = None
    """Set if the page is darker on one side."""
    noisy: bool = False
    """Whether single pixels differ from their neighbours everywhere."""
    gain: float = 1.0
    """Factor for differences from the paper's colour: more than 1 if all ink is pale."""


def find_content(image: Pixels) -> Content:
    """Find the content of a picture, (h, w, 3) uint8 RGB; the whole picture if all of it has the border's colour."""
    height, width = image.shape[:2]
    small = _shrink(image)
    content = _find(small)
    if small is image:
        return content
    across, down = width / small.shape[1], height / small.shape[0]
    left, top, right, bottom = content.box
    box = Box(int(left * across), int(top * down), min(width, round(right * across)), min(height, round(bottom * down)))
    return replace(content, box=box)


def cut(image: Pixels, content: Content) -> Pixels:
    """The content of the picture in which it was found, a view of it if nothing has to be changed."""
    left, top, right, bottom = content.box
    pixels = image[top:bottom, left:right]
    if content.light is None and not content.noisy and content.gain == 1:
        return pixels
    pixels = _shrink(pixels)
    if content.light is not None:
        height, width = image.shape[:2]
        part = (2 * left / width - 1, 2 * top / height - 1, 2 * right / width - 1, 2 * bottom / height - 1)
        pixels = content.light.flatten(pixels, part)
    if content.noisy:
        pixels = cv2.medianBlur(pixels, 3)
    return _stretch(pixels, content.paper, content.gain) if content.gain != 1 else pixels


def _shrink(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _find(image: Pixels) -> Content:
    paper, light, noisy = border_colour(image), None, False
    mask = ink_mask(image, paper)
    others = edge_pixels(mask)
    if others.any():
        noisy = _is_noisy(others)
        if noisy:
            image = cv2.medianBlur(image, 3)
        light = find_light(image, paper)
        if light is not None:
            image, paper = light.flatten(image), light.brightest
        elif np.count_nonzero(others) > MANY * len(others):
            paper = _paper_further_in(image) or paper
        mask = ink_mask(image, paper)
    tolerance = _tolerance(image, paper)
    if tolerance != BORDER_TOLERANCE:
        mask = ink_mask(image, paper, tolerance)
    box = find_ink(mask)
    if box != ink_box(mask) and not edge_pixels(faint := ink_mask(image, paper, tolerance // 2)).any():
        box = find_ink(mask, faint)  # what was left out may be the darkest part of something pale
    if box is None:
        return Content(Box(0, 0, image.shape[1], image.shape[0]), paper, light, noisy)
    gain = 1.0 if tolerance == BORDER_TOLERANCE else _gain(image, box, paper)
    return Content(box, paper, light, noisy, gain)


def _is_noisy(edge: Mask) -> bool:
    """Whether the ink among the outermost pixels is that of single pixels everywhere."""
    runs = int(np.count_nonzero(edge[1:] > edge[:-1]))
    return runs >= GRAINS and int(np.count_nonzero(edge)) <= LONGEST_GRAIN * runs


def _paper_further_in(image: Pixels) -> Colour | None:
    """The colour of the paper inside the corners that a skewed scan leaves; None if there is no such colour."""
    depth = int(INSET * min(image.shape[:2]))
    inner = edge_pixels(image, depth)
    paper = median_colour(inner)
    others = ink_mask(inner[np.newaxis], paper)
    return paper if others.mean() <= 255 * FEW else None


def _tolerance(image: Pixels, paper: Colour) -> int:
    """By how many levels paper may differ from its colour: fewer than usual if all ink is pale."""
    size = (min(SAMPLE, image.shape[1]), min(SAMPLE, image.shape[0]))
    sample = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    if cv2.hasNonZero(ink_mask(sample, paper, PALE)):
        return BORDER_TOLERANCE
    difference = cv2.blur(cv2.absdiff(image, (*paper, 0)), (3, 3)).max(axis=2)
    contrast = int(difference.max())
    noise = float(np.percentile(np.abs(edge_pixels(image).astype(np.int16) - paper), 95))
    if not PALEST <= contrast <= PALE or contrast < 4 * noise:
        return BORDER_TOLERANCE
    return min(BORDER_TOLERANCE - 1, max(contrast // 4, round(2 * noise)))


def _gain(image: Pixels, box: Box, paper: Colour) -> float:
    """The largest factor at which no colour in the box leaves 0 to 255."""
    blurred = cv2.blur(image[box.top : box.bottom, box.left : box.right], (3, 3))
    darker = np.array(paper) - blurred.min(axis=(0, 1))
    lighter = blurred.max(axis=(0, 1)) - np.array(paper)
    room = np.concatenate((np.array(paper) / np.maximum(darker, 1), (255 - np.array(paper)) / np.maximum(lighter, 1)))
    grows = np.concatenate((darker, lighter)) > 1
    return float(max(1.0, room[grows].min())) if grows.any() else 1.0


def _stretch(image: Pixels, paper: Colour, gain: float) -> Pixels:
    levels = np.arange(256)[:, np.newaxis]
    table = np.clip(np.rint(np.array(paper) + (levels - np.array(paper)) * gain), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[np.newaxis])
