"""Make `samples/`: real logos from two sets in the public domain (CC0), in L3D's layout.

    python -m scripts.make_samples --out samples

Needs npm for the packages, which are pinned below and in `scripts/sample_metadata.py`. The same run gives the same bytes.
Each omitted mark is printed with the reason: its set has withdrawn it, it does not show on white (drawn for a dark
background), or it looks the same as an earlier one, so that no search could distinguish the two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.progress import track

from benchmarks.render_icons import NPM_CACHE, IconError, encode_jpeg, fetch_package, file_name, iconify_drawing, render
from scripts.sample_metadata import describe, load_brands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.render_icons import Image


@dataclass(frozen=True, slots=True)
class IconSet:
    """A package of `@iconify-json`, and the number of its marks to take."""

    name: str
    version: str
    take: int


# About 70 % coloured marks, near L3D's 62 %; 14 MB in all.
SETS = (IconSet("logos", "1.2.19", 1_395), IconSet("simple-icons", "1.2.102", 610))
JPEG_QUALITY = 85
WHITE = 215
"""A pixel counts as visible on white where its darkest channel is below this."""
EMPTY = 215
"""A pixel counts as empty where its values on white and on black paper differ by at least this much."""
MIN_VISIBLE_BOX = 0.7
"""Smallest visible part of a mark by area: the box of its visible pixels over the box of its drawn pixels."""
MIN_VISIBLE_INK = 0.05
"""The same by number of pixels."""
SAME_LOOK = 11.5
"""Two marks look the same if their thumbnails differ by less than this: root mean square, in grey levels."""
THUMBNAIL_SIDE = 32


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("samples"), help="folder to write to (default: samples)")
    parser.add_argument("--npm", type=Path, default=NPM_CACHE, help="folder of the unpacked npm packages")
    arguments = parser.parse_args()
    images = arguments.out / "images"
    if images.exists():
        raise SystemExit(f"{images} exists and may hold older pictures; remove it and run again")
    collections = {icon_set: read_set(icon_set, arguments.npm) for icon_set in SETS}
    brands = load_brands(arguments.npm)
    images.mkdir(parents=True)
    looks = Looks()
    records = [
        record
        for icon_set, collection in collections.items()
        for record in make_samples(icon_set, collection, brands, looks, images)
    ]
    lines = ",\n".join(
        json.dumps(record, ensure_ascii=False) for record in sorted(records, key=lambda r: str(r["file"]))
    )
    (arguments.out / "results.json").write_text(f"[\n{lines}\n]\n", encoding="utf8")
    size = sum(path.stat().st_size for path in images.iterdir())
    print(f"{len(records)} logos, {size:,} bytes of images")


def read_set(icon_set: IconSet, npm: Path) -> dict[str, Any]:
    """The set in Iconify's JSON format. Exits if its package has another licence than CC0."""
    package = fetch_package(f"@iconify-json/{icon_set.name}", icon_set.version, npm)
    licence = json.loads((package / "info.json").read_bytes())["license"]["spdx"]
    if licence != "CC0-1.0":
        raise SystemExit(f"{package.name} is licensed {licence}, not CC0-1.0")
    collection: dict[str, Any] = json.loads((package / "icons.json").read_bytes())
    return collection


def make_samples(
    icon_set: IconSet, collection: dict[str, Any], brands: Mapping[str, Mapping[str, Any]], looks: Looks, images: Path
) -> Iterator[dict[str, object]]:
    """Write the set's first marks that are visible, in the order of `_order`. Yields their records."""
    withdrawn = [name for name, icon in collection["icons"].items() if icon.get("hidden")]
    print(f"{icon_set.name}: {len(withdrawn)} withdrawn by the set, left out")
    names = iter(sorted(collection["icons"].keys() - withdrawn, key=_order))
    for _ in track(range(icon_set.take), icon_set.name):
        for name in names:
            try:
                image = draw(collection, name)
                looks.add(image, f"{icon_set.name}/{name}")
            except IconError as error:
                print(f"left out {icon_set.name}/{name}: {error}")
                continue
            file = file_name(icon_set.name, name)
            (images / file).write_bytes(encode_jpeg(image, JPEG_QUALITY, optimize=True))
            yield {"file": file} | describe(icon_set.name, name, brands) | {"vienna_codes": [], "year": None}
            break
        else:
            raise SystemExit(f"{icon_set.name} has fewer than {icon_set.take} visible marks")


def draw(collection: dict[str, Any], name: str) -> Image:
    """(256, 256, 3) uint8 BGR: the picture of a mark on white.

    Raises:
        IconError: the mark cannot be drawn, or too little of it is visible on white.
    """
    drawing = iconify_drawing(collection, name)
    on_white = render(drawing)
    # A pixel that is the same on white and on black paper is covered; one that follows the paper is empty.
    drawn = on_white.max(axis=2).astype(int) - render(drawing, paper=0).max(axis=2) < EMPTY
    visible = drawn & (on_white.min(axis=2) < WHITE)
    if visible.sum() < MIN_VISIBLE_INK * drawn.sum() or _box_area(visible) <= MIN_VISIBLE_BOX * _box_area(drawn):
        raise IconError("not visible on white")
    return on_white


class Looks:
    """Thumbnails of the marks so far, scaled to one size."""

    def __init__(self) -> None:
        self._thumbnails: list[NDArray[np.int32]] = []
        self._names: list[str] = []

    def add(self, image: Image, name: str) -> None:
        """Add a picture.

        Raises:
            IconError: it looks the same as an earlier one.
        """
        thumbnail = _thumbnail(image)
        if self._thumbnails:
            differences = np.sqrt(np.square(np.stack(self._thumbnails) - thumbnail).mean(axis=(1, 2, 3)))
            nearest = int(differences.argmin())
            if differences[nearest] < SAME_LOOK:
                raise IconError(f"looks the same as {self._names[nearest]}")
        self._thumbnails.append(thumbnail)
        self._names.append(name)


def _order(name: str) -> str:
    # Pseudo-random by brand: both sets reach their drawings of the same brand at about the same time.
    brand = re.sub("[^a-z0-9]", "", name.removesuffix("-icon"))
    return hashlib.sha256(brand.encode()).hexdigest() + name


def _thumbnail(image: Image) -> NDArray[np.int32]:
    left, top, width, height = cv2.boundingRect((image.min(axis=2) < WHITE).astype(np.uint8))
    side = max(width, height)
    square = np.full((side, side, 3), 255, np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = image[top : top + height, left : left + width]
    thumbnail = cv2.resize(square, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(thumbnail, np.int32)


def _box_area(mask: NDArray[np.bool_]) -> int:
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return int(width * height)


if __name__ == "__main__":
    main()
