"""The words of several segments as those of one catalog: a word is as rare as it is in all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from logo_similarity.embed.describe import Floats
from logo_similarity.numbering import Numbering
from logo_similarity.search.candidates import Ids, Mask
from logo_similarity.search.words import Name, NameCounts, WordIndex, WordMatches


@dataclass(frozen=True, slots=True, eq=False)
class LiveWords:
    """The words index of a live segment, compared with that of the version once and for all."""

    index: WordIndex
    names: list[Name]
    in_base: list[int | None]
    """For each name, its number in the version; None: it does not have it."""
    texts: list[str]
    """As of `WordIndex.texts`."""
    counts: Ids
    """For each text, the number of names of the version that have it."""

    @classmethod
    def of(cls, index: WordIndex, base: WordIndex) -> Self:
        """Look the names and words of a segment up in the index of the version."""
        names, texts = index.words_of(np.arange(index.name_count)), index.texts()
        found = [base.find_word(text) for text in texts]
        counts = np.array([0 if one is None else one[1] for one in found], np.int64)
        return cls(index, names, [base.find_name(name) for name in names], texts, counts)


@dataclass(frozen=True, slots=True, eq=False)
class JoinedWords:
    """The words indexes of several segments; see `WordIndex`."""

    segments: tuple[WordIndex, ...]
    rows: Numbering
    counts: tuple[NameCounts, ...]
    """For each segment."""

    @classmethod
    def of(cls, base: WordIndex, live: Sequence[LiveWords], rows: Numbering, visible: Mask) -> Self:
        """Count the names with a visible row, each once.

        Args:
            base: the index of the version.
            live: those of the live segments.
            rows: of all segments.
            visible: (rows,) bool.
        """
        of_base, *of_live = (visible[numbers] for numbers in rows.slices)
        hidden = base.names_of(np.flatnonzero(~of_base))
        gone = set(hidden[~base.names_with(hidden, of_base)].tolist())
        new: set[Name] = set()
        for words, mask in zip(live, of_live, strict=True):
            for name in words.index.names_of(np.flatnonzero(mask)).tolist():
                number = words.in_base[name]
                if number is None:
                    new.add(words.names[name])
                else:
                    gone.discard(number)
        changes: Counter[str] = Counter()
        for name in new:
            changes.update(_texts(name))
        for name in base.words_of(np.array(sorted(gone), np.int64)):
            changes.subtract(_texts(name))
        total = max(base.name_count + len(new) - len(gone), 1)  # weights are logarithms, and not all may be 0

        def of_word(word: str) -> int:
            known = base.find_word(word)
            return changes[word] + (0 if known is None else known[1])

        found = ((base.find_word(word), change) for word, change in changes.items())
        known = sorted((one[0], one[1] + change) for one, change in found if one is not None)
        keys, of_keys = np.array(known, np.int64).reshape(-1, 2).T
        counts = [NameCounts(total, keys, of_keys, of_word)]
        for words in live:
            numbers = words.counts + np.array([changes[text] for text in words.texts], np.int64)
            counts.append(NameCounts(total, np.arange(len(numbers)), numbers, of_word))
        return cls((base, *(words.index for words in live)), rows, tuple(counts))

    def search(self, text: str, limit: int, allowed: Mask | None = None) -> WordMatches:
        """The logos with the most similar words, best first; ties by field, then by row."""
        found = []
        for index, numbers, counts in zip(self.segments, self.rows.slices, self.counts, strict=True):
            matches = index.search(text, limit, None if allowed is None else allowed[numbers], counts)
            found.append(WordMatches(matches.rows + numbers.start, matches.similarities, matches.fields))
        rows, similarities, fields = _concatenate(found)
        best = np.lexsort((rows, fields, -similarities))[:limit]
        return WordMatches(rows[best], similarities[best], fields[best])

    def compare(self, text: str, rows: Ids) -> WordMatches:
        """The similarity of the words of these rows, in their order: 0 for a logo without words."""
        compared, places = [], []
        for segment, positions, local in self.rows.split(rows):
            compared.append(self.segments[segment].compare(text, local, self.counts[segment]))
            places.append(positions)
        if not compared:
            return self.segments[0].compare(text, rows)
        order = np.argsort(np.concatenate(places))
        _, similarities, fields = _concatenate(compared)
        return WordMatches(rows, similarities[order], fields[order])


def _texts(name: Name) -> set[str]:
    """The texts by which a name is found."""
    return {*name.words, *(() if name.joined is None else (name.joined,))}


def _concatenate(matches: Sequence[WordMatches]) -> tuple[Ids, Floats, Ids]:
    rows, similarities, fields = zip(*((one.rows, one.similarities, one.fields) for one in matches), strict=True)
    return np.concatenate(rows), np.concatenate(similarities), np.concatenate(fields)
