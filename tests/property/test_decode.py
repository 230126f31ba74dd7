"""Damaged files of every format: refused or shown, never a crash, and never what lay in memory before."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from logo_similarity.errors import LogoSimilarityError
from logo_similarity.image.decode import ImageLimits, Pixels, decode
from tests.pictures import FORMATS, encode, noise, quarters

SMALL = ImageLimits(max_pixels=1_000_000)  # what is shown stays quick to decode
ROOT = Path(__file__).parents[2]


@cache
def whole_files() -> dict[str, bytes]:
    """Every format, and the variants that are decoded by another path."""
    rgb = quarters(24, 32)
    rgba = np.dstack((rgb, noise(24, 32)[..., 0]))
    frames: dict[str, Any] = {"save_all": True, "append_images": [Image.fromarray(noise(24, 32))]}
    return {
        **{file_format: encode(rgb, file_format) for file_format in FORMATS},
        **{f"{file_format} alpha": encode(rgba, file_format) for file_format in ("PNG", "WEBP", "TIFF", "AVIF")},
        **{
            f"{file_format} frames": encode(rgb, file_format, **frames)
            for file_format in ("PNG", "WEBP", "GIF", "AVIF")
        },
        "JPEG progressive": encode(rgb, "JPEG", progressive=True),
        "JPEG CMYK": encode(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
        "TIFF LZW": encode(rgb, "TIFF", compression="tiff_lzw"),
        "TIFF JPEG": encode(rgb, "TIFF", compression="jpeg"),
        "TIFF fax": encode(Image.fromarray(noise(24, 32)).convert("1"), "TIFF", compression="group4"),
        "TIFF grey alpha": encode(Image.fromarray(rgba).convert("LA"), "TIFF", compression="tiff_adobe_deflate"),
        "GIF palette": encode(Image.fromarray(rgb).quantize(4), "GIF", transparency=0),
    }


def outcome(data: bytes) -> Pixels | str:
    """What decoding gives: valid pixels, or the error's code."""
    try:
        pixels = decode(data, SMALL)
    except LogoSimilarityError as error:
        assert error.status in {413, 415, 422}
        return error.code
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags.c_contiguous
    return pixels


@pytest.mark.parametrize("name", whole_files())
def test_a_cut_file_is_refused_at_any_length(name: str) -> None:
    data = whole_files()[name]
    lengths = {*range(0, len(data), max(1, len(data) // 80)), *range(len(data) - 8, len(data))}
    shown = [length for length in sorted(lengths) if not isinstance(outcome(data[:length]), str)]
    # The offset of a next directory, which is none, ends a fax-compressed TIFF of Pillow's.
    assert all(name.startswith("TIFF") and length >= len(data) - 4 for length in shown)


@pytest.mark.parametrize("name", whole_files())
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_changed_bytes_never_crash_and_never_show_another_picture(name: str, data: st.DataObject) -> None:
    damaged = bytearray(whole_files()[name])
    changes = st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    for position, value in data.draw(changes):
        damaged[position] = value
    first = outcome(bytes(damaged))
    outcome(encode(noise(24, 32, seed=1), "PNG"))  # leaves other pixels in the memory that is used next
    second = outcome(bytes(damaged))
    assert type(first) is type(second)
    np.testing.assert_array_equal(first, second)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(whole_files())), st.integers(0, 64), st.binary(max_size=300))
def test_a_real_start_with_any_end_never_crashes(name: str, kept: int, rest: bytes) -> None:
    outcome(whole_files()[name][:kept] + rest)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert isinstance(outcome(data), str)


DIGEST = """
import hashlib
import numpy as np
from tests.property.test_decode import outcome, whole_files

random = np.random.default_rng(0)
digest = hashlib.sha256()
for data in whole_files().values():
    for _ in range(60):
        damaged = bytearray(data)
        for position in random.integers(0, len(data), 4):
            damaged[position] = random.integers(0, 256)
        got = outcome(bytes(damaged))
        digest.update(got.encode() if isinstance(got, str) else got.tobytes())
print(digest.hexdigest())
"""


def test_damaged_files_never_show_what_lay_in_memory() -> None:
    """Fresh memory is filled with another byte in each run (glibc's MALLOC_PERTURB_): no pixel may depend on it."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT, env={**os.environ, "MALLOC_PERTURB_": fill}, capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for fill in ("0", "90", "200")
    }  # fmt: skip
    assert len(digests) == 1
