"""Composites: pictures that show a mark together with something else. Each is deterministic.

A composite is made from a mark and two other marks, (h, w, 3) uint8 RGB on uniform backgrounds, with a random generator
that depends on the mark's file and on the kind of composite (`generator`). Words are set in Pillow's bundled font.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from logo_similarity.evaluation.copies import contrasting
from logo_similarity.image.preprocess import Box, border_colour, content_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logo_similarity.evaluation.copies import Colour
    from logo_similarity.image.decode import Pixels

    Floats = NDArray[np.float32]

OTHERS = 2
"""Number of other marks that a composite may show."""
SIDE = 256
"""Longer side of the mark in most composites, in pixels."""
MARGIN = 24
OPAQUE = 64
"""A pixel that differs from the background by this or more in a channel is opaque ink."""
SCREEN = (800, 1280)
"""Height and width of a screen, in pixels."""
LABEL = (380, 560)
"""Height and width of a label, in pixels."""
SMALL = 110
"""Longer side of a mark in a label, in pixels."""
GROUND = 384
"""Height and width of a gradient or photograph, in pixels."""
FAR = 1 << 20
"""Stands for the distance to ink in a row without ink."""
WORDS = (
    "Alvora", "Brenta", "Cordial", "Dunmore", "Estrella", "Fjord", "Galatea", "Hexon", "Ivory", "Juniper", "Kestrel",
    "Lumina", "Marigold", "Nordex", "Oakfield", "Pavona", "Quartz", "Rivera", "Solveig", "Tandem", "Umbra", "Vireo",
    "Westgate", "Yarrow", "Zephyr",
)  # fmt: skip
BADGES = (
    (178, 34, 34), (20, 90, 160), (10, 110, 70), (110, 40, 130), (200, 80, 10), (30, 30, 30), (0, 115, 130), (150, 20, 80),
)  # fmt: skip
"""Colours on which white is legible."""


@dataclass(frozen=True, slots=True)
class Composite:
    """A picture that contains a mark."""

    pixels: Pixels
    """(h, w, 3) uint8 RGB."""
    box: Box
    """The mark's bounding box in the picture."""


Compose = Callable[["Pixels", Sequence["Pixels"], np.random.Generator], Composite]
"""Makes a composite of a mark, with `OTHERS` other marks at hand."""


@dataclass(frozen=True, slots=True)
class Ink:
    """Something to be drawn: colours, and where they are opaque."""

    colours: Pixels
    """(h, w, 3) uint8 RGB."""
    alpha: Floats
    """(h, w) float32, 0 to 1."""

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.alpha.shape[0]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.alpha.shape[1]

    def fit(self, height: float, width: float) -> Ink:
        """The largest copy of the same proportions within a height and a width."""
        scale = min(height / self.height, width / self.width)
        size = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return Ink(cv2.resize(self.colours, size, interpolation=kind), cv2.resize(self.alpha, size, interpolation=kind))


def generator(kind: str, file: str) -> np.random.Generator:
    """The random generator of a kind of composite for a mark's file."""
    digest = hashlib.blake2b(f"{kind}/{file}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))


def add_word_right(mark: Pixels, _others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """A word to the right of the mark, 70 % of its height."""
    background = border_colour(mark)
    ink = _cut(mark).fit(SIDE, SIDE)
    word = _word(random, background).fit(0.7 * ink.height, 6 * SIDE)
    canvas, box, _ = _side_by_side(ink, word, round(0.15 * ink.height), background)
    return Composite(canvas, box)


def put_in_badge(mark: Pixels, _others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """The mark in white on a coloured circle or rounded square."""
    cut = _cut(mark)
    difference = np.linalg.norm(cut.colours.astype(np.float32) - border_colour(mark), axis=2)
    white = Ink(np.full_like(cut.colours, 255), (difference / max(1.0, float(difference.max()))).astype(np.float32))
    colour = BADGES[random.integers(len(BADGES))]
    canvas = _canvas((SIDE + 2 * MARGIN, SIDE + 2 * MARGIN), (255, 255, 255))
    first, last, middle = MARGIN, MARGIN + SIDE, MARGIN + SIDE // 2
    if random.random() < 0.5:
        cv2.circle(canvas, (middle, middle), SIDE // 2, colour, -1, cv2.LINE_AA)
    else:
        radius = SIDE // 6
        cv2.rectangle(canvas, (first + radius, first), (last - radius, last), colour, -1)
        cv2.rectangle(canvas, (first, first + radius), (last, last - radius), colour, -1)
        for corner in ((x, y) for x in (first + radius, last - radius) for y in (first + radius, last - radius)):
            cv2.circle(canvas, corner, radius, colour, -1, cv2.LINE_AA)
    return Composite(canvas, _draw_centred(canvas, white.fit(0.6 * SIDE, 0.6 * SIDE), middle, middle))


def put_beside(mark: Pixels, others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """The mark beside another mark of equal size, at a distance of 15 % of it."""
    return _pair(mark, others[0], random, lambda _first, _second: round(0.15 * SIDE))


def put_in_label(mark: Pixels, others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """The mark small in a framed label, with three words and a second mark of equal size."""
    background = border_colour(mark)
    height, width = LABEL
    canvas = _canvas(LABEL, background)
    cv2.rectangle(canvas, (14, 14), (width - 15, height - 15), contrasting(background), int(random.integers(2, 6)))
    middle = height // 2
    for y, letters in ((70, 54), (middle, 30), (height - 65, 36)):
        _draw_centred(canvas, _word(random, background).fit(letters, 0.38 * width), width // 2, y)
    left, right = 100, width - 100
    at, other_at = (left, right) if random.random() < 0.5 else (right, left)
    _draw_centred(canvas, _cut(_on(background, others[0])).fit(SMALL, SMALL), other_at, middle)
    return Composite(canvas, _draw_centred(canvas, _cut(mark).fit(SMALL, SMALL), at, middle))


def touch(mark: Pixels, others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """The mark beside another mark of equal size, as near as their ink touches."""
    return _pair(mark, others[0], random, lambda first, second: -_clearance(first, second) - 1)


def overlap(mark: Pixels, others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """Another mark of equal size overlaps 15 to 25 % of the mark's width, over it or under it."""
    share = random.uniform(0.15, 0.25)
    return _pair(mark, others[0], random, lambda first, second: -max(1, round(share * min(first.width, second.width))))


def put_on_gradient(mark: Pixels, _others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """The mark on a gradient between two colours, light ones behind dark ink."""
    ink = _cut(mark).fit(SIDE, SIDE)
    low, high = _tones(ink)
    first = random.integers(low, high, 3)
    last = low + high - first
    angle = random.uniform(0, 2 * np.pi)
    across = np.linspace(-1, 1, GROUND)
    share = (np.cos(angle) * across + np.sin(angle) * across[:, np.newaxis]) / (2 * 2**0.5) + 0.5
    canvas = np.rint(first + share[:, :, np.newaxis] * (last - first)).astype(np.uint8)
    return Composite(canvas, _draw_centred(canvas, ink, GROUND // 2, GROUND // 2))


def put_on_photograph(mark: Pixels, _others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """The mark on smooth coloured noise of several scales, like a photograph out of focus; light behind dark ink."""
    ink = _cut(mark).fit(SIDE, SIDE)
    scene = np.zeros((GROUND, GROUND, 3), np.float32)
    for cells in (3, 6, 12, 24, 48):
        light, colours = random.normal(size=(cells, cells, 1)), random.normal(size=(cells, cells, 3))
        noise = (light + colours / 2).astype(np.float32)
        scene += cv2.resize(noise, (GROUND, GROUND), interpolation=cv2.INTER_CUBIC) * (3 / cells) ** 0.6
    low, high = _tones(ink)
    scene -= scene.min()
    canvas = np.rint(low + scene * ((high - low) / scene.max())).astype(np.uint8)
    return Composite(canvas, _draw_centred(canvas, ink, GROUND // 2, GROUND // 2))


def cut_by_frame(mark: Pixels, _others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """A rectangle or circle around the mark; its line crosses the mark, 15 % from the end of its longer side."""
    background = border_colour(mark)
    ink = _cut(mark).fit(SIDE, SIDE)
    edge = round(0.65 * SIDE)
    canvas = _canvas((ink.height + 2 * edge, ink.width + 2 * edge), background)
    box = _draw(canvas, ink, edge, edge)
    tall = ink.height > ink.width
    start, end = (box.top, box.bottom) if tall else (box.left, box.right)
    inside, outside = round(0.15 * SIDE), round(0.15 * SIDE)
    lines = (start + inside, end + outside) if random.random() < 0.5 else (start - outside, end - inside)
    colour, thickness = contrasting(background), round(0.03 * SIDE)
    if random.random() < 0.5:
        across = (box.left - outside, box.right + outside) if tall else (box.top - outside, box.bottom + outside)
        corners = list(zip(across, lines, strict=True)) if tall else list(zip(lines, across, strict=True))
        cv2.rectangle(canvas, *corners, colour, thickness)
    else:
        middle = sum(lines) // 2
        centre = ((box.left + box.right) // 2, middle) if tall else (middle, (box.top + box.bottom) // 2)
        cv2.circle(canvas, centre, (lines[1] - lines[0]) // 2, colour, thickness, cv2.LINE_AA)
    return Composite(canvas, box)


def put_on_screen(mark: Pixels, others: Sequence[Pixels], random: np.random.Generator) -> Composite:
    """A picture of a whole screen: a title bar, lines of text, two other marks, and the mark at 20 % of the width."""
    background = border_colour(mark)
    height, width = SCREEN
    screen = Image.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(screen)
    draw.rectangle((0, 0, width, 48), fill=(70, 80, 100))
    title, text = ImageFont.load_default(24), ImageFont.load_default(18)
    draw.text((24, 10), " ".join(random.choice(WORDS, 3)), font=title, fill=(255, 255, 255))
    for y in range(560, height - 30, 30):
        draw.text(
            (60, y), " ".join(random.choice(WORDS, random.integers(6, 13))), font=text, fill=contrasting(background)
        )
    canvas = np.array(screen)
    places = random.permutation([width // 6, width // 2, width - width // 6]).tolist()
    for other, x in zip(others, places[1:], strict=True):
        _draw_centred(canvas, _cut(_on(background, other)).fit(140, 140), x, 300)
    return Composite(canvas, _draw_centred(canvas, _cut(mark).fit(400, width / 5), places[0], 300))


COMPOSITES: dict[str, Compose] = {
    "a word to its right": add_word_right,
    "white in a badge": put_in_badge,
    "beside another mark": put_beside,
    "small in a label": put_in_label,
    "touching another mark": touch,
    "overlapping another mark": overlap,
    "on a gradient": put_on_gradient,
    "on a photograph": put_on_photograph,
    "cut by a frame": cut_by_frame,
    "on a screen": put_on_screen,
}
"""The composites by name. A search with the mark should find the composite, and the reverse."""


def _pair(mark: Pixels, other: Pixels, random: np.random.Generator, gap: Callable[[Ink, Ink], int]) -> Composite:
    """The mark and another mark of equal size side by side, in random order."""
    background = border_colour(mark)
    ink, second = (_cut(image).fit(SIDE, SIDE) for image in (mark, _on(background, other)))
    if random.random() < 0.5:
        canvas, box, _ = _side_by_side(ink, second, gap(ink, second), background)
    else:
        canvas, _, box = _side_by_side(second, ink, gap(second, ink), background)
    return Composite(canvas, box)


def _side_by_side(left: Ink, right: Ink, gap: int, background: Colour) -> tuple[Pixels, Box, Box]:
    """A picture of two things, and their boxes. The right one is over the left one if the gap is negative."""
    start = min(0, left.width + gap)
    width = max(left.width, left.width + gap + right.width) - start
    height = max(left.height, right.height)
    canvas = _canvas((height + 2 * MARGIN, width + 2 * MARGIN), background)
    tops = [MARGIN + (height - ink.height) // 2 for ink in (left, right)]
    first = _draw(canvas, left, MARGIN - start, tops[0])
    return canvas, first, _draw(canvas, right, first.right + gap, tops[1])


def _clearance(left: Ink, right: Ink) -> int:
    """Columns without ink between two things side by side, in the row where they are nearest."""
    height = max(left.height, right.height)
    free = []
    for ink in (Ink(left.colours[:, ::-1], left.alpha[:, ::-1]), right):
        rows = np.full(height, FAR)
        solid = ink.alpha >= 0.5
        top = (height - ink.height) // 2
        rows[top : top + ink.height] = np.where(solid.any(axis=1), solid.argmax(axis=1), FAR)
        free.append(rows)
    nearest = int((free[0] + free[1]).min())
    return nearest if nearest < FAR else 0


def _cut(image: Pixels) -> Ink:
    """The content of an image, opaque where it differs from the background."""
    background = border_colour(image)
    box = content_box(image, background)
    colours = image[box.top : box.bottom, box.left : box.right]
    difference = np.abs(colours.astype(np.int16) - background).max(axis=2)
    return Ink(colours, np.minimum(difference / OPAQUE, 1).astype(np.float32))


def _on(background: Colour, image: Pixels) -> Pixels:
    """An image that is visible on a background: its negative, if one of the two is dark."""
    return cv2.bitwise_not(image) if contrasting(background) != contrasting(border_colour(image)) else image


def _tones(ink: Ink) -> tuple[int, int]:
    """Range of the channels of a background on which the ink is visible."""
    weights = ink.alpha / max(1e-6, float(ink.alpha.sum()))
    brightness = float((ink.colours.mean(axis=2) * weights).sum())
    return (140, 255) if brightness < 128 else (0, 115)


def _word(random: np.random.Generator, background: Colour) -> Ink:
    """A random word in black, or in white on a dark background."""
    text = WORDS[random.integers(len(WORDS))]
    font = ImageFont.load_default(96)
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), text, font=font, fill=255)
    alpha = np.asarray(mask).astype(np.float32) / np.float32(255)
    return Ink(_canvas(alpha.shape, contrasting(background)), alpha)


def _canvas(size: tuple[int, ...], colour: Colour) -> Pixels:
    """An image of one colour; `size` is its height and width."""
    canvas = np.empty((*size, 3), np.uint8)
    canvas[:] = colour
    return canvas


def _draw_centred(canvas: Pixels, ink: Ink, x: int, y: int) -> Box:
    """Draw with the centre at a point. Returns the place."""
    return _draw(canvas, ink, x - ink.width // 2, y - ink.height // 2)


def _draw(canvas: Pixels, ink: Ink, left: int, top: int) -> Box:
    """Draw with the upper left corner at a point. Returns the place."""
    box = Box(left, top, left + ink.width, top + ink.height)
    region = canvas[box.top : box.bottom, box.left : box.right]
    alpha = ink.alpha[:, :, np.newaxis]
    region[:] = np.rint(region * (1 - alpha) + ink.colours * alpha).astype(np.uint8)
    return box
