"""SVG files, and the first page of PDF files, drawn as pixels.

Clients send logos in these forms. Their cost is not known from a header, so only `contained.Decoder` should draw untrusted
files: in a child process with bounded time and memory. A drawing loads nothing from outside: an SVG that refers to another
file is refused, and PDFium runs no scripts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from xml.parsers import expat

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import BadImageError, ImageTooSmallError
from logo_similarity.image.formats import Drawing

SIDE = 512
"""Longer side of the result, in pixels."""
LEAST_SIDE = 8
"""Shortest side, as for images."""
DOTS_PER_INCH = 96
"""Of CSS."""
_LENGTH = re.compile(r"\s*\+?(\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(?:px|pt|pc|mm|cm|in|em|ex)?\s*")
_INTERNAL = ("#", "data:")
"""References to a part of the same file, and to content in the file itself."""

Pixels = NDArray[np.uint8]


def draw(kind: Drawing, data: bytes) -> Pixels:
    """The pixels of a drawing, `SIDE` on the longer side: (h, w, 4) uint8 BGRA of an SVG, (h, w, 3) BGR of a PDF.

    Raises:
        BadImageError: the file is damaged, protected by a password, or refers to other files.
        ImageTooSmallError: it is too narrow.
    """
    return _draw_svg(data) if kind is Drawing.SVG else _draw_pdf(data)


def _draw_svg(data: bytes) -> Pixels:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadImageError("the SVG file is not UTF-8; save it as UTF-8") from None
    scan = _Scan(data)
    width, height = _size(scan.aspect)
    import resvg_py  # heavy

    try:
        png = resvg_py.svg_to_bytes(
            svg_string=text,
            width=width if scan.aspect >= 1 else None,
            height=height if scan.aspect < 1 else None,
            dpi=DOTS_PER_INCH,
            skip_system_fonts=not scan.has_text,  # looking for fonts takes longer than drawing
        )
    except ValueError as error:
        raise BadImageError(f"the SVG file cannot be drawn: {error}") from None
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(pixels, np.uint8)


def _draw_pdf(data: bytes) -> Pixels:
    import pypdfium2  # heavy

    try:
        with pypdfium2.PdfDocument(data) as document:
            page = document[0]
            across, down = page.get_size()
            _size(across / down)
            return page.render(scale=SIDE / max(across, down)).to_numpy().copy()
    except (pypdfium2.PdfiumError, IndexError, ZeroDivisionError):
        raise BadImageError("the PDF file is damaged, has no page, or needs a password") from None


def _size(aspect: float) -> tuple[int, int]:
    """Width and height of a drawing, by its width over height. Raises ImageTooSmallError if it is too narrow."""
    width, height = (SIDE, round(SIDE / aspect)) if aspect >= 1 else (round(SIDE * aspect), SIDE)
    if min(width, height) < LEAST_SIDE:
        raise ImageTooSmallError(
            f"the drawing is {aspect:.3g} times as wide as high; scaled to {SIDE} pixels, a side has less than {LEAST_SIDE}"
        )
    return width, height


class _Scan:
    """What has to be known of an SVG before it is drawn. Raises BadImageError for a file that is refused."""

    def __init__(self, data: bytes) -> None:
        self.aspect = 1.0
        self.has_text = False
        self._depth = 0
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = self._start
        parser.EntityDeclHandler = self._refuse_entity
        try:
            parser.Parse(data, True)  # noqa: FBT003 - the last piece
        except expat.ExpatError as error:
            raise BadImageError(f"the SVG file is damaged: {error}") from None

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if self._depth == 0:
            if local != "svg":
                raise BadImageError(f"the file is XML, but not SVG: its first element is {local!r:.50}")
            self.aspect = _aspect(attributes)
        self._depth += 1
        self.has_text |= local == "text"
        for attribute, value in attributes.items():
            reference = attribute.rpartition(" ")[2] == "href" and local != "a"
            if reference and not value.strip().startswith(_INTERNAL):
                raise BadImageError("the SVG file refers to another file; embed it, or save the drawing as PNG")

    def _refuse_entity(self, *_: object) -> None:
        raise BadImageError("the SVG file declares entities, which are not accepted; save it as plain SVG")


def _aspect(attributes: Mapping[str, str]) -> float:
    """Width over height of a drawing, from the attributes of its root; 1 if they do not say."""
    sides = [_LENGTH.fullmatch(attributes.get(side, "")) for side in ("width", "height")]
    numbers = [float(side[1]) for side in sides if side is not None]
    if len(numbers) < 2:
        box = re.split(r"[\s,]+", attributes.get("viewBox", "").strip())
        try:
            numbers = list(map(float, box[2:])) if len(box) == 4 else [1, 1]
        except ValueError:
            numbers = [1, 1]
    width, height = numbers
    aspect = width / height if height > 0 else 0
    if not (math.isfinite(aspect) and aspect > 0):
        raise BadImageError("the SVG file has no valid size")
    return aspect
