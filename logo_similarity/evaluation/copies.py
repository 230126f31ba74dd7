"""Changed copies of an image, as infringers and scanners produce them. Each change is deterministic.

A change takes a mark on a uniform background, (h, w, 3) uint8 RGB, and returns an image of the same dtype and channels;
the size may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from logo_similarity.image.preprocess import border_colour, content_box

if TYPE_CHECKING:
    from logo_similarity.image.decode import Pixels

Change = Callable[["Pixels"], "Pixels"]
Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
WORD = "brandword"
GREY = 128


def recolour(image: Pixels) -> Pixels:
    """Rotate the colour channels (red to green, green to blue, blue to red) and turn black into dark blue."""
    channels = image[:, :, [2, 0, 1]].astype(np.int16)
    darkness = 255 - channels.max(axis=2)
    channels[:, :, 2] += darkness // 2
    return np.clip(channels, 0, 255).astype(np.uint8)


def greyscale(image: Pixels) -> Pixels:
    """Remove the colour."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def invert(image: Pixels) -> Pixels:
    """Return the negative."""
    return cv2.bitwise_not(image)


def rotate_15(image: Pixels) -> Pixels:
    """Rotate by 15 degrees, anticlockwise."""
    edge = max(image.shape[:2]) // 4
    padded = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=border_colour(image))
    height, width = padded.shape[:2]
    rotation = cv2.getRotationMatrix2D((width / 2, height / 2), 15, 1)
    return cv2.warpAffine(
        padded,
        rotation,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border_colour(image),
    )


def rotate_90(image: Pixels) -> Pixels:
    """Rotate by 90 degrees, anticlockwise."""
    return np.ascontiguousarray(np.rot90(image))


def rotate_180(image: Pixels) -> Pixels:
    """Rotate by 180 degrees."""
    return np.ascontiguousarray(np.rot90(image, 2))


def rotate_270(image: Pixels) -> Pixels:
    """Rotate by 270 degrees, anticlockwise."""
    return np.ascontiguousarray(np.rot90(image, 3))


def mirror(image: Pixels) -> Pixels:
    """Mirror horizontally."""
    return np.ascontiguousarray(image[:, ::-1])


def cover(image: Pixels) -> Pixels:
    """Cover the lower right corner of the mark's bounding box, 30 % of its area, with a grey box."""
    box = content_box(image, border_colour(image))
    side = 0.3**0.5
    copy = image.copy()
    top = box.bottom - round((box.bottom - box.top) * side)
    left = box.right - round((box.right - box.left) * side)
    copy[top : box.bottom, left : box.right] = GREY
    return copy


def add_word(image: Pixels) -> Pixels:
    """Put a word below the mark, as wide as the mark."""
    background = border_colour(image)
    box = content_box(image, background)
    mark = image[box.top : box.bottom, box.left : box.right]
    font = ImageFont.load_default(64)
    left, top, right, bottom = font.getbbox(WORD)
    strip = Image.new("RGB", (int(right - left), int(bottom - top)), background)
    ImageDraw.Draw(strip).text((-left, -top), WORD, font=font, fill=contrasting(background))
    height, width = mark.shape[:2]
    scale = width / strip.width
    letters = cv2.resize(
        np.asarray(strip, np.uint8), (width, max(1, round(strip.height * scale))), interpolation=cv2.INTER_AREA
    )
    gap = np.full((max(1, height // 10), width, 3), background, np.uint8)
    lockup = np.concatenate((mark, gap, letters))
    return cv2.copyMakeBorder(lockup, 12, 12, 12, 12, cv2.BORDER_CONSTANT, value=background)


def move_to_corner(image: Pixels) -> Pixels:
    """Shrink the image to a third and place it in the upper left corner of a canvas of the original size."""
    height, width = image.shape[:2]
    canvas = np.full_like(image, border_colour(image))
    small = cv2.resize(image, (max(1, width // 3), max(1, height // 3)), interpolation=cv2.INTER_AREA)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas


def trace_outline(image: Pixels) -> Pixels:
    """Keep only the edges, black on white."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return cv2.cvtColor(cv2.bitwise_not(cv2.threshold(edges, 40, 255, cv2.THRESH_BINARY)[1]), cv2.COLOR_GRAY2RGB)


def blur(image: Pixels) -> Pixels:
    """Blur (sigma 2 pixels) and compress as JPEG with quality 20."""
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    return cv2.imdecode(cv2.imencode(".jpg", blurred, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)


CHANGES: dict[str, Change] = {
    "recoloured": recolour,
    "greyscale": greyscale,
    "inverted": invert,
    "rotated 15": rotate_15,
    "rotated 90": rotate_90,
    "rotated 180": rotate_180,
    "rotated 270": rotate_270,
    "mirrored": mirror,
    "30 % covered": cover,
    "a word under it": add_word,
    "in a corner": move_to_corner,
    "outline only": trace_outline,
    "blurred, JPEG 20": blur,
}
"""The changes by name. A search with a changed copy should still find the original."""


def contrasting(background: Colour) -> Colour:
    """Black, or white on a dark background."""
    return (0, 0, 0) if sum(background) > 3 * GREY else (255, 255, 255)
