from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logo_similarity.errors import BadImageError
from logo_similarity.image.decode import Pixels, decode
from tests.pictures import FORMATS, encode, noise, quarters

ROOT = Path(__file__).parents[3]


REPAIRED = ("JPEG", "PNG")


@cache
def whole_files() -> dict[str, bytes]:
    """Every format, and the variants that are decoded by another path."""
    rgb, later = quarters(24, 32), [Image.fromarray(noise(24, 32))]
    rgba = np.dstack((rgb, noise(24, 32)[..., 0]))
    files = {file_format: encode(rgb, file_format) for file_format in FORMATS}
    files |= {f"{name} alpha": encode(rgba, name) for name in ("PNG", "WEBP", "TIFF", "AVIF")}
    files |= {
        f"{name} frames": encode(rgb, name, save_all=True, append_images=later)
        for name in ("PNG", "WEBP", "GIF", "AVIF")
    }
    files |= {f"TIFF {name}": encode(rgb, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg")}
    files["TIFF fax"] = encode(Image.fromarray(noise(24, 32)).convert("1"), "TIFF", compression="group4")
    files["TIFF grey alpha"] = encode(Image.fromarray(rgba).convert("LA"), "TIFF", compression="tiff_adobe_deflate")
    files["JPEG progressive"] = encode(rgb, "JPEG", progressive=True)
    return files


def outcome(data: bytes, damage: list[str] | None = None) -> Pixels | str:
    """Pixels, or the code of the refusal."""
    try:
        return decode(data, on_damage=list[str]().append if damage is None else damage.append)
    except BadImageError as error:
        return error.code


def lengths(data: bytes) -> list[int]:
    return sorted({*range(0, len(data), max(1, len(data) // 80)), *range(len(data) - 8, len(data))})


@pytest.mark.parametrize("name", [name for name in whole_files() if name.split()[0] not in REPAIRED])
def test_a_cut_file_is_refused_at_any_length(name: str) -> None:
    data = whole_files()[name]
    optional = {"TIFF fax": 4, "TGA": 26}.get(name, 0)  # the offset of a next directory, which is none; a footer
    codes = {outcome(data[:length]) for length in lengths(data) if length < len(data) - optional}
    assert {code if isinstance(code, str) else "shown" for code in codes} == {"image_undecodable"}


@pytest.mark.parametrize("name", [name for name in whole_files() if name.split()[0] in REPAIRED])
def test_a_cut_jpeg_or_png_is_refused_or_shown_as_damaged(name: str) -> None:
    data, damage = whole_files()[name], list[str]()
    shown = [length for length in lengths(data) if not isinstance(outcome(data[:length], damage), str)]
    assert len(damage) == len(shown)
    assert all(f"the {name.split(maxsplit=1)[0]} file" in text for text in damage)
    assert len(data) - 1 in shown


DIGEST = """
import hashlib
import numpy as np
from tests.unit.image.test_damaged_files import outcome, whole_files

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
