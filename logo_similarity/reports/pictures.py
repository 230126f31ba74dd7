"""Small copies of untrusted pictures: what a report shows, decoded and encoded again by this software."""

from __future__ import annotations

import cv2

from logo_similarity.image.contained import Decoder

QUERY_SIDE = 640
THUMBNAIL_SIDE = 224
"""Longest sides in pixels."""
_QUALITY = 88


def small_png(data: bytes, decoder: Decoder, side: int = QUERY_SIDE) -> bytes:
    """A picture of at most `side` pixels a side as a PNG file. Raises BadImageError as `Decoder.decode`."""
    return _encode(data, decoder, side, ".png", [])


def small_jpeg(data: bytes, decoder: Decoder, side: int = THUMBNAIL_SIDE) -> bytes:
    """A picture of at most `side` pixels a side as a JPEG file. Raises BadImageError as `Decoder.decode`."""
    return _encode(data, decoder, side, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def _encode(data: bytes, decoder: Decoder, side: int, extension: str, options: list[int]) -> bytes:
    pixels = decoder.decode(data)
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(extension, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    content: bytes = encoded.tobytes()
    return content
