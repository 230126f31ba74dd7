"""Live segments of the logos of a sample catalog, described as a build describes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from logo_similarity.build.segment import SegmentEntry
from logo_similarity.embed.describe import describe, describe_parts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.fields import Record
from logo_similarity.image.decode import decode


def describe_entry(record: Record, image: bytes, encoder: Encoder) -> SegmentEntry:
    """The entry of a logo with this image file."""
    pixels = decode(image)
    parts = describe_parts(pixels, encoder)
    return SegmentEntry(record, describe(pixels, encoder), parts, None, sha256(image).digest(), None)


def describe_entries(records: Iterable[Record], images: Path, encoder: Encoder) -> list[SegmentEntry]:
    """The entries of records with images in a folder."""
    return [
        describe_entry(replace(record, where="live"), (images / record.filename).read_bytes(), encoder)
        for record in records
    ]
