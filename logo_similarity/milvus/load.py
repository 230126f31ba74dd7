"""Bulk load of the vectors of a build into a collection: in batches, resumable, and without effect if all is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from logo_similarity.catalog.files import replacing
from logo_similarity.errors import BuildError
from logo_similarity.milvus.collections import (
    Layout,
    count_entities,
    drop_collection,
    find_collection,
    is_loaded,
    load_collection,
    wait_for_index,
)
from logo_similarity.milvus.connection import IndexServer

BATCH = 1_000
"""Entities of a request: a few MB."""
LOAD_SECONDS = 3_600.0
FLUSH_SECONDS = 600.0

Entity = dict[str, Any]


def load(
    server: IndexServer,
    layout: Layout,
    entities: Callable[[int], Iterator[Entity]],
    progress: Path,
    *,
    replicas: int,
    on_rows: Callable[[int], None] = lambda _: None,
) -> None:
    """Fill a collection, and wait until it can be searched.

    The file `progress` names the collection and the number of entities that the server has acknowledged. Without it, a
    collection that is not complete is loaded from the beginning.

    Args:
        server: the server.
        layout: of the collection.
        entities: called with a number; yields the entity with this id and all after it. Their ids count from 0.
        progress: the file.
        replicas: copies of the collection in the memory of the server's nodes.
        on_rows: called with the number of entities loaded so far.

    Raises:
        BuildError: the server has another number of entities in the end.
        IndexUnavailableError: the server does not answer. The load resumes when it is called again.
    """
    count = layout.count
    if _is_complete(server, layout):
        on_rows(count)
        return
    number, done = _resume(server, layout, progress)
    remaining = entities(done)
    while batch := list(islice(remaining, BATCH)):
        with server.connected() as client:
            client.insert(layout.name, batch, timeout=server.seconds)
        done += len(batch)
        with replacing(progress) as file:
            file.write(json.dumps([number, done]).encode())
        on_rows(done)
    with server.connected() as client:
        client.flush(layout.name, timeout=FLUSH_SECONDS)
    wait_for_index(server, layout.name, LOAD_SECONDS)
    load_collection(server, layout.name, LOAD_SECONDS, replicas=replicas)
    if (loaded := count_entities(server, layout.name)) != count:
        drop_collection(server, layout.name)
        raise BuildError(
            f"{server.url}: {layout.name} had {loaded:,} entities after {count:,} were loaded, and was dropped; build again"
        )


def _is_complete(server: IndexServer, layout: Layout) -> bool:
    """Whether an earlier build of the same inputs has loaded the collection."""
    found = find_collection(server, layout.name)
    return (
        found is not None
        and (found.encoder, found.inputs, found.dimension) == (layout.encoder, layout.inputs, layout.dimension)
        and found.fields == {field.name for field in layout.schema().fields}
        and is_loaded(server, layout.name)
        and count_entities(server, layout.name) == layout.count
    )


def _resume(server: IndexServer, layout: Layout, progress: Path) -> tuple[int, int]:
    """The number of the collection, and how many of its entities are there. All others are deleted."""
    found = find_collection(server, layout.name)
    if found is not None and progress.exists():
        number, done = json.loads(progress.read_bytes())
        if number == found.number:
            with server.connected() as client:  # the batch after it may be there, in whole or in part
                client.delete(layout.name, ids=list(range(done, done + BATCH)), timeout=server.seconds)
            return number, done
    if found is not None:
        drop_collection(server, layout.name)
    layout.create(server)
    created = find_collection(server, layout.name)
    if created is None:
        raise BuildError(f"{server.url}: {layout.name} was dropped while it was loaded; build again")
    return created.number, 0
