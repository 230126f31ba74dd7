"""Embeddings that are stored as float16."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from logo_similarity.embed.describe import Floats
from logo_similarity.errors import CatalogError
from logo_similarity.precision import Precision
from logo_similarity.search.rows import open_array

Halves = NDArray[np.float16]
Ids = NDArray[np.int64]
SCANNED_ROWS = 8_192
"""Rows that a scan copies at once: 4 MB."""


class HalfRows:
    """The rows of an array of float16, (n, d), as float32."""

    def __init__(self, halves: Halves) -> None:
        self._halves = halves
        self.shape: tuple[int, ...] = halves.shape

    def __getitem__(self, ids: Ids | slice | int) -> Floats:
        """The rows with these numbers."""
        return self._halves[ids].astype(np.float32)

    def __len__(self) -> int:
        return len(self._halves)

    def scan(self, query: Floats, rows: Ids, k: int) -> tuple[Ids, Floats]:
        """The `k` nearest of some rows, which are compared one by one, and their products with the query, nearest first.

        Args:
            query: (d,) float32.
            rows: (m,) int64.
            k: maximum number of rows.
        """
        # FAISS converts while it compares. Of an index of all rows, it would visit all to find these.
        index = faiss.IndexScalarQuantizer(self.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        products, nearest = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        for start in range(0, len(rows), SCANNED_ROWS):
            block = rows[start : start + SCANNED_ROWS]
            index.reset()
            index.add_sa_codes(self._halves[block].view(np.uint8))
            scores, places = index.search(query[np.newaxis], min(k, len(block)))
            products.append(scores[0])
            nearest.append(block[places[0]])
        found, scored = np.concatenate(nearest), np.concatenate(products)
        order = np.lexsort((found, -scored))[:k]
        return found[order], scored[order]


def rounded(embeddings: Floats, precision: Precision) -> Floats:
    """Embeddings as a catalog of this precision has them: rounded to float16, unless it stores float32.

    To round them again changes nothing. The lengths of unit vectors differ from 1 by less than 5e-4 then; those of many
    dimensions by much less.
    """
    return embeddings if precision is Precision.FLOAT32 else embeddings.astype(np.float16).astype(np.float32)


def open_halves(path: Path, count: int, dimension: int) -> Halves:
    """Map a .npy file of float16, (count, dimension).

    Raises:
        CatalogError: it cannot be read, or is another array.
    """
    halves: Halves = open_array(path)
    if halves.dtype != np.float16 or halves.shape != (count, dimension):
        raise CatalogError(
            f"{path}: damaged: the array is {halves.dtype} {halves.shape}; expected float16 ({count}, {dimension})"
        )
    return halves
