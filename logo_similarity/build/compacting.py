"""Compaction: the changes of the overlay are folded into a new version. Nothing is embedded again.

The changes leave the overlay only when the version that contains them is live. A compaction that is killed has no effect,
or is complete but for that, and the next one ends it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from logo_similarity.build.base import BaseVersion
from logo_similarity.build.catalog import find_version, make_version
from logo_similarity.build.changing import ReadImage
from logo_similarity.build.known import KnownWriter, version_rows
from logo_similarity.build.merging import MergedLogo, merge_logos
from logo_similarity.build.options import BuildOptions, Progress, like_live
from logo_similarity.build.overlay_images import OverlayImages
from logo_similarity.build.records import MERGING, write_merged
from logo_similarity.build.reuse import KnownImages, StoredImages
from logo_similarity.build.shards import StoredImage
from logo_similarity.build.work import RECORDS, SOURCE_REJECTS, TEXTS, VERSION, resumable
from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.live_folder import LOCK, locked
from logo_similarity.catalog.manifest import MODEL_FOLDER, Manifest, read_manifest, version_name
from logo_similarity.catalog.overlay import Overlay
from logo_similarity.catalog.publish import publish
from logo_similarity.catalog.updates import UPDATES, read_files
from logo_similarity.catalog.versions import WORK_PREFIX, Catalog
from logo_similarity.domain import Reject
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError, NotFoundError, StoreError
from logo_similarity.image.files import open_images
from logo_similarity.milvus.collections import point_aliases

KIND = "compact"
IMAGES = "images"


@dataclass(frozen=True, slots=True)
class CompactResult:
    """The version that is live after a compaction."""

    folder: Path
    manifest: Manifest
    changes: int
    """Number of changes that are now in it and no longer in the overlay; 0: there were none."""


def compact(
    root: Path,
    options: BuildOptions,
    read: ReadImage | None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> CompactResult:
    """Fold the changes into a new version of the catalog in the folder `root`, and make it live.

    Changes that are made in the meantime stay in the overlay.

    Args:
        root: folder of the catalog.
        options: of the build; the encoder and the parameters of the index are those of the live version.
        read: reads images that another encoder than that of the live version described; None: they cannot be read.
        progress: see `build.options.Progress`.

    Raises:
        BuildError: no logo would remain, or the index is below the floors.
        CatalogError: no version is live, its embeddings cannot be used again, another build runs, or the new version
            failed its trial.
    """
    folder = Catalog(root)
    with folder.locked():
        live = folder.current()
        manifest = read_manifest(live)
        overlay = Overlay.open_existing(root)
        if overlay is None:
            return CompactResult(live, manifest, 0)
        with closing(overlay):
            start, last = overlay.start(live.name), overlay.last()
            if start > overlay.dropped():  # an earlier compaction was killed before it dropped them
                _drop(root, overlay, start)
            if last <= start:
                return CompactResult(live, manifest, 0)
            options = like_live(options, live, manifest)
            parameters = (KIND, live.name, overlay.id, last, *options.index_inputs())
            inputs = hashlib.sha256(repr(parameters).encode()).hexdigest()
            if (found := find_version(folder, inputs, options)) is not None:  # one was killed before the flip
                folder.flip(found[0].name)
                point_aliases(options.server, found[1])
                return CompactResult(*found, _drop(root, overlay, last))
            made = _fold(folder, live, overlay, last, inputs, options, read, progress)
            return CompactResult(*made, _drop(root, overlay, last))


def _drop(root: Path, overlay: Overlay, last: int) -> int:
    """Drop the changes that the live version contains. Returns their number."""
    with locked(root, LOCK, waiting=True):  # a service may be writing them into segments for the former version
        return overlay.drop(last)


def _fold(
    folder: Catalog,
    live: Path,
    overlay: Overlay,
    last: int,
    inputs: str,
    options: BuildOptions,
    read: ReadImage | None,
    progress: Progress,
) -> tuple[Path, Manifest]:
    """Make and publish the version with the changes up to `last`."""
    work = folder.root / f"{WORK_PREFIX}{inputs[:16]}-{KIND}"
    for other in folder.root.glob(f"{WORK_PREFIX}*-{KIND}"):
        if other != work:  # from a killed compaction of fewer changes
            shutil.rmtree(other)
    encoder = Encoder.open(live / MODEL_FOLDER, device=options.device, threads=1)
    progress("verifying the live version", 0, None)
    known = KnownImages.open(live, encoder, options.server)
    if known is None:
        raise CatalogError(
            f"{live}: its embeddings cannot be used again, because it is damaged or was built from embeddings alone or by "
            "another version of this software; build it again, and compact then"
        )
    base, images = BaseVersion.open(live, encoder, options.server), OverlayImages(overlay, encoder)
    with resumable(work, unless=" unless more changes are made"):
        with closing(base.metadata):
            if not (work / RECORDS).exists():
                progress("merging changes", 0, None)
                _write_records(work, base, overlay, images, last, read, options.limits.max_bytes)
        kind, facets = base.manifest.source.kind, base.manifest.facets
        both = _Either(known, images)
        staged = open_images(work / IMAGES)
        made = make_version(work, kind, staged, encoder, both, inputs, options, progress, facets=facets)
        # Before the version can become live: its workers must not apply the changes again.
        overlay.record_fold(version_name(made), last)
        version = publish(folder, work / VERSION, made, options.trial, options.signing_key)
    point_aliases(options.server, made)
    shutil.rmtree(work, ignore_errors=True)
    return version, made


def _write_records(
    work: Path,
    base: BaseVersion,
    overlay: Overlay,
    images: OverlayImages,
    last: int,
    read: ReadImage | None,
    most_bytes: int,
) -> None:
    """Write the records of the version and its changes, as those of an import."""
    updates = base.folder / UPDATES if UPDATES in base.manifest.files else None
    rows = chain(version_rows(base.metadata, updates), overlay.all_rows(overlay.start(base.name), last))
    files = {} if updates is None else read_files(updates)

    def with_digests() -> Generator[MergedLogo | Reject]:
        logos = merge_logos((), work / MERGING, rows)
        with closing(logos), KnownWriter(work, TEXTS) as writer:
            for merged in logos:
                if isinstance(merged, MergedLogo) and merged.record is not None and merged.record.filename:
                    digest, text = _known_image(merged, base, images)
                    if digest is None and read is not None:
                        _stage(work, merged.record.filename, read, most_bytes)
                    writer.add(merged.logo_id, digest, text)
                yield merged

    (work / IMAGES).mkdir(exist_ok=True)
    write_merged(with_digests(), work / RECORDS, work / SOURCE_REJECTS, files.items())


def _known_image(merged: MergedLogo, base: BaseVersion, images: OverlayImages) -> tuple[bytes | None, str | None]:
    """The digest of a logo's image file and the words in it; None: not known."""
    assert merged.record is not None  # noqa: S101 - checked by the caller
    logo = base.find(merged.logo_id)
    if logo is not None and logo.filename == merged.record.filename:
        return base.images.digest(logo.id), base.text(logo.id)
    image = images.named(merged.record.filename)
    return (None, None) if image is None else (image.digest, image.words)


def _stage(work: Path, filename: str, read: ReadImage, most_bytes: int) -> None:
    """Copy an image from the store to where the build reads it. One that is missing becomes a reject of the build."""
    try:
        content = read(filename, most_bytes)
    except (NotFoundError, StoreError):
        return
    target = work / IMAGES / filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        file.write(content)


@dataclass(frozen=True, slots=True)
class _Either:
    """The images of a version and of changes."""

    first: StoredImages
    second: StoredImages

    def find(self, digest: bytes) -> StoredImage | None:
        """See `StoredImages`."""
        return self.first.find(digest) or self.second.find(digest)
