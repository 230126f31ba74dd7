"""TIFF images whose samples OpenCV reads wrongly or not at all: unpacked by libtiff, interpreted here (TIFF 6.0).

libtiff, through Pillow, is shown each image as rows of bytes without a meaning. So it uncompresses them, whatever the
samples are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from logo_similarity.image import tiff
from logo_similarity.image.tiff import Chunks, TiffFacts

Pixels = NDArray[np.uint8]
Samples = NDArray[np.generic]

_GREYS = _WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_RGB, _PALETTE, _CMYK = 2, 3, 5
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
"""Samples of a pixel by photometric interpretation, without the extra ones."""
_LZMA, _ZSTD = 34925, 50000
_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773, _LZMA, _ZSTD})
"""None, LZW, Deflate (two numbers), PackBits, LZMA, Zstandard: those whose data are plain bytes."""
_KINDS = _UNSIGNED, _SIGNED, _FLOATING = 1, 2, 3
_OPENCV_GREY_BITS = frozenset({1, 8, 10, 12, 14, 16})
_OPENCV_COLOUR_BITS = frozenset({8, 10, 12, 14, 16})
_OPENCV_PALETTE_BITS = frozenset({4, 8})
_ASSOCIATED = 1
_ALPHAS = frozenset({_ASSOCIATED, 2})
_BAND_PIXELS = 1 << 16
"""Pixels converted at a time: floating-point numbers of the whole picture would take many times its memory."""


def is_readable(facts: TiffFacts) -> bool:
    """Whether `decode_samples` can read such an image."""
    kinds = (_UNSIGNED, _SIGNED, _FLOATING) if facts.bits in (16, 32) else (_UNSIGNED, _SIGNED)
    return (
        facts.compression in _COMPRESSIONS
        and facts.equal_bits
        and (facts.bits <= 16 or facts.bits == 32)
        and facts.sample_format in (kinds if facts.bits in (8, 16, 32) else (_UNSIGNED,))
        and facts.samples >= _COLOURS.get(facts.photometric, 1 << 16)
        and not (facts.photometric == _PALETTE and facts.bits > 16)
    )


def pillow_reads(facts: TiffFacts) -> bool:
    """Whether it is grey with alpha of 8 bits. OpenCV drops the alpha."""
    return (facts.photometric, facts.samples, facts.bits, facts.separate) == (_BLACK_IS_ZERO, 2, 8, False) and (
        facts.extras is not None and facts.extras[:1] in ((1,), (2,))
    )


def opencv_reads(facts: TiffFacts) -> bool:
    """Whether OpenCV gives the right pixels of such an image; measured with images of each kind."""
    if facts.bits > 16 or facts.sample_format != _UNSIGNED or facts.compression in (_LZMA, _ZSTD):
        return False
    match facts.photometric:
        case 0 | 1:
            is_right = facts.bits <= 8 or facts.photometric == _BLACK_IS_ZERO
            return facts.samples == 1 and facts.bits in _OPENCV_GREY_BITS and is_right
        case 2:
            has_alpha = facts.samples == 4 and (facts.extras is None or facts.extras[:1] in ((1,), (2,)))
            is_right = facts.bits == 8 or not facts.separate
            return (facts.samples == 3 or has_alpha) and facts.bits in _OPENCV_COLOUR_BITS and is_right
        case 3:
            return facts.bits in _OPENCV_PALETTE_BITS
        case 5:
            return facts.bits == 8 and facts.samples == 4
    return True


def decode_samples(data: bytes, facts: TiffFacts) -> Pixels:
    """The pixels as stored, not turned upright: (h, w) grey, (h, w, 3) BGR or (h, w, 4) BGRA.

    White of signed, 32-bit and floating-point samples is 1 (floating-point only), 255, 65,535 or the largest number of
    their type, whichever is the first that no sample exceeds. If some are negative, the lowest is black and the highest
    white.

    Raises:
        EOFError, ValueError, struct.error: damaged, or cut off.
        Exception: one of Pillow's many, for a damaged file.
    """
    chunks = tiff.read_chunks(data)
    planes = [_unpack(data, facts, chunks, plane) for plane in range(facts.samples if facts.separate else 1)]
    colours = _COLOURS[facts.photometric]
    alpha = _alpha(facts, colours)
    palette = _palette(chunks, facts) if facts.photometric == _PALETTE else None
    black, white = _range(planes, facts, colours)
    channels = (1 if facts.photometric in _GREYS and alpha is None else 3) + (alpha is not None)
    pixels = np.empty((facts.height, facts.width, channels), np.uint8)
    for top, band in _bands(planes, facts):
        if palette is None:
            light = _light(_levels(band[..., :colours], black, white), facts.photometric)
        else:
            light = palette[np.minimum(band[..., 0], len(palette) - 1)]
        if alpha is not None:
            opacity = _levels(band[..., alpha : alpha + 1], *_opaque(facts))
            light = np.dstack((np.broadcast_to(light, (*light.shape[:2], 3)), opacity))
            if facts.extras is not None and facts.extras[alpha - colours] == _ASSOCIATED:
                light = cv2.cvtColor(light, cv2.COLOR_mRGBA2RGBA)
        pixels[top : top + len(band)] = light
    if channels == 1:
        return pixels[..., 0]
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if channels == 4 else cv2.COLOR_RGB2BGR, pixels)


def _unpack(data: bytes, facts: TiffFacts, chunks: Chunks, plane: int) -> Image.Image:
    """The bytes of one plane as a grey picture: tiles stay side by side, those at the edges whole."""
    samples = 1 if facts.separate else facts.samples
    row_bytes = -(-(facts.tile or (facts.width,))[0] * samples * facts.bits // 8)
    if facts.tile is None:
        across, rows, height = 1, min(chunks.rows, facts.height), facts.height
    else:
        across, rows = -(-facts.width // facts.tile[0]), facts.tile[1]
        height = -(-facts.height // rows) * rows
    count = across * -(-height // rows)
    own = slice(plane * count, (plane + 1) * count)
    if len(chunks.offsets[own]) != count:
        raise ValueError("too few strips")
    image = _as_bytes(
        data, facts, (across * row_bytes, height, row_bytes, rows), chunks.offsets[own], chunks.sizes[own]
    )
    with BytesIO(image) as file:
        opened = TiffImageFile(file)
        opened.load()
    return opened


def _as_bytes(
    data: bytes, facts: TiffFacts, sides: tuple[int, int, int, int], offsets: tuple[int, ...], sizes: tuple[int, ...]
) -> bytes:
    """The same file with one directory: a grey image of 8 bits whose pixels are the bytes of the samples.

    Args:
        data: the file.
        facts: its first directory.
        sides: width and height of that image, and of its tiles; a strip is as wide as the image.
        offsets: where the strips or tiles are.
        sizes: their lengths.
    """
    width, height, chunk_width, chunk_height = sides
    single = {256: width, 257: height, 258: 8, 259: facts.compression, 262: 1, 266: facts.fill_order, 277: 1}
    tags: dict[int, tuple[int, ...]] = {tag: (number,) for tag, number in single.items()}
    if facts.tile is None:
        tags |= {273: offsets, 278: (chunk_height,), 279: sizes}
    else:
        tags |= {322: (chunk_width,), 323: (chunk_height,), 324: offsets, 325: sizes}
    values = b""
    directory = struct.pack(facts.order + "H", len(tags))
    at = len(data) + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{facts.order}{len(numbers)}I", *numbers)
        inside = packed if len(packed) == 4 else struct.pack(facts.order + "I", at + len(values))
        values += packed if len(packed) > 4 else b""
        directory += struct.pack(facts.order + "HHI", tag, 4, len(numbers)) + inside
    head = data[:2] + struct.pack(facts.order + "HI", 42, len(data))
    return head + data[8:] + directory + bytes(4) + values


def _bands(planes: list[Image.Image], facts: TiffFacts) -> Iterator[tuple[int, Samples]]:
    """The first row and (rows, w, samples) numbers of each part of the picture."""
    rows = max(1, _BAND_PIXELS // facts.width)
    for top in range(0, facts.height, rows):
        bottom = min(top + rows, facts.height)
        parts = [_numbers(np.asarray(plane.crop((0, top, plane.width, bottom))), facts) for plane in planes]
        yield top, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _numbers(rows: Pixels, facts: TiffFacts) -> Samples:
    """(rows, w, samples) numbers from the bytes of some rows of a plane."""
    samples = 1 if facts.separate else facts.samples
    width = facts.tile[0] if facts.tile else facts.width
    across = -(-facts.width // width)
    packed = rows.reshape(len(rows), across, -1)
    if facts.bits not in (8, 16, 32):
        if facts.predictor != 1:
            raise ValueError("a predictor for samples of unusual size")
        numbers = _unpack_bits(packed, width * samples, facts.bits)
    elif facts.predictor == 3:
        numbers = _undo_floating_predictor(packed, facts.bits // 8, samples)
    else:
        kind = "?uif"[facts.sample_format]
        numbers = packed.view(f"{facts.order}{kind}{facts.bits // 8}").astype(f"={kind}{facts.bits // 8}")
        if facts.predictor == 2:
            numbers = numbers.reshape(len(rows), across, width, samples).cumsum(axis=2, dtype=numbers.dtype)
    return numbers.reshape(len(rows), across * width, samples)[:, : facts.width]


def _unpack_bits(packed: Pixels, count: int, bits: int) -> Samples:
    unpacked = np.unpackbits(packed, axis=-1)[..., : count * bits].reshape(*packed.shape[:2], count, bits)
    numbers: NDArray[np.uint16] = np.zeros(unpacked.shape[:3], np.uint16)
    for bit in range(bits):
        numbers <<= 1
        numbers |= unpacked[..., bit]
    return numbers


def _undo_floating_predictor(packed: Pixels, size: int, samples: int) -> Samples:
    """Adobe Photoshop TIFF technical note 3: differences of bytes, the highest bytes of all samples of a row first."""
    summed = packed.reshape(*packed.shape[:2], -1, samples).cumsum(axis=2, dtype=np.uint8)
    by_size = summed.reshape(*packed.shape[:2], size, -1)
    return np.ascontiguousarray(by_size.swapaxes(2, 3)).view(f">f{size}")[..., 0].astype(f"=f{size}")


def _range(planes: list[Image.Image], facts: TiffFacts, colours: int) -> tuple[float, float]:
    """The numbers of black and white. Signed, 32-bit and floating-point samples often hold numbers of fewer bits."""
    if facts.sample_format == _UNSIGNED and facts.bits <= 16:
        return 0, 2**facts.bits - 1
    lows, highs = [], []
    for _, band in _bands(planes, facts):
        finite = np.nan_to_num(band[..., :colours], posinf=0, neginf=0)
        lows.append(float(finite.min()))
        highs.append(float(finite.max()))
    low, high = min(lows), max(highs)
    if low < 0:
        return low, high
    whites = [2**bits - 1 for bits in (8, 16) if bits < facts.bits]
    if facts.sample_format == _FLOATING:
        return 0, next(white for white in (1, *whites, high) if white >= high)
    return 0, next(white for white in (*whites, _largest(facts)) if white >= high)


def _opaque(facts: TiffFacts) -> tuple[float, float]:
    """The numbers of transparency and opacity."""
    if facts.sample_format == _FLOATING:
        return 0, 1
    return 0, _largest(facts)


def _largest(facts: TiffFacts) -> int:
    return 2 ** (facts.bits - (facts.sample_format == _SIGNED)) - 1


def _levels(numbers: Samples, low: float, high: float) -> Pixels:
    """The numbers as levels, from 0 at `low` to 255 at `high`."""
    if numbers.dtype.kind == "u" and numbers.dtype.itemsize <= 2:
        flat = np.ascontiguousarray(numbers).reshape(len(numbers), -1)
        return cv2.convertScaleAbs(flat, alpha=255 / high).reshape(numbers.shape)
    shares = (np.nan_to_num(numbers.astype(np.float64)) - low) / ((high - low) or 1)
    return (np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8)


def _light(levels: Pixels, photometric: int) -> Pixels:
    """Levels of grey, or of red, green and blue."""
    if photometric not in (_WHITE_IS_ZERO, _CMYK):
        return levels
    light = 255 - levels
    return (
        cv2.multiply(light[..., :3], cv2.merge([light[..., 3]] * 3), scale=1 / 255) if photometric == _CMYK else light
    )


def _alpha(facts: TiffFacts, colours: int) -> int | None:
    """Which sample is the opacity."""
    extras = facts.extras or ()
    return next(
        (colours + at for at, extra in enumerate(extras) if extra in _ALPHAS and colours + at < facts.samples), None
    )


def _palette(chunks: Chunks, facts: TiffFacts) -> Pixels:
    """(n, 3): red, green and blue of each colour."""
    colours = np.array(chunks.colours, np.uint16)
    if len(colours) != 3 << facts.bits:
        raise ValueError("no palette, or one of another size")
    # Some programs write bytes.
    return (colours if colours.max() <= 255 else (colours + 128.0) / 257).astype(np.uint8).reshape(3, -1).T
