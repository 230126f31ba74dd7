"""The collections of a catalog version: their names, schemas and indexes. A collection never changes once it is loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from logo_similarity.catalog.manifest import Manifest
from logo_similarity.config import IndexKind
from logo_similarity.errors import BuildError, CatalogError, IndexUnavailableError
from logo_similarity.milvus.connection import RETRY_AFTER, IndexServer
from logo_similarity.milvus.fields import filter_fields
from logo_similarity.search.parts import DIMENSIONS

if TYPE_CHECKING:
    from logo_similarity.milvus.client import CollectionSchema, MilvusClient

CollectionKind = IndexKind | Literal["flat"]

COLLECTIONS_LAYOUT = 1
"""Incremented when the collections of the same images change."""
PREFIX = "logo_similarity_"
LIVE_LOGOS, LIVE_PARTS = f"{PREFIX}live_logos", f"{PREFIX}live_parts"
"""Aliases of the collections of the live version."""
DIGEST_DIGITS = 16
ID, EMBEDDING, PATCHES = "id", "embedding", "patches"
OFFICE, ROWS = "office", "rows"
"""Of the images: the office of the logo with it, as a number, and the number of logos with it."""
LONGEST_PATCHES = 65_535
"""Of Milvus' texts, in bytes."""
SHARED = -2
"""The office of an image that several logos have: they may be of different offices."""
PARTITIONS, PARTITION_ROWS = 16, 100_000
"""Largest number of partitions of the images by their office, and the entities for each of them. A server does not index
segments of less than 1,024 entities, but searches them in a way that ignores the breadth: partitions must not be small."""
SMALL = 10_000
"""A smaller collection needs no graph: all entities are compared."""
NO_ALIAS = 1600
"""Milvus' code of an alias that does not exist."""
ENCODER, INPUTS = "logo.encoder", "logo.inputs"
"""Properties of a collection: the sha256 of the encoder, and the digest of the inputs of its build."""
METRIC = "IP"
POLL_SECONDS = 0.2
MOST_BREADTH = 32_768
"""Maximum breadth of a graph search."""
LISTS = 1_024
"""Lists of an IVF index. One is searched for each `BREADTH_OF_LIST` of the breadth of a search."""
BREADTH_OF_LIST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a new collection is like."""

    name: str
    dimension: int
    is_parts: bool
    """Whether its entities are parts, which have an embedding alone; otherwise they are images."""
    has_patches: bool
    filter_fields: tuple[str, ...]
    """The fields and facets of the logos that a filter may use: see `Manifest.filter_fields`."""
    encoder: str
    """Sha256 of the encoder."""
    inputs: str
    """Digest of the inputs of the build."""
    kind: CollectionKind
    m: int
    ef_construction: int
    count: int
    """Number of entities."""
    shards: int = 1

    def schema(self) -> CollectionSchema:
        """The schema."""
        from logo_similarity.milvus.client import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(ID, DataType.INT64, is_primary=True)
        schema.add_field(EMBEDDING, DataType.FLOAT_VECTOR, dim=self.dimension)
        if self.is_parts:
            return schema
        if self.has_patches:  # a collection of Milvus 2.3 has one vector field, and none of bytes
            schema.add_field(PATCHES, DataType.VARCHAR, max_length=LONGEST_PATCHES)
        schema.add_field(OFFICE, DataType.INT64, is_partition_key=True)
        schema.add_field(ROWS, DataType.INT64)
        for field in filter_fields(self.filter_fields):
            field.add_to(schema)
        return schema

    def create(self, server: IndexServer) -> None:
        """Create the collection and its indexes.

        Raises:
            IndexUnavailableError: the server does not answer.
        """
        from logo_similarity.milvus.client import MilvusClient

        index_type, parameters = _index(self.kind, self.m, self.ef_construction)
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index(EMBEDDING, index_type=index_type, metric_type=METRIC, params=parameters)
        version = server.version()
        for field in filter_fields(self.filter_fields):
            field.add_index(indexes, version)
        with server.connected() as client:
            client.create_collection(
                self.name,
                schema=self.schema(),
                num_shards=self.shards,
                consistency_level="Bounded",
                properties={ENCODER: self.encoder, INPUTS: self.inputs},
                timeout=server.seconds,
                **({} if self.is_parts else {"num_partitions": min(PARTITIONS, 1 + self.count // PARTITION_ROWS)}),
            )
            client.create_index(self.name, indexes, sync=False, timeout=server.seconds)


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection of the server."""

    number: int
    """Given by the server: another collection of the same name has another number."""
    dimension: int
    encoder: str
    """Sha256 of the encoder that computed its embeddings; empty: not known."""
    inputs: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class VersionCollection:
    """A collection that a version needs."""

    name: str
    alias: str
    """Of the collection that the live version has in its place."""
    count: int
    dimension: int
    is_parts: bool


def collections_of(manifest: Manifest) -> tuple[VersionCollection, ...]:
    """The collections that a version needs; none if its index is in files."""
    index, parts = manifest.index, manifest.parts
    found = []
    if index.collection is not None:
        count, dimension = manifest.distinct_images, manifest.dimension
        found.append(VersionCollection(index.collection, LIVE_LOGOS, count, dimension, is_parts=False))
    if parts is not None and parts.index.collection is not None and parts.count:
        dimension = min(DIMENSIONS, manifest.dimension)
        found.append(VersionCollection(parts.index.collection, LIVE_PARTS, parts.distinct, dimension, is_parts=True))
    return tuple(found)


def point_aliases(server: IndexServer | None, manifest: Manifest) -> None:
    """Let the aliases name the collections of a version, for other programs. Searches use the names in the manifest.

    Args:
        server: with the collections; None: the version has none.
        manifest: of the version.

    Raises:
        CatalogError: a collection is missing.
        IndexUnavailableError: the server does not answer.
    """
    if server is None:
        return
    from logo_similarity.milvus.client import MilvusException

    for collection in collections_of(manifest):
        with server.connected() as client:
            try:  # `list_aliases` of pymilvus 3.0 ignores the database
                client.alter_alias(collection.name, collection.alias, timeout=server.seconds)
            except MilvusException as error:
                if error.code != NO_ALIAS:
                    raise
                client.create_alias(collection.name, collection.alias, timeout=server.seconds)


def logos_name(inputs: str) -> str:
    """The collection of the images of a build with these inputs."""
    return f"{PREFIX}{inputs[:DIGEST_DIGITS]}_logos"


def parts_name(inputs: str) -> str:
    """The collection of the parts of a build with these inputs."""
    return f"{PREFIX}{inputs[:DIGEST_DIGITS]}_parts"


def search_parameters(kind: CollectionKind, breadth: int, limit: int) -> dict[str, Any]:
    """The parameters of a search of this breadth for at most `limit` entities."""
    breadth = max(breadth, limit)
    parameters: dict[str, int]
    match kind:
        case "flat":
            parameters = {}
        case "ivf-sq8":
            parameters = {"nprobe": min(LISTS, max(1, breadth // BREADTH_OF_LIST))}
        case "diskann":
            parameters = {"search_list": min(breadth, max(200, 10 * limit))}  # Knowhere accepts no more
        case _:
            parameters = {"ef": min(breadth, MOST_BREADTH)}
    return {"metric_type": METRIC, "params": parameters}


def find_collection(server: IndexServer, name: str) -> Collection | None:
    """A collection of the server; None: it has none of this name.

    Raises:
        ConfigError: the server does not have the database.
        IndexUnavailableError: the server does not answer.
    """
    try:
        with server.connected() as client:
            found = client.describe_collection(name, timeout=server.seconds)
    except CatalogError:
        with server.connected() as client:  # this fails if the database does not exist, which has no collection, either
            client.list_collections(timeout=server.seconds)
        return None
    fields = {field["name"]: field for field in found["fields"]}
    properties = found["properties"]
    return Collection(
        int(found["collection_id"]),
        int(fields[EMBEDDING]["params"]["dim"]) if EMBEDDING in fields else 0,
        str(properties.get(ENCODER, "")),
        str(properties.get(INPUTS, "")),
        frozenset(fields),
    )


def drop_collection(server: IndexServer, name: str) -> None:
    """Delete a collection with its aliases, if it exists."""
    if find_collection(server, name) is None:
        return
    with server.connected() as client:
        for alias in client.describe_collection(name, timeout=server.seconds)["aliases"]:
            client.drop_alias(alias, timeout=server.seconds)
        client.drop_collection(name, timeout=server.seconds)


def load_collection(server: IndexServer, name: str, seconds: float, *, replicas: int = 1) -> None:
    """Have the server load a collection into memory unless it has, and wait until it is searchable.

    Raises:
        IndexUnavailableError: it is not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    with server.connected() as client:
        if _is_loaded(client, name, server.seconds):
            return
        client.load_collection(name, replica_number=replicas, _async=True, timeout=server.seconds)
        while not _is_loaded(client, name, server.seconds):
            if time.monotonic() > deadline:
                raise IndexUnavailableError(f"{server.url}: {name} is still being loaded", retry_after=RETRY_AFTER)
            time.sleep(POLL_SECONDS)


def is_loaded(server: IndexServer, name: str) -> bool:
    """Whether the server has a collection in memory."""
    with server.connected() as client:
        return _is_loaded(client, name, server.seconds)


def wait_for_index(server: IndexServer, name: str, seconds: float) -> None:
    """Wait until all entities of a collection that were flushed are indexed.

    Raises:
        BuildError: the server cannot build the index.
        IndexUnavailableError: it has indexed no more of them for `seconds`.
    """
    most, deadline = -1, 0.0
    with server.connected() as client:
        while True:
            index = client.describe_index(name, EMBEDDING, timeout=server.seconds)
            if index["state"] == "Failed":
                raise BuildError(
                    f"{server.url}: the index of {name} cannot be built: {index.get('index_state_fail_reason')}"
                )
            indexed = int(index["indexed_rows"])
            if indexed >= int(index["total_rows"]) and int(index["pending_index_rows"]) == 0:
                return
            if indexed > most:
                most, deadline = indexed, time.monotonic() + seconds
            elif time.monotonic() > deadline:
                raise IndexUnavailableError(
                    f"{server.url}: the index of {name} does not grow: {indexed:,} entities of {index['total_rows']} are in it",
                    retry_after=RETRY_AFTER,
                )
            time.sleep(POLL_SECONDS)


def count_entities(server: IndexServer, name: str) -> int:
    """The number of entities of a loaded collection, all acknowledged insertions and deletions included."""
    with server.connected() as client:
        rows = client.query(
            name, filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=server.seconds
        )
        return int(rows[0]["count(*)"])


def check_collection(server: IndexServer, name: str, *, encoder: str, inputs: str, dimension: int) -> Collection:
    """The collection of a version.

    Raises:
        CatalogError: it does not exist, or is of another encoder, build or dimension.
        IndexUnavailableError: the server does not answer.
    """
    found = find_collection(server, name)
    if found is None:
        raise CatalogError(f"{server.url}: has no collection {name}; build the catalog again")
    if found.encoder != encoder:
        raise CatalogError(
            f"{server.url}: another encoder ({found.encoder[:8] or 'not known'}) than that of the catalog ({encoder[:8]}) "
            f"computed the embeddings in {name}; build the catalog again"
        )
    if found.inputs != inputs or found.dimension != dimension:
        raise CatalogError(f"{server.url}: {name} is not the collection of this version; build the catalog again")
    return found


def _is_loaded(client: MilvusClient, name: str, seconds: float) -> bool:
    return client.get_load_state(name, timeout=seconds)["state"].name == "Loaded"


def kind_for(count: int, kind: IndexKind) -> CollectionKind:
    """The kind of index of a collection with this many entities."""
    return kind if count >= SMALL else "flat"


def _index(kind: CollectionKind, m: int, ef_construction: int) -> tuple[str, dict[str, Any]]:
    """Milvus' type of an index, and its parameters."""
    graph = {"M": m, "efConstruction": ef_construction}
    match kind:
        case "flat":
            return "FLAT", {}
        case "hnsw":
            return "HNSW", graph
        case "hnsw-sq8":
            return "HNSW_SQ", {**graph, "sq_type": "SQ8", "refine": True, "refine_type": "FP32"}
        case "ivf-sq8":
            return "IVF_SQ8", {"nlist": LISTS}
        case "diskann":
            return "DISKANN", {}
