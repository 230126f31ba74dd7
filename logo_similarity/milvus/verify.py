"""Checks that the collections of a version have exactly the entities that its build loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.manifest import Manifest
from logo_similarity.embed.describe import Floats
from logo_similarity.errors import CatalogError
from logo_similarity.milvus.collections import (
    EMBEDDING,
    ID,
    VersionCollection,
    check_collection,
    collections_of,
    count_entities,
    load_collection,
)
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.search.candidates import Ids
from logo_similarity.search.rows import open_array

SAMPLED = 1_000
PAGE = 16_384
"""Ids of a request: Milvus returns no more entities."""
LOAD_SECONDS = 600.0


def sample_file(*, is_parts: bool) -> str:
    """The file of a version with some embeddings of a collection: (m, d) float32, those of evenly spread ids."""
    return "sample-parts.npy" if is_parts else "sample.npy"


def write_sample(path: Path, embeddings: Floats) -> None:
    """Write the file, from all embeddings that are loaded, (n, d) float32."""
    with replacing(path) as file:
        np.save(file, embeddings[_sampled(len(embeddings))], allow_pickle=False)


def verify_collections(
    folder: Path, manifest: Manifest, server: IndexServer, on_entities: Callable[[int], None] = lambda _: None
) -> int:
    """Compare the collections of a version with its files.

    Each collection must be of the version's encoder and build. It must have the ids from 0 on, each once, and the embeddings
    of the sample.

    Args:
        folder: of the version.
        manifest: its manifest.
        server: with the collections.
        on_entities: called with the number of ids that each request has checked.

    Returns:
        The number of entities.

    Raises:
        CatalogError: a collection is missing, is another one, or has other entities.
        IndexUnavailableError: the server does not answer.
    """
    expected = collections_of(manifest)
    for collection in expected:
        check_collection(
            server,
            collection.name,
            encoder=manifest.encoder.sha256,
            inputs=manifest.inputs,
            dimension=collection.dimension,
        )
        load_collection(server, collection.name, LOAD_SECONDS, replicas=server.replicas)
        if (count := count_entities(server, collection.name)) != collection.count:
            raise _damage(server, collection, f"it has {count:,} entities, the manifest says {collection.count:,}")
        for start in range(0, collection.count, PAGE):
            _check_ids(server, collection, start, min(start + PAGE, collection.count))
            on_entities(min(PAGE, collection.count - start))
        _check_sample(server, collection, folder / sample_file(is_parts=collection.is_parts))
    return sum(collection.count for collection in expected)


def _check_ids(server: IndexServer, collection: VersionCollection, start: int, end: int) -> None:
    with server.connected() as client:
        found = client.query(
            collection.name,
            filter=f"{ID} >= {start} and {ID} < {end}",
            output_fields=[ID],
            consistency_level="Strong",
            timeout=server.seconds,
        )
    missing = np.setdiff1d(np.arange(start, end), [row[ID] for row in found])
    if len(missing):
        raise _damage(
            server, collection, f"it lacks {len(missing):,} of the ids {start} to {end - 1}, first {missing[0]}"
        )


def _check_sample(server: IndexServer, collection: VersionCollection, path: Path) -> None:
    sample, ids = open_array(path), _sampled(collection.count)
    with server.connected() as client:
        found = client.query(
            collection.name,
            filter=f"{ID} in {ids.tolist()}",
            output_fields=[ID, EMBEDDING],
            consistency_level="Strong",
            timeout=server.seconds,
        )
    stored = {row[ID]: row[EMBEDDING] for row in found}
    embeddings = np.array([stored[number] for number in ids.tolist()], np.float32)
    if embeddings.shape != sample.shape:
        raise CatalogError(f"{path}: damaged: has the shape {sample.shape}, the collection {embeddings.shape}")
    wrong = np.flatnonzero((embeddings != sample).any(axis=1))
    if len(wrong):
        raise _damage(
            server, collection, f"{len(wrong)} of {len(ids)} embeddings differ, first that of {ids[wrong[0]]}"
        )


def _sampled(count: int) -> Ids:
    """Some of the ids from 0 to `count` - 1: all, or `SAMPLED` of them."""
    return np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).round().astype(np.int64))


def _damage(server: IndexServer, collection: VersionCollection, reason: str) -> CatalogError:
    return CatalogError(f"{server.url}: {collection.name} is damaged: {reason}; build the catalog again")
