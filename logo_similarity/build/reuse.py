"""Images of an earlier version, whose embeddings a build takes over instead of computing them again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.build.rejections import read_rejects
from logo_similarity.build.shards import ShardParts, StoredImage
from logo_similarity.catalog.manifest import (
    DAMAGED,
    METADATA,
    PATCHES,
    ROW_MAP,
    Manifest,
    verify,
)
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.opening import (
    Digests,
    open_image_digests,
    open_index,
    open_parts,
    open_patches,
    open_places,
    open_row_map,
)
from logo_similarity.search.halves import HalfRows
from logo_similarity.search.part_index import PartIndex
from logo_similarity.search.parts import DIMENSIONS
from logo_similarity.search.rows import RowMap

_KEY = np.dtype("<u8")


@dataclass(frozen=True, slots=True, eq=False)
class VersionImages:
    """What a version stores of the images of its rows."""

    digests: Digests
    """(rows, 32) uint8, mapped."""
    row_map: RowMap
    embeddings: Floats | HalfRows
    patches: Patches | None
    places: Floats
    parts: PartIndex | None
    damage: dict[bytes, str]
    """What is wrong with damaged images, by their digests."""

    @classmethod
    def open(cls, version: Path, manifest: Manifest, encoder: Encoder) -> Self | None:
        """Map the files. None: the version was built without images.

        Raises:
            CatalogError: a file is damaged.
        """
        places, digests = open_places(version, manifest), open_image_digests(version, manifest)
        if places is None or manifest.parts is None or digests is None:
            return None
        return cls(
            digests,
            open_row_map(version, ROW_MAP, manifest.count, manifest.distinct_images),
            open_index(version, manifest).vectors,
            open_patches(version, encoder) if PATCHES in manifest.files else None,
            places,
            open_parts(version, manifest),
            _damage(version, digests),
        )

    def digest(self, row: int) -> bytes:
        """Sha256 of the image file of a row."""
        return bytes(self.digests[row])

    def of_row(self, row: int) -> StoredImage:
        """What is stored of the image of a row."""
        vector = int(self.row_map.vector_of(np.array([row]))[0])
        parts = ShardParts(np.zeros(1, np.int32), np.empty((0, DIMENSIONS), np.float32), np.empty((0, 4), np.uint16))
        if self.parts is not None:
            first, last = self.parts.offsets[vector : vector + 2].tolist()
            entries = self.parts.row_map.vector_of(np.arange(first, last))
            parts = ShardParts(
                np.array([last - first], np.int32), self.parts.index.vectors[entries], self.parts.boxes[first:last]
            )
        patches = None if self.patches is None else self.patches[vector]
        digest = self.digest(row)
        return StoredImage(
            digest, self.embeddings[vector], patches, self.places[vector], parts, self.damage.get(digest)
        )


class StoredImages(Protocol):
    """Images that need not be embedded again."""

    def find(self, digest: bytes) -> StoredImage | None:
        """What is stored of the image file with this sha256; None: nothing."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class KnownImages:
    """The images of a version, by the sha256 of their files. It needs 16 bytes of memory for each logo."""

    images: VersionImages
    keys: NDArray[np.uint64]
    """The first 8 bytes of each digest, ascending."""
    rows: NDArray[np.int64]
    """The row that each key is of."""

    @classmethod
    def open(cls, version: Path, encoder: Encoder) -> Self | None:
        """The images of a version, every byte of which is verified.

        None if the version is damaged, was built with another encoder or preprocessing, or without images.
        """
        try:
            manifest = verify(version)
            built_with = (manifest.encoder.sha256, manifest.encoder.preprocessing)
            if built_with != (encoder.model.sha256, PREPROCESSING_VERSION):
                return None
            images = VersionImages.open(version, manifest, encoder)
        except CatalogError:
            return None
        if images is None:
            return None
        keys = np.ascontiguousarray(images.digests[:, : _KEY.itemsize]).view(_KEY)[:, 0]
        order = np.argsort(keys, kind="stable")
        return cls(images, keys[order], order)

    def digest(self, row: int) -> bytes:
        """Sha256 of the image file of a row."""
        return self.images.digest(row)

    def find(self, digest: bytes) -> StoredImage | None:
        """What is stored of the image file with this sha256; None: the version does not have it."""
        key = np.frombuffer(digest, _KEY, 1)[0]
        place = int(np.searchsorted(self.keys, key))
        while place < len(self.keys) and self.keys[place] == key:
            row = int(self.rows[place])
            if self.digest(row) == digest:
                return self.images.of_row(row)
            place += 1
        return None


def _damage(version: Path, digests: Digests) -> dict[bytes, str]:
    damage = {}
    with closing(Metadata(version / METADATA)) as metadata:
        for reject in read_rejects(version / DAMAGED):
            logo = metadata.find(reject.logo_id or "")
            if logo is not None:
                damage[digests[logo.id].tobytes()] = reject.reason
    return damage
