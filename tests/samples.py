"""A small catalog of real logos for many tests."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source

SAMPLES = Path(__file__).parent.parent / "samples"


@dataclass(frozen=True, slots=True)
class SampleCatalog:
    """The folders of the catalog and of its images, and the names of the images."""

    root: Path
    images: Path
    files: tuple[str, ...]


def make_sample_catalog(folder: Path, count: int) -> SampleCatalog:
    """Build a catalog of the first `count` samples, with a company, codes and a date added to each."""
    images = folder / "images"
    images.mkdir(parents=True)
    rows = json.loads((SAMPLES / "results.json").read_text())[:count]
    with (folder / "marks.jsonl").open("w") as table:
        for number, row in enumerate(rows):
            shutil.copy(SAMPLES / "images" / row["file"], images / row["file"])
            mark = {
                "logo_id": f"EM/{number:06}",
                "filename": row["file"],
                "text": row["text"],
                "company": f"Company {number}",
                "vienna_codes": ["26.1.1", "27.05.01"],
                "nice_classes": [1 + number % 45, 45],
                "status": "ended" if number % 4 == 0 else "registered",
                "application_date": "2023-01-01",
            }
            table.write(json.dumps(mark) + "\n")
    build_catalog(open_source(folder / "marks.jsonl"), folder / "catalogs", BuildOptions(threads=2))
    return SampleCatalog(folder / "catalogs", images, tuple(row["file"] for row in rows))
