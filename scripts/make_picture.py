"""Draw `docs/results.png`: real searches of the sample catalog, each query beside its best hits and their scores.

    make demo                        # once: the searches use its catalog
    python -m scripts.make_picture

The query itself, which is always its own first hit with a score of 1, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from logo_similarity import Query, SearchEngine
from scripts.update_readme import ROOT, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PICTURE = ROOT / "docs" / "results.png"
HITS = 5
TILE, GAP, LINE = 104, 14, 20
"""Pixels: the side of a logo, the space between two, the height of a line of text."""
COLOURS = 255
INK, PALE = (40, 40, 40), (215, 215, 215)


@dataclass(frozen=True, slots=True)
class Example:
    """One row: a sample logo to search with, and why it is shown."""

    logo_id: str
    reason: str

    @property
    def path(self) -> Path:
        """The image."""
        return SAMPLES / "images" / f"{self.logo_id}.jpg"


QUERIES = (
    Example(
        "8cac6d4f-39d9-5ca8-ab5b-b97a273fc9f2",
        "Black without a word, and coloured with one; other overlapping circles follow",
    ),
    Example("9a1b99e2-e907-5e8f-adc7-129f75b414dc", "In blue, and in black; other marks with orbits follow"),
    Example("ba29e0aa-d989-5121-b30d-3be90ff9ce85", "In black, and in three shades; other cut hexagons follow"),
    Example("2877e443-97c9-5361-8890-496139d4718b", "With its name, and without"),
    Example(
        "5adf8cb1-9baa-5729-b21c-fd4d23cddb0c",
        "A hard case: a small mark beside a word scores no higher than unrelated marks",
    ),
)
"""Marks that the two sample sets drew differently."""


@dataclass(frozen=True, slots=True)
class Row:
    """One search: the query, and the files and scores of its best hits."""

    example: Example
    hits: tuple[tuple[Path, float], ...]


def search(engine: SearchEngine, example: Example) -> Row:
    """Search with a sample's file."""
    result = engine.search(Query(image=example.path.read_bytes(), top_k=HITS + 1))
    hits = [hit for hit in result.hits if hit.logo.logo_id != example.logo_id]
    return Row(example, tuple((SAMPLES / hit.logo.filename, hit.score) for hit in hits[:HITS]))


def draw(rows: Sequence[Row]) -> Image.Image:
    """The picture: one row of logos for each search, in a palette."""
    step = LINE + TILE + LINE + GAP
    picture = Image.new("RGB", ((HITS + 1) * (TILE + GAP) + 2 * GAP, len(rows) * step + GAP), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for number, row in enumerate(rows):
        top = GAP + number * step
        pen.text((GAP, top), row.example.reason, INK, font)
        tiles = [
            (row.example.path, "query"),
            *((path, f"{score:.2f}") for path, score in row.hits),
        ]
        for place, (path, caption) in enumerate(tiles):
            left = GAP + place * (TILE + GAP) + (GAP if place else 0)
            with Image.open(path) as logo:
                picture.paste(logo.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS), (left, top + LINE))
            pen.rectangle((left, top + LINE, left + TILE, top + LINE + TILE), outline=PALE if place else INK)
            pen.text((left + TILE // 2, top + LINE + TILE + 4), caption, INK, font, anchor="ma")
    return picture.quantize(COLOURS, dither=Image.Dither.NONE)


def main() -> None:
    """Search and draw."""
    with SearchEngine.open(ROOT / "catalogs", device="cpu") as engine:
        rows = [search(engine, example) for example in QUERIES]
    draw(rows).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
