"""The files of a catalog version, opened and compared with its manifest, for `engine.SearchEngine`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.manifest import (
    EMBEDDINGS,
    IMAGE_DIGESTS,
    INDEX,
    MANIFEST,
    PART_BOXES,
    PART_EMBEDDINGS,
    PART_INDEX,
    PART_MAP,
    PART_OFFSETS,
    PATCHES,
    PLACES,
    ROW_MAP,
    IndexEntry,
    Manifest,
)
from logo_similarity.description import DIGEST_BYTES, Place
from logo_similarity.embed.describe import Floats, Patches, describe
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.milvus import collections
from logo_similarity.milvus.connection import IndexServer, required
from logo_similarity.milvus.source import MilvusIndex, MilvusSource, StoredField
from logo_similarity.precision import Precision
from logo_similarity.search.hnsw import HnswSource, VectorIndex
from logo_similarity.search.nibbles import PackedPatches, packed_channels
from logo_similarity.search.part_index import PartIndex
from logo_similarity.search.parts import DIMENSIONS
from logo_similarity.search.rows import GroupedMap, IdentityMap, RowMap, open_array
from logo_similarity.search.sources import SearchIndex, SegmentSource

Digests = NDArray[np.uint8]
"""(n, 32) uint8: sha256 of image files."""


def open_source(folder: Path, manifest: Manifest, encoder: Encoder, server: IndexServer | None) -> SegmentSource:
    """The vectors of a version or a segment.

    Args:
        folder: of the version.
        manifest: its manifest.
        encoder: that computed the embeddings.
        server: with the collections; None: there is none.

    Raises:
        CatalogError: they are damaged, or not those that the manifest lists.
        ConfigError: they are on a server, and there is none.
        IndexUnavailableError: the server does not answer.
    """
    row_map = open_row_map(folder, ROW_MAP, manifest.count, manifest.distinct_images)
    entry = manifest.index
    if not entry.is_file:
        index, found = _open_collection(entry, manifest, server, manifest.distinct_images, manifest.dimension)
        patches = None
        if collections.PATCHES in found.fields and (shape := _patch_shape(encoder)) is not None:
            patches = StoredField(index, collections.PATCHES, (index.count, *shape))
        return MilvusSource(index, patches, row_map, entry.ef_search)
    mapped = open_index(folder, manifest)
    stored = open_patches(folder, encoder) if PATCHES in manifest.files and encoder.has_patches else None
    images = {MANIFEST: manifest.distinct_images, INDEX: mapped.count}
    if stored is not None:
        images[PATCHES] = len(stored)
    check_counts(folder, "distinct images", images)
    if not manifest.dimension == mapped.dimension == encoder.dimension:
        raise CatalogError(f"{folder}: damaged: its encoder and its index have different numbers of dimensions")
    return HnswSource(mapped, stored, row_map, entry.ef_search)


def check_counts(folder: Path, what: str, counts: Mapping[str, int]) -> None:
    """Raise CatalogError if the files of a version have different numbers of something."""
    if len(set(counts.values())) > 1:
        raise CatalogError(f"{folder}: damaged: its files have different numbers of {what}: {counts}")


def _open_collection(
    entry: IndexEntry, manifest: Manifest, server: IndexServer | None, count: int, dimension: int
) -> tuple[MilvusIndex, collections.Collection]:
    """The index in a collection, which the server loads into memory if it has not."""
    assert entry.collection is not None  # noqa: S101 - checked by the caller
    server = required(server)
    name, encoder = entry.collection, manifest.encoder.sha256
    found = collections.check_collection(server, name, encoder=encoder, inputs=manifest.inputs, dimension=dimension)
    collections.load_collection(server, name, server.seconds, replicas=server.replicas)
    return MilvusIndex(server, name, index_kind(entry), count, dimension, found.fields), found


def index_kind(entry: IndexEntry) -> collections.CollectionKind:
    """The kind of index of a collection."""
    return cast(collections.CollectionKind, entry.kind.removeprefix("milvus-"))


def _patch_shape(encoder: Encoder) -> tuple[int, ...] | None:
    """The shape of the patches of one image; None: the encoder has none."""
    patches = describe(trial_image(), encoder).patches
    return None if patches is None else patches.shape


def open_patches(folder: Path, encoder: Encoder) -> Patches | PackedPatches:
    """Map the patches, and compare their shape with the encoder's."""
    path = folder / PATCHES
    stored: NDArray[Any] = open_array(path)
    if stored.ndim != 3 or stored.dtype not in (np.int8, np.uint8):
        raise CatalogError(
            f"{path}: damaged: the array is {stored.dtype} {stored.shape}; expected int8 (count, cells, channels), or "
            "uint8 if packed"
        )
    shape = _patch_shape(encoder) or (0, 0)
    is_packed = stored.dtype == np.uint8
    if stored.shape[1:] != ((shape[0], packed_channels(shape[1])) if is_packed else shape):
        raise CatalogError(
            f"{path}: {'packed ' if is_packed else ''}patches of shape {stored.shape[1:]}; the encoder computes patches of "
            f"shape {shape}{', two numbers to a byte when packed' if is_packed else ''}"
        )
    return PackedPatches(stored, shape[1]) if is_packed else stored


def open_index(folder: Path, manifest: Manifest) -> VectorIndex:
    """The index of the images, which is in files.

    Raises:
        CatalogError: see `VectorIndex.open`; or it has another precision or other edges than the manifest says.
    """
    return _open_index(folder / INDEX, folder / EMBEDDINGS, manifest.index)


def open_row_map(folder: Path, names: Sequence[str], count: int, distinct: int) -> RowMap:
    """The map of `count` rows and `distinct` vectors; it has files, with these names, only if some images are identical.

    Raises:
        CatalogError: see `GroupedMap.open`.
    """
    if distinct == count:
        return IdentityMap()
    offsets, rows, vectors = (folder / name for name in names)
    return GroupedMap.open(offsets, rows, vectors, row_count=count, vector_count=distinct)


def open_parts(folder: Path, manifest: Manifest, server: IndexServer | None) -> PartIndex | None:
    """The parts of all images; None: no image has any, or they are not known.

    Raises:
        CatalogError: a file is damaged, or is not the one that the manifest lists.
        IndexUnavailableError: the server does not answer.
    """
    entry = manifest.parts
    if entry is None or entry.count == 0:
        return None
    dimension = min(DIMENSIONS, manifest.dimension)
    index: SearchIndex
    if not entry.index.is_file:
        index, _ = _open_collection(entry.index, manifest, server, entry.distinct, dimension)
    else:
        path = folder / PART_INDEX
        index = _open_index(path, folder / PART_EMBEDDINGS, entry.index)
        if (index.count, index.dimension) != (entry.distinct, dimension):
            raise CatalogError(
                f"{path}: damaged: it has {index.count} parts of {index.dimension} dimensions, not those that the manifest "
                "lists"
            )
    return PartIndex.open(
        index,
        folder / PART_OFFSETS,
        folder / PART_BOXES,
        open_row_map(folder, PART_MAP, entry.count, entry.distinct),
        count=entry.count,
        vectors=manifest.distinct_images,
        ef_search=entry.index.ef_search,
    )


def open_places(folder: Path, manifest: Manifest) -> Floats | None:
    """(vectors, 5) float32, mapped: a `Place` for each vector; None: not known.

    Raises:
        CatalogError: the array has another shape or dtype.
    """
    if PLACES not in manifest.files:
        return None
    places: Floats = open_array(folder / PLACES)
    if places.dtype != np.float32 or places.shape != (manifest.distinct_images, len(Place._fields)):
        raise CatalogError(
            f"{folder / PLACES}: damaged: the array is {places.dtype} {places.shape}; expected float32 "
            f"({manifest.distinct_images}, {len(Place._fields)})"
        )
    return places


def open_image_digests(folder: Path, manifest: Manifest) -> Digests | None:
    """The digests of the image files of all logos, mapped; None: not known.

    Raises:
        CatalogError: the array has another shape or dtype.
    """
    if IMAGE_DIGESTS not in manifest.files:
        return None
    digests: Digests = open_array(folder / IMAGE_DIGESTS)
    if digests.dtype != np.uint8 or digests.shape != (manifest.count, DIGEST_BYTES):
        raise CatalogError(
            f"{folder / IMAGE_DIGESTS}: damaged: the array is {digests.dtype} {digests.shape}; expected uint8 "
            f"({manifest.count}, {DIGEST_BYTES})"
        )
    return digests


def trial_image() -> NDArray[np.uint8]:
    """(64, 64, 3) uint8 RGB: a cross on white."""
    canvas = np.full((64, 64, 3), 255, np.uint8)
    canvas[28:36, 8:56] = canvas[8:56, 28:36] = (200, 80, 20)
    return canvas


def check_preprocessing(folder: Path, manifest: Manifest) -> None:
    """Raise CatalogError if images were prepared in another way than those of queries are."""
    if manifest.encoder.preprocessing != PREPROCESSING_VERSION:
        raise CatalogError(
            f"{folder}: built with preprocessing version {manifest.encoder.preprocessing}, but queries use version "
            f"{PREPROCESSING_VERSION}, so scores would be wrong; build the catalog again"
        )


def _open_index(path: Path, embeddings: Path, entry: IndexEntry) -> VectorIndex:
    index = VectorIndex.open(path, embeddings if entry.precision is Precision.INT8 else None)
    if (index.precision, index.edges) != (entry.precision, entry.m):
        raise CatalogError(
            f"{path}: damaged: it has {index.edges} edges per node and embeddings of {index.precision}, its manifest says "
            f"{entry.m} and {entry.precision}"
        )
    return index
