"""The embeddings of a version as float16, in a file beside an index of smaller codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from logo_similarity.catalog.files import create_array, sync_file
from logo_similarity.embed.describe import Floats
from logo_similarity.search.halves import Halves, open_halves

BLOCK_ROWS = 65_536


def write_halves(embeddings: Floats, path: Path) -> Halves:
    """Write embeddings, (n, d) float32, and map them as they are stored.

    Raises:
        OSError: the disk has too little space.
    """
    array = create_array(path, np.float16, embeddings.shape)
    for start in range(0, len(embeddings), BLOCK_ROWS):
        array[start : start + BLOCK_ROWS] = embeddings[start : start + BLOCK_ROWS]
    array.flush()
    sync_file(path)
    return open_halves(path, *embeddings.shape)
