"""Reading a version into the page cache before it is searched."""

from __future__ import annotations

from pathlib import Path

from logo_similarity.catalog.files import read_ahead
from logo_similarity.catalog.manifest import (
    DAMAGED,
    EMBEDDINGS,
    IMAGE_DIGESTS,
    METADATA,
    PART_EMBEDDINGS,
    PATCHES,
    REJECTED,
    Manifest,
)
from logo_similarity.plan import available_memory

SPARSE = frozenset({EMBEDDINGS, PART_EMBEDDINGS, PATCHES, METADATA, IMAGE_DIGESTS, REJECTED, DAMAGED})
"""Files of which a search reads what belongs to its candidates and hits. The others, such as a graph, it reads all over."""


def read_version_ahead(folder: Path, manifest: Manifest, memory: int | None = None) -> None:
    """Read the files of a version into the page cache, for all processes that map them.

    The files that a search reads all over come last, because the kernel drops the least recently read pages when memory is
    short. If not all files fit into memory, only these are read.

    Args:
        folder: of the version.
        manifest: of the version.
        memory: bytes; None: what this process may use.
    """
    fits = manifest.size <= (available_memory() if memory is None else memory)
    for name in sorted(manifest.files, key=lambda name: (name not in SPARSE, name)):
        if fits or name not in SPARSE:
            read_ahead(folder / name)
