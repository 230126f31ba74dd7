"""`postings/`: which logos have a value, for each value of a register field; finds the logos that pass a filter.

A file holds the posting lists of one field, `<field>.values` those of its values and `<field>.words` those of its words.
The files of a facet have a digest of its name instead, since it may have any characters.
All numbers are little-endian:

    header      magic, number of logos, n keys, p postings, d dense keys, size of all keys in bytes, m numbers
    starts      (n + 1,) int64: the rows of key i are rows[starts[i]:starts[i + 1]]
    key starts  (n + 1,) int64: the same for the bytes of the keys
    dense       (d,) int64, ascending: the keys whose rows are a bitmap, because it is smaller than a list
    bitmaps     (d, w) uint64: bit r % 64 of word r // 64 is set if row r has the key
    rows        (p,) uint32, ascending within a key
    numbers     (m,) uint32: for each row, 1 + the key in whose list it is, or 0. Absent if a row is in two lists
    keys        the keys in ascending order, without a separator

The keys have the order of their values, so the logos with a value in a range are one slice of `rows`. A logo with a code
also has the keys of the codes above it.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import shutil
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.files import replacing, sync_folder
from logo_similarity.errors import CatalogError
from logo_similarity.field_kinds import LEVEL, Codes, Kind, Operator, words
from logo_similarity.fields import FIELDS, Record, RegisterField, select_fields
from logo_similarity.filters import And, Condition, Filter, Not, Or

POSTINGS_LAYOUT = 3
"""Incremented when the content of the files changes: a build of the same inputs then makes a new version."""
POSTINGS = "postings"
VALUES, WORDS = "values", "words"
BLOCK = 65_536

Mask = NDArray[np.bool_]
"""(count,) bool: for each row of the catalog, whether it passes."""
_MAGIC = b"postings"
_HEADER = struct.Struct("<8sQQQQQQ")
_START, _ROW, _WORD = np.dtype("<i8"), np.dtype("<u4"), np.dtype("<u8")
_WORD_BITS = 64


def file_names(fields: Collection[str]) -> frozenset[str]:
    """The files of a version whose logos have these fields, relative to its folder."""
    return frozenset(_path(field, part) for field in select_fields(fields) for part in parts_of(field))


class PostingsWriter:
    """Collects the values of all logos, and writes the files. It needs about 0.3 KB of memory for each logo."""

    def __init__(self, facets: Collection[str] = ()) -> None:
        """Collect the values of the register fields and of these facets, `extra.colour`."""
        self._count = 0
        self._fields = (*FIELDS, *select_fields(facets))
        self._lists = {(field.name, part): _Collector() for field in self._fields for part in parts_of(field)}

    def add(self, record: Record) -> None:
        """Add the logo of the next row."""
        for field in self._fields:
            value = field.value_of(record)
            for part in parts_of(field):
                self._lists[field.name, part].add(self._count, keys_of(field.kind, part, value))
        self._count += 1

    def write(self, version: Path, fields: Collection[str]) -> None:
        """Write the files of these fields into a version, in place of earlier ones.

        Raises:
            OSError: a file cannot be written.
        """
        folder = version / POSTINGS
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for field in self._fields:
            for part in parts_of(field) if field.name in fields else ():
                self._lists[field.name, part].write(version / _path(field, part), self._count)
        sync_folder(version)


class Postings:
    """The posting lists of a version, memory-mapped. Safe to use from many threads at once."""

    def __init__(self, version: Path, fields: Collection[str], count: int) -> None:
        """Map the files and check every number in them.

        Args:
            version: folder of the version.
            fields: the fields that its logos have.
            count: number of its logos.

        Raises:
            CatalogError: a file cannot be read or is damaged.
        """
        self._count = count
        self._lists = {
            (field.name, part): _PostingList(version / _path(field, part), count)
            for field in select_fields(fields)
            for part in parts_of(field)
        }

    def select(self, condition: Filter) -> Mask:
        """The logos that pass a filter. A condition on a field that no logo has is met by none."""
        match condition:
            case And(parts):
                return functools.reduce(np.logical_and, map(self.select, parts))
            case Or(parts):
                return functools.reduce(np.logical_or, map(self.select, parts))
            case Not(part):
                return ~self.select(part)
            case Condition(_, Operator.WORDS, texts):
                masks = (self._with_words(condition, text.split()) for text in texts)
                return functools.reduce(np.logical_or, masks)
            case Condition():
                return self._with_keys(condition, VALUES, spans_of(condition))
        raise TypeError(f"not a filter: {condition!r}")

    def count_values(
        self, field: RegisterField[Any], passing: Mask | None, *, under: str | None = None, most: int
    ) -> list[tuple[Any, int]]:
        """The values of a field, and how many logos have each: the most frequent first, ties in the order of the values.

        Args:
            field: a field with values; a field that no logo has gives an empty list.
            passing: the logos that are counted; None: all.
            under: of a field of codes, count the codes one level below this one; None: those of the highest level.
            most: maximum number of values.
        """
        counted = self.count_keys(field, passing, under=under)
        return [
            (field.kind.item_of(counted.key(place)), int(counted.counts[place]))
            for place in counted.most_frequent(most).tolist()
        ]

    def count_keys(self, field: RegisterField[Any], passing: Mask | None, *, under: str | None) -> KeyCounts:
        """How many logos have each key of the values of a field; the arguments are those of `count_values`."""
        postings = self._lists.get((field.name, VALUES))
        if postings is None:
            return KeyCounts((), np.empty(0, np.int64), np.empty(0, np.int64))
        if isinstance(field.kind, Codes):
            numbers = postings.numbers_below(b"" if under is None else field.kind.key(under + LEVEL), LEVEL.encode())
        else:
            numbers = np.arange(len(postings))
        return KeyCounts(postings, numbers, postings.count(numbers, passing))

    def _with_words(self, condition: Condition, terms: Iterable[str]) -> Mask:
        masks = (self._with_keys(condition, WORDS, [(term.encode(), term.encode())]) for term in terms)
        return functools.reduce(np.logical_and, masks)

    def _with_keys(self, condition: Condition, part: str, spans: Iterable[tuple[bytes | None, bytes | None]]) -> Mask:
        mask = np.zeros(self._count, np.bool_)
        postings = self._lists.get((condition.field, part))
        if postings is not None:
            for first, last in spans:
                postings.mark(mask, first, last)
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class KeyCounts:
    """Some keys of a field, in ascending order, and the number of logos with each."""

    _keys: _PostingList | tuple[bytes, ...]
    _numbers: NDArray[np.int64]
    """(m,) int64: the number of each of them among all keys."""
    counts: NDArray[np.int64]
    """(m,) int64"""

    def key(self, place: int) -> bytes:
        """One of them."""
        return self._keys[int(self._numbers[place])]

    def place_of(self, key: bytes) -> int | None:
        """The position of a key; None: it is not one of them."""
        place = int(np.searchsorted(self._numbers, bisect_left(self._keys, key)))
        return place if place < len(self._numbers) and self.key(place) == key else None

    def most_frequent(self, most: int) -> NDArray[np.int64]:
        """The positions of the keys with the largest counts, except 0; ties in the order of the keys."""
        counts = self.counts
        # Sorting the counts of all names takes longer than counting them.
        least = max(1, int(np.partition(counts, -most)[-most])) if len(counts) > most else 1
        frequent = np.flatnonzero(counts >= least)
        return frequent[np.argsort(-counts[frequent], kind="stable")[:most]]


class _Collector:
    """The postings of one file in the order of the rows."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._key_numbers, self._rows = array("I"), array("I")

    def add(self, row: int, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._key_numbers.append(self._numbers.setdefault(key, len(self._numbers)))
            self._rows.append(row)

    def write(self, path: Path, count: int) -> None:
        keys = sorted(self._numbers)
        ranks = np.empty(len(keys), np.int64)
        ranks[[self._numbers[key] for key in keys]] = np.arange(len(keys))
        posting_ranks = ranks[np.frombuffer(self._key_numbers, np.uint32)]
        order = np.argsort(posting_ranks, kind="stable")
        sizes = np.bincount(posting_ranks, minlength=len(keys))
        rows, starts = np.frombuffer(self._rows, np.uint32)[order], _starts(sizes)
        is_dense = sizes * _ROW.itemsize > _words(count) * _WORD.itemsize
        dense = np.flatnonzero(is_dense)
        listed_sizes = np.where(is_dense, 0, sizes)
        listed = rows[~np.repeat(is_dense, sizes)]
        numbers = _numbers_of_rows(listed, listed_sizes, count)
        key_sizes = [len(key) for key in keys]
        with replacing(path) as file:
            file.write(_HEADER.pack(_MAGIC, count, len(keys), len(listed), len(dense), sum(key_sizes), len(numbers)))
            file.write(_starts(listed_sizes).tobytes())
            file.write(_starts(key_sizes).tobytes())
            file.write(dense.astype(_START).tobytes())
            for number in dense.tolist():
                mask = np.zeros(count, np.bool_)
                mask[rows[starts[number] : starts[number + 1]]] = True
                file.write(_pack(mask).tobytes())
            file.write(listed.astype(_ROW).tobytes())
            file.write(numbers.tobytes())
            file.writelines(keys)


class _PostingList:
    """One mapped file. As a sequence, its keys in ascending order."""

    def __init__(self, path: Path, count: int) -> None:
        try:
            content = np.memmap(path, np.uint8, "r").view(np.ndarray)
        except (OSError, ValueError) as error:  # ValueError: the file is empty
            raise CatalogError(f"{path}: cannot be read: {error}") from None
        if not self._map(content, count):
            raise CatalogError(f"{path}: damaged: its numbers contradict each other or the number of logos")

    def __len__(self) -> int:
        return len(self._key_starts) - 1

    def __getitem__(self, number: int) -> bytes:
        return self._keys[self._key_starts[number] : self._key_starts[number + 1]].tobytes()

    def mark(self, mask: Mask, first: bytes | None, last: bytes | None) -> None:
        """Set the rows that have a key from `first` to `last`; None: an open end."""
        low = 0 if first is None else bisect_left(self, first)
        high = len(self) if last is None else bisect_right(self, last)
        for rows in _blocks(self._rows[self._starts[low] : self._starts[high]]):
            mask[rows] = True
        for place in range(*np.searchsorted(self._dense, (low, high))):
            mask |= np.unpackbits(self._bitmaps[place].view(np.uint8), count=len(mask), bitorder="little").view(
                np.bool_
            )

    def numbers_below(self, prefix: bytes, level: bytes) -> NDArray[np.int64]:
        """The numbers of the keys that begin with a prefix and have no further level after it."""
        numbers = []
        number = bisect_left(self, prefix)
        while number < len(self) and self[number].startswith(prefix):
            numbers.append(number)
            number = bisect_left(self, self[number] + level + b"\xff", lo=number)
        return np.array(numbers, np.int64)

    def count(self, numbers: NDArray[np.int64], passing: Mask | None) -> NDArray[np.int64]:
        """How many rows of each of these keys, in ascending order, pass; None: all rows do."""
        counts = np.zeros(len(numbers), np.int64)
        is_dense = np.zeros(len(self), np.bool_)
        is_dense[self._dense] = True
        is_dense = is_dense[numbers]
        counts[~is_dense] = self._count_listed(numbers[~is_dense], passing)
        packed = None if passing is None else _pack(passing)
        bitmaps = (self._bitmaps[place] for place in np.searchsorted(self._dense, numbers[is_dense]))
        counts[is_dense] = [
            int(np.bitwise_count(bitmap if packed is None else bitmap & packed).sum()) for bitmap in bitmaps
        ]
        return counts

    def _count_listed(self, numbers: NDArray[np.int64], passing: Mask | None) -> NDArray[np.int64]:
        first, last = self._starts[numbers], self._starts[numbers + 1]
        sizes = last - first
        if passing is None or not len(numbers):
            return np.asarray(sizes)
        if len(self._numbers):  # one pass over the rows instead of jumps from list to list
            # `compress` takes less than half the time of indexing by a mask.
            counts = np.bincount(np.compress(passing, self._numbers), minlength=len(self) + 1)
            return np.asarray(counts[numbers + 1])
        if sizes.sum() == last[-1] - first[0]:  # neighbouring keys
            rows = self._rows[first[0] : last[-1]]
        else:
            rows = np.concatenate([self._rows[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)])
        passes = np.concatenate([passing[block] for block in _blocks(rows)])
        return np.add.reduceat(passes, _starts(sizes)[:-1], dtype=np.int64)  # no list is empty

    def _map(self, content: NDArray[np.uint8], count: int) -> bool:
        """Set the arrays. Returns whether all positions and rows in them are valid."""
        if len(content) < _HEADER.size:
            return False
        magic, logos, keys, postings, dense, key_bytes, numbers = _HEADER.unpack(content[: _HEADER.size].tobytes())
        starts = (keys + 1) * _START.itemsize
        bitmaps = dense * _words(count) * _WORD.itemsize
        lists = (postings * _ROW.itemsize, numbers * _ROW.itemsize)
        sizes = (starts, starts, dense * _START.itemsize, bitmaps, *lists, key_bytes)
        if (magic, logos, _HEADER.size + sum(sizes)) != (_MAGIC, count, len(content)):
            return False
        pieces = [content[a:b] for a, b in itertools.pairwise(np.cumsum((_HEADER.size, *sizes)))]
        self._starts, self._key_starts, self._dense = (piece.view(_START) for piece in pieces[:3])
        self._bitmaps = pieces[3].view(_WORD).reshape(dense, _words(count))
        self._rows, self._numbers, self._keys = pieces[4].view(_ROW), pieces[5].view(_ROW), pieces[6]
        if not (_ascends(self._starts, postings) and _ascends(self._key_starts, key_bytes)):
            return False
        # Every key has either a list or a bitmap. No bit may stand for a row beyond the last.
        without_list = np.flatnonzero(self._starts[1:] == self._starts[:-1])
        beyond = self._bitmaps[:, -1] >> np.uint64(count % _WORD_BITS) if count % _WORD_BITS else np.empty(0)
        return (
            np.array_equal(without_list, self._dense)
            and not beyond.any()
            and (postings == 0 or int(self._rows.max()) < count)
            and (numbers == 0 or (numbers == count and int(self._numbers.max()) <= keys))
        )


def _path(field: RegisterField[Any], part: str) -> str:
    """A file of a field, relative to the folder of the version."""
    column = field.column
    name = field.name if column is None else f"extra-{hashlib.sha256(column.encode()).hexdigest()}"
    return f"{POSTINGS}/{name}.{part}"


def parts_of(field: RegisterField[Any]) -> Iterator[str]:
    """The kinds of posting lists that the operators of a field need."""
    if {Operator.IS, Operator.BETWEEN} & set(field.kind.operators):
        yield VALUES
    if Operator.WORDS in field.kind.operators:
        yield WORDS


def keys_of(kind: Kind[Any], part: str, value: object) -> Iterable[bytes]:
    """The keys of a logo with this value."""
    items = kind.items(value)
    if part == VALUES:
        return {kind.key(matched) for item in items for matched in kind.matched(item)}
    return {word.encode() for text in items for word in words(text)}


def spans_of(condition: Condition) -> Iterable[tuple[bytes | None, bytes | None]]:
    """The first and the last key of each range of values that meets a condition."""
    kind = condition.kind
    if condition.operator is Operator.IS:
        return ((key, key) for key in map(kind.key, condition.values))
    first, last = (None if end is None else kind.key(end) for end in condition.values)
    return [(first, last)]


def _numbers_of_rows(rows: NDArray[np.uint32], sizes: NDArray[np.int64], count: int) -> NDArray[np.uint32]:
    """For each of `count` rows, 1 + the number of the list that it is in, or 0; empty if a row is in two lists.

    Args:
        rows: the rows of all lists, one list after the other.
        sizes: the number of rows of each list.
        count: number of logos.
    """
    numbers = np.zeros(count, _ROW)
    numbers[rows] = np.repeat(np.arange(1, len(sizes) + 1, dtype=_ROW), sizes)
    return numbers if np.count_nonzero(numbers) == len(rows) > 0 else np.zeros(0, _ROW)


def _blocks(rows: NDArray[np.uint32]) -> Iterator[NDArray[np.intp]]:
    """The rows as indices. In blocks that fit the processor's cache, converting them takes a third of the time."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK].astype(np.intp)


def _words(count: int) -> int:
    """The number of words of a bitmap."""
    return -(-count // _WORD_BITS)


def _pack(mask: Mask) -> NDArray[np.uint64]:
    """The bitmap of a mask."""
    packed = np.zeros(_words(len(mask)) * _WORD.itemsize, np.uint8)
    packed[: -(-len(mask) // 8)] = np.packbits(mask, bitorder="little")
    return packed.view(_WORD)


def _starts(sizes: Any) -> NDArray[np.int64]:  # noqa: ANN401 - an array or a list of numbers
    """Where each of consecutive pieces starts, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(_START)


def _ascends(starts: NDArray[np.int64], end: int) -> bool:
    """Whether positions begin at 0, never decrease, and end at `end`."""
    return starts[0] == 0 and starts[-1] == end and bool((starts[1:] >= starts[:-1]).all())
