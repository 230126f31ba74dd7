"""The parts of a catalog version: their boxes, their owners and their index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from logo_similarity.build.halves import write_halves
from logo_similarity.build.identical import number_parts
from logo_similarity.build.shards import load_shard_parts
from logo_similarity.catalog.files import replacing, sync_file
from logo_similarity.catalog.manifest import (
    PART_BOXES,
    PART_EMBEDDINGS,
    PART_INDEX,
    PART_MAP,
    PART_OFFSETS,
    PARTS_FOLDER,
    IndexEntry,
    PartsEntry,
)
from logo_similarity.embed.describe import Floats
from logo_similarity.precision import Precision
from logo_similarity.search.build import Probe, build_hnsw, choose_ef_search
from logo_similarity.search.halves import rounded
from logo_similarity.search.part_index import BoxSteps
from logo_similarity.search.parts import DIMENSIONS, NEAREST
from logo_similarity.search.rows import GroupedMap, Numbers

PARTS_LAYOUT = 1
"""Incremented when the files of a version's parts change for the same images."""
EDGES = 16
"""Edges per node of the index (M): half of those of whole images, since the vectors have half the dimensions."""
EF_CONSTRUCTION = 100
EF_SEARCHES = (NEAREST, 160, 200, 256, 384)
RECALL_TARGET = 0.97
PART_VECTORS = "part_vectors.bin"
WRITTEN = "parts.json"
"""Its `PartsEntry`, written when the files of the parts are complete."""

IndexParts = Callable[[Floats], IndexEntry]
"""Makes the index of the different parts, (n, d) float32."""


def write_parts(
    shards: Path,
    shard_count: int,
    vector_of: Numbers,
    dimension: int,
    work: Path,
    version: Path,
    precision: Precision,
    index_parts: IndexParts,
) -> PartsEntry | None:
    """Write the files of the parts into a version, unless an earlier run has written them.

    Args:
        shards: folder of the shards.
        shard_count: number of shards.
        vector_of: (rows,) int32: the vector of each row; the first row of a vector gives it its parts.
        dimension: of the encoder.
        work: folder for files that are not part of the version.
        version: the version's folder.
        precision: of the catalog.
        index_parts: makes the index.

    Returns:
        None if the parts are not known.
    """
    if load_shard_parts(shards, 0) is None:
        return None
    if (work / WRITTEN).exists():
        entry = PartsEntry.model_validate_json((work / WRITTEN).read_bytes())
        if entry.index.is_file:  # a collection may have been deleted since
            return entry
    (version / PARTS_FOLDER).mkdir(exist_ok=True)
    is_first = np.zeros(len(vector_of), np.bool_)
    is_first[np.unique(vector_of, return_index=True)[1]] = True
    counts, boxes = [], []
    row = 0
    with (work / PART_VECTORS).open("wb") as part_vectors:
        for number in range(shard_count):
            shard = load_shard_parts(shards, number)
            if shard is None:
                raise ValueError(f"shard {number} has no parts")
            kept = is_first[row : row + len(shard.counts)]
            row += len(shard.counts)
            of_kept = np.repeat(kept, shard.counts)
            counts.append(shard.counts[kept])
            boxes.append(shard.boxes[of_kept])
            part_vectors.write(rounded(shard.embeddings[of_kept], precision).tobytes())
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int32)
    _write_array(version / PART_OFFSETS, offsets)
    _write_array(version / PART_BOXES, np.concatenate(boxes))
    distinct, index = 0, IndexEntry(m=EDGES, ef_construction=EF_CONSTRUCTION, ef_search=NEAREST)
    if offsets[-1]:
        shape = (int(offsets[-1]), min(DIMENSIONS, dimension))
        embeddings = _distinct_parts(np.memmap(work / PART_VECTORS, np.float32, "r", shape=shape), version)
        distinct, index = len(embeddings), index_parts(embeddings)
    entry = PartsEntry(count=int(offsets[-1]), distinct=distinct, index=index)
    with replacing(work / WRITTEN) as file:
        file.write(entry.model_dump_json().encode())
    return entry


def write_part_index(
    embeddings: Floats,
    version: Path,
    threads: int,
    precision: Precision,
    recall_queries: int,
    on_parts: Callable[[int], None],
) -> IndexEntry:
    """Write the index of different parts, (n, d) float32, into a version.

    Args:
        embeddings: of the parts.
        version: the version's folder.
        threads: OpenMP threads.
        precision: of the catalog.
        recall_queries: number of parts with which the recall of the index is measured.
        on_parts: called with the number of parts indexed so far.
    """
    partial = version / (PART_INDEX + ".partial")
    curve = build_hnsw(
        embeddings,
        partial,
        m=EDGES,
        ef_construction=EF_CONSTRUCTION,
        threads=threads,
        precision=precision,
        halves=write_halves(embeddings, version / PART_EMBEDDINGS) if precision is Precision.INT8 else None,
        probe=part_probe(recall_queries),
        on_rows=on_parts,
    )
    sync_file(partial)
    partial.replace(version / PART_INDEX)
    ef_search = choose_ef_search(curve, RECALL_TARGET, 0).ef_search
    return IndexEntry(precision=precision, m=EDGES, ef_construction=EF_CONSTRUCTION, ef_search=ef_search)


def part_probe(queries: int) -> Probe:
    """How the recall of an index of parts is measured."""
    return Probe(k=NEAREST, queries=queries, ef_searches=EF_SEARCHES)


def _distinct_parts(embeddings: Floats, version: Path) -> Floats:
    """The different ones of the parts. Writes their map if some are the same."""
    entries = number_parts(embeddings)
    part_map = GroupedMap.of(entries)
    if len(part_map.offsets) - 1 < len(embeddings):
        for name, array in zip(PART_MAP, (part_map.offsets, part_map.rows, part_map.vectors), strict=True):
            _write_array(version / name, array)
    return embeddings[part_map.rows[part_map.offsets[:-1]]]


def _write_array(path: Path, array: Numbers | BoxSteps) -> None:
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)
