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
from logo_similarity.milvus.collections import Layout, kind_for, logos_name, parts_name
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.fields import filter_fields
from logo_similarity.milvus.load import Entity, load
from logo_similarity.milvus.source import MilvusIndex, logo_entity, part_entity
from logo_similarity.search.build import IndexRecall, Probe, check_unit_length, choose_ef_search, measure_random_rows
from logo_similarity.search.rows import Numbers, open_array

PROGRESS, PARTS_PROGRESS = "loaded.json", "parts-loaded.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Loads what a build has computed."""

    server: IndexServer
    work: Path
    """Has the patches of the images."""
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
        enough: Callable[[IndexRecall], bool],
        on_rows: Callable[[int], None],
    ) -> tuple[IndexEntry, tuple[IndexRecall, ...]]:
        """Load the images, and measure the recall with some of them.

        Args:
            vectors: (n, d) float32: their embeddings.
            vector_of: (rows,) int32: the vector of each row; the first row of a vector gives it its fields.
            total: number of records.
            probe: how the recall is measured.
            enough: whether a breadth of search need not be followed by a larger one.
            on_rows: called with the number of images loaded so far.

        Returns:
            The index, with the last breadth that was measured, and the recall at each.
        """
        patches: Patches | None = open_array(self.work / PATCHES) if (self.work / PATCHES).exists() else None
        layout = Layout(
            name=logos_name(self.inputs),
            dimension=vectors.shape[1],
            count=len(vectors),
            is_parts=False,
            has_patches=patches is not None,
            filter_fields=self.filter_fields,
            encoder=self.encoder,
            inputs=self.inputs,
            kind=kind_for(len(vectors), self.server.kind),
            m=self.m,
            ef_construction=self.ef_construction,
            shards=self.server.shards,
        )

        def entities(start: int) -> Iterator[Entity]:
            counts, fields = np.bincount(vector_of), filter_fields(self.filter_fields)
            number = 0
            for record, vector in zip(self._records(total), vector_of.tolist(), strict=True):
                if vector == number:  # its first row
                    number += 1
                    if vector >= start:
                        own = None if patches is None else patches[vector]
                        yield logo_entity(vector, vectors[vector], own, record, int(counts[vector]), fields)

        check_unit_length(vectors)
        curve = self._load(layout, entities, vectors, self.work / PROGRESS, probe, enough, on_rows)
        return _entry(layout, curve[-1].ef_search), curve

    def load_parts(self, embeddings: Floats, queries: int, on_parts: Callable[[int], None]) -> IndexEntry:
        """Load different parts, (n, d) float32, and measure the recall with this many of them."""
        layout = Layout(
            name=parts_name(self.inputs),
            dimension=embeddings.shape[1],
            count=len(embeddings),
            is_parts=True,
            has_patches=False,
            filter_fields=(),
            encoder=self.encoder,
            inputs=self.inputs,
            kind=kind_for(len(embeddings), self.server.kind),
            m=EDGES,
            ef_construction=EF_CONSTRUCTION,
            shards=self.server.shards,
        )

        def entities(start: int) -> Iterator[Entity]:
            return (part_entity(number, embeddings[number]) for number in range(start, len(embeddings)))

        def enough(recall: IndexRecall) -> bool:
            return recall.value >= RECALL_TARGET

        progress = self.work / PARTS_PROGRESS
        curve = self._load(layout, entities, embeddings, progress, part_probe(queries), enough, on_parts)
        return _entry(layout, choose_ef_search(curve, RECALL_TARGET, 0).ef_search)

    def _load(
        self,
        layout: Layout,
        entities: Callable[[int], Iterator[Entity]],
        vectors: Floats,
        progress: Path,
        probe: Probe,
        enough: Callable[[IndexRecall], bool],
        on_rows: Callable[[int], None],
    ) -> tuple[IndexRecall, ...]:
        load(self.server, layout, entities, progress, replicas=self.server.replicas, on_rows=on_rows)
        index = MilvusIndex(self.server, layout.name, layout.kind, layout.count, layout.dimension)
        curve: list[IndexRecall] = []
        for point in measure_random_rows(index, vectors, probe, self.threads):
            curve.append(point)
            if enough(point):
                break
        return tuple(curve)

    def _records(self, total: int) -> Iterator[Record]:
        """The indexed records, in the order of the rows."""
        return chain.from_iterable(outcome.indexed for outcome in read_outcomes(self.shards, total, self.records))


def _entry(layout: Layout, ef_search: int) -> IndexEntry:
    """The entry of an index in the manifest."""
    return IndexEntry(
        kind=f"milvus-{layout.kind}",
        collection=layout.name,
        m=layout.m,
        ef_construction=layout.ef_construction,
        ef_search=ef_search,
    )
