"""Changed copies of a picture, as infringers and scanners make them. The same copy each time.

Each change takes (h, w, 3) uint8 RGB on paper of one colour and gives the same type.
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
WORD = "brandword"
GREY = 128


def recolour(image: Pixels) -> Pixels:
    """Other hues: red becomes green, green blue, blue red; black becomes dark blue."""
    turned = image[:, :, [2, 0, 1]].astype(np.int16)
    dark = 255 - turned.max(axis=2)
    turned[:, :, 2] += dark // 2
    return np.clip(turned, 0, 255).astype(np.uint8)


def greyscale(image: Pixels) -> Pixels:
    """Without colour."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def invert(image: Pixels) -> Pixels:
    """The negative."""
    return cv2.bitwise_not(image)


def rotate_15(image: Pixels) -> Pixels:
    """Turned by 15 degrees."""
    edge = max(image.shape[:2]) // 4
    wide = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=border_colour(image))
    height, width = wide.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 15, 1)
    return cv2.warpAffine(
        wide,
        turn,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border_colour(image),
    )


def rotate_90(image: Pixels) -> Pixels:
    """Turned by a right angle, anticlockwise."""
    return np.ascontiguousarray(np.rot90(image))


def mirror(image: Pixels) -> Pixels:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


def cover(image: Pixels) -> Pixels:
    """A grey box over 30 % of the mark's own box, in its lower right corner."""
    box = content_box(image, border_colour(image))
    share = 0.3**0.5
    out = image.copy()
    top = box.bottom - round((box.bottom - box.top) * share)
    left = box.right - round((box.right - box.left) * share)
    out[top : box.bottom, left : box.right] = GREY
    return out


def word(image: Pixels) -> Pixels:
    """A word under it, as wide as the mark."""
    paper = border_colour(image)
    box = content_box(image, paper)
    mark = image[box.top : box.bottom, box.left : box.right]
    font = ImageFont.load_default(64)
    left, top, right, bottom = font.getbbox(WORD)
    strip = Image.new("RGB", (int(right - left), int(bottom - top)), paper)
    ink = (0, 0, 0) if sum(paper) > 3 * GREY else (255, 255, 255)
    ImageDraw.Draw(strip).text((-left, -top), WORD, font=font, fill=ink)
    height, width = mark.shape[:2]
    scale = width / strip.width
    letters = cv2.resize(
        np.asarray(strip, np.uint8), (width, max(1, round(strip.height * scale))), interpolation=cv2.INTER_AREA
    )
    gap = np.full((max(1, height // 10), width, 3), paper, np.uint8)
    out = np.concatenate((mark, gap, letters))
    return cv2.copyMakeBorder(out, 12, 12, 12, 12, cv2.BORDER_CONSTANT, value=paper)


def corner(image: Pixels) -> Pixels:
    """A third of its size in the corner of a canvas."""
    paper = border_colour(image)
    height, width = image.shape[:2]
    out = np.full_like(image, paper)
    small = cv2.resize(image, (max(1, width // 3), max(1, height // 3)), interpolation=cv2.INTER_AREA)
    out[: small.shape[0], : small.shape[1]] = small
    return out


def outline(image: Pixels) -> Pixels:
    """Its edges alone, black on white."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return cv2.cvtColor(cv2.bitwise_not(cv2.threshold(edges, 40, 255, cv2.THRESH_BINARY)[1]), cv2.COLOR_GRAY2RGB)


def blur(image: Pixels) -> Pixels:
    """Blurred (sigma 2 pixels) and saved as a JPEG of quality 20."""
    soft = cv2.GaussianBlur(image, (0, 0), 2)
    return cv2.imdecode(cv2.imencode(".jpg", soft, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)


CHANGES: dict[str, Change] = {
    "recoloured": recolour,
    "greyscale": greyscale,
    "inverted": invert,
    "rotated 15": rotate_15,
    "rotated 90": rotate_90,
    "mirrored": mirror,
    "30 % covered": cover,
    "a word under it": word,
    "in a corner": corner,
    "outline only": outline,
    "blurred, JPEG 20": blur,
}
"""The changes that a search should see through, by name."""
