"""Small pictures, and their files in every supported format."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from logo_similarity.embed.describe import describe
from logo_similarity.embed.encoder import Encoder

Array = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
LOSSLESS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}
"""Options that keep a file as close to the picture as its format allows."""

ORIENTATION = 0x0112


def embed(encoder: Encoder, pictures: Sequence[Array]) -> NDArray[np.float32]:
    """(n, dimension): the embeddings of some pictures."""
    return np.stack([describe(picture, encoder).embedding for picture in pictures])


def quarters(height: int = 48, width: int = 64) -> Array:
    """Four colours, so that no rotated or mirrored copy is equal."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (200, 30, 40)
    picture[: height // 2, width // 2 :] = (30, 160, 60)
    picture[height // 2 :, : width // 2] = (20, 40, 190)
    picture[height // 2 :, width // 2 :] = (240, 200, 90)
    return picture


def noise(height: int = 48, width: int = 64, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(picture: Array | Image.Image, file_format: str, **options: Any) -> bytes:
    """A file, as close to the picture as its format allows."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = BytesIO()
    image.save(buffer, file_format, **(LOSSLESS.get(file_format, {}) | options))
    return buffer.getvalue()


def turned(upright: Array, orientation: int) -> Array:
    """The pixels of a file that this EXIF orientation makes upright."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]


def encode_turned(upright: Array, file_format: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(np.ascontiguousarray(turned(upright, orientation)), file_format, exif=exif)


def png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG of compressed rows, which need not fit its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(side: int = 20_000) -> bytes:
    """A black picture of one bit per pixel, compressed row by row into a small file."""
    compress = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    rows = b"".join(compress.compress(row) for _ in range(side)) + compress.flush()
    return png(side, side, rows, depth=1)
