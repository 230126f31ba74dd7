"""Views: random variations of a mark as a designer, a scanner or an imitator makes them. Arrays only, no torch.

For training, a view shows the same mark as the original: recoloured, redrawn as outline or silhouette, placed on a
badge, rotated, distorted, partly covered, cut, combined with a word or another mark, or degraded. `ViewOdds` sets the
probabilities.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from logo_similarity.image.preprocess import border_colour, content_box

if TYPE_CHECKING:
    from logo_similarity.image.decode import Pixels

Mask = NDArray[np.uint8]
"""(h, w) uint8: 255 on the mark, 0 on the background."""
Random = np.random.Generator

LEAST_INK = 3.0
"""A view whose mask has a smaller mean (0 to 255) shows too little of the mark."""
INK_DIFFERENCE = 96
"""A pixel that differs from the background by at least this much in one channel is fully ink."""
INK_OF_DIFFERENCE = np.minimum(np.arange(256) * (255 / INK_DIFFERENCE), 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class ViewOdds:
    """Probability of each change. They are independent: a view may combine several."""

    part_removed: float = 0.06
    redrawn: float = 0.25
    recoloured: float = 0.3
    badge: float = 0.12
    joined: float = 0.05
    word: float = 0.08
    mirrored: float = 0.06
    right_angle: float = 0.15
    warped: float = 0.7
    bent: float = 0.25
    covered: float = 0.1
    cut: float = 0.06
    inverted: float = 0.1
    grey: float = 0.12
    degraded: float = 0.25


GENTLE = ViewOdds()
"""For pairs of two different drawings of a mark, which differ already."""
STRONG = ViewOdds(
    part_removed=0.12,
    redrawn=0.5,
    recoloured=0.5,
    badge=0.22,
    joined=0.08,
    word=0.14,
    mirrored=0.15,
    right_angle=0.4,
    warped=0.9,
    bent=0.5,
    covered=0.18,
    cut=0.15,
    inverted=0.2,
    grey=0.2,
    degraded=0.35,
)
"""For pairs of two views of the same drawing."""


@dataclass(frozen=True, slots=True)
class Views:
    """Makes views."""

    side: int
    """Longer side of the mark in a view, in pixels; somewhat larger than the network's input."""
    fonts: tuple[Path, ...] = field(default=())
    """Font files for the words that are added to marks; empty: Pillow's default font."""

    def make(self, image: Pixels, other: Pixels | None, odds: ViewOdds, random: Random) -> Pixels:
        """Make one view.

        Args:
            image: (h, w, 3) uint8 RGB, a mark on a uniform background.
            other: the same, another mark to place beside it; None: no other mark.
            odds: the probabilities of the changes.
            random: the source of randomness; the same state gives the same view.

        Returns:
            (h, w, 3) uint8 RGB; the size varies.
        """
        original = _crop(image, self.side)
        view = self._redesign(original, odds, random)
        if other is not None:
            view = _join(view, _crop(other, self.side), random)
        if random.random() < odds.word:
            view = self._add_word(view, random)
        view = self._reproduce(view, odds, random)
        # The changes may erase the mark; then the original is the view.
        return view if ink_mask(view).mean() > LEAST_INK or ink_mask(original).mean() <= LEAST_INK else original

    def _redesign(self, image: Pixels, odds: ViewOdds, random: Random) -> Pixels:
        """Changes to the mark itself, as a designer makes them."""
        if random.random() < odds.part_removed:
            image = _remove_part(image, random)
        if random.random() < odds.redrawn:
            image = _redraw(image, random)
        elif random.random() < odds.recoloured:
            image = _recolour(image, random)
        if random.random() < odds.mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
        if random.random() < odds.right_angle:
            image = np.ascontiguousarray(np.rot90(image, int(random.integers(1, 4))))
        return _bend(image, random) if random.random() < odds.bent else image

    def _reproduce(self, image: Pixels, odds: ViewOdds, random: Random) -> Pixels:
        """Changes to its presentation, as use and copying make them."""
        if random.random() < odds.badge:
            image = _place_on_badge(image, self.side + 8, random)
        if random.random() < odds.warped:
            image = _warp(image, random)
        if random.random() < odds.covered:
            image = _cover(image, random)
        if random.random() < odds.cut:
            image = _cut(image, random)
        if random.random() < odds.inverted:
            image = cv2.bitwise_not(image)
        if random.random() < odds.grey:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return _degrade(image, random) if random.random() < odds.degraded else image

    def _add_word(self, image: Pixels, random: Random) -> Pixels:
        background = border_colour(image)
        ink = _contrasting_colour(background, random) if random.random() < 0.5 else _median_ink(image, background)
        strip = self._draw_word(background, ink, random)
        height, width = image.shape[:2]
        if random.random() < 0.75:  # below or above the mark
            word_width = width * random.uniform(0.7, 1.5)
            strip = _scale(strip, min(word_width / strip.shape[1], 0.6 * height / strip.shape[0]))
            first, second = (image, strip) if random.random() < 0.85 else (strip, image)
            return _stack(first, second, background, gap=int(height * random.uniform(0.03, 0.15)))
        strip = _scale(strip, height * random.uniform(0.25, 0.5) / strip.shape[0])
        # Beside the mark: stacked after a rotation, and rotated back.
        rotated = [np.ascontiguousarray(np.rot90(part)) for part in (strip, image)]
        return np.ascontiguousarray(
            np.rot90(_stack(rotated[0], rotated[1], background, gap=int(width * random.uniform(0.03, 0.12))), -1)
        )

    def _draw_word(self, background: tuple[int, ...], ink: tuple[int, ...], random: Random) -> Pixels:
        """A random word in letters 40 pixels high."""
        size = 40
        if self.fonts:
            font: ImageFont.FreeTypeFont | ImageFont.ImageFont = ImageFont.truetype(
                self.fonts[int(random.integers(len(self.fonts)))], size
            )
        else:
            font = ImageFont.load_default(size)
        letters = string.ascii_lowercase if random.random() < 0.5 else string.ascii_uppercase
        word = "".join(random.choice(list(letters), int(random.integers(3, 11))))
        if random.random() < 0.4:
            word = word.capitalize()
        box = font.getbbox(word)
        picture = Image.new(
            "RGB", (max(8, int(box[2] - box[0]) + 4), max(8, int(box[3] - box[1]) + 4)), tuple(background)
        )
        ImageDraw.Draw(picture).text((2 - box[0], 2 - box[1]), word, font=font, fill=tuple(ink))
        return np.asarray(picture, np.uint8)


def ink_mask(image: Pixels) -> Mask:
    """Mask of the pixels that differ from the background, (h, w) uint8; edges have values between 0 and 255."""
    red, green, blue = cv2.split(cv2.absdiff(image, np.full_like(image, border_colour(image))))
    return cv2.LUT(cv2.max(cv2.max(red, green), blue), INK_OF_DIFFERENCE)  # faster than numpy's maximum


def _crop(image: Pixels, side: int) -> Pixels:
    """The content of an image, scaled to a longer side of `side` pixels, with a narrow margin."""
    border = border_colour(image)
    box = content_box(image, border)
    width, height = box.right - box.left, box.bottom - box.top
    scale = side / max(width, height)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    image = cv2.resize(image[box.top : box.bottom, box.left : box.right], size, interpolation=cv2.INTER_LINEAR)
    return _pad(image, 4, border)


def _remove_part(image: Pixels, random: Random) -> Pixels:
    """Remove one connected component of at most 40 % of the mark."""
    mask = ink_mask(image)
    count, parts, stats, _ = cv2.connectedComponentsWithStats((mask > 96).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    candidates = np.flatnonzero((areas > 12) & (areas < 0.4 * areas.sum())) + 1
    if count <= 2 or len(candidates) == 0:
        return image
    part = cv2.dilate((parts == random.choice(candidates)).astype(np.uint8), np.ones((5, 5), np.uint8))
    view = image.copy()
    view[part > 0] = border_colour(image)
    return view


def _redraw(image: Pixels, random: Random) -> Pixels:
    """Redraw the shape in one colour: as outline or silhouette, bolder, thinner, rounder, or flat."""
    mask = ink_mask(image)
    if np.mean(mask[2:-2, 2:-2] > 128) > 0.9:  # no background: take the shape from the lightness
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        mask = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]
    style = random.choice(
        ["outline", "silhouette", "bolder", "thinner", "rounder", "flat"], p=[0.28, 0.1, 0.2, 0.12, 0.2, 0.1]
    )
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(random.integers(2, 7)),) * 2)
    mask = cv2.copyMakeBorder(mask, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=0)
    if style == "outline":
        mask = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel)
    elif style == "silhouette":
        mask = _fill_holes(mask)
    elif style == "bolder":
        mask = cv2.dilate(mask, kernel)
    elif style == "thinner":
        thin = cv2.erode(mask, kernel)
        mask = thin if thin.sum() > 0.3 * mask.sum() else mask  # fine lines would vanish
    elif style == "rounder":
        sigma = random.uniform(1.5, 5)
        blurred = cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32)
        mask = np.clip((blurred - 127) * sigma * 2 + 127, 0, 255).astype(np.uint8)
    background = _random_colour(random)
    return _paint(mask, background, _contrasting_colour(background, random) if random.random() < 0.7 else (0, 0, 0))


def _fill_holes(mask: Mask) -> Mask:
    """Fill everything that the background cannot reach from the upper left corner."""
    regions = (mask > 96).astype(np.uint8)
    cv2.floodFill(regions, None, (0, 0), 2)
    return np.where(regions == 2, mask, 255).astype(np.uint8)


def _recolour(image: Pixels, random: Random) -> Pixels:
    """Change the colours: two inks by lightness, permuted channels, or random inks for the connected components."""
    choice = random.random()
    if choice < 0.35:
        dark, light = np.array(_random_colour(random)), np.array(_random_colour(random))
        ramp = np.linspace(dark, light, 256).astype(np.uint8)
        if np.abs(dark.astype(int) - light).max() < 80:
            return image
        return ramp[cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)]
    if choice < 0.6:
        return np.ascontiguousarray(image[:, :, random.permutation(3)])
    background = border_colour(image)
    mask = ink_mask(image)
    count, parts = cv2.connectedComponents((mask > 128).astype(np.uint8))
    new_background = background if random.random() < 0.6 else _random_colour(random)
    inks = np.array([_contrasting_colour(new_background, random) for _ in range(min(count, 6))], np.uint8)
    grown = cv2.dilate(parts.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
    alpha = mask[:, :, None].astype(np.float32) / 255
    return (inks[grown % len(inks)] * alpha + np.array(new_background) * (1 - alpha)).astype(np.uint8)


def _place_on_badge(image: Pixels, side: int, random: Random) -> Pixels:
    """Place the mark on a circle, a square, a rounded square or in a ring, mostly in one contrasting colour."""
    background, fill = (255, 255, 255) if random.random() < 0.7 else _random_colour(random), _random_colour(random)
    if max(abs(a - b) for a, b in zip(background, fill, strict=True)) < 60:
        fill = _contrasting_colour(background, random)
    plate = np.full((side, side, 3), background, np.uint8)
    shape = random.choice(["circle", "square", "rounded", "ring"], p=[0.4, 0.15, 0.35, 0.1])
    low, high, middle = 3, side - 4, side // 2
    if shape in {"circle", "ring"}:
        thickness = -1 if shape == "circle" else int(random.integers(3, 12))
        cv2.circle(plate, (middle, middle), middle - 8, fill, thickness, cv2.LINE_AA)
    else:
        radius = 0 if shape == "square" else int(side * random.uniform(0.06, 0.3))
        for left, top, right, bottom in (
            (low + radius, low, high - radius, high),
            (low, low + radius, high, high - radius),
        ):
            cv2.rectangle(plate, (left, top), (right, bottom), fill, -1)
        for x in (low + radius, high - radius):
            for y in (low + radius, high - radius):
                cv2.circle(plate, (x, y), radius, fill, -1, cv2.LINE_AA)
    share = random.uniform(0.5, 0.68) if shape in {"circle", "ring"} else random.uniform(0.55, 0.85)
    mark = _scale(image, share * side / max(image.shape[:2]))
    ground = background if shape == "ring" else fill
    ink: NDArray[np.uint8] = np.asarray(
        mark if random.random() < 0.25 else np.full_like(mark, _contrasting_colour(ground, random)), np.uint8
    )
    alpha = ink_mask(mark)[:, :, None].astype(np.float32) / 255
    top, left = (side - mark.shape[0]) // 2, (side - mark.shape[1]) // 2
    part = plate[top : top + mark.shape[0], left : left + mark.shape[1]]
    part[:] = (ink * alpha + part * (1 - alpha)).astype(np.uint8)
    return plate


def _bend(image: Pixels, random: Random) -> Pixels:
    """Apply a smooth random displacement with a standard deviation of 1 to 3.5 % of the longer side."""
    height, width = image.shape[:2]
    cells = int(random.integers(3, 6))
    displacement = (
        random.normal(0, 1, (2, cells, cells)).astype(np.float32) * random.uniform(0.01, 0.035) * max(height, width)
    )
    dx, dy = (cv2.resize(axis, (width, height), interpolation=cv2.INTER_CUBIC) for axis in displacement)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border_colour(image)
    )


def _warp(image: Pixels, random: Random) -> Pixels:
    """Apply a random projective transform: a small rotation, stretch, shear and perspective."""
    background = border_colour(image)
    image = _pad(image, max(image.shape[:2]) // 4, background)
    height, width = image.shape[:2]
    angle = random.normal(0, 10) if random.random() < 0.5 else 0.0
    rotation = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1), [0, 0, 1]])
    stretch = np.exp(random.normal(0, 0.08, 2))
    shear = random.normal(0, 0.06)
    centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    distortion = np.array([[stretch[0], shear, 0], [0, stretch[1], 0], [*random.normal(0, 3e-4, 2), 1]])
    transform = np.linalg.inv(centre) @ distortion @ centre @ rotation
    return cv2.warpPerspective(
        image,
        transform,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=background,
    )


def _cover(image: Pixels, random: Random) -> Pixels:
    """Cover 5 to 35 % of the image with a box of one colour."""
    view = image.copy()
    height, width = view.shape[:2]
    share = random.uniform(0.05, 0.35)
    aspect = np.exp(random.normal(0, 0.3))
    box_width = min(width, int(np.sqrt(share * width * height * aspect)))
    box_height = min(height, int(share * width * height / max(1, box_width)))
    left = int(random.integers(0, width - box_width + 1))
    top = int(random.integers(0, height - box_height + 1))
    level = int(random.integers(0, 256))
    view[top : top + box_height, left : left + box_width] = (
        (level,) * 3
        if random.random() < 0.6
        else border_colour(image)
        if random.random() < 0.5
        else _random_colour(random)
    )
    return view


def _cut(image: Pixels, random: Random) -> Pixels:
    """Cut 15 to 50 % of the mark off at one side, or up to 20 % at each side."""
    mask = ink_mask(image)
    if not mask.any():
        return image
    left, top, width, height = cv2.boundingRect(mask)
    if random.random() < 0.5:
        cuts = np.zeros(4)
        cuts[random.integers(4)] = random.uniform(0.15, 0.5)
    else:
        cuts = random.uniform(0, 0.2, 4)
    x = (left + np.array([cuts[0], 1 - cuts[1]]) * width).astype(int)
    y = (top + np.array([cuts[2], 1 - cuts[3]]) * height).astype(int)
    return np.ascontiguousarray(image[y[0] : y[1] + 1, x[0] : x[1] + 1])


def _join(image: Pixels, other: Pixels, random: Random) -> Pixels:
    """Place another, smaller mark beside, above or below it."""
    background = border_colour(image)
    other = _scale(other, random.uniform(0.3, 0.7))
    alpha = ink_mask(other)[:, :, None].astype(np.float32) / 255
    other = (other * alpha + np.array(background) * (1 - alpha)).astype(np.uint8)
    gap = int(random.integers(2, 16))
    parts = [image, other] if random.random() < 0.5 else [other, image]
    if random.random() < 0.5:
        return _stack(parts[0], parts[1], background, gap)
    rotated = [np.ascontiguousarray(np.rot90(part)) for part in parts]
    return np.ascontiguousarray(np.rot90(_stack(rotated[0], rotated[1], background, gap), -1))


def _degrade(image: Pixels, random: Random) -> Pixels:
    """Degrade the image: downscale, blur or add noise, and compress as JPEG."""
    choice = random.random()
    if choice < 0.3:
        small = _scale(image, random.uniform(0.25, 0.6))
        image = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    elif choice < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.6, 2.2))
    elif choice < 0.75:
        noise = random.normal(0, random.uniform(3, 14), image.shape[:2])[:, :, None]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if random.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(12, 70))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image


def _stack(first: Pixels, second: Pixels, background: tuple[int, ...], gap: int) -> Pixels:
    """Two images one above the other, both centred."""
    width = max(first.shape[1], second.shape[1])
    canvas = np.full((first.shape[0] + gap + second.shape[0], width, 3), background, np.uint8)
    for part, top in ((first, 0), (second, first.shape[0] + gap)):
        left = (width - part.shape[1]) // 2
        canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def _pad(image: Pixels, edge: int, background: tuple[int, ...]) -> Pixels:
    return cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=background)


def _scale(image: Pixels, scale: float) -> Pixels:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _paint(mask: Mask, background: tuple[int, ...], ink: tuple[int, ...]) -> Pixels:
    alpha = mask[:, :, None].astype(np.float32) / 255
    return (np.array(ink, np.float32) * alpha + np.array(background, np.float32) * (1 - alpha)).astype(np.uint8)


def _random_colour(random: Random) -> tuple[int, int, int]:
    """White (40 %), black (10 %) or a random colour."""
    choice = random.random()
    if choice < 0.4:
        return (255, 255, 255)
    if choice < 0.5:
        return (0, 0, 0)
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _contrasting_colour(background: tuple[int, ...], random: Random) -> tuple[int, int, int]:
    """A random colour that differs from the background by at least 100 in one channel."""
    for _ in range(8):
        red, green, blue = random.integers(0, 256, 3).tolist()
        if max(abs(a - b) for a, b in zip(background, (red, green, blue), strict=True)) >= 100:
            return red, green, blue
    return (0, 0, 0) if sum(background) > 380 else (255, 255, 255)


def _median_ink(image: Pixels, background: tuple[int, ...]) -> tuple[int, int, int]:
    """The median colour of the ink."""
    ink = image[ink_mask(image) > 200]
    if len(ink) == 0:
        return (0, 0, 0) if sum(background) > 380 else (255, 255, 255)
    red, green, blue = np.median(ink, axis=0).astype(int).tolist()
    return red, green, blue
