"""The rows of a catalog and the vectors of its index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.errors import CatalogError
from logo_similarity.search.rows import FilteredMap, GroupedMap, IdentityMap, Numbers

VECTORS = np.array([0, 1, 0, 2, 0, 1, 3], np.int32)
"""The vector of each row: vector 0 has three rows, vector 1 two, the others one."""
FILES = ("offsets", "rows", "vectors")


@pytest.fixture
def grouped() -> GroupedMap:
    return GroupedMap.of(VECTORS.copy())


def write(folder: Path, row_map: GroupedMap) -> None:
    for name in FILES:
        np.save(folder / f"{name}.npy", getattr(row_map, name))


def read(folder: Path, row_count: int = 7, vector_count: int = 4) -> GroupedMap:
    paths = {name: folder / f"{name}.npy" for name in FILES}
    return GroupedMap.open(**paths, row_count=row_count, vector_count=vector_count)


def test_rows_are_listed_by_vector_and_in_row_order(grouped: GroupedMap) -> None:
    np.testing.assert_array_equal(grouped.offsets, [0, 3, 5, 6, 7])
    np.testing.assert_array_equal(grouped.rows, [0, 2, 4, 1, 5, 3, 6])
    assert {grouped.offsets.dtype, grouped.rows.dtype, grouped.vectors.dtype} == {np.dtype(np.int32)}


@pytest.mark.parametrize(
    ("most", "rows", "positions"),
    [
        (10, [6, 0, 2, 4, 1, 5], [0, 1, 1, 1, 2, 2]),
        (3, [6, 0, 2, 4, 1, 5], [0, 1, 1, 1, 2, 2]),
        (2, [6, 0, 2, 1, 5], [0, 1, 1, 2, 2]),
        (1, [6, 0, 1], [0, 1, 2]),
    ],
)
def test_vectors_are_replaced_by_their_rows_in_the_same_order(
    grouped: GroupedMap, most: int, rows: list[int], positions: list[int]
) -> None:
    answer = grouped.rows_of(np.array([3, 0, 1]), most)
    np.testing.assert_array_equal(answer, [rows, positions])
    assert {numbers.dtype for numbers in answer} == {np.dtype(np.int64)}


def test_no_vectors_have_no_rows(grouped: GroupedMap) -> None:
    none = np.empty(0, np.int64)
    for row_map in (grouped, IdentityMap()):
        assert [len(numbers) for numbers in row_map.rows_of(none, 10)] == [0, 0]
        assert len(row_map.copies_of(none)) == len(row_map.vector_of(none)) == 0


def test_a_row_has_a_vector_and_a_vector_has_copies(grouped: GroupedMap) -> None:
    np.testing.assert_array_equal(grouped.vector_of(np.array([6, 2, 0, 5])), [3, 0, 0, 1])
    np.testing.assert_array_equal(grouped.copies_of(np.array([3, 0, 1, 0])), [0, 2, 1, 2])


def test_without_identical_images_rows_and_vectors_have_the_same_numbers() -> None:
    row_map, numbers = IdentityMap(), np.array([5, 0, 3])
    np.testing.assert_array_equal(row_map.vector_of(numbers), numbers)
    np.testing.assert_array_equal(row_map.rows_of(numbers, 1), [numbers, [0, 1, 2]])
    np.testing.assert_array_equal(row_map.copies_of(numbers), [0, 0, 0])


MASK = np.array([0, 1, 1, 0, 1, 0, 0], np.bool_)
"""Two rows of vector 0 pass, and one of vector 1."""


def test_vectors_of_the_rows_that_pass(grouped: GroupedMap) -> None:
    np.testing.assert_array_equal(grouped.vectors_with(MASK), [True, True, False, False])
    np.testing.assert_array_equal(IdentityMap().vectors_with(MASK), MASK)
    assert not grouped.vectors_with(np.zeros(7, np.bool_)).any()


@pytest.mark.parametrize(
    ("most", "rows", "positions"), [(10, [1, 2, 4], [0, 2, 2]), (2, [1, 2, 4], [0, 2, 2]), (1, [1, 2], [0, 2])]
)
def test_a_filtered_map_has_only_the_rows_that_pass(
    grouped: GroupedMap, most: int, rows: list[int], positions: list[int]
) -> None:
    filtered, vectors = FilteredMap(grouped, MASK), np.array([1, 3, 0])
    np.testing.assert_array_equal(filtered.rows_of(vectors, most), [rows, positions])
    np.testing.assert_array_equal(filtered.copies_of(vectors[[0, 2]]), [0, 1])
    np.testing.assert_array_equal(filtered.vector_of(np.array([5, 6])), [1, 3])
    np.testing.assert_array_equal(filtered.vectors_with(~MASK), [False] * 4)
    assert [len(numbers) for numbers in filtered.rows_of(vectors[:0], most)] == [0, 0]
    assert len(filtered.copies_of(vectors[:0])) == 0


def test_a_filtered_map_without_identical_images() -> None:
    filtered, vectors = FilteredMap(IdentityMap(), MASK), np.array([4, 1])
    np.testing.assert_array_equal(filtered.rows_of(vectors, 1), [[4, 1], [0, 1]])
    np.testing.assert_array_equal(filtered.copies_of(vectors), [0, 0])


def test_a_large_map_agrees_with_its_definition() -> None:
    random = np.random.default_rng(0)
    vectors = np.unique(random.zipf(1.3, 3_000) % 700, return_inverse=True)[1].astype(np.int32)
    row_map, wanted = GroupedMap.of(vectors), random.permutation(vectors.max() + 1)[:200]
    expected = [np.flatnonzero(vectors == vector)[:20] for vector in wanted]
    rows, positions = row_map.rows_of(wanted, 20)
    np.testing.assert_array_equal(rows, np.concatenate(expected))
    np.testing.assert_array_equal(positions, np.repeat(np.arange(200), list(map(len, expected))))
    np.testing.assert_array_equal(row_map.vector_of(rows), wanted[positions])


def test_files_are_mapped_and_give_the_same_map(grouped: GroupedMap, tmp_path: Path) -> None:
    write(tmp_path, grouped)
    opened = read(tmp_path)
    for name in FILES:
        np.testing.assert_array_equal(getattr(opened, name), getattr(grouped, name))
        assert isinstance(getattr(opened, name).base, np.memmap)


def change(numbers: Numbers, position: int, value: int) -> None:
    numbers[position] = value


@pytest.mark.parametrize(
    ("name", "edit", "reason"),
    [
        ("offsets", lambda numbers: change(numbers, 1, 5), "do not ascend"),
        ("offsets", lambda numbers: change(numbers, 1, 6), "do not ascend"),
        ("offsets", lambda numbers: change(numbers, 2, -(2**31)), "do not ascend"),
        ("offsets", lambda numbers: change(numbers, 0, -1), "does not span"),
        ("offsets", lambda numbers: change(numbers, -1, 8), "does not span"),
        ("offsets", lambda numbers: change(numbers, -1, 6), "does not span"),
        ("offsets", lambda numbers: change(numbers, 1, 2), "do not ascend|contradicts"),
        ("rows", lambda numbers: change(numbers, 6, 7), "does not exist"),
        ("rows", lambda numbers: change(numbers, 0, -1), "does not exist"),
        ("rows", lambda numbers: change(numbers, 1, 0), "of a vector do not ascend"),
        ("rows", lambda numbers: change(numbers, 5, 6), "contradicts"),
        ("rows", lambda numbers: change(numbers, 3, 0), "contradicts"),
        ("vectors", lambda numbers: change(numbers, 6, 2), "contradicts"),
        ("vectors", lambda numbers: change(numbers, 0, -4), "contradicts"),
        ("vectors", lambda numbers: change(numbers, 0, 4), "contradicts"),
    ],
)
def test_a_map_that_misses_or_repeats_a_row_is_refused(
    grouped: GroupedMap, tmp_path: Path, name: str, edit: Callable[[Numbers], None], reason: str
) -> None:
    edit(getattr(grouped, name))
    write(tmp_path, grouped)
    with pytest.raises(CatalogError, match=f"damaged: .*{reason}"):
        read(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"no array"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: np.save(path, np.load(path).astype(np.int64)),
        lambda path: np.save(path, np.load(path).astype(">i4")),
        lambda path: np.save(path, np.load(path)[1:]),
        lambda path: np.save(path, np.load(path)[:, np.newaxis]),
        lambda path: np.save(path, np.load(path).astype(object), allow_pickle=True),
    ],
)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_such_an_array_is_refused(
    grouped: GroupedMap, tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    write(tmp_path, grouped)
    spoil(tmp_path / f"{name}.npy")
    with pytest.raises(CatalogError, match=f"{name}.npy: damaged"):
        read(tmp_path)
