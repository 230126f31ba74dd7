"""What OpenCV does not decode, decoded by Pillow: rarer formats and kinds of TIFF, and the later frames of a GIF.

The headers of these files do not bound the time of decoding, so only `contained.Decoder` should decode untrusted ones.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import TiffImageFile

from logo_similarity.errors import BadImageError
from logo_similarity.image.formats import Format
from logo_similarity.image.pillow_headers import IconFacts, PnmFacts

Pixels = NDArray[np.uint8]

ERRORS = (
    ValueError, LookupError, ArithmeticError, TypeError, AttributeError, OSError, SyntaxError, RuntimeError, EOFError,
    struct.error, Warning, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises for damaged files."""
_DEEP_GREYS = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})
"""Modes of 16 bits: Pillow scales samples of other sizes to them."""
_WITH_ALPHA = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


def decode_by_pillow(
    data: bytes, image_format: Format, sides: tuple[int, int], facts: IconFacts | PnmFacts | None = None
) -> Pixels:
    """The first picture, upright: (h, w) grey, (h, w, 3) BGR or (h, w, 4) BGRA.

    Args:
        data: the file.
        image_format: its format.
        sides: width and height by its header; a picture of any other size is not decoded.
        facts: those of its header.

    Raises:
        BadImageError: damaged or cut off.
    """
    try:
        if image_format is Format.HEIC:
            return _decode_heic(data, sides)
        if isinstance(facts, PnmFacts):
            return _decode_pnm(data, sides, facts)
        with _open_icon(data, facts) if facts is not None else _OPENERS[image_format](data) as image:
            _check_size(image.size, sides, image_format)
            return _pixels(image)
    except MemoryError:
        raise
    except ERRORS as error:
        raise BadImageError(f"the {image_format.title} file is damaged or cut off") from error


def later_frames(data: bytes, sides: tuple[int, int], most: int) -> Iterator[Pixels]:
    """(h, w, 4) BGRA: the second and further frames of a GIF, `most` at most. A damaged one ends them."""
    try:
        with GifImageFile(BytesIO(data)) as image:
            for number in range(1, most + 1):
                image.seek(number)
                _check_size(image.size, sides, Format.GIF)  # a frame may enlarge the picture
                yield cv2.cvtColor(np.asarray(image.convert("RGBA")), cv2.COLOR_RGBA2BGRA)
    except MemoryError:
        raise
    except (BadImageError, *ERRORS):
        return


def _check_size(size: tuple[int, int], sides: tuple[int, int], image_format: Format) -> None:
    """Refuse a picture that is larger than the one whose size was checked. Orientation and cropping may change its sides."""
    if any(side > most for side, most in zip(sorted(size), sorted(sides), strict=True)):
        raise BadImageError(f"the {image_format.title} file is damaged: it states two sizes")


def _pixels(image: Image.Image) -> Pixels:
    if image.mode in _DEEP_GREYS:
        return cv2.convertScaleAbs(np.asarray(image, np.float32), alpha=255 / 65535)
    if image.mode in {"1", "L"} and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        return cv2.cvtColor(np.asarray(image.convert("RGBA")), cv2.COLOR_RGBA2BGRA)
    return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR)


def _decode_heic(data: bytes, sides: tuple[int, int]) -> Pixels:
    """Without copies: the usual picture of a phone has 12 or 24 million pixels. libheif turns it upright."""
    import pi_heif  # heavy

    image = pi_heif.open_heif(data, convert_hdr_to_8bit=True, bgr_mode=True)
    _check_size(image.size, sides, Format.HEIC)
    pixels = np.asarray(_Held(image))
    if image.mode == "BGRa":
        return cv2.cvtColor(pixels, cv2.COLOR_mRGBA2RGBA)
    if image.mode in {"BGR", "BGRA", "L"}:
        return pixels
    raise ValueError(f"pixels of mode {image.mode}")


def _decode_pnm(data: bytes, sides: tuple[int, int], facts: PnmFacts) -> Pixels:
    """Numbers of any range as text or as bytes: Pillow takes seconds for most of them."""
    count = sides[0] * sides[1] * facts.channels
    if facts.is_text:
        text = re.sub(rb"#[^\r\n]*", b"", data[facts.start :])
        numbers = np.fromstring(text.decode("ascii"), np.uint16, sep=" ")[:count]
    else:
        numbers = np.frombuffer(data, np.uint8 if facts.white < 256 else ">u2", count, facts.start)
    if len(numbers) != count or not 0 < facts.white < 1 << 16:
        raise ValueError("too few numbers, or no white")
    native = numbers if numbers.dtype == np.uint8 else numbers.astype(np.uint16)
    scaled = cv2.convertScaleAbs(native.reshape(sides[1], sides[0], facts.channels), alpha=255 / facts.white)
    return cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR) if facts.channels == 3 else scaled


class _Held:
    """Gives NumPy the pixels of an image of pi_heif without a copy. The array keeps the image, which owns the memory."""

    def __init__(self, image: Any) -> None:  # noqa: ANN401 - pi_heif has no types
        self._image = image

    @property
    def __array_interface__(self) -> dict[str, object]:
        interface = self._image.__array_interface__
        address = np.frombuffer(interface["data"], np.uint8).ctypes.data
        return {**interface, "data": (address, True)}


def _open_jpeg_2000(data: bytes) -> Image.Image:
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

    return Jpeg2KImageFile(BytesIO(data))


def _open_pnm(data: bytes) -> Image.Image:
    from PIL.PpmImagePlugin import PpmImageFile

    return PpmImageFile(BytesIO(data))


def _open_tga(data: bytes) -> Image.Image:
    from PIL.TgaImagePlugin import TgaImageFile

    return TgaImageFile(BytesIO(data))


def _open_pcx(data: bytes) -> Image.Image:
    from PIL.PcxImagePlugin import PcxImageFile

    return PcxImageFile(BytesIO(data))


def _open_icon(data: bytes, facts: IconFacts) -> Image.Image:
    """The picture whose size was checked, in a file of its own."""
    from PIL.IcoImagePlugin import IcoImageFile
    from PIL.PngImagePlugin import PngImageFile

    picture = data[facts.start : facts.start + facts.size]
    if facts.is_png:
        return PngImageFile(BytesIO(picture))
    width, height = struct.unpack_from("<ii", picture, 4)
    entry = struct.pack("<BBBBHHII", width & 255, height // 2 & 255, 0, 0, 1, facts.bits, len(picture), 22)
    return IcoImageFile(BytesIO(struct.pack("<HHH", 0, 1, 1) + entry + picture))


def _open_tiff(data: bytes) -> Image.Image:
    return TiffImageFile(BytesIO(data))


_OPENERS: dict[Format, Callable[[bytes], Image.Image]] = {
    Format.JPEG2000: _open_jpeg_2000,
    Format.PNM: _open_pnm,
    Format.TGA: _open_tga,
    Format.PCX: _open_pcx,
    Format.TIFF: _open_tiff,
}
