"""The words index of a version, from the text and company of its logos."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.files import replacing
from logo_similarity.fields import Record
from logo_similarity.search.grams import GRAMS, find_grams
from logo_similarity.search.sounds import LONGEST_WORD, fold, skeleton_code, sound_code, sounds
from logo_similarity.search.word_file import FIELDS, NONE, Numbers, WordArrays

MOST_JOINED = 4
"""Words of a text that is also found without its spaces: SUN RISE by "sunrise"."""


class WordsWriter:
    """Collects the words of all logos, and writes the index. It needs about 0.5 KB of memory for each logo."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], int] = {}
        self._row_names = array("I")

    def add(self, record: Record, image: str | None = None) -> None:
        """Add the logo of the next row; `image` are the words that were read in its image."""
        for text in (record.text, record.company, image):
            name = tuple(fold(text or ""))
            self._row_names.append(self._names.setdefault(name, len(self._names)) if name else NONE)

    def write(self, path: Path) -> None:
        """Write the file, in place of an earlier one.

        Raises:
            OSError: it cannot be written.
        """
        with replacing(path) as file:
            file.writelines(self.arrays().content(len(self._row_names) // len(FIELDS)))

    def arrays(self) -> WordArrays:
        """The arrays of the index."""
        names = list(self._names)
        joined = [
            "".join(name) if len(name) <= MOST_JOINED and sum(map(len, name)) <= LONGEST_WORD else None
            for name in names
        ]
        keys = sorted({word for name in names for word in name}.union(text for text in joined if text is not None))
        numbers = {key: number for number, key in enumerate(keys)}
        name_keys = _numbers(numbers[word] for name in names for word in name)
        joined_keys = _numbers(NONE if text is None else numbers[text] for text in joined)
        name_sizes = np.fromiter(map(len, names), np.int64, len(names))
        rows = np.frombuffer(self._row_names, np.uint32).reshape(-1, len(FIELDS))
        names_of_keys = np.concatenate((np.repeat(np.arange(len(names)), name_sizes), np.arange(len(names))))
        used = np.concatenate((name_keys, joined_keys))
        key_names = np.unique((used.astype(np.int64) << 32 | names_of_keys)[used != NONE])
        # The rows of a name, first by column, then by row: a text comes before a company.
        owners = rows.T.ravel()
        logos = np.tile(np.arange(len(rows)), len(FIELDS))
        order = np.argsort(owners, kind="stable")
        order = order[owners[order] != NONE]
        grams, gram_keys = find_grams(keys) if keys else (np.empty(0, np.int64), np.empty(0, np.int64))
        return WordArrays(
            key_starts=_starts(np.fromiter(map(len, keys), np.int64, len(keys))),
            gram_starts=_starts(np.bincount(grams, minlength=GRAMS)),
            gram_keys=gram_keys.astype(np.uint32),
            **_sound_arrays(keys),
            name_starts=_starts(name_sizes),
            name_keys=name_keys,
            joined=joined_keys,
            key_name_starts=_starts(np.bincount(key_names >> 32, minlength=len(keys))),
            key_names=key_names.astype(np.uint32),
            row_names=rows.ravel(),
            name_row_starts=_starts(np.bincount(owners[order], minlength=len(names))),
            name_rows=logos[order].astype(np.uint32),
            keys=np.frombuffer("".join(keys).encode(), np.uint8),
        )


def _sound_arrays(keys: Sequence[str]) -> dict[str, Any]:
    """The arrays of the sounds of all keys, and of their codes."""
    sounds_of_keys = [sounds(key) for key in keys]
    distinct = sorted({sound for each in sounds_of_keys for sound in each})
    numbers = {sound: number for number, sound in enumerate(distinct)}
    sizes = np.fromiter(map(len, sounds_of_keys), np.int64, len(keys))
    key_sounds = _numbers(numbers[sound] for each in sounds_of_keys for sound in each)
    own, of_skeleton = (_numbers(map(function, distinct)) for function in (sound_code, skeleton_code))
    coded_keys = np.tile(np.repeat(np.arange(len(keys)), sizes), 2)
    codes = np.concatenate((own[key_sounds], of_skeleton[key_sounds])).astype(np.uint64)
    codes = np.unique(codes << 32 | coded_keys.astype(np.uint64))
    return {
        "sound_starts": _starts(np.fromiter(map(len, distinct), np.int64, len(distinct))),
        "key_sound_starts": _starts(sizes),
        "key_sounds": key_sounds,
        "codes": (codes >> 32).astype(np.uint32),
        "code_keys": codes.astype(np.uint32),
        "sounds": np.frombuffer("".join(distinct).encode(), np.uint8),
    }


def _numbers(numbers: Iterable[int]) -> Numbers:
    return np.fromiter(numbers, np.uint32)


def _starts(sizes: NDArray[np.int64]) -> Numbers:
    """Where each of consecutive parts starts, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.uint32)
