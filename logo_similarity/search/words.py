"""Search by words: the text and company of the register, in spite of other spellings.

Candidates come from an index: the same word, words that begin with it, words that share sequences of letters, and words
that sound alike. Then each is compared with the query.

The similarity of two words is 1 if they are the same; else the larger of their spelling (the share of letters in common
order, of `rapidfuzz`), and of `SOUND` times that of their sounds; for a word that the query begins, `PREFIX` and more.
Words below `LEAST` count as different.

The similarity of two texts is r (BOTH + (1 - BOTH) p): r is the similarity of the words of the query to the most similar
words of the logo, p the share of the words of the logo that are the most similar to one of the query; both weigh a word by how
rare it is in the catalog. Texts with different numbers of words are also compared without their spaces, and the larger similarity
counts. It is 1 for the same letters and digits.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from logo_similarity.embed.describe import Floats
from logo_similarity.errors import InvalidRequestError
from logo_similarity.search.candidates import Ids, Mask
from logo_similarity.search.grams import count_grams, find_grams
from logo_similarity.search.sounds import LONGEST_WORD, fold, skeleton_code, sound_code, sounds
from logo_similarity.search.word_file import FIELDS, NONE, Numbers, WordArrays

SOUND, PREFIX, LEAST, BOTH = 0.95, 0.6, 0.5, 0.7
"""Parameters of the similarity, as above."""
LEAST_SPELLING = 0.25
"""Words whose spelling is less similar are not compared by their sounds."""
SHORTEST_PREFIX = 2
MOST_TERMS, MOST_JOINED = 3, 2
"""Words of a query whose other spellings are searched for: the longest ones, and all in one if they are so few."""
MOST_KEYS = {"grams": 200, "prefix": 100, "sound": 200}
"""Candidates of each kind for a word."""
MOST_POSTINGS, LEAST_GRAMS = 60_000, 4
"""Sequences of letters are looked up, the rarest first, until they have so many words; but at least so many sequences."""
COMPARED = 400
"""Names that are compared in full, or more if a query asks for more."""


@dataclass(frozen=True, slots=True, eq=False)
class WordMatches:
    """The most similar field of some logos: parallel arrays."""

    rows: Ids
    """(m,) int64"""
    similarities: Floats
    """(m,) float32, 0 to 1."""
    fields: NDArray[np.int64]
    """(m,) int64: the position in `FIELDS` of the most similar field; -1 for a logo without words."""

    def similarity_of(self, place: int) -> float | None:
        """The similarity at a position; None for a logo without words."""
        return None if self.fields[place] < 0 else float(self.similarities[place])

    def field_of(self, place: int) -> str | None:
        """The name of the most similar field at a position; None for a logo without words."""
        return None if self.fields[place] < 0 else FIELDS[self.fields[place]]


class Name(NamedTuple):
    """The distinct text of a field."""

    words: tuple[str, ...]
    joined: str | None
    """The words without spaces, by which it is found, too; None: they are too many."""


@dataclass(frozen=True, slots=True, eq=False)
class NameCounts:
    """How many names have a word: in a catalog that has further words indexes, or names that are not visible."""

    names: int
    """Number of names of the catalog."""
    keys: Ids
    """The keys of this index that another number of names has in the catalog, ascending."""
    counts: Ids
    """For each of them, that number."""
    of_word: Callable[[str], int]
    """The number of names of the catalog with a word."""


class WordIndex:
    """The words index of a catalog, or of a segment of it. Safe to use from many threads at once."""

    def __init__(self, arrays: WordArrays) -> None:
        self._arrays = arrays
        self._keys = _Texts(arrays.keys, arrays.key_starts)
        self._sounds = _Texts(arrays.sounds, arrays.sound_starts)
        self._names = len(arrays.joined)
        if self._names:
            counts = np.diff(arrays.key_name_starts)
            weights = _weigh(self._names, counts)[arrays.name_keys]
            self._name_weights = np.add.reduceat(weights, arrays.name_starts[:-1].astype(np.intp))

    @classmethod
    def open(cls, path: Path, logos: int) -> WordIndex:
        """Map the file of an index.

        Raises:
            CatalogError: the file cannot be read or is damaged.
        """
        return cls(WordArrays.open(path, logos))

    def search(
        self, text: str, limit: int, allowed: Mask | None = None, counts: NameCounts | None = None
    ) -> WordMatches:
        """The logos with the most similar words, best first; ties by field, then by row.

        Args:
            text: the words to search for.
            limit: maximum number of logos.
            allowed: (logos,) bool: the rows that may be found; None: all.
            counts: how rare words are in the catalog; None: as in this index.

        Raises:
            InvalidRequestError: the text has no letter or digit.
        """
        query = _Query.of(text)
        names = self._candidate_names(query, allowed, max(limit, COMPARED), counts)
        similarities = self._compare_names(query, names, counts)
        best = np.lexsort((names, -similarities))[:limit]
        best = best[similarities[best] > 0]
        # A row is listed once for each of its fields, so this many have at least `limit` different ones.
        most = len(FIELDS) * limit
        rows = self._rows_of(names[best], None if allowed is not None else most)
        if allowed is not None:
            rows = rows[allowed[rows]]
        matches = self._compare_rows(query, np.unique(rows[:most]), counts)
        order = np.lexsort((matches.rows, matches.fields, -matches.similarities))[:limit]
        return WordMatches(matches.rows[order], matches.similarities[order], matches.fields[order])

    def compare(self, text: str, rows: Ids, counts: NameCounts | None = None) -> WordMatches:
        """The similarity of the words of these rows, in their order: 0 for a logo without words.

        Raises:
            InvalidRequestError: the text has no letter or digit.
        """
        return self._compare_rows(_Query.of(text), rows, counts)

    @property
    def name_count(self) -> int:
        """Number of names: distinct sequences of words."""
        return self._names

    def names_of(self, rows: Ids) -> Ids:
        """The different names that these rows have."""
        names = np.unique(self._arrays.row_names.reshape(-1, len(FIELDS))[rows])
        return names[names != NONE].astype(np.int64)

    def names_with(self, names: Ids, visible: Mask) -> Mask:
        """Whether each name has a visible row, (names,) bool; `visible`, (logos,) bool."""
        rows, positions = _parts(self._arrays.name_rows, self._arrays.name_row_starts, names)
        return np.bincount(positions, visible[rows], len(names)) > 0

    def words_of(self, names: Ids) -> list[Name]:
        """Some names."""
        arrays = self._arrays
        keys, _ = _parts(arrays.name_keys, arrays.name_starts, names)
        sizes = arrays.name_starts[names + 1].astype(np.int64) - arrays.name_starts[names]
        ends, words = itertools.accumulate(sizes.tolist(), initial=0), self._keys.read(keys)
        return [
            Name(tuple(words[a:b]), None if key == NONE else self._keys[key].decode())
            for (a, b), key in zip(itertools.pairwise(ends), arrays.joined[names].tolist(), strict=True)
        ]

    def find_name(self, name: Name) -> int | None:
        """The number of a name; None: this index does not have it."""
        found = [self._exact(word) for word in name.words]
        if not all(map(len, found)):
            return None
        arrays, keys = self._arrays, np.concatenate(found)
        rarest = int(keys[np.argmin(arrays.key_name_starts[keys + 1].astype(np.int64) - arrays.key_name_starts[keys])])
        for number in arrays.key_names[arrays.key_name_starts[rarest] : arrays.key_name_starts[rarest + 1]].tolist():
            if np.array_equal(arrays.name_keys[arrays.name_starts[number] : arrays.name_starts[number + 1]], keys):
                return int(number)
        return None

    def texts(self) -> list[str]:
        """The words of all names, and those without spaces; in order."""
        return self._keys.read(np.arange(len(self._keys)))

    def find_word(self, word: str) -> tuple[int, int] | None:
        """The number of a word in `texts`, and the number of names that have it; None: there is none."""
        keys = self._exact(word)
        return (int(keys[0]), int(self._own_counts(keys)[0])) if len(keys) else None

    def _own_counts(self, keys: Ids) -> Ids:
        starts = self._arrays.key_name_starts
        return starts[keys + 1].astype(np.int64) - starts[keys]

    def _weights(self, keys: Ids, counts: NameCounts | None) -> Floats:
        """How much each word weighs: more, the fewer names have it."""
        own = self._own_counts(keys)
        if counts is None:
            return _weigh(self._names, own)
        if len(counts.keys):
            places = np.minimum(np.searchsorted(counts.keys, keys), len(counts.keys) - 1)
            own = np.where(counts.keys[places] == keys, counts.counts[places], own)
        return _weigh(counts.names, own)

    def _rows_of(self, names: Ids, most: int | None) -> Ids:
        """The first `most` rows of each name, one name after another."""
        return _parts(self._arrays.name_rows, self._arrays.name_row_starts, names, most)[0]

    def _compare_rows(self, query: _Query, rows: Ids, counts: NameCounts | None) -> WordMatches:
        names = self._arrays.row_names.reshape(-1, len(FIELDS))[rows]
        distinct, positions = np.unique(names, return_inverse=True)
        is_name = distinct != NONE
        similarities = np.zeros(len(distinct), np.float32)
        similarities[is_name] = self._compare_names(query, distinct[is_name].astype(np.int64), counts)
        table = similarities[positions.reshape(names.shape)]
        fields = np.where((names == NONE).all(axis=1), -1, table.argmax(axis=1))
        return WordMatches(rows, table.max(axis=1), fields)

    def _candidate_names(self, query: _Query, allowed: Mask | None, most: int, counts: NameCounts | None) -> Ids:
        """The names that are the most similar by a quick estimate."""
        arrays = self._arrays
        total, joined = np.zeros(self._names, np.float32), np.zeros(self._names, np.float32)
        weights = self._weights_of(query.words, counts)
        respelled = sorted(query.words, key=len, reverse=True)[:MOST_TERMS]
        if len(query.words) <= MOST_JOINED:
            respelled.append(query.joined)
        for text in dict.fromkeys((*query.words, query.joined)):
            keys = self._candidate_keys(text) if text in respelled else self._exact(text)
            similarities = self._compare_words([text], keys)[0]
            order = np.argsort(similarities)[np.count_nonzero(similarities == 0) :]
            names, positions = _parts(arrays.key_names, arrays.key_name_starts, keys[order])
            values = similarities[order][positions]
            if text in query.words:
                best = np.zeros(self._names, np.float32)
                best[names] = values  # the last, which is the largest, remains
                total += weights[query.words.index(text)] * best
            if text == query.joined:
                whole = arrays.joined[names] == keys[order][positions]
                joined[names[whole]] = values[whole]
        names = np.flatnonzero((total > 0) | (joined > 0))
        matched = total[names]
        share = np.minimum(matched / self._name_weights[names], 1) if len(names) else matched
        estimates = np.maximum(matched / weights.sum() * (BOTH + (1 - BOTH) * share), joined[names])
        if allowed is not None:
            rows, positions = _parts(arrays.name_rows, arrays.name_row_starts, names)
            passing = np.zeros(len(names), np.bool_)
            passing[positions[allowed[rows]]] = True
            names, estimates = names[passing], estimates[passing]
        return names[_largest(estimates, most)]

    def _candidate_keys(self, word: str) -> Ids:
        arrays = self._arrays
        first, end = self._keys.span(word)
        lengths = np.diff(arrays.key_starts[first : end + 1])
        shortest = np.argsort(lengths, kind="stable")[: MOST_KEYS["prefix"] if len(word) >= SHORTEST_PREFIX else 1]
        codes = [code for sound in sounds(word) for code in (sound_code(sound), skeleton_code(sound))]
        alike = [self._with_code(code)[: MOST_KEYS["sound"]] for code in codes]
        return np.unique(np.concatenate((first + shortest, self._with_grams(word), *alike)))

    def _exact(self, word: str) -> Ids:
        first, end = self._keys.span(word)
        return np.array([first] if first < end and self._keys[first] == word.encode() else [], np.int64)

    def _with_code(self, code: int) -> Ids:
        low, high = (int(np.searchsorted(self._arrays.codes, np.uint32(code), side)) for side in ("left", "right"))
        return self._arrays.code_keys[low:high].astype(np.int64)

    def _with_grams(self, word: str) -> Ids:
        """The keys that share the most grams with a word, relative to the number of grams of both."""
        arrays = self._arrays
        grams, _ = find_grams([word])
        starts, ends = arrays.gram_starts[grams], arrays.gram_starts[grams + 1]
        rarest = np.argsort(ends - starts, kind="stable")
        read = rarest[: max(LEAST_GRAMS, int(np.count_nonzero(np.cumsum((ends - starts)[rarest]) <= MOST_POSTINGS)))]
        lists = [
            arrays.gram_keys[start:end] for start, end in zip(starts[read].tolist(), ends[read].tolist(), strict=True)
        ]
        shared, counts = _count(np.concatenate(lists))
        often = counts >= max(2, len(read) // 4)
        keys, counts = shared[often].astype(np.int64), counts[often]
        shares = counts / (len(read) + count_grams(self._keys.lengths(keys)))
        return keys[_largest(shares, MOST_KEYS["grams"])]

    def _weights_of(self, words: Sequence[str], counts: NameCounts | None) -> Floats:
        if counts is not None:
            return _weigh(counts.names, np.array([counts.of_word(word) for word in words]))
        found = map(self.find_word, words)
        return _weigh(self._names, np.array([0 if one is None else one[1] for one in found]))

    def _compare_words(self, texts: Sequence[str], keys: Ids) -> Floats:
        """The similarity of each text and each key, (texts, keys) float32. The keys ascend."""
        result = cdist(texts, self._keys.read(keys), scorer=Indel.normalized_similarity, dtype=np.float32)
        near = np.flatnonzero((result >= LEAST_SPELLING).any(axis=0))
        if len(near):
            self._compare_sounds(texts, keys, near, result)
        lengths = self._keys.lengths(keys)
        for row, text in enumerate(texts):
            first, end = self._keys.span(text)
            begun = slice(*np.searchsorted(keys, (first, end)).tolist())
            if len(text) >= SHORTEST_PREFIX:
                np.maximum(
                    result[row, begun], PREFIX + (1 - PREFIX) * len(text) / lengths[begun], out=result[row, begun]
                )
        result[result < LEAST] = 0
        return result

    def _compare_sounds(self, texts: Sequence[str], keys: Ids, near: Ids, result: Floats) -> None:
        """Raise the similarities of the keys at the positions `near` to those of their sounds, except of the same word."""
        numbers, positions = _parts(self._arrays.key_sounds, self._arrays.key_sound_starts, keys[near])
        starts = np.searchsorted(positions, np.arange(len(near)))
        their_sounds = self._sounds.read(numbers)
        for row, text in enumerate(texts):
            alike = cdist(sounds(text), their_sounds, scorer=Indel.normalized_similarity, dtype=np.float32).max(axis=0)
            result[row, near] = np.maximum(result[row, near], SOUND * np.maximum.reduceat(alike, starts))

    def _compare_names(self, query: _Query, names: Ids, counts: NameCounts | None) -> Floats:
        """The similarity of each name, (names,) float32."""
        if not len(names):
            return np.empty(0, np.float32)
        arrays = self._arrays
        keys, owners = _parts(arrays.name_keys, arrays.name_starts, names)
        joined = arrays.joined[names].astype(np.int64)
        distinct, columns = np.unique(np.concatenate((keys, joined[joined != NONE])), return_inverse=True)
        table = self._compare_words((*query.words, query.joined), distinct)
        words, starts = table[:-1][:, columns[: len(keys)]], np.searchsorted(owners, np.arange(len(names)))
        weights, key_weights = self._weights_of(query.words, counts), self._weights(keys, counts)
        best = np.maximum.reduceat(words, starts, axis=1)
        found = weights @ best / weights.sum()
        matched = ((words > 0) & (words == best[:, owners])).any(axis=0)
        covered = np.add.reduceat(matched * key_weights, starts) / np.add.reduceat(key_weights, starts)
        similarities = found * (BOTH + (1 - BOTH) * covered)
        whole = joined != NONE
        apart = np.diff(starts, append=len(keys))[whole] != query.count
        in_one = np.where(apart, table[-1, columns[len(keys) :]], 0)
        similarities[whole] = np.maximum(similarities[whole], in_one)
        return np.minimum(similarities, 1)


@dataclass(frozen=True, slots=True)
class _Query:
    words: tuple[str, ...]
    """Distinct, in order."""
    joined: str
    """The words without spaces; cut, as every word is."""
    count: int
    """Number of words."""

    @classmethod
    def of(cls, text: str) -> _Query:
        words = fold(text)
        if not words:
            raise InvalidRequestError(f"the words {text!r:.100} have no letter or digit; send at least one")
        return cls(tuple(dict.fromkeys(words)), "".join(words)[:LONGEST_WORD], len(words))


class _Texts:
    """Short ASCII texts; as a sequence, their bytes."""

    def __init__(self, content: NDArray[np.uint8], starts: Numbers) -> None:
        self._content, self._starts = content, starts
        self._bytes, self._positions = content.data, starts.data  # single items of arrays are slow

    def __getitem__(self, number: int) -> bytes:
        return bytes(self._bytes[self._positions[number] : self._positions[number + 1]])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def lengths(self, numbers: Ids) -> Ids:
        """The number of letters of each text."""
        return self._starts[numbers + 1].astype(np.int64) - self._starts[numbers]

    def read(self, numbers: Ids) -> list[str]:
        """Several texts."""
        letters, _ = _parts(self._content, self._starts, numbers)
        text = str(letters.astype(np.uint8).tobytes(), "ascii")
        ends = itertools.accumulate(self.lengths(numbers).tolist(), initial=0)
        return [text[a:b] for a, b in itertools.pairwise(ends)]

    def span(self, prefix: str) -> tuple[int, int]:
        """The first text with this prefix, and the first one after it without."""
        first = bisect_left(self, prefix.encode())
        return first, bisect_left(self, prefix.encode() + b"\x7f", first)


def _weigh(names: int, counts: Ids) -> Floats:
    """The weights of words that so many of all names have, (m,) float32."""
    return np.log1p(names / np.maximum(counts, 1)).astype(np.float32)


def _count(numbers: Numbers) -> tuple[Numbers, Ids]:
    """The distinct numbers, ascending, and how often each occurs."""
    ordered = np.sort(numbers)
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))[: len(ordered)]
    return ordered[first], np.diff(first, append=len(ordered))


def _largest(values: NDArray[np.floating[Any]], most: int) -> Ids:
    """The positions of the largest values, in any order."""
    return np.arange(len(values)) if len(values) <= most else np.argpartition(-values, most)[:most]


def _parts(
    values: Numbers | NDArray[np.uint8], starts: Numbers, numbers: Ids, most: int | None = None
) -> tuple[Ids, Ids]:
    """The first `most` values of some parts, one part after another, and the position of the part of each value. int64."""
    first = starts[numbers].astype(np.int64)
    sizes = np.minimum(starts[numbers + 1].astype(np.int64) - first, len(values) if most is None else most)
    ends = np.cumsum(sizes)
    positions = np.repeat(np.arange(len(numbers)), sizes)
    within = np.arange(ends[-1] if len(ends) else 0) + (first - (ends - sizes))[positions]
    return values[within].astype(np.int64), positions
