"""The process that decodes files which may take too much time or memory: `python -m logo_similarity.image.child`.

It reads files from its standard input, each preceded by its length, and writes pixels or a refusal for each to its
standard output, in the forms below. It ends when its input does. The kernel kills it when a file takes more CPU time
than allowed; allocations beyond its memory fail.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from typing import BinaryIO

import cv2
import numpy as np

from logo_similarity.errors import BadImageError, ImageTooComplexError
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.formats import OPENCV_FORMATS
from logo_similarity.limits import limit_memory
from logo_similarity.plan import decoder_limit

STARTED = b"S"
"""Sent once, before all answers."""
PIXELS, REFUSED = b"P", b"R"
"""First byte of an answer: height, width, the length of a text about damage, the text and the pixels follow, or the
length of a JSON object and the object."""
REQUEST = struct.Struct("<Q")
PIXELS_HEAD = struct.Struct("<III")
REFUSED_HEAD = struct.Struct("<I")
# Pillow loads every format that it knows when it is asked to write one.
_SMALL_FILES = (
    b"P4 16 16\n" + bytes(32),
    struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 16, 16, 24, 0) + bytes(3 * 16 * 16),  # TGA
    b"\n\5\1\x08" + struct.pack("<4H", 0, 0, 15, 15) + bytes(53) + b"\3\x10\0" + bytes(60 + 3 * 16 * 16),  # PCX
    struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 24, 40 + 3 * 16 * 16 + 64, 22)
    + struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 24, 0, 0, 0, 0, 0, 0)
    + bytes(3 * 16 * 16 + 64),  # ICO
)
_DRAWINGS = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M0 0h8v8z"/></svg>',
    b"""%PDF-1.4
    1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
    2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
    3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 16 16]>>endobj
    trailer<</Root 1 0 R>>""",
)


def main(arguments: list[str]) -> None:
    """Decode files until the input ends."""
    limits = ImageLimits(
        max_bytes=int(arguments[0]), max_pixels=int(arguments[1]), max_memory=int(arguments[2]),
        max_seconds=float(arguments[3]), min_side=int(arguments[4]),
    )  # fmt: skip
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # the output of a library must not be read as an answer
    cv2.setNumThreads(1)
    # A thread of the parent may have blocked these signals or have another handler for them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF, signal.SIGXCPU})
    for number in (signal.SIGPROF, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    _load_decoders()
    limit_memory(decoder_limit(limits.max_memory, limits.max_bytes))
    answers.write(STARTED)
    answers.flush()
    while head := requests.read(REQUEST.size):
        (size,) = REQUEST.unpack(head)
        _answer(requests.read(size), limits, answers)
        answers.flush()


def _answer(data: bytes, limits: ImageLimits, answers: BinaryIO) -> None:
    _allow_seconds(limits.seconds(len(data)))
    damage: list[str] = []
    try:
        pixels = decode(data, limits, damage.append)
    except BadImageError as error:
        _refuse(error, answers)
    except (MemoryError, cv2.error):
        _refuse(_too_much(limits), answers)
    else:
        text = "".join(damage).encode()
        answers.write(PIXELS + PIXELS_HEAD.pack(*pixels.shape[:2], len(text)) + text)
        answers.write(pixels.data)  # no copy: it may have 27 MB
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _refuse(error: BadImageError, answers: BinaryIO) -> None:
    text = json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
    answers.write(REFUSED + REFUSED_HEAD.pack(len(text)) + text)


def _too_much(limits: ImageLimits) -> BadImageError:
    return ImageTooComplexError(
        f"decoding the image takes more than {limits.max_memory // 1_000_000:,} MB of memory (LOGO_DECODE_MEMORY); "
        "send it smaller, or as a plain JPEG or PNG"
    )


def _allow_seconds(seconds: float) -> None:
    """Have the kernel kill this process when it has used this much more CPU time.

    The timer is exact to some milliseconds, but the process could stop it. It cannot lift the limit, which counts whole
    seconds.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = usage.ru_utime + usage.ru_stime
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 2, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _load_decoders() -> None:
    """Decode or draw a small picture of each format, so that the libraries allocate what they keep before memory is bounded."""
    picture = np.zeros((16, 16, 3), np.uint8)
    for image_format in OPENCV_FORMATS:
        decode(cv2.imencode(image_format.extensions[0], picture)[1].tobytes())
    decode(cv2.imencode(".jp2", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    for file in _SMALL_FILES:
        decode(file)
    import pi_heif  # noqa: F401 - it cannot encode

    for drawing in _DRAWINGS:
        decode(drawing)


if __name__ == "__main__":
    main(sys.argv[1:])
