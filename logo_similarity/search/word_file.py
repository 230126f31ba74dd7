"""The file of a words index: arrays of numbers, memory-mapped and checked.

All numbers are little-endian: a header (magic, number of logos, length of each array of `ARRAYS`), then the arrays.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import CatalogError
from logo_similarity.search.grams import GRAMS
from logo_similarity.search.sounds import LANGUAGES, LONGEST_SOUND, LONGEST_WORD, MOST_WORDS

WORDS_LAYOUT = 1
"""Incremented when the content of the file changes: a build of the same inputs then makes a new version."""
FIELDS = ("text", "company", "image")
"""Where words come from: the register fields, and the image if it was read; in the order of the columns of `row_names`."""
NONE = 2**32 - 1
"""Stands for a missing name or word."""
Numbers = NDArray[np.uint32]
_MAGIC = b"words\0\0\0"
_NUMBER = np.dtype("<u4")


@dataclass(frozen=True, slots=True, eq=False)
class WordArrays:
    """The arrays of a words index, all uint32 but the texts (uint8, ASCII). A list is given by where each part starts.

    A key is a distinct word, or a text of a few words without its spaces; a name is a distinct text of a field, as a
    sequence of words.
    """

    key_starts: Numbers
    """(keys + 1,): the letters of key i are `keys[key_starts[i]:key_starts[i + 1]]`, in ascending order."""
    gram_starts: Numbers
    """(GRAMS + 1,)"""
    gram_keys: Numbers
    """The keys with each triple of letters, and the short ones with each pair."""
    sound_starts: Numbers
    """(sounds + 1,): where each distinct sound starts in `sounds`."""
    key_sound_starts: Numbers
    """(keys + 1,)"""
    key_sounds: Numbers
    """The sounds of each key."""
    codes: Numbers
    """CRC-32 of sounds and of their skeletons, ascending; several keys may have the same."""
    code_keys: Numbers
    """(codes,): the key with each code."""
    name_starts: Numbers
    """(names + 1,)"""
    name_keys: Numbers
    """The words of each name."""
    joined: Numbers
    """(names,): the key of each name without its spaces, or `NONE`."""
    key_name_starts: Numbers
    """(keys + 1,)"""
    key_names: Numbers
    """The names with each key."""
    row_names: Numbers
    """(logos * fields,): the names of each row in each of `FIELDS`, or `NONE`."""
    name_row_starts: Numbers
    """(names + 1,)"""
    name_rows: Numbers
    """The rows with each name: those whose text it is, then those whose company it is, and so on."""
    keys: NDArray[np.uint8]
    sounds: NDArray[np.uint8]

    @classmethod
    def open(cls, path: Path, logos: int) -> Self:
        """Map a file into memory, and check every number in it.

        Raises:
            CatalogError: the file cannot be read or is damaged.
        """
        try:
            content = np.memmap(path, np.uint8, "r").view(np.ndarray)
        except (OSError, ValueError) as error:  # ValueError: the file is empty
            raise CatalogError(f"{path}: cannot be read: {error}") from None
        arrays = _map(content, logos)
        if arrays is None:
            raise CatalogError(f"{path}: damaged: its numbers contradict each other or the number of logos")
        index = cls(**arrays)
        if not index._is_valid(logos):
            raise CatalogError(f"{path}: damaged: a number in it is out of range")
        return index

    def text(self, row: int, field: str) -> str | None:
        """The words of a row in a field, one of `FIELDS`; None if it has none."""
        name = int(self.row_names[row * len(FIELDS) + FIELDS.index(field)])
        if name == NONE:
            return None
        keys = self.name_keys[self.name_starts[name] : self.name_starts[name + 1]].tolist()
        return " ".join(self.keys[self.key_starts[key] : self.key_starts[key + 1]].tobytes().decode() for key in keys)

    def has(self, field: str) -> bool:
        """Whether any row has words in a field, one of `FIELDS`."""
        return bool((self.row_names[FIELDS.index(field) :: len(FIELDS)] != NONE).any())

    def content(self, logos: int) -> Iterator[bytes]:
        """The content of the file, in pieces."""
        arrays = [getattr(self, field.name) for field in fields(self)]
        yield _header().pack(_MAGIC, logos, *map(len, arrays))
        for array in arrays:
            yield array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()

    def _is_valid(self, logos: int) -> bool:
        keys, sounds, names = len(self.key_starts) - 1, len(self.sound_starts) - 1, len(self.joined)
        # Each key has a letter and a sound, each name a word: `reduceat` repeats a value for an empty part. The largest
        # parts bound the memory and the time of a comparison.
        lists = (
            (self.key_starts, keys, len(self.keys), 1, LONGEST_WORD),
            (self.gram_starts, GRAMS, len(self.gram_keys), 0, keys),
            (self.sound_starts, sounds, len(self.sounds), 1, LONGEST_SOUND),
            (self.key_sound_starts, keys, len(self.key_sounds), 1, LANGUAGES),
            (self.name_starts, names, len(self.name_keys), 1, MOST_WORDS),
            (self.key_name_starts, keys, len(self.key_names), 0, names),
            (self.name_row_starts, names, len(self.name_rows), 0, len(FIELDS) * logos),
        )
        numbers = (
            (self.gram_keys, keys),
            (self.key_sounds, sounds),
            (self.code_keys, keys),
            (self.name_keys, keys),
            (self.key_names, names),
            (self.name_rows, logos),
        )
        return (
            all(_are_parts(*each) for each in lists)
            and all(len(array) == 0 or int(array.max()) < most for array, most in numbers)
            and all(_are_below_or_none(array, most) for array, most in ((self.joined, keys), (self.row_names, names)))
            and len(self.codes) == len(self.code_keys)
            and bool((self.codes[1:] >= self.codes[:-1]).all())
            and len(self.row_names) == len(FIELDS) * logos
            and all(len(text) == 0 or int(text.max()) < 128 for text in (self.keys, self.sounds))
        )


def _header() -> struct.Struct:
    return struct.Struct(f"<8sQ{len(fields(WordArrays))}Q")


def _map(content: NDArray[np.uint8], logos: int) -> dict[str, Any] | None:
    """The arrays in a file, if their lengths are those of the file."""
    header = _header()
    if len(content) < header.size:
        return None
    magic, stated_logos, *lengths = header.unpack(content[: header.size].tobytes())
    names = [field.name for field in fields(WordArrays)]
    types = [np.dtype("<u1" if name in ("keys", "sounds") else _NUMBER) for name in names]
    sizes = [length * kind.itemsize for length, kind in zip(lengths, types, strict=True)]
    if (magic, stated_logos, header.size + sum(sizes)) != (_MAGIC, logos, len(content)):
        return None
    ends = itertools.accumulate(sizes, initial=header.size)
    parts = zip(names, itertools.pairwise(ends), types, strict=True)
    return {name: content[start:end].view(kind) for name, (start, end), kind in parts}


def _are_parts(starts: Numbers, parts: int, end: int, least: int, most: int) -> bool:
    """Whether the positions begin at 0, end at `end`, and each of the parts has `least` to `most` items."""
    if parts < 0 or len(starts) != parts + 1 or starts[0] != 0 or int(starts[-1]) != end:
        return False
    sizes = np.diff(starts.astype(np.int64))
    return parts == 0 or (int(sizes.min()) >= least and int(sizes.max()) <= most)


def _are_below_or_none(array: Numbers, most: int) -> bool:
    return bool(((array < most) | (array == NONE)).all())
