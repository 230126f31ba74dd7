"""What `overlay.db` stores of an image, and its form in the shards of a build."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from logo_similarity.build.shards import ShardParts, StoredImage
from logo_similarity.catalog.overlay import Overlay, OverlayImage
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError
from logo_similarity.image.preprocess import PREPROCESSING_VERSION
from logo_similarity.search.parts import DIMENSIONS


def encoder_key(encoder: Encoder) -> str:
    """`OverlayImage.encoder` of the images that this encoder describes."""
    return f"{encoder.model.sha256} {PREPROCESSING_VERSION}"


def pack(image: StoredImage, filename: str, encoder: Encoder, words: str | None) -> OverlayImage:
    """The row of an image.

    Args:
        image: what is stored of it.
        filename: its name in the image store.
        encoder: described it.
        words: that were read in it.
    """
    patches = image.patches
    return OverlayImage(
        filename,
        encoder_key(encoder),
        image.digest,
        _bytes(image.embedding, "<f4"),
        0 if patches is None else len(patches),
        None if patches is None else _bytes(patches, "|i1"),
        _bytes(image.place, "<f4"),
        _bytes(image.parts.embeddings, "<f4"),
        _bytes(image.parts.boxes, "<u2"),
        image.damage,
        words,
    )


def unpack(row: OverlayImage, encoder: Encoder) -> StoredImage:
    """The stored form of an image.

    Raises:
        CatalogError: the row is damaged.
    """
    try:
        boxes = _array(row.part_boxes, "<u2").reshape(-1, 4)
        parts = ShardParts(
            np.array([len(boxes)], np.int32),
            _array(row.part_embeddings, "<f4").reshape(len(boxes), min(DIMENSIONS, encoder.dimension)),
            boxes,
        )
        patches = None if row.patches is None else _array(row.patches, "|i1").reshape(row.cells, -1)
        embedding = _array(row.embedding, "<f4").reshape(encoder.dimension)
        return StoredImage(row.digest, embedding, patches, _array(row.place, "<f4").reshape(5), parts, row.damage)
    except ValueError:
        raise CatalogError(f"the changes are damaged: the description of {row.filename} has another size") from None


class OverlayImages:
    """The images of some changes, by the sha256 of their files: see `reuse.StoredImages`."""

    def __init__(self, overlay: Overlay, encoder: Encoder) -> None:
        self._overlay = overlay
        self._encoder = encoder

    def named(self, filename: str) -> OverlayImage | None:
        """The image with this name in the image store; None: no change has it."""
        return self._overlay.image(filename, encoder_key(self._encoder))

    def find(self, digest: bytes) -> StoredImage | None:
        """What is stored of the image file with this sha256; None: no change has it."""
        row = self._overlay.image_of(digest, encoder_key(self._encoder))
        return None if row is None else unpack(row, self._encoder)


def _bytes(array: NDArray[Any], kind: str) -> bytes:
    return np.ascontiguousarray(array, kind).tobytes()


def _array(content: bytes, kind: str) -> NDArray[Any]:
    native = np.dtype(kind).newbyteorder("=")
    return np.frombuffer(content, kind).astype(native)
