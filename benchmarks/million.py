"""Time and disk of a build of a million records from an office's XML, estimated from builds of fewer records.

The records are case files like those of the USPTO in a ZIP file, each with an image of its own in another ZIP file. The images
are drawn once, from pairs of samples, and kept for later runs. Reading and embedding take the same time for each record. The
time of indexing n records is taken as c + k n log n, as that of an HNSW graph (arXiv 1603.09320); two builds give c and k.

    python -m benchmarks.million [records, default 20000]
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import DATA, write_result
from benchmarks.make_register import SAMPLES
from benchmarks.register_readers import HEAD, TAIL, case_file
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.cpu import usable_cores
from logo_similarity.image.files import FolderImages

RECORDS = 20_000
MILLION = 1_000_000
SHARE = 4
"""The first build has a fourth of the records."""
FIRST_SERIAL = 90_000_000
SIDE, LARGE, SMALL = 600, 420, (120, 240)
"""Sides of a drawn image, and of the two samples in it, in pixels."""
QUALITY = 85
WHITE = (255, 255, 255)
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Build:
    """What one build took."""

    records: int
    source_bytes: int
    reading: float
    """Seconds from the start to the first image that is read."""
    embedding: float
    """Seconds until the last image is embedded."""
    indexing: float
    """Seconds for the rest: the index and its check, the tables, the digests."""
    version_bytes: int
    model_bytes: int
    """Of the version; they do not grow."""
    peak_bytes: int
    """All files of the build at its end, without the source."""

    def figures(self) -> dict[str, object]:
        """As in the result."""
        return {
            "records": self.records,
            "source_mb": round(self.source_bytes / 1e6, 1),
            "reading_s": round(self.reading, 1),
            "embedding_s": round(self.embedding, 1),
            "indexing_s": round(self.indexing, 1),
            "version_mb": round(self.version_bytes / 1e6, 1),
            "peak_mb": round(self.peak_bytes / 1e6, 1),
        }


class _WatchedImages(FolderImages):
    """Notes when the first image is read."""

    first_read: float | None = None

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `ImageFiles.read`."""
        self.first_read = self.first_read or time.perf_counter()
        return super().read(name, max_bytes)


def measure(records: int) -> dict[str, object]:
    """Build two registers, and estimate a build of a million records."""
    images = draw_images(records)
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        few, many = (build(Path(folder) / str(count), images, count) for count in (records // SHARE, records))
    return write_result(
        "million",
        {
            "threads": usable_cores(),
            "image_side": SIDE,
            "builds": [few.figures(), many.figures()],
            "million": estimate(few, many),
        },
    )


def estimate(few: Build, many: Build) -> dict[str, float]:
    """Hours and gigabytes of a build of a million records."""
    times = MILLION / many.records
    work_few, work_many, work = (count * math.log(count) for count in (few.records, many.records, MILLION))
    slope = (many.indexing - few.indexing) / (work_many - work_few)
    hours = {
        "reading_hours": many.reading * times / 3600,
        "embedding_hours": many.embedding * times / 3600,
        "indexing_hours": (many.indexing + slope * (work - work_many)) / 3600,
    }
    version = (many.version_bytes - many.model_bytes) * times + many.model_bytes
    return {
        **{name: round(value, 2) for name, value in hours.items()},
        "hours": round(sum(hours.values()), 2),
        "source_gb": round(many.source_bytes * times / 1e9, 1),
        "version_gb": round(version / 1e9, 2),
        "peak_gb": round(version / 1e9 + (many.peak_bytes - many.version_bytes) * times / 1e9, 2),
    }


def build(folder: Path, images: Path, records: int) -> Build:
    """Build a catalog of the first records in `folder`, which is new."""
    register, catalogs = folder / "register", folder / "catalogs"
    register.mkdir(parents=True)
    numbers = random.Random(0)
    with (
        zipfile.ZipFile(register / "apc.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("apc.xml", "w", force_zip64=True) as xml,
    ):
        xml.write(HEAD.encode())
        for number in range(records):
            xml.write(case_file(FIRST_SERIAL + number, numbers).encode())
        xml.write(TAIL.encode())
    _copy_images(images, register / "hrs.zip", records)
    source = open_source(register)
    source.images = watched = _WatchedImages(register)
    embedded = peak = 0.0

    def progress(stage: str, _done: int, _total: int | None) -> None:
        nonlocal embedded, peak
        if stage == "finding identical images":
            embedded = time.perf_counter()
        if stage == "computing digests":
            peak = _size(catalogs)

    started = time.perf_counter()
    result = build_catalog(source, catalogs, BuildOptions(threads=usable_cores()), progress)
    ended = time.perf_counter()
    if result.manifest.distinct_images != records or watched.first_read is None:
        raise ValueError(f"{result.manifest.distinct_images:,} distinct images of {records:,}")
    return Build(
        records=records,
        source_bytes=_size(register),
        reading=watched.first_read - started,
        embedding=embedded - watched.first_read,
        indexing=ended - embedded,
        version_bytes=_size(result.folder),
        model_bytes=result.manifest.model_size,
        peak_bytes=round(peak),
    )


def draw_images(records: int) -> Path:
    """A ZIP file with an image for each record, drawn if it does not exist."""
    path = DATA / f"million-{records}.zip"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        samples = [_read(file) for file in sorted((SAMPLES / "images").glob("*.jpg"))]
        with zipfile.ZipFile(partial, "w") as archive:
            for number in range(records):
                archive.writestr(f"{FIRST_SERIAL + number}.jpg", _draw(samples, number))
        partial.rename(path)
    return path


def _draw(samples: list[Picture], number: int) -> bytes:
    """A sample, turned, with a smaller one in a corner: no two are alike."""
    draw = random.Random(number)
    large = cv2.resize(samples[number % len(samples)], (LARGE, LARGE), interpolation=cv2.INTER_CUBIC)
    turn = cv2.getRotationMatrix2D((LARGE / 2, LARGE / 2), draw.uniform(-180, 180), 0.7)
    canvas: Picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    canvas[:LARGE, :LARGE] = cv2.warpAffine(large, turn, (LARGE, LARGE), borderValue=WHITE)
    side = draw.randint(*SMALL)
    canvas[SIDE - side :, SIDE - side :] = cv2.resize(draw.choice(samples), (side, side), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", canvas, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1])


def _read(path: Path) -> Picture:
    picture = cv2.imread(str(path))
    if picture is None:
        raise ValueError(f"{path} cannot be read")
    return np.asarray(picture, np.uint8)


def _copy_images(images: Path, target: Path, records: int) -> None:
    with zipfile.ZipFile(images) as drawn, zipfile.ZipFile(target, "w") as archive:
        for name in drawn.namelist()[:records]:
            archive.writestr(name, drawn.read(name))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    print(measure(int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS))
