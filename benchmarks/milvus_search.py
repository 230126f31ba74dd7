"""The search stage on a Milvus server and in mapped files: the same register, one thread, k = 100, side by side.

Each query is searched in the mapped index and then on the server, with what re-ranking needs, once more with a filter, and on the
server without what re-ranking needs.
The queries are synthetic logos that are in no register. Recall@100 is that against exact search, ties allowed.

    python -m benchmarks.milvus_search [LOGOS]

The server is that of LOGO_INDEX_URL, or else Milvus 2.3.5 of PyPI's `milvus` on this machine, whose memory is measured, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import psutil

from benchmarks.machine import write_result
from benchmarks.make_register import grow, register_catalog, sample_catalog
from logo_similarity.catalog.manifest import INDEX
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats
from logo_similarity.engine import SearchEngine
from logo_similarity.filters import Filter
from logo_similarity.milvus.collections import Layout, drop_collection, find_collection
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.fields import filter_fields
from logo_similarity.milvus.load import Entity, load
from logo_similarity.milvus.source import MilvusIndex, MilvusSource, StoredField, logo_entity
from logo_similarity.search.build import TIE
from logo_similarity.search.candidates import Candidates, IdSet
from logo_similarity.search.hnsw import VectorIndex
from logo_similarity.search.sources import SegmentSource, all_rows

LOGOS, QUERIES, K = 100_000, 200, 100
BATCH = 5_000
NAME = "benchmark"
FILTER = Filter.where(year=(2015, 2020))


@dataclass(frozen=True, slots=True)
class Figures:
    """The search of all queries in one place."""

    milliseconds: list[float]
    recall: float


def main(logos: int) -> dict[str, object]:
    """Measure one register."""
    samples = VectorIndex.open(Catalog(sample_catalog()).current() / INDEX).vectors
    queries, _ = grow(np.array(samples), QUERIES, np.random.default_rng(7))
    with ExitStack() as stack:
        engine = stack.enter_context(SearchEngine.open(register_catalog(logos), device="cpu"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server, process = _server(folder, stack)
        empty = 0 if process is None else process.memory_info().rss
        started = time.perf_counter()
        remote = _load(engine, server, folder)
        load_seconds = time.perf_counter() - started
        memory = None if process is None else process.memory_info().rss - empty
        allowed = engine.logos.select(FILTER).vectors
        figures: dict[str, object] = {
            "logos": logos,
            "entities_loaded_per_second": round(remote.index.count / load_seconds),
            "server_bytes_per_image": None if memory is None else round(memory / remote.index.count),
        }
        for name, ids in (("whole", None), ("filtered", allowed)):
            local, distant = _search_both(engine.base, remote, queries, ids)
            ours, theirs = (np.percentile(each.milliseconds, (50, 99)) for each in (local, distant))
            figures[name] = {
                "allowed": remote.index.count if ids is None else ids.count,
                "mapped_recall": round(local.recall, 4),
                "milvus_recall": round(distant.recall, 4),
                "milvus_p50_over_mapped": round(theirs[0] / ours[0], 1),
                "milvus_p99_over_mapped": round(theirs[1] / ours[1], 1),
                "milvus_p50_ms": round(theirs[0], 1),
                "milvus_p99_ms": round(theirs[1], 1),
            }
        figures["milvus_p50_ms_of_the_graph"] = round(_graph_milliseconds(remote, queries), 1)
        drop_collection(server, NAME)
    return write_result(f"milvus_search_{logos}", figures)


@contextmanager
def run_milvus(folder: Path) -> Iterator[tuple[IndexServer, psutil.Process]]:
    """A Milvus server on this machine with its files in `folder`, and its process; ended after the block."""
    import milvus

    own = milvus.MilvusServer(milvus.MilvusServerConfig(data_dir=str(folder)))
    own.start()
    try:
        yield IndexServer(f"http://127.0.0.1:{own.listen_port}", seconds=60), psutil.Process(own.server_proc.pid)
    finally:
        own.stop()


def _server(folder: Path, stack: ExitStack) -> tuple[IndexServer, psutil.Process | None]:
    """The server of the settings, or one of this machine and its process."""
    if (given := IndexServer.of(load_settings())) is not None:
        return given, None
    return stack.enter_context(run_milvus(folder / "milvus"))


def _load(engine: SearchEngine, server: IndexServer, folder: Path) -> MilvusSource:
    """The images of the register in a collection, with an index like that of the files."""
    base, manifest = engine.base, engine.manifest
    names = filter_fields(manifest.filter_fields)
    vectors = all_rows(base.index.vectors)

    def entities(start: int) -> Iterator[Entity]:
        for first in range(start, base.index.count, BATCH):
            ids = np.arange(first, min(first + BATCH, base.index.count))
            rows, _ = base.row_map.rows_of(ids, 1)
            copies = base.row_map.copies_of(ids)
            _, patches = base.stored(ids)
            logos = engine.metadata.fetch(rows.tolist())
            for place, (vector, logo, others) in enumerate(zip(ids.tolist(), logos, copies.tolist(), strict=True)):
                own = None if patches is None else patches[place]
                yield logo_entity(vector, vectors[vector], own, logo.record, 1 + others, names)

    layout = Layout(
        name=NAME,
        dimension=base.index.dimension,
        count=base.index.count,
        is_parts=False,
        has_patches=base.patches is not None,
        filter_fields=manifest.filter_fields,
        encoder=manifest.encoder.sha256,
        inputs=manifest.inputs,
        kind="hnsw",
        m=manifest.index.m,
        ef_construction=manifest.index.ef_construction,
    )
    load(server, layout, entities, folder / "progress.json", replicas=1)
    collection = find_collection(server, NAME)
    if collection is None or base.patches is None:
        raise ValueError("the collection or the patches are missing")
    index = MilvusIndex(server, NAME, "hnsw", layout.count, layout.dimension, collection.fields)
    return MilvusSource(index, StoredField(index, "patches", base.patches.shape), base.row_map, base.ef_search)


def _graph_milliseconds(remote: SegmentSource, queries: Floats) -> float:
    """The median time of a search that fetches neither embeddings nor patches."""
    times = []
    for query in queries:
        started = time.perf_counter()
        remote.index.search(query, K, ef_search=remote.ef_search)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))


def _search_both(
    local: SegmentSource, remote: SegmentSource, queries: Floats, allowed: IdSet | None
) -> tuple[Figures, Figures]:
    vectors = all_rows(local.index.vectors)
    patches = None if local.patches is None else local.patches[np.array([0])][0]
    among = vectors if allowed is None else vectors[allowed.ids]
    exact, _ = faiss.knn(queries, np.ascontiguousarray(among), K, metric=faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(1)
    times: dict[int, list[float]] = {0: [], 1: []}
    hits = {0: 0, 1: 0}
    for query, floor in zip(queries, exact[:, -1] - TIE, strict=True):
        for place, source in enumerate((local, remote)):
            started = time.perf_counter()
            found: Candidates = source.candidates(Description(query, patches), K, allowed)
            times[place].append(1000 * (time.perf_counter() - started))
            hits[place] += int(np.count_nonzero(vectors[found.ids] @ query >= floor))
    return Figures(times[0], hits[0] / exact.size), Figures(times[1], hits[1] / exact.size)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if sys.argv[1:] else LOGOS), indent=2))
