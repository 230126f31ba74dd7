"""Changes of a query's picture that a person asks for: a crop, inverted colours, no colours."""

from __future__ import annotations

import cv2
import numpy as np

from logo_similarity.description import Box
from logo_similarity.errors import InvalidRequestError
from logo_similarity.image.decode import Pixels

SMALLEST_CROP = 8
"""Shortest side of a crop, in pixels."""


def adjust(pixels: Pixels, *, crop: Box | None = None, invert: bool = False, greyscale: bool = False) -> Pixels:
    """The cropped and recoloured picture, (h, w, 3) uint8 RGB, contiguous.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        crop: the region to keep; None: all of it.
        invert: whether dark becomes bright, and each colour its complement.
        greyscale: whether colours become greys of the same luminance.

    Raises:
        InvalidRequestError: the crop has too few pixels.
    """
    if crop is not None:
        height, width = pixels.shape[:2]
        left, right = round(crop[0] * width), round(crop[2] * width)
        top, bottom = round(crop[1] * height), round(crop[3] * height)
        if min(right - left, bottom - top) < SMALLEST_CROP:
            raise InvalidRequestError(
                f"the crop has {right - left} x {bottom - top} of {width} x {height} pixels; each side must have at least "
                f"{SMALLEST_CROP}"
            )
        pixels = pixels[top:bottom, left:right]
    if greyscale:
        pixels = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if invert:
        pixels = 255 - pixels
    return np.ascontiguousarray(pixels)
