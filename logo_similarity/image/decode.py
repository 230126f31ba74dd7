"""From image bytes to upright RGB pixels. Files beyond the limits are refused before anything is decoded."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import BadImageError, ImageTooComplexError, ImageTooLargeError, ImageTooSmallError
from logo_similarity.image import pillow, png, repair, samples, tiff
from logo_similarity.image.avif import AvifFacts
from logo_similarity.image.drawings import draw
from logo_similarity.image.formats import OPENCV_FORMATS, Format, drawing_of, recognise, trimmed
from logo_similarity.image.header import KEPT_PIXELS, Header, read_header
from logo_similarity.image.pillow_headers import IconFacts, PnmFacts
from logo_similarity.image.png import PngFacts
from logo_similarity.image.tiff import TiffFacts

if TYPE_CHECKING:
    from logo_similarity.config import Settings

Pixels = NDArray[np.uint8]

# A client's damaged file is not an event of the service. libjpeg and libpng still print a line to the process's stderr
# for some damaged files, and OpenCV has no option against it. Redirecting file descriptor 2 while a file is decoded would
# lose log lines of other threads and the last words of a crash, so it is left as it is. Child processes print nothing.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

NEAR_WHITE = 230
"""A logo whose opaque pixels have their smallest channel at this or more on average would vanish on white."""

BAND_PIXELS = 1 << 18
"""A large picture is composited in bands: intermediate arrays of the whole picture would take four times its memory."""

LEAST_INK = 24
"""Levels that a page or frame must differ in, else it is blank; patches do not see paler ink either."""
_MOST_FRAMES = 20
_MOST_FRAME_PIXELS = 30_000_000
"""Frames of an animation, and pixels of them together, that are looked at for one with ink."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds on the files that are decoded."""

    max_bytes: int = 25_000_000
    max_pixels: int = 25_000_000
    max_memory: int = 256_000_000
    """Bytes that decoding may take at its peak."""
    max_seconds: float = 1.5
    """CPU time that decoding may take: half of it for an empty file, rising to all of it at `max_bytes`."""
    min_side: int = 8

    @classmethod
    def of(cls, settings: Settings) -> ImageLimits:
        """The limits of the settings."""
        return cls(
            max_bytes=settings.max_upload_bytes,
            max_pixels=settings.max_pixels,
            max_memory=settings.decode_memory,
            max_seconds=settings.decode_seconds,
        )

    def seconds(self, size: int) -> float:
        """CPU time that decoding a file of `size` bytes may take."""
        return self.max_seconds * (1 + min(1.0, size / self.max_bytes)) / 2


def decode(
    data: bytes, limits: ImageLimits = ImageLimits(), on_damage: Callable[[str], None] = lambda _: None
) -> Pixels:
    """Decode the picture of an image file in this process.

    Orientation is applied; transparency is composited on white, or on black if the logo itself is near white; grey,
    palette, CMYK and samples of other sizes become 8-bit RGB. The header bounds pixels and memory, but not the time of
    every file: use `contained.Decoder` for untrusted files.

    Of a TIFF of several pages it is the first full-size page that is not blank, of a GIF the first such frame, of other
    files the first picture. A drawing (SVG, PDF) is drawn; see `image.drawings`.

    Args:
        data: the file.
        limits: bounds on the file.
        on_damage: called with the damage of a JPEG or PNG of which most is readable; only that part is returned.

    Returns:
        (h, w, 3) uint8 RGB, contiguous, at most `KEPT_PIXELS` pixels.

    Raises:
        UnsupportedFormatError: not one of the formats of `Format` and `Drawing`.
        ImageTooLargeError: more bytes or pixels than the limits; raised before anything is decoded.
        ImageTooComplexError: decoding would take too much memory, or the file has too many scans.
        ImageTooSmallError: a side shorter than the limit.
        BadImageError: empty, cut off or damaged.
    """
    check_bytes(data, limits)
    data = trimmed(data)
    drawing = drawing_of(data)
    if drawing is not None:
        return cv2.cvtColor(_without_alpha(draw(drawing, data)), cv2.COLOR_BGR2RGB)
    image_format = recognise(data)
    if image_format is Format.TIFF:
        return _decode_page_with_ink(data, limits)
    if image_format is Format.GIF:
        return _decode_frame_with_ink(data, checked_header(data, limits))
    try:
        return decode_checked(data, checked_header(data, limits))
    except BadImageError as error:
        if type(error) is not BadImageError or image_format not in repair.FORMATS:
            raise
        return _decode_repaired(data, image_format, limits, on_damage, error)


def decode_checked(data: bytes, header: Header) -> Pixels:
    """As `decode`, for a file whose header has been checked: its first page or frame, and no damaged file."""
    return _finish(lambda: _decode_stored(data, header))


def _finish(decode_stored: Callable[[], tuple[Pixels, int]]) -> Pixels:
    """Pixels as `decode` returns them, from those that a file stores and their orientation."""
    pixels, orientation = decode_stored()
    # One name for all, and none in a caller, so that each step releases the picture before it.
    if pixels.shape[0] * pixels.shape[1] > KEPT_PIXELS:
        pixels = _without_alpha(pixels)  # colours under transparent pixels must not bleed into the others
        pixels = _shrink(pixels)
    pixels = _upright(pixels, orientation)
    pixels = _without_alpha(pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB)


def _decode_page_with_ink(data: bytes, limits: ImageLimits) -> Pixels:
    first = None
    for page in tiff.pages(data):
        try:
            pixels = decode_checked(page, checked_header(page, limits))
        except BadImageError:
            if first is None:
                raise
            break
        if _has_ink(pixels):
            return pixels
        first = pixels if first is None else first
    if first is None:
        raise BadImageError("the TIFF file is damaged: it has no page")
    return first


def _decode_frame_with_ink(data: bytes, header: Header) -> Pixels:
    first = decode_checked(data, header)
    if _has_ink(first) or math.isfinite(header.cost.seconds):
        return first
    sides = header.width, header.height
    most = min(_MOST_FRAMES, _MOST_FRAME_PIXELS // (header.width * header.height))
    for frame in pillow.later_frames(data, sides, most):
        pixels = _finish(partial(_stored_upright, frame))
        if _has_ink(pixels):
            return pixels
    return first


def _stored_upright(pixels: Pixels) -> tuple[Pixels, int]:
    return pixels, 1


def _has_ink(pixels: Pixels) -> bool:
    for channel in range(3):
        lowest, highest, _, _ = cv2.minMaxLoc(cv2.extractChannel(pixels, channel))
        if highest - lowest > LEAST_INK:
            return True
    return False


def _decode_repaired(
    data: bytes, image_format: Format, limits: ImageLimits, on_damage: Callable[[str], None], error: BadImageError
) -> Pixels:
    """What is readable of a damaged file. Raises `error` if it is too little."""
    fixed = repair.repaired(data, image_format, limits.max_pixels)
    if fixed is None:
        raise error

    def decode_stored() -> tuple[Pixels, int]:
        header = checked_header(fixed.data, limits)
        if image_format is Format.PNG:
            pixels, orientation = _decode_stored(fixed.data, header)
            return repair.from_apple(pixels) if fixed.is_apple else pixels, orientation
        stored, exif = _decode_by_opencv(fixed.data, header, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return repair.readable_rows(stored.view(np.uint8)), _exif_orientation(exif)

    try:
        pixels = _finish(decode_stored)
    except BadImageError:
        raise error from None
    if fixed.damage is not None:
        on_damage(fixed.damage)
    return pixels


def check_bytes(data: bytes, limits: ImageLimits) -> None:
    """Refuse an empty file and a file of too many bytes."""
    if not data:
        raise BadImageError("the file is empty")
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(
            f"the file has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted (LOGO_MAX_UPLOAD_BYTES)"
        )


def checked_header(data: bytes, limits: ImageLimits) -> Header:
    """Read the header; refuse a file of too many or too few pixels, or one that takes too much memory to decode."""
    header = read_header(data)
    size = f"the image is {header.width} x {header.height} pixels"
    if header.width * header.height > limits.max_pixels:
        raise ImageTooLargeError(f"{size}; at most {limits.max_pixels:,} in total are accepted (LOGO_MAX_PIXELS)")
    if min(header.width, header.height) < limits.min_side:
        raise ImageTooSmallError(f"{size}; each side must have at least {limits.min_side}")
    if header.cost.memory > limits.max_memory:
        raise ImageTooComplexError(
            f"{size}, and decoding it takes {header.cost.memory // 1_000_000:,} MB of memory; at most "
            f"{limits.max_memory // 1_000_000:,} MB are allowed (LOGO_DECODE_MEMORY)"
        )
    return header


def _decode_stored(data: bytes, header: Header) -> tuple[Pixels, int]:
    """Pixels as the file stores them, at 8 bits, and the EXIF orientation that is still to be undone.

    The pixels are (h, w), (h, w, 3) BGR or (h, w, 4) BGRA.
    """
    if isinstance(header.facts, TiffFacts):
        return _decode_tiff(data, header, header.facts)
    if header.format not in OPENCV_FORMATS:
        own = header.facts if isinstance(header.facts, IconFacts | PnmFacts) else None
        return pillow.decode_by_pillow(data, header.format, (header.width, header.height), own), 1
    still = png.still_picture(data, header.facts) if isinstance(header.facts, PngFacts) else data
    # IMREAD_COLOR turns a JPEG upright and converts CMYK. For the other formats it would drop the transparency.
    flag = cv2.IMREAD_COLOR if header.format is Format.JPEG else cv2.IMREAD_UNCHANGED
    pixels, exif = _decode_by_opencv(still, header, flag)
    orientation, bits = 1, 16
    match header.format, header.facts:
        case _, PngFacts() as facts:
            pixels, orientation = _with_transparent_grey(pixels, facts), _exif_orientation(exif)
        case _, AvifFacts() as facts:  # OpenCV neither turns these nor scales their 10 or 12 bits to 16
            orientation, bits = facts.orientation, facts.sample_bits
        case Format.WEBP, _:
            orientation = _exif_orientation(exif)
        case Format.BMP, _:
            pixels = _without_unused_alpha(pixels)
    return _to_8_bit(pixels, bits), orientation


def _decode_tiff(data: bytes, header: Header, facts: TiffFacts) -> tuple[Pixels, int]:
    """By the decoder that gives the right pixels; by Pillow if OpenCV cannot decode it."""
    sides = header.width, header.height
    if samples.pillow_reads(facts):
        return pillow.decode_by_pillow(data, Format.TIFF, sides), 1
    if samples.is_readable(facts) and not samples.opencv_reads(facts):
        try:
            return samples.decode_samples(data, facts), facts.orientation
        except MemoryError:
            raise
        except pillow.ERRORS as error:
            raise BadImageError("the TIFF file is damaged or cut off") from error
    try:
        pixels, _ = _decode_by_opencv(data, header, cv2.IMREAD_UNCHANGED)
    except BadImageError:
        return pillow.decode_by_pillow(data, Format.TIFF, sides), 1
    if facts.extras is None:
        pixels = _without_unused_alpha(pixels)
    return _to_8_bit(_with_straight_alpha(pixels), 16), 1


def _decode_by_opencv(data: bytes, header: Header, flag: int) -> tuple[NDArray[np.generic], bytes | None]:
    """Pixels of the first picture, and the EXIF block."""
    name = header.format.title
    try:
        pixels, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise BadImageError(f"the {name} file is damaged") from error
    if pixels is None:
        raise BadImageError(f"the {name} file is damaged or cut off")
    if sorted(pixels.shape[:2]) != sorted((header.height, header.width)):
        # The decoder used another header than the one that was checked.
        raise BadImageError(f"the {name} file is damaged: its size differs from the one in its header")
    exif = (block.tobytes() for kind, block in zip(kinds, blocks, strict=True) if kind == cv2.IMAGE_METADATA_EXIF)
    return pixels, next(exif, None)


def _with_transparent_grey(pixels: NDArray[np.generic], facts: PngFacts) -> NDArray[np.generic]:
    """(h, w) grey with a transparent grey (chunk tRNS), which OpenCV ignores, as (h, w, 4) BGRA."""
    grey = facts.transparent_grey
    if grey is None or pixels.ndim == 3:
        return pixels
    if facts.bit_depth < 8:
        grey = grey * 255 // (2**facts.bit_depth - 1)
    coloured = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGRA)
    coloured[..., 3][pixels == grey] = 0
    return coloured


def _without_unused_alpha(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Drop an alpha channel that is zero everywhere.

    Most programs leave the fourth byte of a BMP's pixels unused, and some that of a TIFF's.
    """
    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR) if has_alpha and not pixels[..., 3].any() else pixels


def _with_straight_alpha(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Undo libtiff's multiplication of the colours of 8-bit pixels by their alpha."""
    multiplied = pixels.ndim == 3 and pixels.shape[2] == 4 and pixels.dtype == np.uint8
    return cv2.cvtColor(pixels, cv2.COLOR_mRGBA2RGBA) if multiplied else pixels


def _to_8_bit(pixels: NDArray[np.generic], bits: int) -> Pixels:
    """Scale 16-bit samples of which `bits` are used."""
    if pixels.dtype == np.uint8:
        return pixels.view(np.uint8)
    if pixels.dtype == np.uint16:
        return cv2.convertScaleAbs(pixels, alpha=255 / (2**bits - 1))
    raise BadImageError(f"images of {pixels.dtype} samples are not accepted; use 8 or 16 bits")


def _exif_orientation(block: bytes | None) -> int:
    if block is None:
        return 1
    try:
        return tiff.read_tags(block.removeprefix(b"Exif\0\0")).get(tiff.ORIENTATION, 1)
    except (EOFError, ValueError, struct.error):
        return 1  # damaged EXIF is no reason to refuse the picture


def _shrink(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    scale = math.sqrt(KEPT_PIXELS / (height * width))
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _without_alpha(pixels: Pixels) -> Pixels:
    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    return _composite(pixels) if has_alpha else pixels


def _composite(pixels: Pixels) -> Pixels:
    """(h, w, 4) BGRA composited on its background: (h, w, 3) BGR."""
    height, width = pixels.shape[:2]
    on_black = _is_near_white(pixels)
    composited = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = pixels[top : top + rows]
        alpha = cv2.cvtColor(cv2.extractChannel(band, 3), cv2.COLOR_GRAY2BGR)
        covered = cv2.multiply(cv2.cvtColor(band, cv2.COLOR_BGRA2BGR), alpha, scale=1 / 255)
        composited[top : top + rows] = covered if on_black else cv2.add(covered, cv2.bitwise_not(alpha))
    return composited


def _is_near_white(pixels: Pixels) -> bool:
    step = max(1, max(pixels.shape[:2]) // 256)
    sample = pixels[::step, ::step]
    weight = sample[..., 3].astype(np.float64)
    if not 0 < weight.mean() < 255:
        return False  # all transparent, or all opaque
    return bool((sample[..., :3].min(axis=2) * weight).sum() / weight.sum() >= NEAR_WHITE)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (CIPA DC-008, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    if orientation in (2, 3, 6, 7):
        cv2.flip(pixels, 1, dst=pixels)
    if orientation in (3, 4, 7, 8):
        cv2.flip(pixels, 0, dst=pixels)
    return pixels
