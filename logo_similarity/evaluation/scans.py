"""Pictures of a mark as scanners, registers and phones make them. Each change is deterministic.

As in `copies`, a change takes a mark on a uniform background, (h, w, 3) uint8 RGB, and returns an image of the same dtype
and channels; the size may differ.
"""

from __future__ import annotations

import zlib
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from logo_similarity.evaluation.copies import contrasting
from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import Box, border_colour, content_box

if TYPE_CHECKING:
    from logo_similarity.evaluation.copies import Change
    from logo_similarity.image.decode import Pixels

PAGE = (1000, 1000)
"""Height and width of a page in pixels."""
MARK = 300
"""Longer side of the mark on a page, in pixels."""
LARGE = 500
"""The same where the page itself is damaged."""
A4 = (1754, 1240)
"""An A4 page at 150 dpi."""
CENTIMETRE = 150 / 2.54
"""Pixels, at 150 dpi."""
SPECK = 3
"""Side of a speck, in pixels."""
SPECKLED = 0.02
"""Share of the pixels that salt and pepper replaces."""
DARKEST = 150
"""Grey of white paper in the darkest corner of uneven light."""


def on_page(image: Pixels, size: tuple[int, int] = PAGE, longest: float = MARK) -> tuple[Pixels, Box]:
    """The mark in the centre of an empty page, and its place.

    Args:
        image: the mark on a uniform background; the page has its colour.
        size: height and width of the page.
        longest: longer side of the mark, in pixels.
    """
    background = border_colour(image)
    mark = _content(image)
    scale = longest / max(mark.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (mark.shape[1], mark.shape[0]))
    page = np.empty((*size, 3), np.uint8)
    page[:] = background
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    page[top : top + height, left : left + width] = cv2.resize(
        mark, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return page, Box(left, top, left + width, top + height)


def add_specks(image: Pixels, count: int, size: tuple[int, int] = PAGE, longest: float = MARK) -> Pixels:
    """Put the mark on a page with specks of 3 x 3 pixels outside its box. Their places depend on the image."""
    page, box = on_page(image, size, longest)
    random = _generator(image)
    specks = 0
    while specks < count:
        top, left = (int(random.integers(0, side - SPECK)) for side in size)
        across = box.left - SPECK <= left <= box.right
        if across and box.top - SPECK <= top <= box.bottom:
            continue
        page[top : top + SPECK, left : left + SPECK] = contrasting(border_colour(image))
        specks += 1
    return page


def add_frame(image: Pixels, distance: float) -> Pixels:
    """Put the mark on a page with a rectangular frame around it, at a share of the mark's longer side."""
    page, box = on_page(image)
    away = round(distance * MARK)
    return cv2.rectangle(
        page,
        (box.left - away, box.top - away),
        (box.right + away, box.bottom + away),
        contrasting(border_colour(image)),
        3,
    )


def add_scanner_edges(image: Pixels) -> Pixels:
    """Put the mark on a page with the dark edges of an open scanner lid: all of the right side, half of the lower one."""
    page, _ = on_page(image, longest=LARGE)
    height, width = page.shape[:2]
    page[:, width - 30 :] = 30
    page[height - 25 :, width // 2 :] = 45
    return page


def light_unevenly(image: Pixels) -> Pixels:
    """Put the mark on a page that gets darker from the upper left to the lower right corner, where white is 150."""
    page, _ = on_page(image, longest=LARGE)
    rows, columns = (np.linspace(0, 1, side, dtype=np.float32) for side in page.shape[:2])
    share = (rows[:, np.newaxis] + columns) / 2
    light = 1 - share * (1 - DARKEST / 255)
    return np.rint(page * light[:, :, np.newaxis]).astype(np.uint8)


def skew(image: Pixels) -> Pixels:
    """Put the mark on a page and rotate the page by 2 degrees; the corners are black."""
    page, _ = on_page(image, longest=LARGE)
    height, width = page.shape[:2]
    rotation = cv2.getRotationMatrix2D((width / 2, height / 2), 2, 1)
    return cv2.warpAffine(page, rotation, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def fade(image: Pixels) -> Pixels:
    """Reduce the contrast with the background to 10 %."""
    background = np.array(border_colour(image), np.float32)
    return np.rint(background + (image - background) * 0.1).astype(np.uint8)


def print_on_a4(image: Pixels, centimetres: float) -> Pixels:
    """Put the mark on an A4 page at 150 dpi."""
    return on_page(image, A4, centimetres * CENTIMETRE)[0]


def print_on_dusty_a4(image: Pixels) -> Pixels:
    """Put the mark, 3 cm long, on an A4 page at 150 dpi with one speck of 3 x 3 pixels."""
    return add_specks(image, 1, A4, 3 * CENTIMETRE)


def shrink(image: Pixels) -> Pixels:
    """Shrink to a quarter of the height and width."""
    return cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)


def crop(image: Pixels) -> Pixels:
    """Cut 20 % off the mark on each side."""
    mark = _content(image)
    down, across = (side // 5 for side in mark.shape[:2])
    return np.ascontiguousarray(mark[down : mark.shape[0] - down, across : mark.shape[1] - across])


def halve(image: Pixels) -> Pixels:
    """Keep the left half of the mark."""
    mark = _content(image)
    return np.ascontiguousarray(mark[:, : (mark.shape[1] + 1) // 2])


def fax(image: Pixels) -> Pixels:
    """Reduce to black and white by Otsu's threshold, save as a TIFF file with CCITT group 4 compression, and decode it."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    bilevel = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    file = BytesIO()
    Image.fromarray(bilevel).convert("1", dither=Image.Dither.NONE).save(file, "TIFF", compression="group4")
    return decode(file.getvalue())


def add_salt_and_pepper(image: Pixels) -> Pixels:
    """Replace 2 % of the pixels by black or white."""
    values = _generator(image).random(image.shape[:2])
    noisy = image.copy()
    noisy[values < SPECKLED / 2] = 0
    noisy[values > 1 - SPECKLED / 2] = 255
    return noisy


def compress(image: Pixels) -> Pixels:
    """Compress as JPEG with quality 20."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)


SCANS: dict[str, Change] = {
    "one speck": partial(add_specks, count=1),
    "ten specks": partial(add_specks, count=10),
    "frame 15 % away": partial(add_frame, distance=0.15),
    "frame 50 % away": partial(add_frame, distance=0.5),
    "dark scanner edges": add_scanner_edges,
    "uneven light": light_unevenly,
    "skewed, black corners": skew,
    "contrast of 10 %": fade,
    "3 cm on A4": partial(print_on_a4, centimetres=3),
    "3 cm on A4, one speck": print_on_dusty_a4,
    "1 cm on A4": partial(print_on_a4, centimetres=1),
    "a quarter of the size": shrink,
    "cropped by 20 %": crop,
    "left half": halve,
    "bilevel, TIFF group 4": fax,
    "salt and pepper": add_salt_and_pepper,
    "JPEG 20": compress,
}
"""The changes by name. A search with a scan should find the original."""


def _content(image: Pixels) -> Pixels:
    box = content_box(image, border_colour(image))
    return image[box.top : box.bottom, box.left : box.right]


def _generator(image: Pixels) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(image.tobytes()))
