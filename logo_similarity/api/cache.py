"""Answers to recent searches, so that the same picture is not searched for twice."""

from __future__ import annotations

import hashlib
import threading
from typing import NamedTuple

from cachetools import LRUCache

from logo_similarity.domain import SearchResult


class SearchParameters(NamedTuple):
    """The parameters of a search besides its image."""

    top_k: int
    min_score: float | None
    rerank: bool | None


class CacheKey(NamedTuple):
    """All that an answer depends on."""

    version: str
    """Of the catalog."""
    sha256: bytes
    """Of the picture's file."""
    parameters: SearchParameters


class AnswerCache:
    """At most so many hits in all; the answers that were not asked for the longest go first. For any number of threads.

    Links are no part of it: each request signs its own.
    """

    def __init__(self, max_hits: int) -> None:
        self._answers: LRUCache[CacheKey, SearchResult] = LRUCache(max_hits, getsizeof=_size)
        self._lock = threading.Lock()

    def key(self, version: str, image: bytes, parameters: SearchParameters) -> CacheKey:
        """The key of a search."""
        return CacheKey(version, hashlib.sha256(image).digest(), parameters)

    def get(self, key: CacheKey) -> SearchResult | None:
        """The answer, if it is there."""
        with self._lock:
            return self._answers.get(key)

    def put(self, key: CacheKey, result: SearchResult) -> None:
        """Keep an answer, unless it alone has more hits than there is room for."""
        if _size(result) <= self._answers.maxsize:
            with self._lock:
                self._answers[key] = result


def _size(result: SearchResult) -> int:
    return max(1, len(result.hits))
