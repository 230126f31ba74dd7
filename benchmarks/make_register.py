# ruff: noqa: RUF001 - syllables in five scripts
"""A catalog of any size from the sample images: synthetic logos around real ones, built by the project's own builder.

    python -m benchmarks.make_register 770000 [--precision float16]    # some 10 minutes and 7 GB; 100000 takes one minute
    python -m benchmarks.make_register --check CATALOGS    # compares synthetic neighbours with those of a real catalog

The sample logos come first, with their own embeddings, so a search with a sample's file must find it. Every other embedding is
sqrt(1 - t^2) b + t o, where b is a real embedding and o is the direction of the sum of three others: a mark that resembles one
logo and slightly resembles others. t is near 1 for most marks (Beta(3, 1)) and small for one in ten (0 to 0.5), because few
marks have a near copy. A mark has as many parts as its b, made in the same way from the parts of the samples. `--check`
grows a twentieth of a catalog to its whole size by this recipe and compares the cosines of the 1st, 10th and 100th
neighbours, and the recall of an HNSW index, with those of the real catalog.

The synthetic logos are drawn as shards of a build, which goes on from there, and resumes if it is interrupted.

The metadata follow the published distributions of L3D (arXiv 2112.05404): codes per mark, divisions of the Vienna
classification, years, one text in ten missing; the texts are in five scripts. All of it is synthetic, as the ids show.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import orjson
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.machine import DATA, ROOT, write_result
from logo_similarity.build.catalog import build_catalog, make_version
from logo_similarity.build.options import BuildOptions, Progress
from logo_similarity.build.parts import PARTS_LAYOUT
from logo_similarity.build.records import write_records
from logo_similarity.build.shards import SHARD_ROWS, Shard, ShardParts, make_parts, shard_count, write_shard
from logo_similarity.build.work import RECORDS, SHARDS, SOURCE_REJECTS, VERSION, resumable
from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.manifest import FORMAT, read_manifest
from logo_similarity.catalog.metadata import SCHEMA
from logo_similarity.catalog.postings import POSTINGS_LAYOUT
from logo_similarity.catalog.publish import publish
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.images import NamesAsWritten
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.description import DIGEST_BYTES
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.embed.encoder import Encoder
from logo_similarity.engine import SearchEngine
from logo_similarity.field_kinds import JsonValue
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.precision import Precision
from logo_similarity.search.build import Probe, build_hnsw
from logo_similarity.search.word_file import WORDS_LAYOUT
from logo_similarity.segment import Segment
from logo_similarity.terminal import progress

SAMPLES = ROOT / "samples"
RECIPE = 3
"""Incremented when the synthetic logos change."""
CHUNK = 10_000
WORK, TABLE = ".build", "marks.jsonl"
OTHERS = 3
NEAR_SHARE, NEAR_REACH, FAR_SHAPE = 0.1, 0.5, 3.0
GROWTH = 20
"""`--check` grows a twentieth of the real logos to their number; 770,000 logos are 384 times the samples."""
RANKS = (1, 10, 100)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
COMPARED = 2_000

# Published for L3D: marks with 1, 2, ... codes; marks in the most common divisions, in percent; marks per year.
CODES_A_MARK = (197760, 160901, 144234, 93812, 64502, 43500, 27426, 16133, 9125, 5383, 3105, 1632, 1002, 521, 284)
DIVISIONS = {
    "27.05": 28.7, "29.01": 18.0, "26.04": 12.7, "27.99": 12.2, "26.11": 10.1, "25.05": 9.2, "26.01": 8.6, "27.03": 4.7,
    "24.17": 4.6, "01.15": 4.5, "02.01": 3.8, "25.01": 3.7, "26.07": 3.4, "02.09": 3.2, "26.03": 3.1, "25.07": 3.0,
    "27.01": 2.9, "05.03": 2.8, "26.99": 2.7, "01.01": 2.4,
}  # fmt: skip
TAIL_DIVISIONS = tuple(f"{category:02}.{division:02}" for category in range(1, 30) for division in range(1, 6))
TAIL_PERCENT = 170.0
"""The rest of the 319 codes of 100 marks."""
YEARS = {
    1996: 15138, 1997: 9518, 1998: 11407, 1999: 14474, 2000: 19188, 2001: 16172, 2002: 15613, 2003: 20852, 2004: 21569,
    2005: 21740, 2006: 24981, 2007: 28916, 2008: 28765, 2009: 29699, 2010: 33721, 2011: 35815, 2012: 10363, 2013: 39906,
    2014: 43488, 2015: 48747, 2016: 54603, 2017: 54576, 2018: 57575, 2019: 59824, 2020: 53123,
}  # fmt: skip
NO_TEXT = 0.099
SYLLABLES = {
    "Latin": "al be cor dan el fi gra hu in jo ka lo mi no ra sol ti vex",
    "Cyrillic": "ба во ди ка лю мор ра све ти ша",
    "Greek": "αλ βε γα δη κο λυ με πο ρα θε",
    "Han": "东 方 星 海 龙 金 山 新 美 宝",
    "Arabic": "نور با سا مي را دا لي تا",
}
SCRIPT_SHARES = (0.94, 0.02, 0.01, 0.02, 0.01)


def sample_catalog() -> Path:
    """Catalog folder of the sample logos, built if it does not exist."""
    root = DATA / "samples"
    build_catalog(open_source(SAMPLES), root, BuildOptions(threads=usable_cores()))
    return root


def register_is_made(count: int) -> bool:
    """Whether a register of this size exists."""
    return bool(Catalog(register_folder(count)).names())


def register_folder(count: int, precision: Precision = Precision.FLOAT32) -> Path:
    """Catalog folder of a register with `count` logos, which may not exist."""
    samples = read_manifest(Catalog(sample_catalog()).current())
    # Everything that determines the rows: another format, schema, model or sample set is another register.
    layouts = (FORMAT, POSTINGS_LAYOUT, PARTS_LAYOUT, WORDS_LAYOUT)
    made_of = (RECIPE, *layouts, SCHEMA, samples.logo_ids, samples.encoder.sha256, PREPROCESSING_VERSION)
    return DATA / f"register-{count}-{precision}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"


def register_catalog(
    count: int, precision: Precision = Precision.FLOAT32, report: Progress = lambda _stage, _done, _total: None
) -> Path:
    """Catalog folder of a register with `count` logos, the samples included, built if it does not exist."""
    root = register_folder(count, precision)
    if Catalog(root).names():
        return root
    root.mkdir(parents=True, exist_ok=True)
    work = root / WORK
    options = BuildOptions(threads=usable_cores(), precision=precision)
    with Catalog(root).locked(), resumable(work), SearchEngine.open(sample_catalog()) as samples:
        _write_table(work / TABLE, samples, count)
        source = open_source(work / TABLE, images=work / "no-images", names=NamesAsWritten)
        if not (work / RECORDS).exists():
            write_records(source, work / RECORDS, work / SOURCE_REJECTS, lambda done: report("rows read", done, count))
        _draw_shards(work / SHARDS, samples.logos.segments[0], count, report)
        encoder = Encoder.open(options.model, device="cpu", threads=1)
        inputs = hashlib.sha256(root.name.encode()).hexdigest()
        manifest = make_version(work, source.kind, source.images, encoder, None, inputs, options, report, facets=())
        publish(Catalog(root), work / VERSION, manifest, options.trial, None)
    shutil.rmtree(work)
    return root


def register_embeddings(count: int) -> Floats:
    """(count, d) float32: the embeddings of `register_catalog(count)`, without its catalog."""
    with SearchEngine.open(sample_catalog()) as samples:
        rows = np.arange(samples.manifest.count)
        stored = samples.base.index.vectors[samples.base.row_map.vector_of(rows)]
    embeddings = np.empty((count, stored.shape[1]), np.float32)
    for number, first, last in _shard_rows(count):
        real = stored[first:last]
        drawn, _ = grow(stored, last - first - len(real), np.random.default_rng((RECIPE, number)))
        embeddings[first:last] = np.concatenate((real, drawn))
    return embeddings


def _shard_rows(count: int) -> Iterator[tuple[int, int, int]]:
    """The number of each shard of a register, its first row and the row after its last one."""
    for number in range(shard_count(count)):
        yield number, number * SHARD_ROWS, min((number + 1) * SHARD_ROWS, count)


def _draw_shards(folder: Path, samples: Segment, count: int, report: Progress) -> None:
    """Write the shards of a register: first the samples, then logos around them."""
    folder.mkdir(exist_ok=True)
    stored = _stored(samples)
    for number, first, last in _shard_rows(count):
        if not (folder / f"{number:06}.npy").exists():
            real = _rows(stored, np.arange(first, min(last, len(stored.embeddings))))
            drawn = draw(stored, last - first - len(real.embeddings), np.random.default_rng((RECIPE, number)))
            write_shard(folder, number, _together(real, drawn), {})
        report("logos drawn", last, count)


def _stored(samples: Segment) -> Shard:
    """The samples as one shard."""
    vectors = samples.source.row_map.vector_of(np.arange(samples.manifest.count))
    parts = [samples.stored_parts(vector) for vector in vectors.tolist()]
    if samples.source.patches is None or samples.places is None or samples.digests is None:
        raise ValueError("the sample catalog was built without images")
    return Shard(
        samples.source.index.vectors[vectors],
        samples.source.patches[vectors],
        make_parts(
            np.array([len(one.boxes) for one in parts]),
            np.concatenate([one.embeddings for one in parts]),
            np.concatenate([one.boxes for one in parts]),
        ),
        samples.places[vectors],
        samples.digests[:],
    )


def draw(real: Shard, rows: int, random: np.random.Generator) -> Shard:
    """Synthetic logos around real ones."""
    if real.patches is None or real.parts is None or real.places is None:
        raise ValueError("the real logos have no patches, parts or places")
    embeddings, bases = grow(real.embeddings, rows, random)
    patches = _mixed_cells(real.patches, bases, random)
    of_bases = _rows(real, bases).parts
    if of_bases is None:
        raise ValueError("the real logos have no parts")
    part_embeddings, _ = grow(real.parts.embeddings, len(of_bases.boxes), random)
    digests = random.integers(256, size=(rows, DIGEST_BYTES), dtype=np.uint8)
    return Shard(
        embeddings,
        patches,
        ShardParts(of_bases.counts, part_embeddings, of_bases.boxes),
        real.places[bases],
        digests,
    )


def _rows(shard: Shard, rows: NDArray[np.int64]) -> Shard:
    """Some rows of a shard."""
    parts = shard.parts
    if parts is None or shard.patches is None or shard.places is None or shard.digests is None:
        raise ValueError("the shard is not complete")
    ends = np.cumsum(parts.counts, dtype=np.int64)
    counts = parts.counts[rows]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.repeat(ends[rows] - counts, counts) + within
    return Shard(
        shard.embeddings[rows],
        shard.patches[rows],
        ShardParts(counts, parts.embeddings[places], parts.boxes[places]),
        shard.places[rows],
        shard.digests[rows],
    )


def _together(first: Shard, second: Shard) -> Shard:
    """The rows of two complete shards."""
    if first.parts is None or second.parts is None:
        raise ValueError("the shards have no parts")

    def both(one: Any, other: Any) -> Any:  # noqa: ANN401 - arrays of the same kind
        return np.concatenate((one, other))

    return Shard(
        both(first.embeddings, second.embeddings),
        both(first.patches, second.patches),
        ShardParts(
            *(both(getattr(first.parts, one.name), getattr(second.parts, one.name)) for one in fields(ShardParts))
        ),
        both(first.places, second.places),
        both(first.digests, second.digests),
    )


def _write_table(path: Path, samples: SearchEngine, count: int) -> None:
    """A table of marks, the samples first."""
    if path.exists():
        return
    real = [logo.record for logo in samples.metadata.fetch(list(range(min(samples.manifest.count, count))))]
    with replacing(path) as file:
        for record in real:
            file.write(
                orjson.dumps({"logo_id": record.logo_id, "filename": record.filename, "text": record.text}) + b"\n"
            )
        for mark in _marks(len(real), count):
            file.write(orjson.dumps(mark) + b"\n")


def grow(real: Floats, rows: int, random: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """(rows, d) float32 unit vectors around real ones, and the row of the real vector b of each."""
    bases = random.integers(len(real), size=rows)
    near = random.random((rows, 1)) < NEAR_SHARE
    t = np.where(near, random.uniform(0, NEAR_REACH, (rows, 1)), random.beta(FAR_SHAPE, 1, (rows, 1)))
    others = real[random.integers(len(real), size=(rows, OTHERS))].sum(axis=1)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    made = np.sqrt(1 - t * t) * real[bases] + t * others
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32), bases


def _mixed_cells(real: Patches, bases: NDArray[np.int64], random: np.random.Generator) -> Patches:
    """Patches of the bases, with a third of the cells from another logo."""
    others = real[random.integers(len(real), size=len(bases))]
    return np.where(random.random((len(bases), real.shape[1], 1)) < 1 / 3, others, real[bases])


def _marks(first: int, count: int) -> Iterator[dict[str, JsonValue]]:
    """Synthetic metadata."""
    random = np.random.default_rng(RECIPE)
    divisions = (*DIVISIONS, *TAIL_DIVISIONS)
    tail = TAIL_PERCENT / len(TAIL_DIVISIONS)
    shares = np.array([*DIVISIONS.values(), *(tail for _ in TAIL_DIVISIONS)])
    numbers, years = np.array(CODES_A_MARK, float), np.array([*YEARS.values()], float)
    scripts = [syllables.split() for syllables in SYLLABLES.values()]
    for start in range(first, count, CHUNK):
        rows = min(CHUNK, count - start)
        codes = 1 + random.choice(len(numbers), size=rows, p=numbers / numbers.sum())
        division = random.choice(len(divisions), size=(rows, len(numbers)), p=shares / shares.sum())
        section = random.integers(1, 26, size=division.shape)
        year = random.choice([*YEARS], size=rows, p=years / years.sum())
        script = random.choice(len(scripts), size=rows, p=SCRIPT_SHARES)
        syllable = random.integers(1_000, size=(rows, 4))
        silent = random.random(rows) < NO_TEXT
        for row in range(rows):
            parts = scripts[script[row]]
            word = "".join(parts[number % len(parts)] for number in syllable[row, : 2 + syllable[row, 3] % 3])
            yield {
                "logo_id": f"SYNTHETIC-{start + row:07}",
                "filename": f"synthetic/{start + row:07}.jpg",
                "text": None if silent[row] else word.capitalize(),
                "vienna_codes": [f"{divisions[division[row, n]]}.{section[row, n]:02}" for n in range(codes[row])],
                "year": int(year[row]),
            }


def check(catalogs: Path) -> dict[str, object]:
    """Compare the neighbours of a real catalog with those of a twentieth of it, grown by the recipe."""
    with SearchEngine.open(catalogs) as engine:
        name, real = engine.version, np.array(engine.base.index.vectors)
    random = np.random.default_rng(0)
    few = real[random.permutation(len(real))[: len(real) // GROWTH]]
    synthetic = np.concatenate((few, grow(few, len(real) - len(few), random)[0]))
    synthetic = synthetic[random.permutation(len(real))]
    both = {"real": real[random.permutation(len(real))], "synthetic": synthetic}
    figures: dict[str, object] = {"catalog": name, "logos": len(real), "grown_from": len(few)}
    quantiles = {}
    for kind, vectors in both.items():
        queries = np.ascontiguousarray(vectors[-COMPARED:])
        cosines, _ = faiss.knn(queries, vectors, max(RANKS) + 1, metric=faiss.METRIC_INNER_PRODUCT)
        quantiles[kind] = np.quantile(cosines[:, list(RANKS)], QUANTILES, axis=0).T  # rank 0 is the query itself
        figures[f"cosines_{kind}"] = {
            str(rank): [round(float(value), 3) for value in row]
            for rank, row in zip(RANKS, quantiles[kind], strict=True)
        }
        curve = build_hnsw(vectors, DATA / "check.faiss", m=32, ef_construction=200, threads=2, probe=Probe())
        figures[f"recall_{kind}"] = {str(point.ef_search): round(point.value, 4) for point in curve}
    (DATA / "check.faiss").unlink()
    figures["mean_difference_of_cosines"] = round(float(np.abs(quantiles["real"] - quantiles["synthetic"]).mean()), 4)
    return write_result("register_neighbours", {"quantiles": QUANTILES, **figures})


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, help="number of logos")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.FLOAT32)
    parser.add_argument("--check", type=Path, metavar="CATALOGS", help="check the recipe against this catalog instead")
    arguments = parser.parse_args()
    if arguments.check:
        print(json.dumps(check(arguments.check), indent=2))
    elif arguments.count:
        with progress(Console(stderr=True)) as report:
            print(register_catalog(arguments.count, arguments.precision, report))
    else:
        parser.error("give the number of logos, or --check CATALOGS")


if __name__ == "__main__":
    main()
