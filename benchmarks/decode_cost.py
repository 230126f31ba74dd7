"""Peak memory and CPU time of decoding, compared with the estimates that `image.header` makes from the header.

It decodes the most expensive files of each kind, each once and in its own process, and measures the CPU time of that process.
Formats whose time the header does not bound (TIFF, AVIF and those that Pillow decodes) have no estimate of it.

    python -m benchmarks.decode_cost
"""

from __future__ import annotations

import math
import multiprocessing
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.machine import write_result
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.header import read_header

SIDE = 4000
ANY_SIZE = ImageLimits(max_bytes=1 << 30, max_pixels=1 << 30, max_memory=1 << 40)


def _photograph(channels: int = 3, kind: type[np.generic] = np.uint8) -> Any:  # noqa: ANN401 - an array of a given dtype
    small = np.random.default_rng(0).integers(0, np.iinfo(np.uint8).max, (200, 200, channels), dtype=np.uint8)
    picture = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return picture.astype(kind) * (257 if kind is np.uint16 else 1)


def _by_opencv(extension: str, picture: Any, *options: int) -> bytes:  # noqa: ANN401
    return bytes(cv2.imencode(extension, picture, list(options))[1])


def _by_pillow(file_format: str, mode: str, **options: Any) -> bytes:  # noqa: ANN401
    out = BytesIO()
    Image.fromarray(_photograph()).convert(mode).save(out, file_format, **options)
    return out.getvalue()


def _png_with_more_behind() -> bytes:
    """A small picture whose compressed data continue after its pixels: 100 kB that inflate to 100 MB of zeros."""
    data = _by_opencv(".png", np.zeros((48, 64, 3), np.uint8))
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    at, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    chunk = len(content).to_bytes(4) + b"IDAT" + content + zlib.crc32(b"IDAT" + content).to_bytes(4)
    return data[:at] + chunk + data[end:]


PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, 95)
FULL_COLOUR = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
FILES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: _by_opencv(".jpg", _photograph(), cv2.IMWRITE_JPEG_QUALITY, 95),
    "JPEG, progressive, 4:4:4": lambda: _by_opencv(".jpg", _photograph(), *PROGRESSIVE, *FULL_COLOUR),
    "JPEG, CMYK": lambda: _by_pillow("JPEG", "CMYK"),
    "PNG, RGB": lambda: _by_opencv(".png", _photograph()),
    "PNG, RGBA": lambda: _by_opencv(".png", _photograph(4)),
    "PNG, RGBA of 16 bits": lambda: _by_opencv(".png", _photograph(4, np.uint16)),
    "PNG, grey with a transparent grey": lambda: _by_pillow("PNG", "L", transparency=7),
    "PNG, palette": lambda: _by_pillow("PNG", "P"),
    "PNG, more behind its pixels": _png_with_more_behind,
    "WebP": lambda: _by_opencv(".webp", _photograph(), cv2.IMWRITE_WEBP_QUALITY, 90),
    "WebP, lossless": lambda: _by_opencv(".webp", _photograph(), cv2.IMWRITE_WEBP_QUALITY, 101),
    "WebP, alpha": lambda: _by_opencv(".webp", _photograph(4), cv2.IMWRITE_WEBP_QUALITY, 90),
    "GIF": lambda: _by_pillow("GIF", "P"),
    "BMP": lambda: _by_opencv(".bmp", _photograph()),
    "TIFF, RGBA of 16 bits": lambda: _by_opencv(".tiff", _photograph(4, np.uint16)),
    "TIFF, G4": lambda: _by_pillow("TIFF", "1", compression="group4"),
    "TIFF, CMYK, LZMA": lambda: _by_pillow("TIFF", "CMYK", compression="lzma"),
    "JPEG 2000": lambda: _by_pillow("JPEG2000", "RGBA"),
    "PNM": lambda: _by_pillow("PPM", "RGB"),
    "TGA": lambda: _by_pillow("TGA", "RGBA"),
    "PCX": lambda: _by_pillow("PCX", "RGB"),
    "AVIF": lambda: _by_opencv(".avif", _photograph(), cv2.IMWRITE_AVIF_SPEED, 10),
    "AVIF, alpha": lambda: _by_opencv(".avif", _photograph(4), cv2.IMWRITE_AVIF_SPEED, 10),
}


def _peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _decode(data: bytes, pipe: Connection) -> None:
    cv2.setNumThreads(1)
    decode(_by_opencv(".png", np.zeros((16, 16, 3), np.uint8)))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, started = _peak(), time.process_time()
    decode(data, ANY_SIZE)
    pipe.send((_peak() - before, time.process_time() - started))


def cost_of_decoding(data: bytes) -> tuple[int, float]:
    """Peak bytes and CPU seconds, in a new process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_decode, args=(data, there))
    process.start()
    memory, seconds = here.recv()
    process.join()
    return memory, seconds


def measure() -> dict[str, object]:
    """Decode every file."""
    figures: dict[str, object] = {}
    for name, make in FILES.items():
        data = make()
        cost = read_header(data).cost
        memory, seconds = cost_of_decoding(data)
        bounded = math.isfinite(cost.seconds)
        figures[name] = {
            "megabytes": round(memory / 1e6, 1),
            "reckoned_megabytes": round(cost.memory / 1e6, 1),
            "seconds": round(seconds, 3),
            "reckoned_seconds": round(cost.seconds, 3) if bounded else None,
            "within": memory <= cost.memory and (not bounded or seconds <= cost.seconds),
        }
    return write_result("decode_cost", {"side": SIDE, "files": figures})


if __name__ == "__main__":
    for name, figure in measure()["files"].items():  # type: ignore[attr-defined]
        print(f"{name:36}", figure)
