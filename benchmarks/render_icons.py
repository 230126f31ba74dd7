"""SVG icons from pinned npm packages, drawn like the pictures of a trademark register: 256x256 JPEG, white, aspect kept."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import resvg_py
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE = 256
"""Width and height of a picture, in pixels, as in L3D."""
MARK_SIDE = 232
"""Longer side of the drawing inside it; the rest is a white margin."""
NPM_CACHE = Path.home() / ".cache" / "logo-similarity" / "npm"

Image = NDArray[np.uint8]


class IconError(Exception):
    """An icon is missing or cannot be drawn. The message says why."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The SVG text of one icon."""

    svg: str
    width: int | None = None
    """In pixels; None: the SVG states its size."""


def fetch_package(name: str, version: str, cache: Path = NPM_CACHE) -> Path:
    """Folder of an unpacked npm package, downloaded with `npm pack` if it is not in the cache.

    Raises:
        SystemExit: npm is not installed, or the download failed.
    """
    target = cache / f"{name.removeprefix('@').replace('/', '-')}-{version}"
    if target.exists():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            f"npm is not on the PATH and is needed to download {name}@{version}; install Node.js and run again"
        )
    cache.mkdir(parents=True, exist_ok=True)
    # Unpacked beside its target and renamed: an interrupted download leaves no partial package.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [npm, "pack", "--loglevel=error", f"{name}@{version}"]
        packed = subprocess.run(command, cwd=folder, check=False, text=True, capture_output=True)
        if packed.returncode:
            raise SystemExit(
                f"npm could not download {name}@{version}: {packed.stderr.strip() or packed.stdout.strip()}"
            )
        with tarfile.open(Path(folder, packed.stdout.split()[-1])) as archive:
            archive.extractall(folder, filter="data")
        Path(folder, "package").rename(target)
    return target


def iconify_drawing(collection: Mapping[str, Any], name: str) -> Drawing:
    """One icon of a set in Iconify's JSON format (IconifyJSON). Its size is its own, or the set's, or 16.

    Raises:
        IconError: the icon is not in the set.
    """
    if name not in collection["icons"]:
        raise IconError("not in its set")
    icon = collection["icons"][name]
    left, top = (icon.get(key, collection.get(key, 0)) for key in ("left", "top"))
    width, height = (icon.get(key, collection.get(key, 16)) for key in ("width", "height"))
    scale = MARK_SIDE / max(width, height)
    return Drawing(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width * scale:.2f}" height="{height * scale:.2f}">'
        f"{icon['body']}</svg>"
    )


def render(drawing: Drawing, paper: int = 255) -> Image:
    """(256, 256, 3) uint8 BGR: the drawing, centred on paper of this grey level; `currentColor` is black.

    Raises:
        IconError: resvg cannot draw the SVG.
    """
    svg = drawing.svg.replace("currentColor", "#000")
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg,
            background=f"#{paper:02x}{paper:02x}{paper:02x}",
            skip_system_fonts=True,
            width=drawing.width,
        )
    except ValueError as error:
        raise IconError(str(error)) from error
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return _centred(_fitted(np.asarray(image, np.uint8)), paper)


def encode_jpeg(image: Image, quality: int, *, optimize: bool = False) -> bytes:
    """JPEG bytes, colour at half resolution (4:2:0); `optimize` makes them a tenth smaller with the same pixels."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, int(optimize)]
    return bytes(cv2.imencode(".jpg", image, options)[1])


def file_name(icon_set: str, name: str) -> str:
    """The stable name of an icon's picture: a UUID (version 5) of its set and name."""
    return f"{uuid.uuid5(uuid.NAMESPACE_URL, f'{icon_set}/{name}')}.jpg"


def _fitted(image: Image) -> Image:
    height, width = image.shape[:2]
    if max(height, width) <= MARK_SIDE:
        return image
    scale = MARK_SIDE / max(height, width)
    smaller = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)


def _centred(image: Image, paper: int) -> Image:
    height, width = image.shape[:2]
    canvas = np.full((SIDE, SIDE, 3), paper, np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    canvas[top : top + height, left : left + width] = image
    return canvas
