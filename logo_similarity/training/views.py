"""Views of a picture: what a designer, a scanner or an imitator does to a mark. Arrays only, no torch.

A view is a picture of the same mark for the purpose of training: recoloured, redrawn as outline or silhouette, put into a badge,
turned, bent, covered, joined with a word or with another mark, or badly copied. How often each happens is a field of `ViewOdds`.
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
"""(h, w): 255 where the mark is, 0 where the paper is."""
Random = np.random.Generator

LEAST_INK = 3.0
"""Mean of the mask below which nothing is left to see."""
INK_DIFFERENCE = 96
"""A pixel that differs from the paper by this much in one channel is all ink."""


@dataclass(frozen=True, slots=True)
class ViewOdds:
    """Probability of each change. They are drawn one by one, so several may come together."""

    part_removed: float = 0.06
    redrawn: float = 0.25
    recoloured: float = 0.3
    badge: float = 0.12
    joined: float = 0.05
    word: float = 0.08
    mirrored: float = 0.06
    right_angle: float = 0.1
    warped: float = 0.7
    bent: float = 0.25
    covered: float = 0.12
    inverted: float = 0.1
    grey: float = 0.12
    degraded: float = 0.25


GENTLE = ViewOdds()
"""For one of two different drawings of a mark: they differ already."""
STRONG = ViewOdds(
    part_removed=0.12,
    redrawn=0.5,
    recoloured=0.5,
    badge=0.22,
    joined=0.08,
    word=0.14,
    mirrored=0.15,
    right_angle=0.3,
    warped=0.9,
    bent=0.5,
    covered=0.22,
    inverted=0.2,
    grey=0.2,
    degraded=0.35,
)
"""For a picture whose other view is made from the same drawing."""


@dataclass(frozen=True, slots=True)
class Views:
    """Makes views.

    `fonts` are files that FreeType reads, for the words beside marks; without any, Pillow's own.
    """

    side: int
    """Longer side of the mark while views are made, in pixels; somewhat more than what the network takes."""
    fonts: tuple[Path, ...] = field(default=())

    def make(self, image: Pixels, other: Pixels | None, odds: ViewOdds, random: Random) -> Pixels:
        """One view of `image`, (h, w, 3) uint8 RGB on paper of one colour; `other` is a mark to put beside it, if any."""
        whole = _cut(image, self.side)
        view = self._redesigned(whole, odds, random)
        if other is not None:
            view = _beside(view, _cut(other, self.side), random)
        if random.random() < odds.word:
            view = self._with_word(view, random)
        view = self._shown(view, odds, random)
        # What chance has wiped out teaches nothing.
        return view if ink_mask(view).mean() > LEAST_INK or ink_mask(whole).mean() <= LEAST_INK else whole

    def _redesigned(self, image: Pixels, odds: ViewOdds, random: Random) -> Pixels:
        """What a designer changes: the mark itself."""
        if random.random() < odds.part_removed:
            image = _without_a_part(image, random)
        if random.random() < odds.redrawn:
            image = _redrawn(image, random)
        elif random.random() < odds.recoloured:
            image = _recoloured(image, random)
        if random.random() < odds.mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
        if random.random() < odds.right_angle:
            image = np.ascontiguousarray(np.rot90(image, int(random.integers(1, 4))))
        return _bent(image, random) if random.random() < odds.bent else image

    def _shown(self, image: Pixels, odds: ViewOdds, random: Random) -> Pixels:
        """What its use and its copying do to it."""
        if random.random() < odds.badge:
            image = _badge(image, self.side + 8, random)
        if random.random() < odds.warped:
            image = _warped(image, random)
        if random.random() < odds.covered:
            image = _covered(image, random)
        if random.random() < odds.inverted:
            image = cv2.bitwise_not(image)
        if random.random() < odds.grey:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return _degraded(image, random) if random.random() < odds.degraded else image

    def _with_word(self, image: Pixels, random: Random) -> Pixels:
        paper = border_colour(image)
        ink = _contrasting(paper, random) if random.random() < 0.5 else _main_ink(image, paper)
        strip = self._word(paper, ink, random)
        height, width = image.shape[:2]
        if random.random() < 0.75:  # under or above the mark
            wanted = width * random.uniform(0.7, 1.5)
            strip = _scaled(strip, min(wanted / strip.shape[1], 0.6 * height / strip.shape[0]))
            first, second = (image, strip) if random.random() < 0.85 else (strip, image)
            return _stacked(first, second, paper, gap=int(height * random.uniform(0.03, 0.15)))
        strip = _scaled(strip, height * random.uniform(0.25, 0.5) / strip.shape[0])
        turned = [np.ascontiguousarray(np.rot90(part)) for part in (strip, image)]
        return np.ascontiguousarray(
            np.rot90(_stacked(turned[0], turned[1], paper, gap=int(width * random.uniform(0.03, 0.12))), -1)
        )

    def _word(self, paper: tuple[int, ...], ink: tuple[int, ...], random: Random) -> Pixels:
        """A made-up word, 40 pixels high."""
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
        picture = Image.new("RGB", (max(8, int(box[2] - box[0]) + 4), max(8, int(box[3] - box[1]) + 4)), tuple(paper))
        ImageDraw.Draw(picture).text((2 - box[0], 2 - box[1]), word, font=font, fill=tuple(ink))
        return np.asarray(picture, np.uint8)


def ink_mask(image: Pixels) -> Mask:
    """Where an image is not its paper; soft at the edges."""
    difference = cv2.absdiff(image, np.full_like(image, border_colour(image)))
    strongest = difference.max(axis=2).astype(np.float32) * (255 / INK_DIFFERENCE)
    return np.minimum(strongest, 255).astype(np.uint8)


def _cut(image: Pixels, side: int) -> Pixels:
    """The mark alone, at the size at which views are made, with a narrow edge of paper."""
    border = border_colour(image)
    box = content_box(image, border)
    width, height = box.right - box.left, box.bottom - box.top
    scale = side / max(width, height)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    image = cv2.resize(image[box.top : box.bottom, box.left : box.right], size, interpolation=cv2.INTER_LINEAR)
    return _framed(image, 4, border)


def _without_a_part(image: Pixels, random: Random) -> Pixels:
    """One connected part painted over, unless it is most of the mark."""
    mask = ink_mask(image)
    count, parts, stats, _ = cv2.connectedComponentsWithStats((mask > 96).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    candidates = np.flatnonzero((areas > 12) & (areas < 0.4 * areas.sum())) + 1
    if count <= 2 or len(candidates) == 0:
        return image
    gone = cv2.dilate((parts == random.choice(candidates)).astype(np.uint8), np.ones((5, 5), np.uint8))
    out = image.copy()
    out[gone > 0] = border_colour(image)
    return out


def _redrawn(image: Pixels, random: Random) -> Pixels:
    """The same shape by another hand: outline, silhouette, bolder, thinner or rounder; one ink on one paper."""
    mask = ink_mask(image)
    if np.mean(mask[2:-2, 2:-2] > 128) > 0.9:  # a picture without paper: its own light and dark are the shape
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        mask = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]
    way = random.choice(
        ["outline", "silhouette", "bolder", "thinner", "rounder", "flat"], p=[0.28, 0.1, 0.2, 0.12, 0.2, 0.1]
    )
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(random.integers(2, 7)),) * 2)
    mask = cv2.copyMakeBorder(mask, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=0)
    if way == "outline":
        mask = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel)
    elif way == "silhouette":
        mask = _filled(mask)
    elif way == "bolder":
        mask = cv2.dilate(mask, kernel)
    elif way == "thinner":
        thin = cv2.erode(mask, kernel)
        mask = thin if thin.sum() > 0.3 * mask.sum() else mask  # what would vanish stays
    elif way == "rounder":
        sigma = random.uniform(1.5, 5)
        soft = cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32)
        mask = np.clip((soft - 127) * sigma * 2 + 127, 0, 255).astype(np.uint8)
    paper = _colour(random)
    return _painted(mask, paper, _contrasting(paper, random) if random.random() < 0.7 else (0, 0, 0))


def _filled(mask: Mask) -> Mask:
    """Without holes: whatever the paper outside does not reach is ink."""
    outside = (mask > 96).astype(np.uint8)
    cv2.floodFill(outside, None, (0, 0), 2)
    return np.where(outside == 2, mask, 255).astype(np.uint8)


def _recoloured(image: Pixels, random: Random) -> Pixels:
    """Other colours: two inks by lightness, the channels exchanged, or each part its own."""
    way = random.random()
    if way < 0.35:
        dark, light = np.array(_colour(random)), np.array(_colour(random))
        ramp = np.linspace(dark, light, 256).astype(np.uint8)
        if np.abs(dark.astype(int) - light).max() < 80:
            return image
        return ramp[cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)]
    if way < 0.6:
        return np.ascontiguousarray(image[:, :, random.permutation(3)])
    paper = border_colour(image)
    mask = ink_mask(image)
    count, parts = cv2.connectedComponents((mask > 128).astype(np.uint8))
    new_paper = paper if random.random() < 0.6 else _colour(random)
    inks = np.array([_contrasting(new_paper, random) for _ in range(min(count, 6))], np.uint8)
    spread = cv2.dilate(parts.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
    alpha = mask[:, :, None].astype(np.float32) / 255
    return (inks[spread % len(inks)] * alpha + np.array(new_paper) * (1 - alpha)).astype(np.uint8)


def _badge(image: Pixels, side: int, random: Random) -> Pixels:
    """The mark on a filled shape, most often as one ink on it."""
    paper, fill = (255, 255, 255) if random.random() < 0.7 else _colour(random), _colour(random)
    if max(abs(a - b) for a, b in zip(paper, fill, strict=True)) < 60:
        fill = _contrasting(paper, random)
    plate = np.full((side, side, 3), paper, np.uint8)
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
    mark = _scaled(image, share * side / max(image.shape[:2]))
    ground = paper if shape == "ring" else fill
    ink: NDArray[np.uint8] = np.asarray(
        mark if random.random() < 0.25 else np.full_like(mark, _contrasting(ground, random)), np.uint8
    )
    alpha = ink_mask(mark)[:, :, None].astype(np.float32) / 255
    top, left = (side - mark.shape[0]) // 2, (side - mark.shape[1]) // 2
    part = plate[top : top + mark.shape[0], left : left + mark.shape[1]]
    part[:] = (ink * alpha + part * (1 - alpha)).astype(np.uint8)
    return plate


def _bent(image: Pixels, random: Random) -> Pixels:
    """A smooth random displacement of up to a twentieth of the picture."""
    height, width = image.shape[:2]
    cells = int(random.integers(3, 6))
    field_ = (
        random.normal(0, 1, (2, cells, cells)).astype(np.float32) * random.uniform(0.01, 0.035) * max(height, width)
    )
    dx, dy = (cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in field_)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border_colour(image)
    )


def _warped(image: Pixels, random: Random) -> Pixels:
    """Turned a little, stretched, sheared, seen from an angle."""
    paper = border_colour(image)
    image = _framed(image, max(image.shape[:2]) // 4, paper)
    height, width = image.shape[:2]
    angle = random.normal(0, 10) if random.random() < 0.5 else 0.0
    turn = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1), [0, 0, 1]])
    stretch = np.exp(random.normal(0, 0.08, 2))
    shear = random.normal(0, 0.06)
    centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    change = np.array([[stretch[0], shear, 0], [0, stretch[1], 0], [*random.normal(0, 3e-4, 2), 1]])
    whole = np.linalg.inv(centre) @ change @ centre @ turn
    return cv2.warpPerspective(
        image, whole, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=paper
    )


def _covered(image: Pixels, random: Random) -> Pixels:
    """A box of one colour over 5 to 35 % of it, or that much cut off at one side."""
    out = image.copy()
    height, width = out.shape[:2]
    share = random.uniform(0.05, 0.35)
    if random.random() < 0.2:
        keep = 1 - share
        if random.random() < 0.5:
            keep_width = int(width * keep)
            return np.ascontiguousarray(out[:, :keep_width] if random.random() < 0.5 else out[:, width - keep_width :])
        keep_height = int(height * keep)
        return np.ascontiguousarray(out[:keep_height] if random.random() < 0.5 else out[height - keep_height :])
    aspect = np.exp(random.normal(0, 0.3))
    box_width = min(width, int(np.sqrt(share * width * height * aspect)))
    box_height = min(height, int(share * width * height / max(1, box_width)))
    left = int(random.integers(0, width - box_width + 1))
    top = int(random.integers(0, height - box_height + 1))
    level = int(random.integers(0, 256))
    out[top : top + box_height, left : left + box_width] = (
        (level,) * 3 if random.random() < 0.6 else border_colour(image) if random.random() < 0.5 else _colour(random)
    )
    return out


def _beside(image: Pixels, other: Pixels, random: Random) -> Pixels:
    """Joined with another mark, smaller than itself."""
    paper = border_colour(image)
    other = _scaled(other, random.uniform(0.3, 0.7))
    alpha = ink_mask(other)[:, :, None].astype(np.float32) / 255
    other = (other * alpha + np.array(paper) * (1 - alpha)).astype(np.uint8)
    gap = int(random.integers(2, 16))
    parts = [image, other] if random.random() < 0.5 else [other, image]
    if random.random() < 0.5:
        return _stacked(parts[0], parts[1], paper, gap)
    turned = [np.ascontiguousarray(np.rot90(part)) for part in parts]
    return np.ascontiguousarray(np.rot90(_stacked(turned[0], turned[1], paper, gap), -1))


def _degraded(image: Pixels, random: Random) -> Pixels:
    """A bad copy: small, blurred, noisy or with JPEG's blocks."""
    way = random.random()
    if way < 0.3:
        small = _scaled(image, random.uniform(0.25, 0.6))
        image = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    elif way < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.6, 2.2))
    elif way < 0.75:
        noise = random.normal(0, random.uniform(3, 14), image.shape[:2])[:, :, None]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if random.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(12, 70))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image


def _stacked(first: Pixels, second: Pixels, paper: tuple[int, ...], gap: int) -> Pixels:
    """One above the other, both centred."""
    width = max(first.shape[1], second.shape[1])
    canvas = np.full((first.shape[0] + gap + second.shape[0], width, 3), paper, np.uint8)
    for part, top in ((first, 0), (second, first.shape[0] + gap)):
        left = (width - part.shape[1]) // 2
        canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def _framed(image: Pixels, edge: int, paper: tuple[int, ...]) -> Pixels:
    return cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=paper)


def _scaled(image: Pixels, scale: float) -> Pixels:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _painted(mask: Mask, paper: tuple[int, ...], ink: tuple[int, ...]) -> Pixels:
    alpha = mask[:, :, None].astype(np.float32) / 255
    return (np.array(ink, np.float32) * alpha + np.array(paper, np.float32) * (1 - alpha)).astype(np.uint8)


def _colour(random: Random) -> tuple[int, int, int]:
    """White and black often, else any."""
    way = random.random()
    if way < 0.4:
        return (255, 255, 255)
    if way < 0.5:
        return (0, 0, 0)
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _contrasting(paper: tuple[int, ...], random: Random) -> tuple[int, int, int]:
    """A colour that differs from the paper by 100 or more in one channel."""
    for _ in range(8):
        red, green, blue = random.integers(0, 256, 3).tolist()
        if max(abs(a - b) for a, b in zip(paper, (red, green, blue), strict=True)) >= 100:
            return red, green, blue
    return (0, 0, 0) if sum(paper) > 380 else (255, 255, 255)


def _main_ink(image: Pixels, paper: tuple[int, ...]) -> tuple[int, int, int]:
    """The median colour of what is not paper."""
    ink = image[ink_mask(image) > 200]
    if len(ink) == 0:
        return (0, 0, 0) if sum(paper) > 380 else (255, 255, 255)
    red, green, blue = np.median(ink, axis=0).astype(int).tolist()
    return red, green, blue
