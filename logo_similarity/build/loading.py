"""The index of a build in collections of a Milvus server, instead of files of the version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from logo_similarity.build.embeddings import read_outcomes
from logo_similarity.build.parts import EDGES, EF_CONSTRUCTION, RECALL_TARGET, part_probe
from logo_similarity.catalog.manifest import PATCHES, IndexEntry
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.fields import Record
from logo_similarity.milvus.collections import Layout, logos_name, parts_name
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.fields import filter_fields
from logo_similarity.milvus.load import Entity, load
from logo_similarity.milvus.source import MilvusIndex, logo_entity, part_entity
from logo_similarity.search.build import IndexRecall, Probe, check_unit_length, choose_ef_search, measure_random_rows
from logo_similarity.search.rows import Numbers, open_array

PROGRESS = "loaded.json"
PARTS_PROGRESS = "parts-loaded.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Loads what a build has computed."""

    server: IndexServer
    work: Path
    """With the records, the shards and the patches of the images."""
    records: Path
    shards: Path
    filter_fields: tuple[str, ...]
    """See `Manifest.filter_fields`."""
    encoder: str
    """Sha256 of the encoder."""
    inputs: str
    """Digest of the inputs of the build."""
    m: int
    ef_construction: int
    threads: int

    def load_images(
        self,
        vectors: Floats,
        vector_of: Numbers,
        total: int,
        probe: Probe,
        target: float,
        self_floor: float,
        on_rows: Callable[[int], None],
    ) -> tuple[IndexRecall, ...]:
        """Load the images, and measure the recall at one breadth after the other until it reaches the target.

        Args:
            vectors: (n, d) float32: their embeddings.
            vector_of: (rows,) int32: the vector of each row; the first row of a vector gives it its fields.
            total: number of records.
            probe: how the recall is measured: with random vectors of the collection.
            target: of the recall.
            self_floor: least share of the vectors that find themselves.
            on_rows: called with the number of images loaded so far.
        """
        patches: Patches | None = None
        if (self.work / PATCHES).exists():
            patches = open_array(self.work / PATCHES)
        layout = self._layout(logos_name(self.inputs), vectors.shape[1], has_patches=patches is not None)

        def entities(start: int) -> Iterator[Entity]:
            counts, fields = np.bincount(vector_of), filter_fields(self.filter_fields)
            number = 0
            for record, vector in zip(self._records(total), vector_of.tolist(), strict=True):
                if vector == number:  # its first row
                    number += 1
                    if vector >= start:
                        check_unit_length(vectors[vector : vector + 1], vector)
                        own = None if patches is None else patches[vector]
                        yield logo_entity(vector, vectors[vector], own, record, int(counts[vector]), fields)

        return self._load(layout, entities, vectors, self.work / PROGRESS, probe, target, self_floor, on_rows)

    def load_parts(self, embeddings: Floats, queries: int, on_parts: Callable[[int], None]) -> IndexEntry:
        """Load different parts, (n, d) float32, and measure the recall with this many of them."""
        layout = self._layout(parts_name(self.inputs), embeddings.shape[1], is_parts=True)

        def entities(start: int) -> Iterator[Entity]:
            return (part_entity(number, embeddings[number]) for number in range(start, len(embeddings)))

        progress = self.work / PARTS_PROGRESS
        curve = self._load(layout, entities, embeddings, progress, part_probe(queries), RECALL_TARGET, 0, on_parts)
        return self.entry(layout.name, EDGES, EF_CONSTRUCTION, choose_ef_search(curve, RECALL_TARGET, 0).ef_search)

    def entry(self, name: str, m: int, ef_construction: int, ef_search: int) -> IndexEntry:
        """The entry of an index in the manifest."""
        kind = self.server.kind
        return IndexEntry(
            kind=f"milvus-{kind}", collection=name, m=m, ef_construction=ef_construction, ef_search=ef_search
        )

    def _layout(self, name: str, dimension: int, *, is_parts: bool = False, has_patches: bool = False) -> Layout:
        return Layout(
            name=name,
            dimension=dimension,
            is_parts=is_parts,
            has_patches=has_patches,
            filter_fields=() if is_parts else self.filter_fields,
            encoder=self.encoder,
            inputs=self.inputs,
            kind=self.server.kind,
            m=EDGES if is_parts else self.m,
            ef_construction=EF_CONSTRUCTION if is_parts else self.ef_construction,
            shards=self.server.shards,
        )

    def _load(
        self,
        layout: Layout,
        entities: Callable[[int], Iterator[Entity]],
        vectors: Floats,
        progress: Path,
        probe: Probe,
        target: float,
        self_floor: float,
        on_rows: Callable[[int], None],
    ) -> tuple[IndexRecall, ...]:
        load(self.server, layout, entities, len(vectors), progress, replicas=self.server.replicas, on_rows=on_rows)
        index = MilvusIndex(self.server, layout.name, layout.kind, len(vectors), layout.dimension)
        curve: list[IndexRecall] = []
        for point in measure_random_rows(index, vectors, probe, self.threads):
            curve.append(point)
            if point.value >= target and point.self_found >= self_floor:
                break
        return tuple(curve)

    def _records(self, total: int) -> Iterator[Record]:
        """The indexed records, in the order of the rows."""
        return chain.from_iterable(outcome.indexed for outcome in read_outcomes(self.shards, total, self.records))
