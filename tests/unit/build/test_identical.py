"""Finding identical images among the shards of a build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from logo_similarity.build.identical import number_vectors
from logo_similarity.build.shards import Shard, write_shard

ROWS = 60


def write_shards(folder: Path, images: list[int], *, patches: bool = True, rows: int = 7) -> int:
    """Shards of `rows` rows, each a given one of `ROWS` images. Returns their number."""
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(ROWS, 8)).astype(np.float32)
    cells = random.integers(-128, 128, (ROWS, 4, 3)).astype(np.int8)
    starts = range(0, len(images), rows)
    for number, start in enumerate(starts):
        chosen = images[start : start + rows]
        write_shard(folder, number, Shard(embeddings[chosen], cells[chosen] if patches else None), {})
    return len(starts)


@pytest.mark.parametrize("patches", [True, False])
def test_vectors_are_numbered_by_their_first_row(tmp_path: Path, patches: bool) -> None:
    images = [5, 9, 5, 2, 9, 5, 5, 5, 0, 2, 41, 9, 5]
    shards = write_shards(tmp_path, images, patches=patches)
    assert number_vectors(tmp_path, shards).tolist() == [0, 1, 0, 2, 1, 0, 0, 0, 3, 2, 4, 1, 0]


def test_different_images_have_the_numbers_of_their_rows(tmp_path: Path) -> None:
    vectors = number_vectors(tmp_path, write_shards(tmp_path, list(range(ROWS))[::-1]))
    assert vectors.dtype == np.int32
    assert vectors.tolist() == list(range(ROWS))


def test_many_rows_in_any_order(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, ROWS, 1_000)
    vectors = number_vectors(tmp_path, write_shards(tmp_path, images.tolist(), rows=64))
    _, first_rows, inverse = np.unique(images, return_index=True, return_inverse=True)
    assert vectors.tolist() == np.argsort(np.argsort(first_rows))[inverse].tolist()


def test_a_byte_of_the_embedding_or_of_the_patches_makes_a_difference(tmp_path: Path) -> None:
    embeddings, cells = np.ones((4, 8), np.float32), np.ones((4, 4, 3), np.int8)
    embeddings[1, 7] = np.nextafter(np.float32(1), np.float32(2))
    cells[2, 3, 2] = 2
    write_shard(tmp_path, 0, Shard(embeddings, cells), {})
    assert number_vectors(tmp_path, 1).tolist() == [0, 1, 2, 0]


def test_a_shard_whose_images_are_all_rejected_has_no_rows(tmp_path: Path) -> None:
    write_shards(tmp_path, [3, 4])
    write_shard(tmp_path, 1, Shard(np.empty((0, 8), np.float32), None), {0: "damaged"})
    assert number_vectors(tmp_path, 2).tolist() == [0, 1]
