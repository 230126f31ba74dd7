"""From RGB pixels to the input of an encoder: pure functions, the same for index and query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.image.content import Content, cut, find_content
from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import BORDER_TOLERANCE, Box, border_colour, content_box

__all__ = [
    "BORDER_TOLERANCE",
    "PREPROCESSING_VERSION",
    "Box",
    "InputSpec",
    "border_colour",
    "content_box",
    "find_shown",
    "inked_cells",
    "prepare",
    "preprocess",
]  # fmt: skip

PREPROCESSING_VERSION = "2"
"""Incremented whenever a pixel that reaches an encoder may change; older catalogs are then refused."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input of an encoder."""

    width: int
    height: int
    crop: Literal["content", "none"]
    """"content": cropped to the pixels that differ from the border's colour; "none": the whole picture."""
    resize: Literal["letterbox", "cover"]
    """"letterbox": fitted inside, padded with the border's colour; "cover": the shorter side fitted, the rest cropped."""
    mean: tuple[float, float, float]
    """Subtracted from pixel values of 0 to 1, in the order of `channels`."""
    std: tuple[float, float, float]
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    margin: float = 0.0
    """Share of each side that a letterbox leaves free around the picture, 0 to 0.4: networks are weaker at the edge."""


def preprocess(image: Pixels, spec: InputSpec) -> NDArray[np.float32]:
    """Crop, fit without stretching, and normalise one image.

    Args:
        image: (h, w, 3) uint8 RGB.
        spec: the encoder's input.

    Returns:
        (3, height, width) float32, or (height, width, 3) if the layout is "nhwc"; contiguous.
    """
    return prepare(image, spec, find_shown(image, spec))


def find_shown(image: Pixels, spec: InputSpec, content: Content | None = None) -> Content:
    """What an encoder is shown of an image, (h, w, 3) uint8 RGB: its content, or all of it if the encoder wants that.

    Args:
        image: the image.
        spec: the encoder's input.
        content: its content, if that has been found before.
    """
    if spec.crop == "content":
        return content or find_content(image)
    return Content(Box(0, 0, image.shape[1], image.shape[0]), border_colour(image))


def prepare(image: Pixels, spec: InputSpec, shown: Content) -> NDArray[np.float32]:
    """As `preprocess`, with what `find_shown` found."""
    image = cut(image, shown)
    fitted = _letterbox(image, spec, shown.paper) if spec.resize == "letterbox" else _cover(image, spec)
    if spec.channels == "bgr":
        fitted = cv2.cvtColor(fitted, cv2.COLOR_RGB2BGR)
    return _normalise(fitted, spec)


def cell_boxes(spec: InputSpec, grid: int, aspect: float) -> NDArray[np.float32]:
    """The cells of a grid over an encoder's input, as boxes in the image that it shows.

    Args:
        spec: with the resize "letterbox".
        grid: cells on a side.
        aspect: width over height of the image.

    Returns:
        (grid * grid, 4) float32: left, top, right and bottom, as shares of the image's width and height, row by row. Cells
        of the margin are at its edge, without area.
    """
    free = 1 - 2 * spec.margin
    scale = min(spec.width * free / aspect, spec.height * free)  # pixels of the input for the image's height
    lefts, tops = (
        np.clip(0.5 + (np.arange(grid + 1) / grid - 0.5) * side / shown, 0, 1)
        for side, shown in ((spec.width, scale * aspect), (spec.height, scale))
    )
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    return np.stack([lefts[columns], tops[rows], lefts[columns + 1], tops[rows + 1]], axis=1).astype(np.float32)


def inked_cells(prepared: NDArray[np.float32], spec: InputSpec, grid: int) -> NDArray[np.bool_]:
    """Which cells of a grid over prepared images contain pixels that differ from the border's colour.

    Args:
        prepared: (n, 3, height, width) or (n, height, width, 3), results of `preprocess`.
        spec: the one that they were prepared with.
        grid: cells on a side.

    Returns:
        (n, grid * grid) bool, row by row from the top left.
    """
    images = prepared if spec.layout == "nchw" else prepared.transpose(0, 3, 1, 2)
    tolerance = BORDER_TOLERANCE / (255 * np.array(spec.std))
    edge = np.concatenate((images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]), axis=2)
    middle = edge.shape[2] // 2
    border = np.partition(edge, middle, axis=2)[..., middle]
    inked = np.empty((len(images), grid * grid), bool)
    for number, (image, colour) in enumerate(zip(images, border, strict=True)):
        low, high = (colour - tolerance).tolist(), (colour + tolerance).tolist()
        same = [cv2.inRange(np.ascontiguousarray(image[n]), low[n], high[n]) for n in range(3)]
        paper = cv2.bitwise_and(cv2.bitwise_and(same[0], same[1]), same[2])
        # The share of each cell that is paper, in floats: one pixel of ink is enough.
        shares = cv2.resize(paper.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
        inked[number] = shares.ravel() < 255 - 1e-3
    return inked


def _letterbox(image: Pixels, spec: InputSpec, border: tuple[int, int, int]) -> Pixels:
    height, width = image.shape[:2]
    free = 1 - 2 * spec.margin
    resized = _resize(image, min(spec.width * free / width, spec.height * free / height))
    height, width = resized.shape[:2]
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    bottom, right = spec.height - height - top, spec.width - width - left
    return cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=border)


def _cover(image: Pixels, spec: InputSpec) -> Pixels:
    height, width = image.shape[:2]
    # Crop before resizing: a strip of 10,000 x 8 must not be enlarged as a whole.
    keep = min(height, width * spec.height / spec.width)
    keep_height, keep_width = max(1, round(keep)), max(1, round(keep * spec.width / spec.height))
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    cut = image[top : top + keep_height, left : left + keep_width]
    return cv2.resize(cut, (spec.width, spec.height), interpolation=_interpolation(spec.height / keep_height))


def _resize(image: Pixels, scale: float) -> Pixels:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=_interpolation(scale))


def _interpolation(scale: float) -> int:
    """Area averages for shrinking (no pixel is skipped), linear for enlarging (no value overshoots)."""
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


def _normalise(image: Pixels, spec: InputSpec) -> NDArray[np.float32]:
    """(pixel / 255 - mean) / std, as one multiplication and one addition for each channel."""
    shape = (1, 1, 3) if spec.layout == "nhwc" else (3, 1, 1)
    std = np.array(spec.std, np.float32).reshape(shape)
    offset = np.array(spec.mean, np.float32).reshape(shape) / std
    pixels = image if spec.layout == "nhwc" else image.transpose(2, 0, 1)
    out: NDArray[np.float32] = np.multiply(pixels, 1 / (255 * std), dtype=np.float32, order="C")
    out -= offset
    return out
