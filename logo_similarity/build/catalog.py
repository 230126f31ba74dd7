"""The build: from a source to a live catalog version.

A build works in `.build-<digest of its inputs>` inside the catalog folder. Each stage writes a file that is renamed
into place when it is complete, and a later run with the same inputs resumes after the last complete stage. The version
becomes visible when its manifest is written and its folder renamed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.build.embeddings import LocalEmbedder, embed_records, read_outcomes
from logo_similarity.build.halves import write_halves
from logo_similarity.build.identical import number_vectors
from logo_similarity.build.inputs import digest_inputs
from logo_similarity.build.loading import Loading
from logo_similarity.build.parts import PARTS_LAYOUT, write_part_index, write_parts
from logo_similarity.build.precomputed import PrecomputedEmbeddings
from logo_similarity.build.ray_cluster import RayCluster, RayEmbedder
from logo_similarity.build.records import count_lines, reject_line, reject_of, write_records
from logo_similarity.build.rejections import Rejections, read_rejects
from logo_similarity.build.reuse import KnownImages, StoredImages
from logo_similarity.build.shards import SHARD_ROWS, load_shard, shard_count
from logo_similarity.build.texts import load_texts, read_texts
from logo_similarity.build.words import WordsWriter
from logo_similarity.catalog.files import create_array, replacing, sync_file
from logo_similarity.catalog.manifest import (
    DAMAGED,
    EMBEDDINGS,
    FORMAT,
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
    read_manifest,
)
from logo_similarity.catalog.metadata import write_metadata
from logo_similarity.catalog.postings import POSTINGS_LAYOUT, PostingsWriter
from logo_similarity.catalog.publish import copy_model, digest_files, publish
from logo_similarity.catalog.signature import sign
from logo_similarity.catalog.sources import Source
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.updates import UPDATES, UpdateRow, read_files, read_updates, record_row, write_updates
from logo_similarity.catalog.versions import WORK_PREFIX, Catalog, TryVersion
from logo_similarity.embed.describe import Floats
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import MODEL_JSON, default_model_folder
from logo_similarity.embed.text import reader_version
from logo_similarity.errors import BuildError, CatalogError
from logo_similarity.facets import EXTRA
from logo_similarity.fields import Record
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import ImageFiles
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.milvus.collections import COLLECTIONS_LAYOUT, point_aliases
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.milvus.verify import sample_file, write_sample
from logo_similarity.opening import Digests
from logo_similarity.precision import Precision
from logo_similarity.search.build import EF_SEARCHES, IndexRecall, Probe, build_hnsw, choose_ef_search
from logo_similarity.search.halves import rounded
from logo_similarity.search.rows import GroupedMap, Numbers
from logo_similarity.search.word_file import WORDS_LAYOUT
from logo_similarity.version import __version__

Progress = Callable[[str, int, int | None], None]
"""Called with the stage, the work done, and the total (None while it is unknown)."""

RECORDS = "records.jsonl"
SOURCE_REJECTS = "source-rejects.jsonl"
SHARDS = "shards"
TEXTS = "texts"
VECTORS = "vectors.npy"
VERSION = "version"
RECALL = "recall.json"
_M = TypeVar("_M", bound=Manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Options of a build."""

    model: Path = field(default_factory=default_model_folder)
    embeddings: Path | None = None
    """Folder of precomputed embeddings by this model; None: they are computed from the images."""
    read_words: bool = False
    """Whether the words in the images of logos without text are read."""
    in_collections: bool = False
    """Whether the index is in collections of the server, and not in files."""
    server: IndexServer | None = None
    """The Milvus server; None: there is none."""
    precision: Precision = Precision.FLOAT32
    """How embeddings are stored."""
    m: int = 32
    ef_construction: int = 200
    ef_search: int | None = None
    """Breadth of the graph search for a query; None: the smallest of `EF_SEARCHES` that reaches `recall_target` and
    `self_floor`."""
    recall_target: float = 0.99
    recall_floor: float = 0.95
    self_floor: float = 0.99
    """Smallest share of the indexed images that a search for them must find."""
    recall_queries: int = 500
    recall_k: int = 100
    threads: int = 1
    device: str = "auto"
    cluster: RayCluster | None = None
    """Where images are embedded; None: in this process."""
    limits: ImageLimits = field(default_factory=ImageLimits)
    trial: TryVersion = field(default_factory=Trial)
    """The trial that the version must pass before it becomes live."""
    signing_key: Ed25519PrivateKey | None = None
    """Signs the version; None: the version is not signed."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The version that is live after a build."""

    folder: Path
    manifest: Manifest
    reused: bool
    """Whether the version existed before, built from the same inputs."""


def build_catalog(
    source: Source, root: Path, options: BuildOptions, progress: Progress = lambda _stage, _done, _total: None
) -> BuildResult:
    """Build a catalog version from `source` in the folder `root`, and make it live.

    If a version of the same inputs exists, it is made live instead. An interrupted build resumes when it is run again,
    and produces the same content. An image that the live version has, byte for byte, is not embedded again.

    Raises:
        SourceError: the source cannot be read.
        EncoderError: the model cannot be used.
        BuildError: no logo could be indexed, or the index is below `recall_floor` or `self_floor`.
        InvalidRequestError: words are to be read, but RapidOCR is not installed.
        CatalogError: another build runs in `root`, or the version failed its trial.
    """
    encoder = Encoder.open(options.model, device=options.device, threads=1)
    precomputed = PrecomputedEmbeddings.open(options.embeddings, encoder) if options.embeddings else None
    inputs = digest_inputs(
        source,
        (FORMAT, POSTINGS_LAYOUT, PARTS_LAYOUT, WORDS_LAYOUT),
        encoder.model.sha256,
        (options.model / MODEL_JSON).read_text(encoding="utf8"),
        PREPROCESSING_VERSION,
        options.limits,
        (options.m, options.ef_construction, options.ef_search, options.recall_target),
        *(() if precomputed is None else precomputed.digests()),
        *((reader_version(),) if options.read_words else ()),
        *(
            ("milvus", COLLECTIONS_LAYOUT, options.server.kind)
            if options.in_collections and options.server is not None
            else ()
        ),
        *((options.precision.value,) if options.precision is not Precision.FLOAT32 else ()),
    )
    folder = Catalog(root)
    work = root / f"{WORK_PREFIX}{inputs[:16]}-{SHARD_ROWS}"  # a build with shards of another size cannot be resumed
    with folder.locked():
        version = find_version(folder, inputs, options)
        if reused := version is not None:
            folder.flip(version[0].name)
        else:
            with resumable(work):
                known = None if precomputed is not None else _known_images(folder, encoder, options.server, progress)
                if not (work / RECORDS).exists():
                    write_records(
                        source, work / RECORDS, work / SOURCE_REJECTS, lambda done: progress("rows read", done, None)
                    )
                manifest = make_version(
                    work,
                    source.kind,
                    source.images,
                    encoder,
                    precomputed or known,
                    inputs,
                    options,
                    progress,
                    facets=source.description().facets,
                )
                version = publish(folder, work / VERSION, manifest, options.trial, options.signing_key), manifest
        point_aliases(options.server, version[1])
        shutil.rmtree(work, ignore_errors=True)
        return BuildResult(*version, reused=reused)


@contextmanager
def resumable(work: Path, unless: str = "") -> Iterator[None]:
    """Create the folder of a build. An error that ends the build, or Ctrl+C, says that the folder is left and why.

    `unless`: when the build cannot be resumed, as " unless ...".
    """
    work.mkdir(exist_ok=True)
    try:
        yield
    except BaseException as error:
        error.add_note(
            f"what is done so far is kept in {work}: the same command resumes there{unless}; delete it to start over"
        )
        raise


def _known_images(
    folder: Catalog, encoder: Encoder, server: IndexServer | None, progress: Progress
) -> KnownImages | None:
    """The images of the live version; None: no version is live, or its embeddings cannot be used again."""
    try:
        version = folder.current()
    except CatalogError:
        return None
    progress("verifying the live version", 0, None)
    return KnownImages.open(version, encoder, server)


def find_version(folder: Catalog, inputs: str, options: BuildOptions) -> tuple[Path, Manifest] | None:
    """The newest version of the same inputs that reaches the floors and passes its trial."""
    for name in reversed(folder.names()):
        version = folder.root / name
        try:
            manifest = read_manifest(version)
            recall = manifest.recall
            reaches_floors = recall.value >= options.recall_floor and recall.self_found >= options.self_floor
            if manifest.inputs == inputs and reaches_floors:
                if options.signing_key is not None:
                    sign(version, name, options.signing_key)
                folder.admit(version, options.trial)
                return version, manifest
        except CatalogError:
            continue  # a damaged version must not prevent the build of a good one
    return None


def like_live(options: BuildOptions, live: Path, manifest: Manifest) -> BuildOptions:
    """The options of a build with the encoder and the kind of index of the live version."""
    index = manifest.index
    return replace(
        options,
        model=live / MODEL_FOLDER,
        precision=index.precision,
        m=index.m,
        ef_construction=index.ef_construction,
        embeddings=None,
        in_collections=not index.is_file,
    )


def make_version(
    work: Path,
    kind: str,
    images: ImageFiles,
    encoder: Encoder,
    computed: PrecomputedEmbeddings | StoredImages | None,
    inputs: str,
    options: BuildOptions,
    progress: Progress,
    *,
    facets: Sequence[str],
) -> Manifest:
    """Write everything but the manifest into `work / VERSION`, and return the manifest.

    Args:
        work: has the records and rejects of the source.
        kind: the kind of the source.
        images: the images that the records name.
        encoder: embeds the images.
        computed: has the embeddings of all images, or those of an earlier version; None: there are none.
        inputs: digest of all inputs.
        options: of the build.
        progress: see `Progress`.
        facets: names in `Record.extra`.

    Raises:
        BuildError, InvalidRequestError: as `build_catalog`.
    """
    records, version = work / RECORDS, work / VERSION
    version.mkdir(exist_ok=True)
    total = count_lines(records)

    def on_rows(done: int) -> None:
        progress("logos embedded", done, total)

    if not isinstance(computed, PrecomputedEmbeddings):
        embedder = (
            LocalEmbedder(images, encoder, threads=options.threads, limits=options.limits, known=computed)
            if options.cluster is None
            else RayEmbedder(options.cluster, images, options.model, limits=options.limits, known=computed)
        )
        with embedder:
            embed_records(records, total, work / SHARDS, encoder.dimension, embedder, on_rows)
    else:
        computed.check(records, images, encoder, options.limits)
        computed.write_shards(records, total, work / SHARDS, on_rows)
    if options.read_words:
        read_texts(
            records,
            total,
            images,
            work / TEXTS,
            threads=options.threads,
            limits=options.limits,
            on_rows=lambda done: progress("images read", done, total),
        )
    progress("finding identical images", 0, None)
    vector_of = number_vectors(work / SHARDS, shard_count(total), options.precision)
    if not len(vector_of):
        raise BuildError(_explain_rejects(work, images, total))
    entry = EncoderEntry(id=encoder.model.id, sha256=encoder.model.sha256, preprocessing=PREPROCESSING_VERSION)
    return write_files(
        Manifest,
        work,
        kind,
        vector_of,
        encoder.dimension,
        entry,
        facets,
        inputs,
        options,
        progress,
        model=options.model,
    )


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
    if not options.in_collections:
        return None
    if options.server is None:
        raise BuildError("the index is to be on a Milvus server, but LOGO_INDEX_URL is not set; set it to its address")
    if options.precision is not Precision.FLOAT32:
        raise BuildError("a precision applies to an index in files; choose that of a collection with LOGO_INDEX_KIND")
    return Loading(
        server=options.server,
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
            patches / PATCHES: shard.patches,
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


def _explain_rejects(work: Path, images: ImageFiles, total: int) -> str:
    """The message of a build whose rows are all rejected."""
    rejections = Rejections(read_rejects(work / SOURCE_REJECTS))
    for outcome in read_outcomes(work / SHARDS, total, work / RECORDS):
        for one in outcome.unread:
            rejections.add(reject_of(*one))
    if not rejections.count:
        return "no logo could be indexed: the source has no rows"
    rows = "row was" if rejections.count == 1 else "rows were"
    lines = [f"no logo could be indexed: {rejections.count:,} {rows} rejected", *rejections.lines()]
    remedy = rejections.remedy(images)
    return "\n  ".join([*lines, *([remedy] if remedy else [])])


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
