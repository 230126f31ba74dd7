"""Whether every image finds itself in catalogs that contain the same image many times.

Registers contain placeholders for missing images, and marks that were filed often. Each catalog consists of the samples and of
such copies, and is built as every catalog is. Every distinct image is then searched for by its own file, as a service does.
An image finds itself if it, or one of its copies, is the first hit; another hit of the same score does not matter.

    python -m benchmarks.identical [SCENARIO ...]      # some ten minutes on two cores
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.answers import TIE
from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.cpu import usable_cores
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine

HITS = 100


@dataclass(frozen=True, slots=True)
class Scenario:
    """Images that a catalog contains many times."""

    copied: int
    """Number of sample marks that are copied; 0: a placeholder is."""
    copies: int
    """Copies of each."""
    prefixes: Sequence[str]
    """Beginnings of the copies' file names, in turn. They place the copies before, among or after the samples, whose
    names are hexadecimal."""


AMONG = tuple("0123456789abcdef")
SCENARIOS = {
    "2,000 placeholders, first": Scenario(0, 2000, ("!",)),
    "2,000 placeholders, among the others": Scenario(0, 2000, AMONG),
    "2,000 placeholders, last": Scenario(0, 2000, ("z",)),
    "200 placeholders, among the others": Scenario(0, 200, AMONG),
    "one mark 150 times": Scenario(1, 150, AMONG),
    "five marks 200 times": Scenario(5, 200, AMONG),
}


def measure(names: Iterable[str], samples: Sequence[Path]) -> dict[str, object]:
    """Build and search the catalog of each scenario.

    Args:
        names: of `SCENARIOS`.
        samples: the image files that each catalog contains once.
    """
    figures: dict[str, object] = {}
    for name in names:
        figures[name] = measure_scenario(SCENARIOS[name], samples)
        print(name, json.dumps(figures[name]), flush=True)
    return write_result("identical", {"samples": len(samples), "hits": HITS, "scenarios": figures})


def measure_scenario(scenario: Scenario, samples: Sequence[Path]) -> dict[str, object]:
    """The number of distinct images and of those that find themselves, and whether a build publishes such a catalog."""
    with tempfile.TemporaryDirectory() as parent:
        images, catalogs = Path(parent) / "images", Path(parent) / "catalogs"
        images.mkdir()
        files = write_images(scenario, samples, images)
        # Without the floors, a catalog that a build refuses can be searched, too.
        options = BuildOptions(threads=usable_cores(), recall_floor=0, self_floor=0)
        recall = build_catalog(open_source(images, kind="folder"), catalogs, options).manifest.recall
        with SearchEngine.open(catalogs, device="cpu") as engine, ThreadPoolExecutor(usable_cores()) as pool:
            ranks = list(pool.map(lambda names: own_rank(engine, images, names), files))
    return {
        "images": len(files),
        "first": sum(rank == 1 for rank in ranks),
        "among_100": sum(rank is not None for rank in ranks),
        "recall_at_100": recall.value,
        "published": recall.value >= BuildOptions().recall_floor and recall.self_found >= BuildOptions().self_floor,
    }


def write_images(scenario: Scenario, samples: Sequence[Path], folder: Path) -> list[tuple[str, ...]]:
    """Write the images of a catalog. Returns the file names of each distinct image."""
    distinct = [(sample.name, sample.read_bytes()) for sample in samples]
    copied = distinct[:: len(distinct) // scenario.copied][: scenario.copied] if scenario.copied else []
    copied = copied or [("placeholder.png", placeholder())]
    names = {name: [name] for name, _ in distinct}
    for name, content in distinct:
        (folder / name).write_bytes(content)
    for original, content in copied:
        for number in range(scenario.copies):
            name = f"{scenario.prefixes[number % len(scenario.prefixes)]}{number}-{original}"
            (folder / name).write_bytes(content)
            names.setdefault(original, []).append(name)
    return [tuple(group) for group in names.values()]


def own_rank(engine: SearchEngine, folder: Path, names: tuple[str, ...]) -> int | None:
    """Rank of an image in a search with its own file, starting at 1; None: it is not among the hits."""
    hits = engine.search(Query(image=(folder / names[0]).read_bytes(), top_k=HITS)).hits
    own = max((hit.score for hit in hits if hit.logo.filename in names), default=None)
    return None if own is None else 1 + sum(hit.score > own + TIE for hit in hits)


def placeholder() -> bytes:
    """A PNG file that stands for a missing image."""
    image = Image.new("RGB", (300, 200), (225, 225, 225))
    ImageDraw.Draw(image).text((30, 80), "image not available", font=ImageFont.load_default(26), fill=(120, 120, 120))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Run from the command line."""
    measure(sys.argv[1:] or SCENARIOS, sorted((SAMPLES / "images").glob("*.jpg")))


if __name__ == "__main__":
    main()
