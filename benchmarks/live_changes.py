"""What live changes cost: the time of a search with them, and the rate at which they are stored and become visible.

    python -m benchmarks.live_changes 770000

The first part searches a synthetic register (`benchmarks.make_register`), in turn as it was built and with 100,000 live
changes: segments of the sizes that `build.flushing` leaves, with marks grown like those of the register, and as many hidden
rows of the register. A search must find its own sample first. The second part changes the status of the sample logos, one
change after the other, each durable before the next, and writes them into segments. Times are of one thread; those of
searches are CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import faiss
import numpy as np

from benchmarks.machine import DATA, write_result
from benchmarks.make_register import SAMPLES, grow, register_catalog, sample_catalog
from logo_similarity.build.base import BaseVersion
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.changing import Changer, LogoChange, read_record
from logo_similarity.build.flushing import Flusher
from logo_similarity.build.options import BuildOptions
from logo_similarity.build.segment import SegmentEntry, write_segment
from logo_similarity.catalog.live import LiveFiles
from logo_similarity.catalog.manifest import MODEL_FOLDER, read_manifest
from logo_similarity.catalog.overlay import Overlay
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.description import Description, Parts, Place
from logo_similarity.domain import Query
from logo_similarity.embed.encoder import Encoder
from logo_similarity.engine import SearchEngine
from logo_similarity.fields import Record
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.search.parts import shorten
from logo_similarity.search.sources import all_rows
from logo_similarity.segment import Segment

SEGMENTS = (80_500, 15_500, 4_000)
"""Logos of each, oldest first: together 100,000. What 200 sealed segments of 500 logos are merged into."""
QUERIES, WARM = 300, 30
CHANGES = 2_000
SEED = 5
PART_NOISE = 0.05
"""Standard deviation of the noise in each dimension of a part."""


def measure(count: int) -> dict[str, object]:
    """Both parts."""
    return write_result(f"live_changes_{count}", {"logos": count, **measure_searches(count), **measure_changes()})


def measure_searches(count: int) -> dict[str, object]:
    """The time of a search with live changes and without."""
    images = sorted((SAMPLES / "images").glob("*.jpg"))
    chosen = [images[place] for place in np.linspace(0, len(images) - 1, QUERIES).astype(int)]
    faiss.omp_set_num_threads(1)
    times: dict[bool, list[float]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory(dir=DATA) as folder,
        SearchEngine.open(register_catalog(count), device="cpu") as plain,
    ):
        changed = plain.with_live(_changes(plain, Path(folder)))
        for path in chosen[:WARM]:
            changed.search(Query(image=path.read_bytes()))
        for path in chosen:
            content = path.read_bytes()
            for live, engine in ((False, plain), (True, changed)):
                started = time.thread_time()
                result = engine.search(Query(image=content))
                times[live].append(1000 * (time.thread_time() - started))
                if result.hits[0].logo.logo_id != path.stem:
                    raise ValueError(f"{path.name} does not find itself first, live changes: {live}")
    without, with_changes = (statistics.median(times[live]) for live in (False, True))
    return {
        "changes": sum(SEGMENTS),
        "segments": len(SEGMENTS),
        "p50_ratio": round(with_changes / without, 3),
        "p50_ms_without": round(without, 2),
        "p50_ms_with": round(with_changes, 2),
    }


def _changes(engine: SearchEngine, folder: Path) -> LiveFiles:
    """The segments, and hidden rows of the register: none of its samples, which come first."""
    random = np.random.default_rng(SEED)
    base = engine.logos.segments[0]
    paths, first = [], 0
    for number, size in enumerate(SEGMENTS):
        path = folder / f"{number}"
        write_segment(path, _entries(base, first, size, random), base.manifest)
        paths.append(path)
        first += size
    samples = read_manifest(Catalog(sample_catalog()).current()).count
    rows = samples + random.choice(base.manifest.count - samples, sum(SEGMENTS), replace=False)
    return LiveFiles(1, tuple(paths), (np.sort(rows), *(np.empty(0, np.int64) for _ in SEGMENTS)))


def _entries(base: Segment, first: int, count: int, random: np.random.Generator) -> Iterator[SegmentEntry]:
    """Marks like those of the register: embeddings and parts grown around its own, and the patches of its own."""
    embeddings, origins = grow(all_rows(base.source.index.vectors), count, random)
    for number, (embedding, origin) in enumerate(zip(embeddings, origins.tolist(), strict=True), first):
        own, stored = base.description(origin), base.stored_parts(origin)
        noise = random.normal(0, PART_NOISE, stored.embeddings.shape)
        description = Description(embedding, own.patches, place=Place(0, 0, 1, 1, 1))
        parts = Parts(shorten((stored.embeddings + noise).astype(np.float32)), stored.boxes)
        record = Record(logo_id=f"LIVE-{number:06}", filename=f"live/{number}.png", text=f"LIVE {number}")
        yield SegmentEntry(record, description, parts, None, sha256(f"{number}".encode()).digest(), None)


def measure_changes() -> dict[str, object]:
    """Changes a second that are stored one after the other, and how long they take to become segments."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build_catalog(open_source(SAMPLES / "marks.jsonl", images=SAMPLES), root, BuildOptions(threads=usable_cores()))
        catalog, overlay = Catalog(root), Overlay(root)
        version = catalog.current()
        base = BaseVersion.open(version, Encoder.open(version / MODEL_FOLDER, device="cpu", threads=1))
        changer = Changer(catalog, overlay, base, Decoder(ImageLimits()), _keep_nothing)
        logos = base.metadata.fetch(list(range(CHANGES)))
        started = time.perf_counter()
        for logo in logos:
            record = read_record({"status": "ended"}, logo.logo_id, sparse=True)
            changer.apply(LogoChange(operation="update", logo_id=logo.logo_id, record=record, image=None, day=None))
        stored = time.perf_counter() - started
        if overlay.count() != CHANGES:
            raise ValueError(f"{overlay.count()} of {CHANGES} changes are in the overlay")
        flusher = Flusher(root, overlay, base)
        started = time.perf_counter()
        flusher.flush()
        written = time.perf_counter() - started
        overlay.close()
    return {
        "changes_a_second": round(CHANGES / stored),
        "changes_written_at_once": CHANGES,
        "seconds_to_write_them_into_a_segment": round(written, 2),
    }


def _keep_nothing(name: str, content: bytes) -> None:
    raise ValueError(f"{name}: no image has changed, but {len(content)} bytes are to be stored")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "count", type=int, nargs="?", default=770_000, help="logos of the register (default: %(default)s)"
    )
    print(measure(parser.parse_args().count))


if __name__ == "__main__":
    main()
