"""The files of a catalog version, opened and compared with its manifest, for `engine.SearchEngine`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.manifest import (
    EMBEDDINGS,
    IMAGE_DIGESTS,
    INDEX,
    PART_BOXES,
    PART_EMBEDDINGS,
    PART_INDEX,
    PART_MAP,
    PART_OFFSETS,
    PATCHES,
    PLACES,
    IndexEntry,
    Manifest,
)
from logo_similarity.description import DIGEST_BYTES, Place
from logo_similarity.embed.describe import Floats, Patches, describe
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.precision import Precision
from logo_similarity.search.hnsw import VectorIndex
from logo_similarity.search.part_index import PartIndex
from logo_similarity.search.parts import DIMENSIONS
from logo_similarity.search.rows import GroupedMap, IdentityMap, RowMap, open_array

Digests = NDArray[np.uint8]
"""(n, 32) uint8: sha256 of image files."""


def open_patches(folder: Path, encoder: Encoder) -> Patches:
    """Map the patches and compare their shape with the encoder's."""
    path = folder / PATCHES
    patches: Patches = open_array(path)
    if patches.ndim != 3 or patches.dtype != np.int8:
        raise CatalogError(
            f"{path}: damaged: the array is {patches.dtype} {patches.shape}; expected int8 (count, cells, channels)"
        )
    expected = describe(trial_image(), encoder).patches
    if expected is None or patches.shape[1:] != expected.shape:
        shape = None if expected is None else expected.shape
        raise CatalogError(
            f"{path}: patches of shape {patches.shape[1:]}; the encoder computes patches of shape {shape}"
        )
    return patches


def open_index(folder: Path, manifest: Manifest) -> VectorIndex:
    """The index of the images.

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


def open_parts(folder: Path, manifest: Manifest) -> PartIndex | None:
    """The parts of all images; None: no image has any, or they are not known.

    Raises:
        CatalogError: a file is damaged, or is not the one that the manifest lists.
    """
    entry = manifest.parts
    if entry is None or entry.count == 0:
        return None
    parts = PartIndex.open(
        _open_index(folder / PART_INDEX, folder / PART_EMBEDDINGS, entry.index),
        folder / PART_OFFSETS,
        folder / PART_BOXES,
        open_row_map(folder, PART_MAP, entry.count, entry.distinct),
        count=entry.count,
        vectors=manifest.distinct_images,
        ef_search=entry.index.ef_search,
    )
    found = (parts.index.count, parts.index.dimension)
    if found != (entry.distinct, min(DIMENSIONS, manifest.dimension)):
        raise CatalogError(
            f"{folder / PART_INDEX}: damaged: it has {found[0]} parts of {found[1]} dimensions, not those that the "
            "manifest lists"
        )
    return parts


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
