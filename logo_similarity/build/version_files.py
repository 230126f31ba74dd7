"""The files of a version, all but its manifest: written from the shards that the stages before have left."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from logo_similarity.build.embeddings import read_outcomes
from logo_similarity.build.halves import write_halves
from logo_similarity.build.loading import Loading
from logo_similarity.build.options import BuildOptions, Progress
from logo_similarity.build.parts import write_part_index, write_parts
from logo_similarity.build.records import count_lines, reject_line, reject_of
from logo_similarity.build.shards import load_shard, shard_count
from logo_similarity.build.texts import load_texts
from logo_similarity.build.words import WordsWriter
from logo_similarity.build.work import RECORDS, SHARDS, SOURCE_REJECTS, TEXTS, VERSION
from logo_similarity.catalog.files import create_array, replacing, sync_file
from logo_similarity.catalog.manifest import (
    DAMAGED,
    EMBEDDINGS,
    IMAGE_DIGESTS,
    INDEX,
    METADATA,
    MODEL_FOLDER,
    PATCHES,
    PLACES,
    REJECTED,
    ROW_VECTORS,
    VECTOR_OFFSETS,
    VECTOR_ROWS,
    WORDS,
    CurvePoint,
    EncoderEntry,
    IndexEntry,
    Manifest,
    RecallEntry,
    SourceEntry,
)
from logo_similarity.catalog.metadata import write_metadata
from logo_similarity.catalog.postings import PostingsWriter
from logo_similarity.catalog.publish import copy_model, digest_files
from logo_similarity.catalog.updates import UPDATES, UpdateRow, read_files, read_updates, record_row, write_updates
from logo_similarity.embed.describe import Floats
from logo_similarity.errors import BuildError
from logo_similarity.facets import EXTRA
from logo_similarity.fields import Record
from logo_similarity.milvus.verify import sample_file, write_sample
from logo_similarity.opening import Digests
from logo_similarity.precision import Precision
from logo_similarity.search.build import EF_SEARCHES, IndexRecall, Probe, build_hnsw, choose_ef_search
from logo_similarity.search.halves import rounded
from logo_similarity.search.nibbles import packed
from logo_similarity.search.rows import GroupedMap, Numbers
from logo_similarity.version import __version__

VECTORS = "vectors.npy"
RECALL = "recall.json"
_M = TypeVar("_M", bound=Manifest)


def write_files(
    manifest: type[_M],
    work: Path,
    kind: str,
    vector_of: Numbers,
    dimension: int,
    encoder: EncoderEntry,
    facets: Sequence[str],
    inputs: str,
    options: BuildOptions,
    progress: Progress,
    *,
    model: Path | None = None,
) -> _M:
    """Write everything but the manifest into `work / VERSION`, and return the manifest.

    Args:
        manifest: the kind of manifest.
        work: has the records and rejects of the source, and their shards.
        kind: the kind of the source.
        vector_of: (rows,) int32: the vector of each row.
        dimension: of the embeddings.
        encoder: computed them.
        facets: names in `Record.extra`.
        inputs: digest of all inputs.
        options: of the build.
        progress: see `Progress`.
        model: folder of the encoder that becomes part of the files; None: it does not.

    Raises:
        BuildError: the index is below a floor, or a file cannot be written.
    """
    version, total = work / VERSION, count_lines(work / RECORDS)
    facet_fields = tuple(EXTRA + name for name in facets)
    _write_arrays(work, version, work if options.in_collections else version, total, vector_of, options.precision)
    logo_ids, fields = _write_rows(work, version, total, facet_fields)
    loading = _loading(work, encoder, inputs, (*fields, *facet_fields), options)
    _write_updates(work, version, total)
    vectors: Floats = np.load(work / VECTORS, mmap_mode="r", allow_pickle=False)
    if loading is None:
        curve = _write_index(vectors, work, version, options, progress)
        recall = _check_recall(curve, options, progress)
        index = IndexEntry(
            precision=options.precision,
            m=options.m,
            ef_construction=options.ef_construction,
            ef_search=recall.ef_search,
        )
    else:
        write_sample(version / sample_file(is_parts=False), vectors)
        index, curve = loading.load_images(
            vectors,
            vector_of,
            total,
            _probe(options),
            lambda point: point.value >= options.recall_target and point.self_found >= options.self_floor,
            lambda done: progress("images loaded", done, len(vectors)),
        )
        recall = _check_recall(curve, options, progress)
        index = index.model_copy(update={"ef_search": recall.ef_search})

    def index_parts(embeddings: Floats) -> IndexEntry:
        def on_parts(done: int) -> None:
            progress("parts indexed", done, len(embeddings))

        if loading is not None:
            write_sample(version / sample_file(is_parts=True), embeddings)
            return loading.load_parts(embeddings, options.recall_queries, on_parts)
        return write_part_index(
            embeddings, version, options.threads, options.precision, options.recall_queries, on_parts
        )

    parts = write_parts(
        work / SHARDS, shard_count(total), vector_of, dimension, work, version, options.precision, index_parts
    )
    if model is not None:
        copy_model(model, version / MODEL_FOLDER)
    rejected = count_lines(version / REJECTED)
    progress("computing digests", 0, None)
    return manifest(
        software=__version__,
        created=dt.datetime.now(dt.UTC).replace(microsecond=0),
        inputs=inputs,
        count=len(vector_of),
        distinct_images=len(vectors),
        logo_ids=logo_ids,
        dimension=dimension,
        fields=fields,
        facets=tuple(facets),
        encoder=encoder,
        index=index,
        recall=RecallEntry(
            k=recall.k,
            queries=recall.queries,
            value=recall.value,
            floor=options.recall_floor,
            self_found=recall.self_found,
            curve=tuple(CurvePoint(ef_search=point.ef_search, value=point.value) for point in curve),
        ),
        parts=parts,
        source=SourceEntry(
            kind=kind,
            read=len(vector_of) + rejected,
            indexed=len(vector_of),
            rejected=rejected,
            damaged=count_lines(version / DAMAGED),
        ),
        files=digest_files(version),
    )


def _loading(
    work: Path, encoder: EncoderEntry, inputs: str, filter_fields: tuple[str, ...], options: BuildOptions
) -> Loading | None:
    """The load of the index into collections; None: it is written to files."""
    server = options.collections_server()
    if server is None:
        return None
    return Loading(
        server=server,
        work=work,
        records=work / RECORDS,
        shards=work / SHARDS,
        filter_fields=filter_fields,
        encoder=encoder.sha256,
        inputs=inputs,
        m=options.m,
        ef_construction=options.ef_construction,
        threads=options.threads,
    )


def _write_arrays(
    work: Path, version: Path, patches: Path, total: int, vector_of: Numbers, precision: Precision
) -> None:
    """Write the embeddings, patches and places of the images, each once: identical images are written to one place.

    Args:
        work: contains the shards; the embeddings are written to it.
        version: folder to write the other arrays to.
        patches: folder to write the patches to.
        total: number of records.
        vector_of: (rows,) int32: the vector of each row.
        precision: of the catalog.
    """
    distinct = int(vector_of.max()) + 1
    if distinct < len(vector_of):
        _write_row_map(version, GroupedMap.of(vector_of))
    arrays: dict[Path, np.memmap[Any, np.dtype[Any]]] = {}
    row = 0
    digests: list[Digests] = []
    for number in range(shard_count(total)):
        shard = load_shard(work / SHARDS, number)
        if shard.digests is not None:
            digests.append(shard.digests)
        vectors = vector_of[row : row + len(shard.embeddings)]
        row += len(vectors)
        described = {
            work / VECTORS: rounded(shard.embeddings, precision),
            patches / PATCHES: None if shard.patches is None else packed(shard.patches, precision),
            version / PLACES: shard.places,
        }
        for path, array in described.items():
            if array is not None and len(array):
                if path not in arrays:
                    arrays[path] = create_array(path, array.dtype.type, (distinct, *array.shape[1:]))
                arrays[path][vectors] = array
    for path, written in arrays.items():
        written.flush()
        sync_file(path)
    if digests:
        with replacing(version / IMAGE_DIGESTS) as file:
            np.save(file, np.concatenate(digests), allow_pickle=False)


def _write_rows(work: Path, version: Path, total: int, facets: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Write the metadata and posting lists of the logos, all rejects, and the logos whose image is damaged.

    Returns:
        The digest of the ids in order, and the names of the fields that occur.
    """
    logo_ids = hashlib.sha256()
    postings = PostingsWriter(facets)
    words = WordsWriter()
    with replacing(version / REJECTED) as rejected, replacing(version / DAMAGED) as damaged:
        rejected.write((work / SOURCE_REJECTS).read_bytes())

        def rows() -> Iterator[Record]:
            for number, outcome in enumerate(read_outcomes(work / SHARDS, total, work / RECORDS)):
                texts = load_texts(work / TEXTS, number)
                rejected.writelines(reject_line(reject_of(*one)) for one in outcome.unread)
                damaged.writelines(map(reject_line, outcome.damaged))
                for record in outcome.indexed:
                    logo_ids.update(record.logo_id.encode() + b"\n")
                    postings.add(record)
                    words.add(record, texts.get(record.logo_id))
                    yield record

        (version / METADATA).unlink(missing_ok=True)
        fields = write_metadata(version / METADATA, rows())
    sync_file(version / METADATA)
    postings.write(version, (*fields, *facets))
    words.write(version / WORDS)
    return logo_ids.hexdigest(), fields


def _write_updates(work: Path, version: Path, total: int) -> None:
    """Write what a later import needs to know, if the source is one that is updated."""
    if not (work / UPDATES).exists():
        return

    def rows() -> Iterator[UpdateRow]:
        known: set[str] = set()
        for row in read_updates(work / UPDATES):
            known.add(row.logo_id)
            yield row
        for outcome in read_outcomes(work / SHARDS, total, work / RECORDS):
            yield from (record_row(record) for record, _ in outcome.unread if record.logo_id not in known)

    write_updates(version / UPDATES, rows(), read_files(work / UPDATES).items())


def _write_row_map(version: Path, row_map: GroupedMap) -> None:
    arrays = {VECTOR_OFFSETS: row_map.offsets, VECTOR_ROWS: row_map.rows, ROW_VECTORS: row_map.vectors}
    for name, array in arrays.items():
        with replacing(version / name) as file:
            np.save(file, array, allow_pickle=False)


def _write_index(
    vectors: Floats, work: Path, version: Path, options: BuildOptions, progress: Progress
) -> tuple[IndexRecall, ...]:
    """Build the index unless it exists. Returns its recall at each breadth of search."""
    partial = version / (INDEX + ".partial")
    if (version / INDEX).exists():
        return tuple(IndexRecall(**point) for point in json.loads((work / RECALL).read_bytes()))
    curve = build_hnsw(
        vectors,
        partial,
        m=options.m,
        ef_construction=options.ef_construction,
        threads=options.threads,
        probe=_probe(options),
        precision=options.precision,
        halves=write_halves(vectors, version / EMBEDDINGS) if options.precision is Precision.INT8 else None,
        on_rows=lambda done: progress("images indexed", done, len(vectors)),
    )
    with replacing(work / RECALL) as file:
        file.write(json.dumps([asdict(point) for point in curve]).encode())
    sync_file(partial)
    partial.replace(version / INDEX)
    return curve


def _probe(options: BuildOptions) -> Probe:
    breadths = EF_SEARCHES if options.ef_search is None else (options.ef_search,)
    return Probe(options.recall_k, options.recall_queries, breadths)


def _check_recall(curve: Sequence[IndexRecall], options: BuildOptions, progress: Progress) -> IndexRecall:
    progress("checking recall", 0, None)
    recall = choose_ef_search(curve, options.recall_target, options.self_floor)
    if recall.value < options.recall_floor:
        raise BuildError(
            f"not published: the recall of the index is {recall.value:.1%}, less than the floor of "
            f"{options.recall_floor:.1%}; build again with a larger --ef-search (now {recall.ef_search}), --m or "
            "--ef-construction, or with a lower --recall-floor"
        )
    if recall.self_found < options.self_floor:
        raise BuildError(
            f"not published: a search for an indexed image finds it in {recall.self_found:.1%} of the cases, less than "
            f"the floor of {options.self_floor:.1%}; build again with a larger --ef-search (now {recall.ef_search}), "
            "--m or --ef-construction, or with a lower --self-floor"
        )
    return recall
