"""Results of recent searches, for repeated queries with the same image."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

from logo_similarity.domain import Query, SearchResult

if TYPE_CHECKING:
    from logo_similarity.domain import Image


class CacheKey(NamedTuple):
    """All inputs that determine a result."""

    version: str
    """Version of the catalog."""
    generation: int
    """Of its live changes."""
    query: Query
    """With the SHA-256 of each image file instead of its content."""


class AnswerCache:
    """An LRU cache of results that holds at most `max_hits` hits in total. Thread-safe.

    Results contain no links: each request signs its own.
    """

    def __init__(self, max_hits: int) -> None:
        self._answers: LRUCache[CacheKey, SearchResult] = LRUCache(max_hits, getsizeof=_size)
        self._lock = threading.Lock()

    def key(self, version: str, generation: int, query: Query) -> CacheKey:
        """The key of a search by the content of image files, by a logo, or by words."""
        if query.image is None:
            return CacheKey(version, generation, query)
        first, *others = map(_digest, (query.image, *query.more_images))
        return CacheKey(version, generation, replace(query, image=first, more_images=tuple(others)))

    def get(self, key: CacheKey) -> SearchResult | None:
        """The cached result, or None."""
        with self._lock:
            return self._answers.get(key)

    def put(self, key: CacheKey, result: SearchResult) -> None:
        """Store a result, unless it alone exceeds `max_hits`."""
        if _size(result) <= self._answers.maxsize:
            with self._lock:
                self._answers[key] = result


def _digest(image: Image) -> bytes:
    assert isinstance(image, bytes)  # noqa: S101 - a client cannot send an array
    return hashlib.sha256(image).digest()


def _size(result: SearchResult) -> int:
    return max(1, len(result.hits))
