"""Render the retrieval benchmark: real marks, each drawn by several independent icon sets.

The same brand drawn by different people is independent ground truth: a query is one drawing, the relevant answers are the
other drawings of the same brand and kind (mark or wordmark), and everything else is a distractor.

    python -m benchmarks.make_benchmark --out data/benchmark

The list of drawings is `benchmarks/data/gallery.csv.gz` (described in `benchmarks/data/README.md`); the drawings come
from npm packages, pinned below, some 500 MB unpacked. It takes about 4 minutes on one core; a run that was stopped is
resumed by the next one.

    OUT/images/<uuid>.jpg   256x256, aspect kept, white, JPEG quality 90
    OUT/results.json        the records, in L3D's layout
    OUT/labels.json         {file: {brand, kind, set, split, licence, concept, alone}}; brand is null for distractors

Splits: `train` is for training; `public` is for measuring and never trained on; `distractor` may be trained on, each drawing
as its own class. A list of `set,name,concept,licence` (`--list concepts.csv.gz`) holds generic icons that one set
draws in several styles: they have the split `concept` and are for training only.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track

from benchmarks.render_icons import (
    MARK_SIDE,
    NPM_CACHE,
    Drawing,
    IconError,
    encode_jpeg,
    fetch_package,
    file_name,
    iconify_drawing,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parent / "data"
GALLERY = DATA / "gallery.csv.gz"
ALONE = DATA / "alone.csv"
ICONIFY = ("@iconify/json", "2.2.535")
FILE_PACKAGES = {  # set: npm package of SVG files and its version; all other sets are from Iconify
    "lobehub": ("@lobehub/icons-static-svg", "1.95.1"),
    "super-tiny-icons": ("super-tiny-icons", "0.6.0"),
    "payment-icons": ("payment-icons", "1.2.1"),
    "platformicons": ("platformicons", "9.6.0"),
    "font-logos": ("font-logos", "1.4.0"),
}
LABELS = ("brand", "kind", "set", "split", "licence", "concept")
JPEG_QUALITY = 90


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--list", type=Path, nargs="+", default=[GALLERY], help="lists of drawings (.csv.gz)")
    parser.add_argument("--npm", type=Path, default=NPM_CACHE, help="folder of the unpacked npm packages")
    arguments = parser.parse_args()
    rows = [row for path in arguments.list for row in read_list(path)]
    failed = make_benchmark(rows, IconSets(arguments.npm), arguments.out)
    print(f"{len(rows) - len(failed)} rendered, {len(failed)} failed", *failed, sep="\n")


def read_list(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a list, each with its `file` and `split`."""
    with gzip.open(path, "rt", encoding="utf8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield {"file": file_name(row["set"], row["name"]), "split": "concept", **row}


def make_benchmark(rows: list[dict[str, str]], icons: IconSets, out: Path) -> list[str]:
    """Write the benchmark. Returns one line for each icon that could not be drawn."""
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, object]] = []
    labels: dict[str, dict[str, str | bool | None]] = {}
    with ALONE.open(encoding="utf8", newline="") as lines:
        alone = {row["file"] for row in csv.DictReader(lines)}
    failed: list[str] = []
    for row in track(rows, "rendering"):
        target = images / row["file"]
        try:
            if not target.exists():
                jpeg = encode_jpeg(render(icons.drawing(row["set"], row["name"])), JPEG_QUALITY)
                _write_whole(target, jpeg)
        except IconError as error:
            failed.append(f"{row['set']}/{row['name']}: {error}")
            continue
        results.append({"file": row["file"], "text": row["name"], "vienna_codes": [], "year": None})
        labels[row["file"]] = {label: row.get(label) or None for label in LABELS}
        if row["file"] in alone:
            labels[row["file"]]["alone"] = True
    _write_whole(out / "results.json", json.dumps(results).encode())
    _write_whole(out / "labels.json", json.dumps(labels).encode())
    return failed


class IconSets:
    """Drawings by set and name, from npm packages that are downloaded on first use."""

    def __init__(self, npm: Path) -> None:
        self._npm = npm
        self._collection = cache(self._read_collection)
        self._files = cache(self._list_files)

    def drawing(self, icon_set: str, name: str) -> Drawing:
        """One icon.

        Raises:
            IconError: the set or the icon does not exist.
        """
        if icon_set not in FILE_PACKAGES:
            return iconify_drawing(self._collection(icon_set), name)
        path = self._files(icon_set).get(name)
        if path is None:
            raise IconError("not in its set")
        return Drawing(path.read_text(encoding="utf8", errors="replace"), width=MARK_SIDE)

    def _read_collection(self, icon_set: str) -> dict[str, Any]:
        path = fetch_package(*ICONIFY, self._npm) / "json" / f"{icon_set}.json"
        if not path.exists():
            raise IconError("no such set")
        collection: dict[str, Any] = json.loads(path.read_bytes())
        return collection

    def _list_files(self, icon_set: str) -> dict[str, Path]:
        paths = sorted(fetch_package(*FILE_PACKAGES[icon_set], self._npm).rglob("*.svg"))
        if icon_set == "payment-icons":  # each card in several styles, one folder per style
            return {f"{path.stem}@{path.parent.name}": path for path in paths}
        return {path.stem: path for path in paths}


def _write_whole(path: Path, data: bytes) -> None:
    # Renamed into place: a run that is stopped leaves no partial file.
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


if __name__ == "__main__":
    main()
