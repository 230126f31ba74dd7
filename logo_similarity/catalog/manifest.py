"""`manifest.json`: the content of a catalog version, with the digests that reveal damage."""

from __future__ import annotations

import datetime as dt
import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from logo_similarity.catalog.files import read_small, sha256_file
from logo_similarity.errors import CatalogError
from logo_similarity.facets import EXTRA, MOST_FACETS, facet_name
from logo_similarity.precision import Precision
from logo_similarity.wording import counted

FORMAT: Literal[4] = 4
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
INDEX = "index.faiss"
EMBEDDINGS = "embeddings.npy"
"""(vectors, d) float16: the embeddings, if the index has codes of 8 bits for them."""
METADATA = "metadata.db"
PATCHES = "patches.npy"
VECTOR_OFFSETS = "vector_offsets.npy"
VECTOR_ROWS = "vector_rows.npy"
ROW_VECTORS = "row_vectors.npy"
ROW_MAP = (VECTOR_OFFSETS, VECTOR_ROWS, ROW_VECTORS)
"""The files of a `search.rows.GroupedMap`. They exist if logos of the catalog have identical images."""
PLACES = "places.npy"
IMAGE_DIGESTS = "image_digests.npy"
"""(count, 32) uint8: sha256 of the image file of each logo. A catalog that was built from embeddings alone lacks it."""
PARTS_FOLDER = "parts"
PART_OFFSETS = f"{PARTS_FOLDER}/offsets.npy"
PART_BOXES = f"{PARTS_FOLDER}/boxes.npy"
PART_INDEX = f"{PARTS_FOLDER}/{INDEX}"
PART_EMBEDDINGS = f"{PARTS_FOLDER}/{EMBEDDINGS}"
PART_MAP = tuple(f"{PARTS_FOLDER}/{name}" for name in ROW_MAP)
"""The files of a `search.rows.GroupedMap` of parts. They exist if parts have the same embedding."""
WORDS = "words.index"
"""The words of the logos, see `search.word_file`. A catalog of an earlier version of this software lacks it."""
REJECTED = "rejected.jsonl"
DAMAGED = "damaged.jsonl"
"""The indexed logos whose image is damaged, in the form of `REJECTED`."""
MODEL_FOLDER = "model"
MODEL_JSON = f"{MODEL_FOLDER}/model.json"
"""The same name as in `embed.model`, which cannot be imported here because it loads OpenCV."""

MANIFEST_BYTES = 1_000_000
"""Maximum size of `manifest.json`."""
MOST_FILES = 100
MOST_FORMATS = 1_000
"""A larger number is not the number of a format."""
MOST_ROWS = 2**31 - 1
"""FAISS numbers the nodes of an HNSW graph with 32 bits."""
MOST_FILE_BYTES = 10**13
MOST_EDGES = 256
MOST_BREADTH = 10_000
"""Maximum efSearch and efConstruction: the memory of a search is proportional to its breadth."""
MOST_DIMENSIONS = 8_192

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.\-]*/)*[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=200)
]
Count = Annotated[int, Field(ge=0, le=MOST_ROWS)]
Breadth = Annotated[int, Field(ge=1, le=MOST_BREADTH)]
Text = Annotated[str, Field(max_length=200)]
FacetName = Annotated[str, AfterValidator(facet_name)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Part):
    """One file of the catalog."""

    sha256: Sha256
    size: Annotated[int, Field(ge=0, le=MOST_FILE_BYTES)]


class EncoderEntry(_Part):
    """The encoder that computed the embeddings: its id, the sha256 of its ONNX file, and the preprocessing version."""

    id: Text
    sha256: Sha256
    preprocessing: Text


class IndexEntry(_Part):
    """The index, the parameters of its HNSW graph (Malkov and Yashunin, arXiv 1603.09320), and the breadth of its search."""

    kind: Literal["hnsw-flat", "milvus-flat", "milvus-hnsw", "milvus-hnsw-sq8", "milvus-ivf-sq8", "milvus-diskann"] = (
        "hnsw-flat"
    )
    """A file of the version, or a collection of a Milvus server."""
    collection: Annotated[str | None, Field(pattern="^[a-z0-9_]{1,200}$")] = None
    """The collection; None: the index is a file."""
    precision: Annotated[Precision, Field(exclude_if=lambda value: value is Precision.FLOAT32)] = Precision.FLOAT32
    """Of a file. Left out if it is float32: earlier versions of this software read no other."""
    m: Annotated[int, Field(ge=2, le=MOST_EDGES)]
    ef_construction: Breadth
    ef_search: Breadth

    @model_validator(mode="after")
    def _check_collection(self) -> Self:
        if (self.kind == "hnsw-flat") != (self.collection is None):
            raise ValueError(
                f"an index of the kind {self.kind} {'has no' if self.collection else 'needs a'} collection"
            )
        return self

    @property
    def is_file(self) -> bool:
        """Whether the index is a file of the version."""
        return self.collection is None


class PartsEntry(_Part):
    """The parts of the images, and their index."""

    count: Count
    """Number of parts; 0: no image has any, and there is no index."""
    distinct: Count
    """Number of entries of the index: parts with the same embedding share one."""
    index: IndexEntry


class CurvePoint(_Part):
    """Recall at one breadth of the graph search."""

    ef_search: Breadth
    value: Annotated[float, Field(ge=0, le=1)]


class RecallEntry(_Part):
    """Share of the exact `k` nearest vectors that the index finds at its `ef_search`, over `queries` vectors.

    It is measured with vectors that are not yet in the index, and with random ones of it; the lower share is kept.
    """

    k: Count
    queries: Count
    value: Annotated[float, Field(ge=0, le=1)]
    floor: Annotated[float, Field(ge=0, le=1)]
    self_found: Annotated[float, Field(ge=0, le=1)]
    """Share of random vectors of the index that a search for them finds."""
    curve: Annotated[tuple[CurvePoint, ...], Field(max_length=100)] = ()
    """Recall at other breadths."""


class SourceEntry(_Part):
    """The numbers of rows read, indexed and rejected: `read` = `indexed` + `rejected`."""

    kind: Text
    read: Count
    indexed: Count
    rejected: Count
    damaged: Count = 0
    """Of the indexed ones those whose image is damaged: it is indexed as far as it is readable."""


class Manifest(_Part):
    """The content of `manifest.json`."""

    format: Literal[4] = FORMAT
    software: Text
    created: dt.datetime
    inputs: Sha256
    """Digest of all inputs of the build: a second build of the same inputs is not necessary."""
    count: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    """Number of logos."""
    distinct_images: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    """Number of vectors in the index: logos with identical images share one."""
    logo_ids: Sha256
    """Digest of the logo ids in row order, each followed by a newline."""
    dimension: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS)]
    metric: Literal["cosine"] = "cosine"
    fields: Annotated[tuple[Text, ...], Field(max_length=100)]
    """The optional fields of a record that at least one logo has; the source does not provide the others."""
    facets: Annotated[tuple[FacetName, ...], Field(max_length=MOST_FACETS)] = ()
    """The names in `Record.extra` that the mapping of the source declares as facets, whether or not a logo has them."""
    encoder: EncoderEntry
    index: IndexEntry
    recall: RecallEntry
    parts: PartsEntry | None = None
    """None: the parts of the images are not known, because the catalog was built from embeddings alone."""
    source: SourceEntry
    files: Annotated[dict[FileName, FileEntry], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        if METADATA not in self.files:
            raise ValueError(f"{METADATA} is not listed in files")
        self._check_model_files()
        if MANIFEST in self.files or SIGNATURE in self.files:
            raise ValueError(f"files must not list {MANIFEST} or {SIGNATURE}")
        if len(set(self.facets)) < len(self.facets) or any(name.startswith(EXTRA) for name in self.fields):
            raise ValueError("facets has a name twice, or fields has one of a facet")
        if self.distinct_images > self.count:
            raise ValueError(f"distinct_images is {self.distinct_images:,}, more than {counted(self.count, 'logo')}")
        self._check_index_files()
        for name in ROW_MAP:
            if (name in self.files) != (self.distinct_images < self.count):
                raise ValueError(f"{name} must be listed in files if logos have identical images, and only then")
        self._check_part_files()
        return self

    def _check_index_files(self) -> None:
        if not self.index.is_file:
            if others := sorted({INDEX, EMBEDDINGS, PATCHES} & self.files.keys()):
                raise ValueError(f"{others[0]} must not be listed in files: the index is in a collection")
            return
        if INDEX not in self.files:
            raise ValueError(f"{INDEX} is not listed in files")
        if self.files[INDEX].size < self.index.precision.number_bytes * self.distinct_images * self.dimension:
            raise ValueError(
                f"{INDEX} is too small for {counted(self.distinct_images, 'embedding')} of {self.dimension} dimensions"
            )
        if (EMBEDDINGS in self.files) != (self.index.precision is Precision.INT8):
            raise ValueError(
                f"{EMBEDDINGS} must be listed in files if the precision of the index is int8, and only then"
            )
        if PATCHES in self.files and self.files[PATCHES].size < self.distinct_images:
            raise ValueError(f"{PATCHES} is too small for {counted(self.distinct_images, 'image')}")

    def _check_model_files(self) -> None:
        if MODEL_JSON not in self.files:
            raise ValueError(f"{MODEL_JSON} is not listed in files")
        models = [name for name in self.files if name.startswith(f"{MODEL_FOLDER}/") and name.endswith(".onnx")]
        if len(models) != 1:
            raise ValueError(f"files lists {len(models)} ONNX files in {MODEL_FOLDER}/; expected one")

    def _check_part_files(self) -> None:
        parts = self.parts
        expected: set[str] = set()
        if parts is not None:
            expected |= {PART_OFFSETS, PART_BOXES}
            if parts.count and parts.index.is_file:
                expected.add(PART_INDEX)
                expected |= {PART_EMBEDDINGS} if parts.index.precision is Precision.INT8 else set()
            if parts.distinct < parts.count:
                expected |= set(PART_MAP)
            if parts.distinct > parts.count or (parts.distinct == 0) != (parts.count == 0):
                raise ValueError(f"parts: {parts.distinct:,} of {counted(parts.count, 'part')} cannot be distinct")
        listed = {name for name in self.files if name.startswith(f"{PARTS_FOLDER}/")}
        if wrong := sorted(listed ^ expected):
            raise ValueError(f"{wrong[0]} {'must not be' if wrong[0] in listed else 'is not'} listed in files")

    @property
    def filter_fields(self) -> tuple[str, ...]:
        """The names of everything that a filter of this catalog may use: its fields, and its facets as `extra.colour`."""
        return (*self.fields, *(EXTRA + name for name in self.facets))

    @property
    def size(self) -> int:
        """Total size of all files in bytes."""
        return sum(entry.size for entry in self.files.values())

    @property
    def model_size(self) -> int:
        """Total size of the encoder's files in bytes."""
        return sum(entry.size for name, entry in self.files.items() if name.startswith(f"{MODEL_FOLDER}/"))

    def to_json(self) -> bytes:
        """The content of `manifest.json`. Earlier versions of this software read it, too, if it has nothing new to them."""
        new: dict[str, Any] = {} if self.facets else {"facets": True}
        if self.index.is_file:
            new["index"] = {"collection"}
        if self.parts is not None and self.parts.index.is_file:
            new["parts"] = {"index": {"collection"}}
        return self.model_dump_json(indent=2, exclude=new).encode() + b"\n"


class SegmentManifest(Manifest):
    """The manifest of a live segment: its files are those of a version, except for the encoder, which is the base's."""

    def _check_model_files(self) -> None:
        if models := sorted(name for name in self.files if name.startswith(f"{MODEL_FOLDER}/")):
            raise ValueError(f"{models[0]} must not be listed in files")


_M = TypeVar("_M", bound=Manifest)


def version_name(manifest: Manifest) -> str:
    """Name of the version's folder: the time of its creation, and the first digits of the sha256 of its manifest.

    The name thus verifies the manifest, and the manifest verifies all other files.
    """
    return f"{manifest.created.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{hashlib.sha256(manifest.to_json()).hexdigest()[:8]}"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a version and verify it with the name of the folder.

    Raises:
        CatalogError: the manifest is missing or damaged, or has a format that this software does not support.
    """
    path = folder / MANIFEST
    content = _read(path)
    if not folder.name.endswith("-" + hashlib.sha256(content).hexdigest()[:8]):
        raise CatalogError(f"{path}: damaged: its sha256 does not match the name of its folder")
    return _parse(Manifest, content, path)


def read_segment_manifest(folder: Path) -> SegmentManifest:
    """Read the manifest of a live segment. The name of its folder does not verify it.

    Raises:
        CatalogError: as `read_manifest`.
    """
    path = folder / MANIFEST
    return _parse(SegmentManifest, _read(path), path)


def _read(path: Path) -> bytes:
    try:
        return read_small(path, MANIFEST_BYTES)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror}); not a catalog version") from None


def _parse(kind: type[_M], content: bytes, path: Path) -> _M:
    try:
        return kind.model_validate_json(content)
    except (ValidationError, RecursionError) as error:
        if (other := _other_format(error)) is not None:
            raise CatalogError(
                f"{path}: the catalog has format {other}; this version of the software reads format {FORMAT}: build it "
                "again"
            ) from None
        raise CatalogError(
            f"{path}: {_reason(error)}; damaged, or built by an incompatible version of this software: build it again"
        ) from None


def _other_format(error: ValidationError | RecursionError) -> int | None:
    """The number of a format that this software does not read; None if the manifest is not valid for another reason."""
    if isinstance(error, RecursionError):
        return None
    first = error.errors(include_url=False)[0]
    number = first["input"] if first["loc"] == ("format",) else None
    return number if type(number) is int and 0 < number < MOST_FORMATS else None


def _reason(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "too deeply nested"
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Check that every file exists and has the size that the manifest states. Reads no content.

    Raises:
        CatalogError: a file is missing or has another size; the message names it.
    """
    for name, entry in manifest.files.items():
        try:
            status = (folder / name).stat()
        except OSError as error:
            raise CatalogError(f"{folder / name}: cannot be read ({error.strerror})") from None
        if not stat.S_ISREG(status.st_mode):
            raise CatalogError(f"{folder / name}: damaged: not a regular file")
        if status.st_size != entry.size:
            raise CatalogError(
                f"{folder / name}: damaged: its size is {status.st_size} bytes, the manifest says {entry.size}"
            )


def verify(folder: Path, on_bytes: Callable[[int], None] = lambda _: None) -> Manifest:
    """Read every byte of a version and compare the digests with its manifest.

    FAISS and SQLite do not detect flipped bits in their data; only these digests do. As a side effect, the files are in
    the page cache afterwards.

    Args:
        folder: the version's folder.
        on_bytes: called with the size of each piece read.

    Raises:
        CatalogError: a file is damaged or missing; the message names the first one.
    """
    manifest = read_manifest(folder)
    check_sizes(folder, manifest)
    for name, entry in manifest.files.items():
        if sha256_file(folder / name, on_bytes) != entry.sha256:
            raise CatalogError(f"{folder / name}: damaged: its sha256 does not match the manifest")
    return manifest
