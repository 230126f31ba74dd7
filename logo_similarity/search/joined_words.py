"""The words of several segments as those of one catalog: a word is as rare as it is in all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from logo_similarity.numbering import Numbering
from logo_similarity.search.candidates import Ids, Mask
from logo_similarity.search.words import Name, NameCounts, WordIndex, WordMatches


@dataclass(frozen=True, slots=True, eq=False)
class JoinedWords:
    """The words indexes of several segments; see `WordIndex`."""

    segments: tuple[WordIndex, ...]
    rows: Numbering
    counts: tuple[NameCounts, ...]
    """For each segment."""

    @classmethod
    def of(cls, segments: Sequence[WordIndex], rows: Numbering, visible: Mask) -> Self:
        """Count the names with a visible row, each once.

        Args:
            segments: their indexes; the first may be large.
            rows: of all segments.
            visible: (rows,) bool.
        """
        base, *live = segments
        shown = [visible[numbers] for numbers in rows.slices]
        hidden = base.names_of(np.flatnonzero(~shown[0]))
        gone = set(hidden[~base.names_with(hidden, shown[0])].tolist())
        new: set[Name] = set()
        for index, mask in zip(live, shown[1:], strict=True):
            new.update(index.words_of(index.names_of(np.flatnonzero(mask))))
        found = {name: base.find_name(name) for name in new}
        gone.difference_update(number for number in found.values() if number is not None)
        changes: Counter[str] = Counter()
        for names, change in (
            ([name for name, number in found.items() if number is None], 1),
            (base.words_of(np.array(sorted(gone), np.int64)), -1),
        ):
            for name in names:
                for word in {*name.words, *(() if name.joined is None else (name.joined,))}:
                    changes[word] += change
        total = base.name_count + sum(number is None for number in found.values()) - len(gone)

        def of_word(word: str) -> int:
            known = base.find_word(word)
            return changes[word] + (0 if known is None else known[1])

        known = sorted((one[0], of_word(word)) for word in changes if (one := base.find_word(word)) is not None)
        keys, of_keys = np.array(known, np.int64).reshape(-1, 2).T
        counts = [NameCounts(total, keys, of_keys, of_word)]
        for index in live:
            texts = index.texts()
            numbers = np.array([of_word(text) for text in texts], np.int64)
            counts.append(NameCounts(total, np.arange(len(texts)), numbers, of_word))
        return cls(tuple(segments), rows, tuple(counts))

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


def _concatenate(matches: Sequence[WordMatches]) -> tuple[Ids, np.ndarray, np.ndarray]:
    rows, similarities, fields = zip(*((one.rows, one.similarities, one.fields) for one in matches), strict=True)
    return np.concatenate(rows), np.concatenate(similarities), np.concatenate(fields)
