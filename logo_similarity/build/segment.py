"""A live segment: some logos in the files of a catalog version, without an encoder, searched together with a version."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from logo_similarity.build.identical import number_vectors
from logo_similarity.build.options import BuildOptions
from logo_similarity.build.records import record_line
from logo_similarity.build.shards import SHARD_ROWS, StoredImage, make_shard, shard_count, write_shard
from logo_similarity.build.texts import write_texts
from logo_similarity.build.version_files import write_files
from logo_similarity.build.work import RECORDS, SHARDS, SOURCE_REJECTS, TEXTS, VERSION
from logo_similarity.catalog.files import replacing, sha256_file, sync_folder, synced_together
from logo_similarity.catalog.manifest import MANIFEST, Manifest, SegmentManifest
from logo_similarity.description import Description, Parts
from logo_similarity.fields import Record

KIND = "live"
"""The kind of source in the manifest of a segment."""
WORK_PREFIX = ".segment-"
RECALL_QUERIES = 20
"""The recall of a small index is near 1: it is measured only because the manifest states it."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentEntry:
    """A logo of a segment."""

    record: Record
    description: Description
    """With a place; its parts do not count."""
    parts: Parts
    """Embeddings of any length; a shorter one has been shortened by an earlier build."""
    image_text: str | None
    """The words that were read in its image; None: none were."""
    digest: bytes
    """Sha256 of its image file."""
    damaged: str | None
    """What is wrong with the file, if it was read only in part."""


def write_segment(folder: Path, entries: Iterable[SegmentEntry], base: Manifest) -> Manifest:
    """Write a segment of these logos, in this order. The folder appears with all of its files, or not at all.

    The folder for the work in progress is beside it, and its name begins with `WORK_PREFIX`. It is deleted in the end;
    after a crash, by the next call for the same folder.

    Args:
        folder: does not exist; its parent does.
        entries: at least one; all logo ids are different.
        base: the manifest of the version that the segment will be searched with.

    Raises:
        BuildError: an embedding is not of unit length, or the disk is full.
        OSError: a file cannot be written, or the folder exists.
        ValueError: there are no entries, or a description has no place.
    """
    work = folder.parent / (WORK_PREFIX + folder.name)
    shutil.rmtree(work, ignore_errors=True)
    (work / VERSION).mkdir(parents=True)
    try:
        with synced_together(work / VERSION):
            count = _write_shards(work, entries)
            if count == 0:
                raise ValueError("a segment has at least one logo")
            manifest = write_files(
                SegmentManifest,
                work,
                KIND,
                number_vectors(work / SHARDS, shard_count(count)),
                base.dimension,
                base.encoder,
                base.facets,
                sha256_file(work / RECORDS),
                BuildOptions(
                    m=base.index.m,
                    ef_construction=base.index.ef_construction,
                    ef_search=base.index.ef_search,
                    recall_floor=0,
                    self_floor=0,
                    recall_queries=RECALL_QUERIES,
                    recall_k=base.recall.k,
                ),
                lambda _stage, _done, _total: None,
            )
            with replacing(work / VERSION / MANIFEST) as file:
                file.write(manifest.to_json())
        (work / VERSION).rename(folder)
        sync_folder(folder.parent)
        return manifest
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_shards(work: Path, entries: Iterable[SegmentEntry]) -> int:
    """Write what the stages of a build leave for `write_files`. Returns the number of entries."""
    (work / SHARDS).mkdir()
    (work / TEXTS).mkdir()
    (work / SOURCE_REJECTS).touch()
    count, remaining = 0, iter(entries)
    with (work / RECORDS).open("wb") as records:
        while batch := list(islice(remaining, SHARD_ROWS)):
            number = count // SHARD_ROWS
            count += len(batch)
            images: list[StoredImage | str] = []
            for entry in batch:
                records.write(record_line(entry.record))
                description = replace(entry.description, parts=entry.parts)
                images.append(StoredImage.of(entry.digest, description, entry.damaged))
            dimension = len(batch[0].description.embedding)
            write_shard(work / SHARDS, number, *make_shard(images, dimension))
            write_texts(
                work / TEXTS, number, {entry.record.logo_id: entry.image_text for entry in batch if entry.image_text}
            )
    return count
