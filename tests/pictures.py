"""Small pictures, and their files in every supported format."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from logo_similarity.embed.describe import describe
from logo_similarity.embed.encoder import Encoder

Array = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "JPEG2000", "PNM", "TGA", "PCX", "ICO")
LOSSLESS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIC": {"quality": 95, "chroma": 444},
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
    if file_format == "ICO":
        return ico(encode(image, "PNG", **options))
    buffer = BytesIO()
    options = LOSSLESS.get(file_format, {}) | options
    if file_format == "HEIC":
        import pillow_heif  # not in the environment of tests/torch

        exif = options.pop("exif", Image.Exif()).tobytes()  # its orientation goes into a box of the container
        pillow_heif.from_pillow(image).save(buffer, exif=exif, **options)
    else:
        image.save(buffer, "PPM" if file_format == "PNM" else file_format, **options)
    return buffer.getvalue()


def ico(*pictures: bytes) -> bytes:
    """An ICO file of some PNG files."""
    start, entries = 6 + 16 * len(pictures), b""
    for picture in pictures:
        entries += struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(picture), start)
        start += len(picture)
    return struct.pack("<HHH", 0, 1, len(pictures)) + entries + b"".join(pictures)


_PACKERS: dict[int, Callable[[bytes], bytes]] = {1: bytes, 8: zlib.compress, 34925: lzma.compress}


def tiff(
    numbers: NDArray[Any],
    bits: int,
    photometric: int,
    *,
    compression: int = 1,
    separate: bool = False,
    extras: Sequence[int] | None = None,
    sample_format: int = 1,
    tile: tuple[int, int] | None = None,
    order: str = "<",
    more: Mapping[int, tuple[int, Sequence[int]]] = MappingProxyType({}),
) -> bytes:
    """A TIFF of (h, w, samples) numbers, in strips of 16 rows or in tiles; 8-, 16- and 32-bit ones have their own dtype.

    `more` has further tags: type (3: 16 bits, 4: 32 bits) and values.
    """
    height, width, samples = numbers.shape
    across, down = tile or (width, 16)
    padded = np.zeros((-(-height // down) * down, -(-width // across) * across, samples), numbers.dtype)
    padded[:height, :width] = numbers
    pack = _PACKERS[compression]
    chunks = []
    for plane in np.split(padded, samples, axis=2) if separate else [padded]:
        for top in range(0, len(plane), down):
            for left in range(0, plane.shape[1], across):
                rows = plane[top : top + down, left : left + across]
                rows = rows[: height - top] if tile is None else rows
                chunks.append(pack(b"".join(packed(row.ravel(), bits, order) for row in rows)))
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [compression]), 262: (3, [photometric]),
        277: (3, [samples]), 284: (3, [1 + separate]), 339: (3, [sample_format] * samples),
    }  # fmt: skip
    tags |= {338: (3, extras)} if extras is not None else {}
    tags |= {322: (4, [across]), 323: (4, [down])} if tile else {278: (4, [down])}
    return tiff_file({**tags, **more}, chunks, tiled=tile is not None, order=order)


def tiff_file(
    tags: Mapping[int, tuple[int, Sequence[int]]], chunks: Sequence[bytes], *, tiled: bool = False, order: str = "<"
) -> bytes:
    """A TIFF of one directory: type and values of each tag, and the data of its strips or tiles."""
    offsets, sizes = (324, 325) if tiled else (273, 279)
    tags = {**tags, offsets: (4, [0] * len(chunks)), sizes: (4, [len(chunk) for chunk in chunks])}
    values = {tag: struct.pack(f"{order}{len(of)}{'H' if kind == 3 else 'I'}", *of) for tag, (kind, of) in tags.items()}
    at = 8 + 2 + 12 * len(tags) + 4
    outside = sum(len(value) for value in values.values() if len(value) > 4)
    starts = list(accumulate((len(chunk) for chunk in chunks), initial=at + outside))[:-1]
    values[offsets] = struct.pack(f"{order}{len(starts)}I", *starts)
    directory, rest = struct.pack(order + "H", len(tags)), b""
    for tag in sorted(tags):
        kind, numbers = tags[tag]
        directory += struct.pack(order + "HHI", tag, kind, len(numbers))
        directory += values[tag].ljust(4, b"\0") if len(values[tag]) <= 4 else struct.pack(order + "I", at + len(rest))
        rest += values[tag] if len(values[tag]) > 4 else b""
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HI", 42, 8) + directory + bytes(4) + rest + b"".join(chunks)


def packed(numbers: NDArray[Any], bits: int, order: str) -> bytes:
    """Numbers of this many bits, one after the other."""
    if bits in (8, 16, 32):
        return numbers.astype(numbers.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
    digits = "".join(format(int(number), f"0{bits}b") for number in numbers)
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


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
