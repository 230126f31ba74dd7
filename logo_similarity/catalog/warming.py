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
    short. If not all files fit into memory, only these are read, and if not even these fit, none. While all files fit, the
    order makes no difference, and nor do searches that begin before all are read (`benchmarks.read_ahead`).

    Args:
        folder: of the version.
        manifest: of the version.
        memory: bytes; None: what this process may use.

    Raises:
        OSError: a file cannot be read.
    """
    room = available_memory() if memory is None else memory
    sparse = sorted(name for name in manifest.files if name in SPARSE)
    others = sorted(name for name in manifest.files if name not in SPARSE)
    for names in ([*sparse, *others], others):
        if sum(manifest.files[name].size for name in names) <= room:
            for name in names:
                read_ahead(folder / name)
            return
