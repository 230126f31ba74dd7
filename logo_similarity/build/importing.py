"""Imports: the files of a register, or changes to it, are applied to the live version and make a new one.

An import works like a build, and with its stages. What it does not read again are the images of the live version: their
embeddings are taken over. New images are staged under the sha256 of their content, which is also their name in the
image store, so that no image of one register replaces that of another, and a changed image has another name.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import chain, zip_longest
from pathlib import Path, PurePosixPath

from logo_similarity.build.catalog import find_version, make_version
from logo_similarity.build.inputs import digest_inputs
from logo_similarity.build.known import KnownWriter, version_rows
from logo_similarity.build.merging import MergedLogo, merge_logos
from logo_similarity.build.options import BuildOptions, Progress, like_live
from logo_similarity.build.records import MERGING, REPORT_ROWS, write_merged
from logo_similarity.build.rejections import Rejections
from logo_similarity.build.reuse import KnownImages
from logo_similarity.build.work import RECORDS, SOURCE_REJECTS, TEXTS, VERSION, resumable
from logo_similarity.catalog.files import replacing, sha256_file
from logo_similarity.catalog.manifest import IMAGE_DIGESTS, METADATA, MODEL_FOLDER, WORDS, Manifest, read_manifest
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.publish import publish
from logo_similarity.catalog.sources import Source
from logo_similarity.catalog.updates import UPDATES, read_files, read_updates
from logo_similarity.catalog.versions import WORK_PREFIX, Catalog
from logo_similarity.domain import Reject, Removal
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import BadImageError, CatalogError, SourceError
from logo_similarity.facets import MOST_FACETS
from logo_similarity.fields import Record
from logo_similarity.image.files import open_images
from logo_similarity.milvus.collections import point_aliases
from logo_similarity.opening import Digests
from logo_similarity.search.rows import open_array
from logo_similarity.search.word_file import WordArrays

IMAGES = "images"
SUMMARY = "summary.json"
OVER = ("ended", "expired")
"""Statuses of a mark that is no longer in force."""
EXAMPLES = 5
STORE_THREADS = 8

KeepImage = Callable[[str, bytes], object]
"""Stores the content of an image under a name, durably."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import does to the logos of the live version."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    """Logos of the source of which it says nothing new."""
    removed: int = 0
    ended: int = 0
    """Changed logos that are no longer in force, and were before."""
    images_missing: int = 0
    """Logos that are left out until their image is there."""
    unknown: int = 0
    """Rows that would enrich logos which the live version does not have."""
    rejected: int = 0
    """Rows that cannot be used."""
    reasons: list[str] = field(default_factory=list)
    """The commonest reasons, with the number of rows and an example of each."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Some of the ids that were added, changed, removed, ended or without an image."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The version that is live after an import."""

    folder: Path
    manifest: Manifest
    summary: ImportSummary
    published: bool
    """Whether it is a new version: the source had changes, and it was no dry run."""


def import_source(
    source: Source,
    root: Path,
    options: BuildOptions,
    keep: KeepImage | None,
    *,
    enrich: bool = False,
    dry_run: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> ImportResult:
    """Apply a source to the live version of the catalog in the folder `root`, and make the result live.

    Later rows of a logo update earlier ones, by their transaction dates; files that were imported before change nothing. An
    import that is interrupted resumes when it is run again. The facets of the live version stay, and those of the source
    are added to them.

    Args:
        source: the records and removals, and their images.
        root: folder of the catalog.
        options: of the build; the encoder and the parameters of the index are those of the live version.
        keep: stores the new images before the version becomes live; None: there will be none.
        enrich: the source has no images: its records add to logos of the live version, and others are left out.
        dry_run: change nothing.
        progress: see `build.options.Progress`.

    Raises:
        SourceError: the source cannot be read.
        BuildError: no logo would remain, or the index is below the floors.
        CatalogError: no version is live, its embeddings cannot be used again, another build runs, or the new version
            failed its trial.
        StoreError: an image cannot be stored.
    """
    folder = Catalog(root)
    with folder.locked():
        live = folder.current()
        manifest = read_manifest(live)
        files = {sha256_file(path): path.name for path in source.files()}
        applied = read_files(live / UPDATES) if UPDATES in manifest.files else {}
        if files and files.keys() <= applied.keys():
            return ImportResult(live, manifest, ImportSummary(), published=False)
        facets = tuple(dict.fromkeys((*manifest.facets, *source.description().facets)))
        if len(facets) > MOST_FACETS:
            raise SourceError(
                f"the live version and the source have {len(facets)} different facets together; at most {MOST_FACETS} are "
                "possible: declare fewer in the mapping"
            )
        encoder = Encoder.open(live / MODEL_FOLDER, device=options.device, threads=1)
        progress("verifying the live version", 0, None)
        known = KnownImages.open(live, encoder, options.server)
        if known is None:
            raise CatalogError(
                f"{live}: its embeddings cannot be used again, because it is damaged or was built from embeddings alone or "
                "by another version of this software; build it again, and import then"
            )
        options = like_live(options, live, manifest)
        inputs = digest_inputs(source, "import", live.name, options.limits, enrich, *options.index_inputs())
        work = root / f"{WORK_PREFIX}{inputs[:16]}-import"
        if (found := find_version(folder, inputs, options)) is not None:  # an import was killed before the flip
            summary = _read_summary(work)
            folder.flip(found[0].name)
            point_aliases(options.server, found[1])
            shutil.rmtree(work, ignore_errors=True)
            return ImportResult(*found, summary, published=True)
        with resumable(work):
            if not (work / RECORDS).exists():
                with closing(Metadata(live / METADATA)) as metadata:
                    most = options.limits.max_bytes
                    merging = _Import(source, live, manifest, metadata, known, work, most, progress, enrich=enrich)
                    merging.write(applied, files)
            summary = _read_summary(work)
            has_changes = summary.added or summary.changed or summary.removed or facets != manifest.facets
            if dry_run or not (has_changes or _has_news(live, work)):
                shutil.rmtree(work, ignore_errors=True)
                return ImportResult(live, manifest, summary, published=False)
            kind, images = manifest.source.kind, open_images(work / IMAGES)
            made = make_version(work, kind, images, encoder, known, inputs, options, progress, facets=facets)
            if keep is not None:
                _store_images(work, keep, progress)
            version = publish(folder, work / VERSION, made, options.trial, options.signing_key)
        point_aliases(options.server, made)
        shutil.rmtree(work, ignore_errors=True)
        return ImportResult(version, made, summary, published=True)


def _read_summary(work: Path) -> ImportSummary:
    path = work / SUMMARY
    return ImportSummary(**json.loads(path.read_bytes())) if path.exists() else ImportSummary()


def _has_news(live: Path, work: Path) -> bool:
    """Whether the rows that a later import needs to know have changed."""
    before = read_updates(live / UPDATES) if (live / UPDATES).exists() else iter(())
    return any(one != other for one, other in zip_longest(before, read_updates(work / UPDATES)))


def _store_images(work: Path, keep: KeepImage, progress: Progress) -> None:
    """Store the new images of the logos in the new version."""
    staged = {bytes.fromhex(path.stem): path for path in (work / IMAGES).glob("*/*")}
    digests: Digests = open_array(work / VERSION / IMAGE_DIGESTS)
    paths = [staged[key] for key in {digest.tobytes() for digest in digests} & staged.keys()]
    with ThreadPoolExecutor(STORE_THREADS, "store") as pool:
        stored = pool.map(lambda path: keep(path.relative_to(work / IMAGES).as_posix(), path.read_bytes()), paths)
        for number, _ in enumerate(stored, 1):
            progress("images stored", number, len(paths))


class _Import:
    """Merges a source with a version, and counts what becomes of its logos."""

    def __init__(
        self,
        source: Source,
        live: Path,
        manifest: Manifest,
        metadata: Metadata,
        known: KnownImages,
        work: Path,
        max_bytes: int,
        progress: Progress,
        *,
        enrich: bool,
    ) -> None:
        self._source = source
        self._enrich = enrich
        self._updates = live / UPDATES if UPDATES in manifest.files else None
        self._manifest = manifest
        self._metadata = metadata
        self._known = known
        self._work = work
        self._max_bytes = max_bytes
        self._progress = progress
        self._named: set[str] = set()
        """Ids in the source."""
        self._counts: Counter[str] = Counter()
        self._rejections = Rejections()
        self._examples: dict[str, list[str]] = {}
        words = live / WORDS
        self._words = WordArrays.open(words, manifest.count) if WORDS in manifest.files else None

    def write(self, applied: dict[str, str], files: dict[str, str]) -> None:
        """Write the records and rejects, `updates.sqlite`, the digests of known images and the summary.

        Args:
            applied: names of the files that were imported before, by their sha256.
            files: those of the source.
        """
        (self._work / IMAGES).mkdir(exist_ok=True)
        logos = merge_logos(self._rows(), self._work / MERGING, version_rows(self._metadata, self._updates))
        write_merged(
            self._counted(logos), self._work / RECORDS, self._work / SOURCE_REJECTS, self._done(applied, files)
        )

    def _done(self, applied: dict[str, str], files: dict[str, str]) -> Iterator[tuple[str, str]]:
        """The files that need not be imported again. What a rejected row lacks, such as its image, may be there later."""
        yield from applied.items()
        if not self._counts["rejected"]:
            yield from files.items()

    def _rows(self) -> Iterator[Record | Removal | Reject]:
        """The rows of the source, with the names that their images have in the image store."""
        for number, row in enumerate(self._source.rows(), 1):
            if number % REPORT_ROWS == 0:
                self._progress("rows read", number, None)
            if isinstance(row, Reject):
                yield row
                continue
            if self._enrich and self._metadata.find(row.logo_id) is None:
                self._counts["unknown"] += 1
                continue
            self._named.add(row.logo_id)
            if isinstance(row, Record) and self._enrich:
                row = replace(row, filename="")  # noqa: PLW2901
            if isinstance(row, Record) and row.filename:
                try:
                    row = replace(row, filename=self._stage(row))  # noqa: PLW2901
                except BadImageError as error:
                    yield Reject(row.where, str(error), row.logo_id, row.filename)
                    continue
            yield row

    def _stage(self, record: Record) -> str:
        """The name of a record's image in the image store. Copies it to the work folder unless the live version has it.

        Raises:
            BadImageError: it cannot be read, or is too large.
        """
        content = self._source.images.read(record.filename, self._max_bytes)
        digest = sha256(content).hexdigest()
        logo = self._metadata.find(record.logo_id)
        if logo is not None and self._known.digest(logo.id).hex() == digest:
            return logo.filename
        name = f"{digest[:2]}/{digest}{PurePosixPath(record.filename).suffix.lower()}"
        target = self._work / IMAGES / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with replacing(target) as file:
                file.write(content)
        return name

    def _counted(self, logos: Generator[MergedLogo | Reject]) -> Generator[MergedLogo | Reject]:
        """Count the outcomes, and write the digests of the images that need not be read."""
        with closing(logos), KnownWriter(self._work, TEXTS) as writer:
            for merged in logos:
                if isinstance(merged, Reject):
                    self._counts["rejected"] += 1
                    self._rejections.add(merged)
                else:
                    logo = self._metadata.find(merged.logo_id)
                    if merged.logo_id in self._named:
                        self._count(merged, None if logo is None else logo.record)
                    record = merged.record
                    if record is not None and record.filename:
                        is_known = logo is not None and record.filename == logo.filename
                        row = logo.id if logo is not None and is_known else None
                        writer.add(
                            record.logo_id,
                            None if row is None else self._known.digest(row),
                            None if row is None else self._text(row),
                        )
                yield merged
        summary = ImportSummary(**self._counts, reasons=self._rejections.lines(), examples=self._examples)
        with replacing(self._work / SUMMARY) as file:
            file.write(json.dumps(asdict(summary)).encode())

    def _text(self, row: int) -> str | None:
        """The words that were read in the image of a row."""
        return None if self._words is None else self._words.text(row, "image")

    def _count(self, merged: MergedLogo, before: Record | None) -> None:
        for outcome in _outcomes(before, merged.record):
            self._counts[outcome] += 1
            if outcome != "unchanged":
                examples = self._examples.setdefault(outcome, [])
                if len(examples) < EXAMPLES:
                    examples.append(merged.logo_id)


def _outcomes(before: Record | None, after: Record | None) -> Iterable[str]:
    """What became of a logo: names of counts in `ImportSummary`."""
    if after is not None and not after.filename:
        after = None
        missing = ["images_missing"]
    else:
        missing = []
    if after is None:
        return chain(missing, ["removed"] if before is not None else [] if missing else ["unchanged"])
    if before is None:
        return ["added"]
    if before == after:
        return ["unchanged"]
    return ["changed", "ended"] if after.status in OVER and before.status not in OVER else ["changed"]
