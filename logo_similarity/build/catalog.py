"""The build: from a source to a live catalog version.

A build works in `.build-<digest of its inputs>` inside the catalog folder. Each stage writes a file that is renamed
into place when it is complete, and a later run with the same inputs resumes after the last complete stage. The version
becomes visible when its manifest is written and its folder renamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from logo_similarity.build.embeddings import LocalEmbedder, embed_records, read_outcomes
from logo_similarity.build.identical import number_vectors
from logo_similarity.build.inputs import digest_inputs
from logo_similarity.build.options import BuildOptions, Progress
from logo_similarity.build.parts import PARTS_LAYOUT
from logo_similarity.build.precomputed import PrecomputedEmbeddings
from logo_similarity.build.ray_cluster import RayEmbedder
from logo_similarity.build.records import count_lines, reject_of, write_records
from logo_similarity.build.rejections import Rejections, read_rejects
from logo_similarity.build.reuse import KnownImages, StoredImages
from logo_similarity.build.shards import SHARD_ROWS, shard_count
from logo_similarity.build.texts import read_texts
from logo_similarity.build.version_files import write_files
from logo_similarity.build.work import RECORDS, SHARDS, SOURCE_REJECTS, TEXTS, VERSION, resumable
from logo_similarity.catalog.manifest import FORMAT, EncoderEntry, Manifest, read_manifest
from logo_similarity.catalog.postings import POSTINGS_LAYOUT
from logo_similarity.catalog.publish import publish
from logo_similarity.catalog.signature import sign
from logo_similarity.catalog.sources import Source
from logo_similarity.catalog.versions import WORK_PREFIX, Catalog
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import MODEL_JSON
from logo_similarity.embed.text import reader_version
from logo_similarity.errors import BuildError, CatalogError
from logo_similarity.image.files import ImageFiles
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.milvus.collections import point_aliases
from logo_similarity.precision import Precision
from logo_similarity.search.word_file import WORDS_LAYOUT


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The version that is live after a build."""

    folder: Path
    manifest: Manifest
    reused: bool
    """Whether the version existed before, built from the same inputs."""
    returned: bool
    """Whether another version was live before a version that existed became live."""


def build_catalog(
    source: Source, root: Path, options: BuildOptions, progress: Progress = lambda _stage, _done, _total: None
) -> BuildResult:
    """Build a catalog version from `source` in the folder `root`, and make it live.

    If a version of the same inputs exists, it is made live instead. An interrupted build resumes when it is run again,
    and produces the same content. An image that the live version has, byte for byte, is not embedded again.

    Raises:
        SourceError: the source cannot be read.
        EncoderError: the model cannot be used.
        BuildError: no logo could be indexed, the index is below `recall_floor` or `self_floor`, or the server of the
            collections is not known.
        IndexUnavailableError, ConfigError: it does not answer, or refuses the token.
        InvalidRequestError: words are to be read, but RapidOCR is not installed.
        CatalogError: another build runs in `root`, or the version failed its trial.
    """
    if (server := options.collections_server()) is not None:
        server.version()  # before hours of work
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
        *options.index_inputs(),
        *((options.precision.value,) if options.precision is not Precision.FLOAT32 else ()),
    )
    folder = Catalog(root)
    work = root / f"{WORK_PREFIX}{inputs[:16]}-{SHARD_ROWS}"  # a build with shards of another size cannot be resumed
    with folder.locked():
        version = find_version(folder, inputs, options)
        returned = False
        if reused := version is not None:
            returned = _live_name(folder) not in (None, version[0].name)
            folder.flip(version[0].name)
        else:
            with resumable(work):
                known = None if precomputed is not None else _known_images(folder, encoder, options, progress)
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
        return BuildResult(*version, reused=reused, returned=returned)


def _live_name(folder: Catalog) -> str | None:
    """The live version; None: no version is live, or CURRENT cannot be read."""
    try:
        return folder.current().name
    except CatalogError:
        return None


def _known_images(folder: Catalog, encoder: Encoder, options: BuildOptions, progress: Progress) -> KnownImages | None:
    """The images of the live version; None: no version is live, or its embeddings cannot be used again.

    A build in float32 does not use what a version in another precision has rounded.
    """
    try:
        version = folder.current()
        manifest = read_manifest(version)
    except CatalogError:
        return None
    if options.server is None and not manifest.index.is_file:
        return None
    if options.precision is Precision.FLOAT32 is not manifest.index.precision:
        return None
    progress("verifying the live version", 0, None)
    return KnownImages.open(version, encoder, options.server)


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
