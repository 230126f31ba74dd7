"""Reads the words in an image, with RapidOCR and the models in its package. Optional: the extra `words`."""

from __future__ import annotations

import math
import threading
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import InvalidRequestError

if TYPE_CHECKING:
    from rapidocr import RapidOCR

LONGEST_SIDE, SHORTEST_SIDE = 640, 320
"""The image is made smaller than the first, and the detector enlarges it to the second: both bound the time, and larger sizes
find no more words in logos."""
LARGEST_RATIO = 4
MOST_LINES = 30
LEAST_CONFIDENCE = 0.8
SHORTEST_LINE = 2
"""Letters and digits. A single letter is more often a figure."""

_readers = threading.local()


class TextReader:
    """Reads words. To be used by one thread at a time."""

    def __init__(self) -> None:
        """Load the models.

        Raises:
            InvalidRequestError: RapidOCR is not installed.
        """
        reader_version()
        from rapidocr import RapidOCR

        self._ocr: RapidOCR = RapidOCR(
            params={
                "Global.log_level": "critical",
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Det.limit_side_len": SHORTEST_SIDE,
                "Det.max_candidates": MOST_LINES,
            }
        )

    def read(self, pixels: NDArray[np.uint8]) -> str | None:
        """The words in an image, from top to bottom; None: it shows none.

        Args:
            pixels: (h, w, 3) uint8 RGB.
        """
        result: Any = self._ocr(_bounded(pixels)[:, :, ::-1], use_cls=False)
        lines = [
            line.strip()
            for line, confidence in zip(result.txts or (), result.scores or (), strict=True)
            if confidence >= LEAST_CONFIDENCE and sum(map(str.isalnum, line)) >= SHORTEST_LINE
        ]
        return " ".join(lines) or None


def thread_reader() -> TextReader:
    """The reader of this thread, loaded when it is first used: some 100 MB.

    Raises:
        InvalidRequestError: RapidOCR is not installed.
    """
    if not hasattr(_readers, "reader"):
        _readers.reader = TextReader()
    return _readers.reader  # type: ignore[no-any-return]


def can_read() -> bool:
    """Whether RapidOCR is installed."""
    return find_spec("rapidocr") is not None


def reader_version() -> str:
    """The version of RapidOCR, whose package has the models.

    Raises:
        InvalidRequestError: it is not installed.
    """
    try:
        return f"rapidocr {version('rapidocr')}"
    except PackageNotFoundError:
        raise InvalidRequestError(
            "words in images cannot be read, because RapidOCR is not installed; run pip install '.[words]' in the source folder"
        ) from None


def _bounded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with a bounded size and, by repetition of its edges, a bounded ratio of its sides."""
    scale = min(1, LONGEST_SIDE / max(pixels.shape[:2]))
    size = [max(1, round(scale * side)) for side in pixels.shape[1::-1]]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    missing = [max(0, math.ceil(max(small.shape[:2]) / LARGEST_RATIO) - side) for side in small.shape[:2]]
    (top, left), (bottom, right) = [side // 2 for side in missing], [side - side // 2 for side in missing]
    return np.asarray(cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)
