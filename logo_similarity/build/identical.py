"""Identical images: logos with the same embedding and the same patches share one vector of the index.

Copies of one image would otherwise fill the neighbourhood of each other in the graph and cut it off: a search that
enters it does not leave it, and one outside does not find it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from logo_similarity.build.shards import Shard, load_shard
from logo_similarity.embed.describe import Floats
from logo_similarity.precision import Precision
from logo_similarity.search.halves import rounded
from logo_similarity.search.nibbles import packed
from logo_similarity.search.rows import Numbers

DIGEST_BYTES = 16


def number_vectors(shards: Path, count: int, precision: Precision = Precision.FLOAT32) -> Numbers:
    """The vector of each row, (rows,) int32. Identical rows have one vector; vectors are numbered by their first row.

    Rows are identical if their embeddings and patches, as the catalog stores them, are equal byte for byte. They are compared
    by a digest of 128 bits (BLAKE2b), which takes about 70 bytes of memory per row: 700 MB for ten million logos.

    Args:
        shards: folder of the shards.
        count: number of shards.
        precision: of the catalog.
    """
    digests = [np.empty((0, 2), np.uint64)]
    digests += (_digest_rows(load_shard(shards, number), precision) for number in range(count))
    return _number(np.concatenate(digests))


def number_parts(embeddings: Floats) -> Numbers:
    """The index entry of each part, (p,) int32: parts with the same embedding, byte for byte, have one entry.

    Args:
        embeddings: (p, d) float32.
    """
    digests = bytearray()
    for embedding in embeddings:
        digests += hashlib.blake2b(embedding.tobytes(), digest_size=DIGEST_BYTES).digest()
    return _number(np.frombuffer(digests, np.uint64).reshape(-1, 2))


def _number(digests: NDArray[np.uint64]) -> Numbers:
    """Number the different digests, (n, 2), by their first place: (n,) int32."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: identical rows stay in row order
    ordered = digests[order]
    starts = np.ones(len(digests), np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first_rows = order[starts]
    numbers = np.empty(len(first_rows), np.int32)
    numbers[np.argsort(first_rows)] = np.arange(len(first_rows))
    vectors = np.empty(len(digests), np.int32)
    vectors[order] = numbers[np.cumsum(starts) - 1]
    return vectors


def _digest_rows(shard: Shard, precision: Precision) -> NDArray[np.uint64]:
    """(m, 2) uint64: the digest of each row of a shard."""
    digests = bytearray()
    patches = None if shard.patches is None else packed(shard.patches, precision)
    for row, embedding in enumerate(rounded(shard.embeddings, precision)):
        digest = hashlib.blake2b(embedding.tobytes(), digest_size=DIGEST_BYTES)
        if patches is not None:
            digest.update(patches[row].tobytes())
        digests += digest.digest()
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)
