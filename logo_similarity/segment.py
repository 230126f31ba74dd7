"""One set of files that is searched: those of a catalog version, or of a live segment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.damaged import read_damage
from logo_similarity.catalog.manifest import (
    INDEX,
    MANIFEST,
    METADATA,
    PATCHES,
    ROW_MAP,
    WORDS,
    Manifest,
    check_sizes,
    read_segment_manifest,
)
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.postings import Postings, file_names
from logo_similarity.description import Box, Description, Parts, Place
from logo_similarity.embed.describe import Floats
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError
from logo_similarity.fields import FIELDS
from logo_similarity.opening import (
    Digests,
    check_preprocessing,
    open_image_digests,
    open_index,
    open_parts,
    open_patches,
    open_places,
    open_row_map,
)
from logo_similarity.search.candidates import Ids
from logo_similarity.search.hnsw import HnswSource
from logo_similarity.search.joined import find_images
from logo_similarity.search.joined_words import LiveWords
from logo_similarity.search.part_index import PartIndex
from logo_similarity.search.parts import DIMENSIONS
from logo_similarity.search.words import WordIndex


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Segment:
    """The opened files. Safe to use from many threads at once; they are unmapped with the last reference."""

    folder: Path
    manifest: Manifest
    source: HnswSource
    """The index and the patches."""
    parts: PartIndex | None
    """The parts of its images; None: no image has any, or they are not known."""
    places: Floats | None
    """(vectors, 5) float32, mapped: a `Place` for each vector; None: not known."""
    digests: Digests | None
    """(rows, 32) uint8, mapped: sha256 of the image files; None: not known."""
    metadata: Metadata
    postings: Postings | None
    """None: the version cannot filter, because an earlier version of this software built it."""
    words: WordIndex | None
    """None: it cannot be searched by words, for the same reason."""
    damage: Mapping[str, str]
    """What is wrong with the images that are damaged, by the ids of their logos."""

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, encoder: Encoder) -> Self:
        """Map the files into memory.

        Raises:
            CatalogError: file sizes or headers show damage, or another encoder computed the embeddings.
        """
        check_sizes(folder, manifest)
        check_preprocessing(folder, manifest)
        if encoder.model.sha256 != manifest.encoder.sha256:
            raise CatalogError(
                f"{folder}: {encoder.model.id!r} with the sha256 {encoder.model.sha256[:8]} is not the encoder that "
                f"computed its embeddings ({manifest.encoder.id!r}, {manifest.encoder.sha256[:8]}); build it again"
            )
        if unknown := sorted(set(manifest.fields) - {field.name for field in FIELDS}):
            raise CatalogError(
                f"{folder}: has the field {unknown[0]!r}, which this version of the software does not know; use the one "
                f"that wrote it ({manifest.software})"
            )
        index = open_index(folder, manifest)
        metadata = Metadata(folder / METADATA)
        patches = open_patches(folder, encoder) if PATCHES in manifest.files and encoder.has_patches else None
        logos = {MANIFEST: manifest.count, METADATA: metadata.count()}
        images = {MANIFEST: manifest.distinct_images, INDEX: index.count}
        if patches is not None:
            images[PATCHES] = len(patches)
        for what, counts in (("logos", logos), ("distinct images", images)):
            if len(set(counts.values())) > 1:
                raise CatalogError(f"{folder}: damaged: its files have different numbers of {what}: {counts}")
        if not manifest.dimension == index.dimension == encoder.dimension:
            raise CatalogError(f"{folder}: damaged: its encoder and its index have different numbers of dimensions")
        row_map = open_row_map(folder, ROW_MAP, manifest.count, manifest.distinct_images)
        complete = file_names(manifest.filter_fields) <= manifest.files.keys()
        return cls(
            folder,
            manifest,
            HnswSource(index, patches, row_map, manifest.index.ef_search),
            open_parts(folder, manifest),
            open_places(folder, manifest),
            open_image_digests(folder, manifest),
            metadata,
            Postings(folder, manifest.filter_fields, manifest.count) if complete else None,
            WordIndex.open(folder / WORDS, manifest.count) if WORDS in manifest.files else None,
            read_damage(folder, manifest),
        )

    def description(self, vector: int) -> Description:
        """The stored description of the logos with one vector: all but the parts."""
        patches = self.source.patches
        return Description(
            np.array(self.source.index.vectors[vector]),
            None if patches is None else patches[vector],
            place=self._place(vector),
        )

    def stored_parts(self, vector: int) -> Parts:
        """The parts of the logos with one vector; their embeddings have `DIMENSIONS` dimensions."""
        if self.parts is None:
            return Parts(np.empty((0, DIMENSIONS), np.float32), np.empty((0, 4), np.float32))
        first, last = self.parts.offsets[vector : vector + 2].tolist()
        entries = self.parts.row_map.vector_of(np.arange(first, last))
        boxes = [self.parts.box(vector, part) for part in range(last - first)]
        return Parts(self.parts.index.vectors[entries], np.array(boxes, np.float32).reshape(-1, 4))

    def part_box(self, vector: int, part: int) -> Box:
        """The box of a part, by its number among the parts of its vector."""
        if self.parts is None:
            raise ValueError("the segment has no parts")
        return self.parts.box(vector, part)

    def digests_of_vectors(self) -> NDArray[np.uint8] | None:
        """(vectors, 32) uint8: the digest of the first row of each vector; None: not known."""
        if self.digests is None:
            return None
        rows, _ = self.source.row_map.rows_of(np.arange(self.manifest.distinct_images), 1)
        return self.digests[rows]

    def _place(self, vector: int) -> Place | None:
        """Where the encoder looked in the picture of the logos with one vector; None: not known."""
        if self.places is None:
            return None
        place = Place(*self.places[vector].tolist())
        # Opening a catalog does not read all places. NaN compares false.
        if not (
            0 <= place.left < place.right <= 1 and 0 <= place.top < place.bottom <= 1 and 0 < place.aspect < math.inf
        ):
            raise CatalogError(f"{self.folder.name}: damaged: the place of image {vector} is not in its picture")
        return place


@dataclass(frozen=True, slots=True, eq=False)
class LiveSegment(Segment):
    """The opened files of a live segment, which is searched together with a version."""

    in_base: Ids
    """(vectors,) int64: the vector of the version with the same image file; -1: it has none."""
    live_words: LiveWords | None
    """None: the version cannot be searched by words."""

    @classmethod
    def open_with(cls, folder: Path, encoder: Encoder, base: Segment) -> Self:
        """Map the files into memory, and find the images and words that the version has, too.

        Raises:
            CatalogError: as `Segment.open`, or the segment lacks files that the version has.
        """
        segment = Segment.open(folder, read_segment_manifest(folder), encoder)
        for what, own, others in (
            ("patches", segment.source.patches, base.source.patches),
            ("parts", segment.manifest.parts, base.manifest.parts),
            ("posting lists", segment.postings, base.postings),
            ("words", segment.words, base.words),
        ):
            if own is None and others is not None:
                raise CatalogError(f"{folder}: has no {what}, but the version {base.folder.name} has; write it again")
        in_base = np.full(segment.manifest.distinct_images, -1)
        if base.digests is not None and (digests := segment.digests_of_vectors()) is not None:
            rows = find_images(base.digests, digests)
            in_base[rows >= 0] = base.source.row_map.vector_of(rows[rows >= 0])
        words = None if base.words is None or segment.words is None else LiveWords.of(segment.words, base.words)
        own_files = {field.name: getattr(segment, field.name) for field in fields(Segment)}
        return cls(**own_files, in_base=in_base, live_words=words)
