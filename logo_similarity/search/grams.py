"""Sequences of letters in words, by which words with spelling errors are found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
LETTERS = len(ALPHABET) + 1
"""The letters and digits, and the boundary of a word, which is 0."""
PAIRED = 6
"""Longest words that are also found by pairs of letters: an error changes most of their triples."""
GRAMS = LETTERS**3 + LETTERS**2
"""Number of triples and pairs."""
_CODES = np.zeros(256, np.int64)
_CODES[np.frombuffer(ALPHABET.encode(), np.uint8)] = np.arange(1, LETTERS)


def find_grams(words: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The triples of letters of each word, and the pairs of each short one, with the boundaries of the word.

    Args:
        words: not empty, each of letters of `ALPHABET`.

    Returns:
        Numbers below `GRAMS`, and the positions of their words: (m,) each, ascending by number, then by position, none twice.
    """
    letters = _CODES[np.frombuffer(f" {'  '.join(words)} ".encode(), np.uint8)]
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    owners = np.repeat(np.arange(len(words)), lengths + 2)
    triples = (letters[:-2] * LETTERS + letters[1:-1]) * LETTERS + letters[2:]
    pairs = LETTERS**3 + letters[:-1] * LETTERS + letters[1:]
    within = owners[:-2] == owners[2:]
    paired = (owners[:-1] == owners[1:]) & (lengths[owners[:-1]] <= PAIRED)
    numbers = np.concatenate((triples[within], pairs[paired]))
    both = np.unique(numbers * len(words) + np.concatenate((owners[:-2][within], owners[:-1][paired])))
    return np.divmod(both, len(words))


def count_grams(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of grams of words of these lengths, repetitions included."""
    return lengths + np.where(lengths <= PAIRED, lengths + 1, 0)
