"""Live segments of sample logos, described as a build describes them."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.merging import record_object
from logo_similarity.build.options import BuildOptions
from logo_similarity.build.segment import SegmentEntry, write_segment
from logo_similarity.catalog.live import LiveFiles
from logo_similarity.catalog.manifest import MODEL_FOLDER
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.embed.describe import describe, describe_parts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.engine import SearchEngine
from logo_similarity.field_kinds import JsonValue
from logo_similarity.fields import Record
from logo_similarity.image.decode import decode
from tests.samples import SAMPLES

CUT = (7, 20, 60, 75, 155, 160, 195)
"""Logos of the version and of both segments whose image files are cut off."""
FACET = "Colour claim"
COLOURS: tuple[JsonValue, ...] = ("red", ["light blue", "red"], None, "blue")
COMPANIES = ("Saturn", "Saturnia", "Kodak", "Oak & Sons", "Northern Lights", "Blue", "Blau")


def describe_entry(record: Record, image: bytes, encoder: Encoder) -> SegmentEntry:
    """The entry of a logo with this image file."""
    damage: list[str] = []
    pixels = decode(image, on_damage=damage.append)
    parts = describe_parts(pixels, encoder)
    digest = sha256(image).digest()
    return SegmentEntry(record, describe(pixels, encoder), parts, None, digest, next(iter(damage), None))


def describe_entries(records: Iterable[Record], images: Path, encoder: Encoder) -> list[SegmentEntry]:
    """The entries of records with images in a folder."""
    return [describe_entry(record, (images / record.filename).read_bytes(), encoder) for record in records]


@dataclass(frozen=True, slots=True)
class ChangedCatalog:
    """A version with live changes, and a catalog that was built from the logos that remain."""

    root: Path
    """The folder of the version."""
    live: LiveFiles
    whole: Path
    """The folder of the catalog of the remaining logos, in the same order."""
    images: Path
    records: tuple[tuple[Record, ...], ...]
    """Of the version and of each segment."""


def make_changed_catalog(folder: Path) -> ChangedCatalog:
    """150 logos in a version, 50 more in two segments; some are deleted, some replaced, once or twice, some damaged."""
    rows = [row for row in open_source(SAMPLES / "marks.jsonl", images=SAMPLES).rows() if isinstance(row, Record)]
    sample = [
        replace(
            record,
            company=f"{COMPANIES[number % 7]} {('Ltd', 'GmbH')[number % 2]}" if number % 3 else None,
            nice_classes=(1 + number % 44, 45),
            vienna_codes=(f"0{1 + number % 9}.05.01", "26.01.01"),
            status="ended" if number % 4 == 0 else "registered",
            application_date=dt.date(2000 + number // 10, 1, 1 + number % 28),
            year=2000 + number // 10,
            extra={name: value for name, value in ((FACET, COLOURS[number % 4]), ("note", "kept")) if value},
        )
        for number, record in enumerate(rows[:: len(rows) // 200][:200])
    ]
    images = folder / "images"
    for record in sample:
        (images / record.filename).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SAMPLES / record.filename, images / record.filename)
    for number in CUT:
        file = images / sample[number].filename
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 4 // 5])
    changed = [
        # Of the version: another text; another image; the same image with another status, then deleted.
        replace(sample[3], text="Entirely other words"),
        replace(sample[7], filename=sample[190].filename),
        replace(sample[9], status="ended"),
        # Of the first segment.
        replace(sample[155], company="Newer Company Ltd"),
        replace(sample[3], text="Words of a third kind", extra={FACET: ["green", "red"]}),
    ]
    copies = [replace(sample[number], logo_id=f"copy-{number}", text=sample[5].text) for number in (10, 151, 40)]
    records = (
        tuple(sample[:150]),
        (*sample[150:180], *changed[:3], copies[0]),
        (*sample[180:], *changed[3:], *copies[1:]),
    )
    hidden = ((3, 7, 9, 20, 21, 40), (5, 10, 30, 32), ())
    _build(folder, "base", records[0], images)
    encoder = Encoder.open(Catalog(folder / "base").current() / MODEL_FOLDER, device="cpu", threads=1)
    with SearchEngine.open(folder / "base", device="cpu") as engine:
        for name, own in zip(("first", "second"), records[1:], strict=True):
            write_segment(folder / name, describe_entries(own, images, encoder), engine.manifest)
    visible = [
        record for own, rows in zip(records, hidden, strict=True) for row, record in enumerate(own) if row not in rows
    ]
    _build(folder, "whole", visible, images)
    arrays = tuple(np.array(rows, np.int64) for rows in hidden)
    live = LiveFiles(1, (folder / "first", folder / "second"), arrays)
    return ChangedCatalog(folder / "base", live, folder / "whole", images, records)


def _build(folder: Path, name: str, records: Sequence[Record], images: Path) -> None:
    table = folder / f"{name}.jsonl"
    objects = ({**record_object(record), **record.extra} for record in records)
    given = (
        {name: value for name, value in each.items() if value and name not in ("where", "extra")} for each in objects
    )
    table.write_text("".join(json.dumps(row) + "\n" for row in given))
    source = open_source(table, images=images, columns={f"extra.{FACET}": FACET})
    build_catalog(source, folder / name, BuildOptions(threads=2, ef_search=256))
