"""Image bytes to upright RGB pixels, guarded: what is refused costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from logo_similarity.errors import BadImageError, ImageTooLargeError, ImageTooSmallError
from logo_similarity.image.header import HEADER_ERRORS, Format, Header, read_header

Pixels = NDArray[np.uint8]

LONGEST_SIDE = 1024
"""Larger images are shrunk to this on their longer side at once: encoders look at a few hundred pixels, and every later
step then costs the same whatever was sent."""

ORIENTATION = 0x0112
"""The EXIF tag."""

NEAR_WHITE = 230
"""A logo whose opaque pixels have their smallest channel at this or more on average would vanish on white."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is decoded at all."""

    max_bytes: int = 10_000_000
    max_pixels: int = 25_000_000
    min_side: int = 8


def decode(data: bytes, limits: ImageLimits = ImageLimits()) -> Pixels:
    """The (first) picture of an image file.

    Orientation is applied; transparency is laid on white, or on black where the logo itself is near white; grey, palette,
    CMYK and 16-bit files become 8-bit RGB.

    Returns:
        (h, w, 3) uint8 RGB, contiguous, its longer side at most 1024.

    Raises:
        UnsupportedFormatError: another format than JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF.
        ImageTooLargeError: more bytes or pixels than the limits; found before anything is decoded.
        ImageTooSmallError: a side shorter than the limit.
        BadImageError: empty, cut or damaged.
    """
    check_bytes(data, limits)
    header = read_header(data)
    check_size(header, limits)
    stored, orientation = _decode_stored(data, header)
    return np.ascontiguousarray(_upright(_to_rgb(_shrink(stored)), orientation))


def check_bytes(data: bytes, limits: ImageLimits) -> None:
    """Refuse an empty file, and one of too many bytes."""
    if not data:
        raise BadImageError("the file is empty")
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(f"the file has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted")


def check_size(header: Header, limits: ImageLimits) -> None:
    """Refuse too many pixels, and too few."""
    size = f"the image is {header.width} x {header.height} pixels"
    if header.width * header.height > limits.max_pixels:
        raise ImageTooLargeError(f"{size}; at most {limits.max_pixels:,} in all are accepted")
    if min(header.width, header.height) < limits.min_side:
        raise ImageTooSmallError(f"{size}; each side must have at least {limits.min_side}")


def _decode_stored(data: bytes, header: Header) -> tuple[NDArray[np.generic], int]:
    """Pixels as the file holds them, and the EXIF orientation that is still to be undone.

    The pixels are (h, w), (h, w, 3) BGR or (h, w, 4) BGRA, of any depth.
    """
    if header.format is Format.TIFF and _has_grey_alpha(data):
        return _decode_grey_alpha_tiff(data), 1
    # IMREAD_COLOR turns a JPEG upright and converts CMYK; for the others it would drop the transparency.
    flag = cv2.IMREAD_COLOR if header.format is Format.JPEG else cv2.IMREAD_UNCHANGED
    try:
        pixels, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        raise BadImageError(f"the {header.format.value} file is damaged") from error
    if pixels is None:
        raise BadImageError(f"the {header.format.value} file is damaged or cut off")
    if sorted(pixels.shape[:2]) != sorted((header.height, header.width)):
        # The header that was checked is not the one that was decoded.
        raise BadImageError(f"the {header.format.value} file is damaged: its size is not the one that it announces")
    if header.format is Format.BMP and pixels.ndim == 3 and pixels.shape[2] == 4 and not pixels[..., 3].any():
        pixels = pixels[..., :3]  # most programs leave the fourth byte unused: zero does not mean transparent
    if header.format in (Format.PNG, Format.WEBP):
        exif = [block for kind, block in zip(kinds, blocks, strict=True) if kind == cv2.IMAGE_METADATA_EXIF]
        return pixels, _exif_orientation(exif[0].tobytes()) if exif else 1
    return pixels, _avif_orientation(data) if header.format is Format.AVIF else 1


def _exif_orientation(block: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(block)
        return int(exif.get(ORIENTATION, 1))
    except (*HEADER_ERRORS, EOFError):
        return 1  # a damaged side note is no reason to refuse the picture


def _avif_orientation(data: bytes) -> int:
    """OpenCV ignores how an AVIF is to be turned and mirrored; Pillow reads it from the container."""
    try:
        with Image.open(BytesIO(data), formats=("AVIF",)) as image:
            return int(image.getexif().get(ORIENTATION, 1))
    except (*HEADER_ERRORS, EOFError):
        return 1


def _has_grey_alpha(data: bytes) -> bool:
    try:
        with Image.open(BytesIO(data), formats=("TIFF",)) as image:
            return image.mode == "LA"
    except HEADER_ERRORS:
        return False  # then OpenCV says what is wrong with it


def _decode_grey_alpha_tiff(data: bytes) -> Pixels:
    """OpenCV drops the transparency of these; Pillow keeps it. (h, w, 4) BGRA, upright."""
    try:
        with Image.open(BytesIO(data), formats=("TIFF",)) as image:
            return cv2.cvtColor(np.asarray(image.convert("RGBA")), cv2.COLOR_RGBA2BGRA)
    except (*HEADER_ERRORS, EOFError) as error:
        raise BadImageError("the TIFF file is damaged or cut off") from error


def _shrink(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    height, width = pixels.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return pixels
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = _composite(_to_8_bit(pixels))  # colours under transparent pixels must not bleed into the others
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(_to_8_bit(pixels), size, interpolation=cv2.INTER_AREA)


def _to_rgb(pixels: NDArray[np.generic]) -> Pixels:
    pixels = _to_8_bit(pixels)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 4:
        pixels = _composite(pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _to_8_bit(pixels: NDArray[np.generic]) -> Pixels:
    if pixels.dtype == np.uint8:
        return pixels.view(np.uint8)
    if pixels.dtype == np.uint16:
        return cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    raise BadImageError(f"images of {pixels.dtype} samples are not accepted; use 8 or 16 bits")


def _composite(pixels: Pixels) -> Pixels:
    """(h, w, 4) BGRA laid on its background: (h, w, 3) BGR."""
    alpha = cv2.cvtColor(cv2.extractChannel(pixels, 3), cv2.COLOR_GRAY2BGR)
    covered = cv2.multiply(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR), alpha, scale=1 / 255)
    return covered if _is_near_white(pixels) else cv2.add(covered, cv2.bitwise_not(alpha))


def _is_near_white(pixels: Pixels) -> bool:
    step = max(1, max(pixels.shape[:2]) // 256)
    sample = pixels[::step, ::step]
    weight = sample[..., 3].astype(np.float64)
    if not 0 < weight.mean() < 255:
        return False  # nothing to see, or nothing to see through
    return bool((sample[..., :3].min(axis=2) * weight).sum() / weight.sum() >= NEAR_WHITE)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (CIPA DC-008, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    if orientation in (2, 3, 6, 7):
        pixels = cv2.flip(pixels, 1)
    if orientation in (3, 4, 7, 8):
        pixels = cv2.flip(pixels, 0)
    return pixels
