"""A catalog of 100,000 logos without 100,000 images, for measuring what depends on the number of logos.

The sample logos come first, with their own embeddings, so that a search with a sample's file must find it. The others are
synthetic: the embedding of a random sample, pushed towards two others and by a little noise, and metadata with Vienna
codes, texts and years. It is good for time and memory, not for the quality of answers.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.machine import DATA, ROOT
from logo_similarity import __version__
from logo_similarity.catalog.build import EF_SEARCHES, BuildOptions, build_catalog
from logo_similarity.catalog.manifest import (
    FORMAT,
    INDEX,
    METADATA,
    MODEL_FOLDER,
    REJECTED,
    EncoderEntry,
    IndexEntry,
    Manifest,
    RecallEntry,
    SourceEntry,
    read_manifest,
)
from logo_similarity.catalog.metadata import SCHEMA, write_metadata
from logo_similarity.catalog.publish import copy_model, digest_files, publish
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import CatalogFolder
from logo_similarity.cpu import usable_cores
from logo_similarity.domain import Record
from logo_similarity.embed.model import load_model
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.search.build import build_hnsw, measure_recall
from logo_similarity.search.index import FloatArray, VectorIndex
from logo_similarity.search.pipeline import SearchEngine

SAMPLES = ROOT / "samples"


def sample_catalog() -> Path:
    """Catalog folder of the sample logos, built where it is not there yet."""
    root = DATA / "samples"
    build_catalog(open_source(SAMPLES), root, BuildOptions(threads=usable_cores()))
    return root


def register_catalog(count: int) -> Path:
    """Catalog folder of a register with `count` logos, made where it is not there yet (two minutes for 100,000)."""
    samples = read_manifest(CatalogFolder(sample_catalog()).current())
    # Everything that the rows are made of: one of another format, schema, model or sample set is not this register.
    made_of = (FORMAT, SCHEMA, samples.logo_ids, samples.encoder.sha256, PREPROCESSING_VERSION)
    root = DATA / f"register-{count}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"
    folder = CatalogFolder(root)
    if not folder.names():
        with folder.locked():
            work = root / ".work"
            work.mkdir(exist_ok=True)
            publish(folder, work, _fill(work, count))
    return root


def _fill(version: Path, count: int) -> Manifest:
    options = BuildOptions(threads=usable_cores())
    with SearchEngine.open(sample_catalog()) as samples:
        real = [logo.record for logo in samples.metadata.fetch(list(range(samples.manifest.count)))]
        vectors = _vectors(np.array(samples.index.vectors), count)
    (version / METADATA).unlink(missing_ok=True)
    fields = write_metadata(version / METADATA, _records(real, count))
    build_hnsw(vectors, version / INDEX, m=options.m, ef_construction=options.ef_construction, threads=options.threads)
    index = VectorIndex.open(version / INDEX)
    recall = measure_recall(
        index, k=100, queries=500, ef_searches=EF_SEARCHES, target=options.recall_target, threads=options.threads
    )
    copy_model(options.model, version / MODEL_FOLDER)
    (version / REJECTED).touch()
    ids = hashlib.sha256("".join(f"{record.logo_id}\n" for record in _records(real, count)).encode())
    model = load_model(options.model)
    return Manifest(
        software=__version__,
        created=dt.datetime.now(dt.UTC).replace(microsecond=0),
        inputs=hashlib.sha256(f"synthetic register of {count}".encode()).hexdigest(),
        count=count,
        logo_ids=ids.hexdigest(),
        dimension=vectors.shape[1],
        fields=fields,
        encoder=EncoderEntry(id=model.id, sha256=model.sha256, preprocessing=PREPROCESSING_VERSION),
        index=IndexEntry(m=options.m, ef_construction=options.ef_construction, ef_search=recall.ef_search),
        recall=RecallEntry(k=recall.k, queries=recall.queries, value=recall.value, floor=0.0),
        source=SourceEntry(kind="synthetic", read=count, indexed=count, rejected=0),
        files=digest_files(version),
    )


def _vectors(real: FloatArray, count: int) -> FloatArray:
    """(count, d) float32 unit vectors: the real ones, then noisy ones around them."""
    random = np.random.default_rng(0)
    dimension = real.shape[1]
    made = [real[:count]]
    for start in range(len(made[0]), count, 10_000):
        rows = min(10_000, count - start)
        first, second, third = (real[random.integers(len(real), size=rows)] for _ in range(3))
        step, aside = random.uniform(0.1, 0.6, size=(rows, 1)), random.uniform(0.0, 0.4, size=(rows, 1))
        noise = 0.1 * random.normal(size=(rows, dimension)) / np.sqrt(dimension)
        pushed = first + step * (second - first) + aside * third + noise
        made.append((pushed / np.linalg.norm(pushed, axis=1, keepdims=True)).astype(np.float32))
    return np.concatenate(made)


def _records(real: list[Record], count: int) -> Iterator[Record]:
    yield from real[:count]
    random = np.random.default_rng(1)
    for number in range(len(real), count):
        codes = sorted({f"{a:02}.{b:02}.{c:02}" for a, b, c in random.integers(1, 20, size=(random.integers(1, 6), 3))})
        yield Record(
            logo_id=f"SYNTHETIC-{number:07}",
            filename=f"synthetic/{number:07}.jpg",
            text=f"Mark {number}",
            vienna_codes=tuple(codes),
            year=int(random.integers(1996, 2021)),
        )
