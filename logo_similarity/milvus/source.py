"""The search side of Milvus: the vectors of a version in its collections, as `search.sources` describes them.

The server filters by an expression that at least all allowed vectors pass, since its entities are images, of which one may
stand for several logos. What passes wrongly is left out here, and the search is repeated with a larger limit if too few
remain. A few allowed vectors are searched by their ids.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.errors import CatalogError
from logo_similarity.fields import Record
from logo_similarity.milvus.collections import (
    EMBEDDING,
    ID,
    MOST_BREADTH,
    OFFICE,
    PATCHES,
    ROWS,
    SHARED,
    CollectionKind,
    search_parameters,
)
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.expression import expression_of, offices_of
from logo_similarity.milvus.fields import OFFICE_FIELD, FilterField
from logo_similarity.search.candidates import NO_IDS, Candidates, Ids, IdSet
from logo_similarity.search.rows import RowMap

MOST = 16_384
"""Maximum number of hits of a search: Milvus'."""
FEW = 4_096
"""Allowed vectors that are searched by their ids, and ids in one request."""
COMPARED = 1_000
"""Allowed vectors that are fetched and compared here, because that is exact."""
SPARE, WIDER = 1.1, 2.2
"""Hits that are asked for, for each that is needed: to begin with, and more than the share that passed before suggests."""
FILTERED = 2
"""Breadth of a search with a filter, for each unit of one without: the graph is cut where vectors are left out."""
FETCHED = 2_048
"""Entities that are fetched by one request."""


@dataclass(frozen=True, slots=True)
class MilvusIndex:
    """The embeddings in a collection. Safe to use from many threads at once."""

    server: IndexServer
    collection: str
    kind: CollectionKind
    count: int
    dimension: int
    fields: frozenset[str] = frozenset()
    """Of the collection."""

    @property
    def vectors(self) -> StoredField:
        """(count, dimension) float32, fetched from the server."""
        return StoredField(self, EMBEDDING, (self.count, self.dimension))

    def search(self, query: Floats, k: int, *, ef_search: int) -> tuple[Ids, Floats]:
        """The approximate `k` nearest vectors and their cosines; see `search.sources.SearchIndex`."""
        return self._nearest(query[np.newaxis], k, ef_search)[0]

    def search_allowed(
        self, query: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> tuple[Ids, Floats, bool]:
        """The `k` nearest allowed vectors; see `search.sources.SearchIndex`."""
        return self.search_each(query[np.newaxis], k, allowed, ef_search=ef_search)[0]

    def search_each(
        self, queries: Floats, k: int, allowed: IdSet | None, *, ef_search: int
    ) -> list[tuple[Ids, Floats, bool]]:
        """The same for each of some queries: one request for all of them, and more if too few of the hits are allowed."""
        if allowed is None:
            return [(*near, self.kind == "flat") for near in self._nearest(queries, k, ef_search)]
        k = min(k, allowed.count)
        if k == 0:
            return [(NO_IDS, np.empty(0, np.float32), True)] * len(queries)
        if allowed.count <= FEW:
            return self._scan(queries, k, allowed.ids)
        found = self._search_wider(queries, k, allowed, ef_search)
        if left := [number for number in range(len(queries)) if number not in found]:
            found |= zip(left, self._scan(queries[left], k, allowed.ids), strict=True)
        return [found[number] for number in range(len(queries))]

    def _search_wider(
        self, queries: Floats, k: int, allowed: IdSet, ef_search: int
    ) -> dict[int, tuple[Ids, Floats, bool]]:
        """The `k` nearest allowed vectors, by the number of the query, unless too few of the `MOST` nearest are allowed."""
        found: dict[int, tuple[Ids, Floats, bool]] = {}
        left = list(range(len(queries)))
        condition = self._expression(allowed)
        limit = math.ceil(SPARE * k * (1 if condition else self.count / allowed.count))
        while left and limit <= MOST:
            passed = limit
            nearest = self._nearest(queries[left], limit, FILTERED * max(ef_search, limit), condition)
            for number, (ids, cosines) in zip(left, nearest, strict=True):
                ranks = np.flatnonzero(allowed.mask[ids])[:k]
                passed = min(passed, len(ranks))
                if len(ranks) == k:
                    found[number] = ids[ranks], cosines[ranks], False
            if all(len(ids) < min(limit, self.count) for ids, _ in nearest):
                break  # the server has no more
            left = [number for number in left if number not in found]
            limit = max(2 * limit, math.ceil(WIDER * k * limit / max(passed, 1)))
        return found

    def _expression(self, allowed: IdSet) -> str:
        """What at least all allowed entities meet; empty: all entities do."""
        if allowed.condition is None:
            return ""
        besides = allowed.besides[allowed.mask[allowed.besides]]
        if len(besides) > FEW:
            return ""
        meets = f"({ROWS} > 1 or {expression_of(allowed.condition, self.fields)})"
        if len(besides):
            return f"({ID} in {besides.tolist()} or {meets})"
        offices = offices_of(allowed.condition)
        # With a condition on the partition key, the server leaves out the other partitions.
        return meets if offices is None else f"({OFFICE} in {[*offices, SHARED]} and {meets})"

    def _scan(self, queries: Floats, k: int, ids: Ids) -> list[tuple[Ids, Floats, bool]]:
        """The `k` nearest of the vectors with these ids, and whether they are exact.

        A server may find fewer, as Milvus 2.3 does in segments of less than 1,024 entities: their index is approximate and
        ignores the parameters of the search.
        """
        if len(ids) > COMPARED:
            found = self._search_ids(queries, k, ids)
            if all(len(nearest) == k for nearest, _ in found):
                return [(*near, False) for near in found]
        all_cosines = np.clip(self.vectors[ids] @ queries.T, -1, 1).T
        return [(*_nearest_of(ids, cosines, k), True) for cosines in all_cosines]

    def _search_ids(self, queries: Floats, k: int, ids: Ids) -> list[tuple[Ids, Floats]]:
        """The approximate `k` nearest of the vectors with these ids, with few of them in a request.

        The search is as broad as it can be. This takes little time: a server compares few vectors of a large segment one by
        one, and searches a small graph as a whole.
        """
        found = [
            self._nearest(queries, k, MOST_BREADTH, f"{ID} in {ids[start : start + FEW].tolist()}")
            for start in range(0, len(ids), FEW)
        ]
        result = []
        for pieces in zip(*found, strict=True):
            all_ids, cosines = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
            result.append(_nearest_of(all_ids, cosines, k))
        return result

    def _nearest(self, queries: Floats, k: int, ef_search: int, condition: str = "") -> list[tuple[Ids, Floats]]:
        return [_ordered(hits) for hits in self.hits(queries, k, ef_search=ef_search, condition=condition)]

    def hits(
        self, queries: Floats, limit: int, *, ef_search: int, condition: str = "", fields: Sequence[str] = ()
    ) -> list[list[Mapping[str, Any]]]:
        """The hits of each query on the server, at most `limit`, as its client returns them.

        Raises:
            IndexUnavailableError: the server does not answer.
            CatalogError: the collection is missing.
        """
        limit = min(limit, self.count)
        with self.server.connected() as client:
            return client.search(
                self.collection,
                data=list(queries),
                limit=limit,
                filter=condition,
                output_fields=list(fields),
                search_params=search_parameters(self.kind, ef_search, limit),
                anns_field=EMBEDDING,
                timeout=self.server.seconds,
            )

    def fetch(self, ids: Ids, fields: Sequence[str]) -> list[Mapping[str, Any]]:
        """The entities with these ids, in this order.

        Raises:
            IndexUnavailableError: the server does not answer.
            CatalogError: the collection is missing, or lacks an entity.
        """
        entities: dict[int, Mapping[str, Any]] = {}
        wanted = np.unique(ids)
        for start in range(0, len(wanted), FETCHED):
            some = wanted[start : start + FETCHED].tolist()
            with self.server.connected() as client:
                rows = client.query(
                    self.collection,
                    filter=f"{ID} in {some}",
                    output_fields=[ID, *fields],
                    timeout=self.server.seconds,
                )
            entities.update((row[ID], row) for row in rows)
        if len(entities) < len(wanted):
            raise CatalogError(
                f"{self.server.url}: {self.collection} lacks {len(wanted) - len(entities)} of {len(wanted)} entities; "
                "build the catalog again"
            )
        return [entities[number] for number in ids.tolist()]

    def check(self, rows: Sequence[int], *, ef_search: int) -> None:
        """Search for stored embeddings; see `search.sources.SearchIndex`."""
        vectors = self.vectors[np.asarray(rows, np.int64)]
        for row, vector in zip(rows, vectors, strict=True):
            if not abs(float(np.linalg.norm(vector)) - 1) < 1e-3:  # NaN compares false
                raise CatalogError(f"{self.collection}: damaged: the stored embedding {row} is not of unit length")
        nearest = self._nearest(vectors, 1, ef_search)
        found = sum(bool(len(cosines)) and bool(cosines[0] > 0.999) for _, cosines in nearest)
        if found < len(rows) // 2:
            raise CatalogError(
                f"{self.collection}: damaged: a search finds only {found} of {len(rows)} stored embeddings"
            )


@dataclass(frozen=True, slots=True)
class StoredField:
    """A field of all entities as an array, of which rows are fetched from the server."""

    index: MilvusIndex
    field: str
    shape: tuple[int, ...]

    def __getitem__(self, ids: Ids) -> Any:  # noqa: ANN401 - an array
        """The rows with these numbers; of a single number, one row."""
        rows = [row[self.field] for row in self.index.fetch(np.atleast_1d(ids), [self.field])]
        array = _patches(rows, self.shape[1:]) if self.field == PATCHES else _embeddings(rows, self.shape[1])
        return array if np.ndim(ids) else array[0]


@dataclass(frozen=True, slots=True)
class MilvusSource:
    """Finds candidates on a server; see `search.sources.SegmentSource`."""

    index: MilvusIndex
    patches: StoredField | None
    row_map: RowMap
    ef_search: int

    def candidates(self, description: Description, k: int, allowed: IdSet | None = None) -> Candidates:
        """The approximate `k` nearest vectors, with what re-ranking needs."""
        if description.patches is None or self.patches is None:
            ids, cosines, exact = self.index.search_allowed(description.embedding, k, allowed, ef_search=self.ef_search)
            return Candidates(ids, cosines, exact=exact)
        if allowed is not None:
            ids, _, exact = self.index.search_allowed(description.embedding, k, allowed, ef_search=self.ef_search)
            return self._gather(description, ids, *self.stored(ids), exact=exact)
        (hits,) = self.index.hits(
            description.embedding[np.newaxis], k, ef_search=self.ef_search, fields=(EMBEDDING, PATCHES)
        )
        rows = [hit["entity"] for hit in hits]
        embeddings = _embeddings([row[EMBEDDING] for row in rows], self.index.dimension)
        patches = _patches([row[PATCHES] for row in rows], self.patches.shape[1:])
        return self._gather(description, _ids(hits), embeddings, patches)

    def compare(self, description: Description, vectors: Ids) -> Candidates:
        """Given vectors as candidates, with the exact cosines, in the given order."""
        embeddings, patches = self.stored(vectors)
        cosines = np.clip(embeddings @ description.embedding, -1, 1)
        if description.patches is None:
            patches = None
        return Candidates(vectors, cosines, None if patches is None else embeddings, patches)

    def embeddings(self, vectors: Ids) -> Floats:
        """The embeddings of given vectors, (n, dimension) float32."""
        array: Floats = self.index.vectors[vectors]
        return array

    def stored(self, vectors: Ids) -> tuple[Floats, Patches | None]:
        """The embeddings and the patches of given vectors."""
        if self.patches is None:
            return self.embeddings(vectors), None
        rows = self.index.fetch(vectors, [EMBEDDING, PATCHES])
        return (
            _embeddings([row[EMBEDDING] for row in rows], self.index.dimension),
            _patches([row[PATCHES] for row in rows], self.patches.shape[1:]),
        )

    @staticmethod
    def _gather(
        description: Description, ids: Ids, embeddings: Floats, patches: Patches | None, *, exact: bool = False
    ) -> Candidates:
        """Candidates in the order of their exact cosines: those of a server with a compressed index are approximate."""
        cosines = np.clip(embeddings @ description.embedding, -1, 1)
        order = np.lexsort((ids, -cosines))
        patches = None if patches is None else patches[order]
        return Candidates(ids[order], cosines[order], embeddings[order], patches, exact)


def logo_entity(
    vector: int,
    embedding: Floats,
    patches: Patches | None,
    record: Record,
    rows: int,
    fields: Sequence[FilterField],
) -> dict[str, object]:
    """The entity of an image.

    Args:
        vector: its number.
        embedding: (d,) float32.
        patches: (cells, channels) int8; None: the encoder has none.
        record: of the first logo with this image.
        rows: number of logos with it.
        fields: of the record, by which it can be filtered.
    """
    entity: dict[str, object] = {
        **part_entity(vector, embedding),
        OFFICE: SHARED if rows > 1 else OFFICE_FIELD.value_of(record),
        ROWS: rows,
        **{field.name: field.value_of(record) for field in fields},
    }
    if patches is not None:
        entity[PATCHES] = base64.b64encode(patches.tobytes()).decode()
    return entity


def part_entity(number: int, embedding: Floats) -> dict[str, object]:
    """The entity of a part, with its embedding, (d,) float32."""
    return {ID: number, EMBEDDING: embedding}


def _patches(texts: Sequence[str], shape: tuple[int, ...]) -> Patches:
    content = b"".join(map(base64.b64decode, texts))
    return np.frombuffer(content, np.int8).reshape(len(texts), *shape)


def _embeddings(rows: Sequence[Sequence[float]], dimension: int) -> Floats:
    return np.array(rows, np.float32).reshape(len(rows), dimension)


def _ids(hits: Sequence[Mapping[str, Any]]) -> Ids:
    return np.fromiter((hit[ID] for hit in hits), np.int64, len(hits))


def _ordered(hits: Sequence[Mapping[str, Any]]) -> tuple[Ids, Floats]:
    """The ids and cosines of hits, nearest first. Ties are ordered by id."""
    cosines = np.fromiter((hit["distance"] for hit in hits), np.float32, len(hits)).clip(-1, 1)
    return _nearest_of(_ids(hits), cosines, len(hits))


def _nearest_of(ids: Ids, cosines: Floats, k: int) -> tuple[Ids, Floats]:
    order = np.lexsort((ids, -cosines))[:k]
    return ids[order], cosines[order]
