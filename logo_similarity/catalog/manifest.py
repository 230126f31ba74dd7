"""`manifest.json`: what a catalog version holds, and the digests by which damage is found."""

from __future__ import annotations

import datetime as dt
import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from logo_similarity.catalog.files import read_small, sha256_file
from logo_similarity.errors import CatalogError

FORMAT: Literal[2] = 2
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
INDEX = "index.faiss"
METADATA = "metadata.db"
PATCHES = "patches.npy"
REJECTED = "rejected.jsonl"
MODEL_FOLDER = "model"
MODEL_JSON = f"{MODEL_FOLDER}/model.json"
"""As `embed.model` names it, which would load OpenCV."""

MANIFEST_BYTES = 1_000_000
"""Largest `manifest.json`."""
MOST_FILES = 100
MOST_ROWS = 2**31 - 1
"""FAISS numbers the nodes of an HNSW graph with 32 bits."""
MOST_FILE_BYTES = 10**13
MOST_EDGES = 256
MOST_BREADTH = 10_000
"""Largest efSearch and efConstruction: a search reserves memory in proportion."""
MOST_DIMENSIONS = 8_192

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.\-]*/)*[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=200)
]
Count = Annotated[int, Field(ge=0, le=MOST_ROWS)]
Breadth = Annotated[int, Field(ge=1, le=MOST_BREADTH)]
Text = Annotated[str, Field(max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Part):
    """One file of the catalog."""

    sha256: Sha256
    size: Annotated[int, Field(ge=0, le=MOST_FILE_BYTES)]


class EncoderEntry(_Part):
    """What made the embeddings: its id, the sha256 of its ONNX file, and the version of the preprocessing path."""

    id: Text
    sha256: Sha256
    preprocessing: Text


class IndexEntry(_Part):
    """Parameters of the HNSW graph (Malkov and Yashunin, arXiv 1603.09320) and the default breadth of its search."""

    kind: Literal["hnsw-flat"] = "hnsw-flat"
    m: Annotated[int, Field(ge=2, le=MOST_EDGES)]
    ef_construction: Breadth
    ef_search: Breadth


class CurvePoint(_Part):
    """Recall at one breadth of search."""

    ef_search: Breadth
    value: Annotated[float, Field(ge=0, le=1)]


class RecallEntry(_Part):
    """Share of the exact `k` nearest rows that the index found at its `ef_search`, over `queries` held-out rows."""

    k: Count
    queries: Count
    value: Annotated[float, Field(ge=0, le=1)]
    floor: Annotated[float, Field(ge=0, le=1)]
    curve: Annotated[tuple[CurvePoint, ...], Field(max_length=100)] = ()
    """The same at other breadths."""


class SourceEntry(_Part):
    """What was read, and what became of it: `read` = `indexed` + `rejected`."""

    kind: Text
    read: Count
    indexed: Count
    rejected: Count


class Manifest(_Part):
    """The content of `manifest.json`."""

    format: Literal[2] = FORMAT
    software: Text
    created: dt.datetime
    inputs: Sha256
    """Digest of everything the build read: the same inputs need no second build."""
    count: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    logo_ids: Sha256
    """Digest of the logo ids in row order, each followed by a newline."""
    dimension: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS)]
    metric: Literal["cosine"] = "cosine"
    fields: Annotated[tuple[Text, ...], Field(max_length=100)]
    """The optional fields of a record that at least one logo has; the others are not in this source."""
    encoder: EncoderEntry
    index: IndexEntry
    recall: RecallEntry
    source: SourceEntry
    files: Annotated[dict[FileName, FileEntry], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        model = [name for name in self.files if name.startswith(f"{MODEL_FOLDER}/") and name.endswith(".onnx")]
        needed = {INDEX, METADATA, MODEL_JSON}
        if missing := sorted(needed - self.files.keys()):
            raise ValueError(f"{missing[0]} is not among its files")
        if len(model) != 1:
            raise ValueError(f"{len(model)} ONNX files in {MODEL_FOLDER}/ where one is needed")
        if MANIFEST in self.files or SIGNATURE in self.files:
            raise ValueError(f"{MANIFEST} and {SIGNATURE} cannot be among its files")
        if self.files[INDEX].size < 4 * self.count * self.dimension:
            raise ValueError(f"{INDEX} is too small for {self.count} embeddings of {self.dimension} dimensions")
        if PATCHES in self.files and self.files[PATCHES].size < self.count:
            raise ValueError(f"{PATCHES} is too small for {self.count} logos")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    @property
    def model_size(self) -> int:
        """Bytes of the encoder's files."""
        return sum(entry.size for name, entry in self.files.items() if name.startswith(f"{MODEL_FOLDER}/"))

    def to_json(self) -> bytes:
        """The bytes of `manifest.json`."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def version_name(manifest: Manifest) -> str:
    """Name of the version's folder: when it was made, and the start of the sha256 of its manifest.

    The name so vouches for the manifest, and the manifest for every other file.
    """
    return f"{manifest.created.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{hashlib.sha256(manifest.to_json()).hexdigest()[:8]}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version, checked against the folder's name.

    Raises:
        CatalogError: it is missing, altered, or of a format that this software does not know.
    """
    path = folder / MANIFEST
    try:
        content = read_small(path, MANIFEST_BYTES)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror}); this is not a catalog version") from None
    if not folder.name.endswith("-" + hashlib.sha256(content).hexdigest()[:8]):
        raise CatalogError(f"{path}: damaged: it does not belong to the version that its folder names")
    try:
        return Manifest.model_validate_json(content)
    except (ValidationError, RecursionError) as error:
        raise CatalogError(
            f"{path}: {_reason(error)}; it is damaged or was made by another version of this software: build it again"
        ) from None


def _reason(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "too deeply nested"
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    words = first["msg"].removeprefix("Value error, ")
    return f"{field}: {words}" if field else words


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raise CatalogError, naming the file, where one is missing or of another size. Costs one stat each."""
    for name, entry in manifest.files.items():
        try:
            found = (folder / name).stat()
        except OSError as error:
            raise CatalogError(f"{folder / name}: cannot be read ({error.strerror})") from None
        if not stat.S_ISREG(found.st_mode):
            raise CatalogError(f"{folder / name}: damaged: not a regular file")
        size = found.st_size
        if size != entry.size:
            raise CatalogError(f"{folder / name}: damaged: {size} bytes where the manifest says {entry.size}")


def verify(folder: Path, on_bytes: Callable[[int], None] = lambda _: None) -> Manifest:
    """Read every byte of a version and compare it with its manifest.

    FAISS and SQLite can't see a flipped byte in their data, so these digests are what finds it. As a side effect the
    files are in the page cache afterwards.

    Raises:
        CatalogError: names the first file that is damaged or missing.
    """
    manifest = read_manifest(folder)
    check_sizes(folder, manifest)
    for name, entry in manifest.files.items():
        if sha256_file(folder / name, on_bytes) != entry.sha256:
            raise CatalogError(f"{folder / name}: damaged: its sha256 is not the one in the manifest")
    return manifest
