"""What the header says decoding costs is what it costs: memory at its peak, for the formats decoded without a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encode

SIDE = 1800
NAMES = (
    "jpeg", "jpeg grey", "jpeg progressive", "jpeg cmyk progressive", "png", "png transparent colour", "png alpha", "png grey",
    "png transparent grey", "png grey alpha", "png 16 bits", "png palette", "png transparent palette", "webp", "webp alpha",
    "gif", "bmp",
)  # fmt: skip
ROOT = Path(__file__).parents[3]

CHILD = """
import json, sys
from pathlib import Path
import cv2
from logo_similarity.image.decode import decode_checked
from logo_similarity.image.header import read_header

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

cv2.setNumThreads(1)
for file in sorted(Path(sys.argv[1]).iterdir()):
    data = file.read_bytes()
    header = read_header(data)
    decode_checked(data, header)  # what a library sets up once is not a cost of the file
    Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
    before = peak()
    decode_checked(data, header)
    print(json.dumps([file.name, peak() - before, header.cost.memory]))
"""


def files() -> dict[str, bytes]:
    colours = Image.fromarray(np.full((SIDE, SIDE, 3), (200, 30, 40), np.uint8))
    alpha = colours.convert("RGBA")
    alpha.putalpha(Image.fromarray(np.tile(np.array([0, 255], np.uint8), (SIDE, SIDE // 2))))
    grey, palette = colours.convert("L"), colours.convert("P")
    return {
        "jpeg": encode(colours, "JPEG"),
        "jpeg grey": encode(grey, "JPEG"),
        "jpeg progressive": encode(colours, "JPEG", progressive=True),
        "jpeg cmyk progressive": encode(colours.convert("CMYK"), "JPEG", progressive=True),
        "png": encode(colours, "PNG"),
        "png transparent colour": encode(colours, "PNG", transparency=(1, 2, 3)),
        "png alpha": encode(alpha, "PNG"),
        "png grey": encode(grey, "PNG"),
        "png transparent grey": encode(grey, "PNG", transparency=7),
        "png grey alpha": encode(alpha.convert("LA"), "PNG"),
        "png 16 bits": encode(Image.fromarray(np.full((SIDE, SIDE), 999, np.uint16)), "PNG"),
        "png palette": encode(palette, "PNG"),
        "png transparent palette": encode(palette, "PNG", transparency=0),
        "webp": encode(colours, "WEBP", lossless=False),
        "webp alpha": encode(alpha, "WEBP"),
        "gif": encode(palette, "GIF", transparency=0),
        "bmp": encode(colours, "BMP"),
    }


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """Bytes at the peak of decoding each file, and those that its header says."""
    folder = tmp_path_factory.mktemp("files")
    for name, data in files().items():
        (folder / name).write_bytes(data)
    # Every array is mapped by itself, so that none is made of memory which the one before has left.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=True, env=environment
    )
    return {name: (taken, said) for name, taken, said in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", NAMES)
def test_decoding_takes_no_more_memory_than_the_header_says(costs: dict[str, tuple[int, int]], name: str) -> None:
    taken, said = costs[name]
    assert taken <= said <= 2.6 * taken
