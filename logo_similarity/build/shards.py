"""Shards: what a build has computed from some images, in files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.files import replacing
from logo_similarity.description import DIGEST_BYTES, Description
from logo_similarity.embed.describe import Floats, Patches
from logo_similarity.opening import Digests
from logo_similarity.search.part_index import BOX_STEPS, BoxSteps
from logo_similarity.search.parts import shorten
from logo_similarity.search.rows import Numbers

SHARD_ROWS = 1_024
OPTIONAL_ARRAYS = ("patches", "places", "digests")
"""Fields of a `Shard` that have files of their own."""


@dataclass(frozen=True, slots=True)
class ShardParts:
    """The parts of some images, in the order of the images."""

    counts: Numbers
    """(m,) int32: the number of parts of each image."""
    embeddings: Floats
    """(p, d) float32, unit length, as from `search.parts.shorten`."""
    boxes: BoxSteps
    """(p, 4) uint16, as `search.part_index.PartIndex.boxes`."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The descriptions of some images: embeddings (m, d) float32, patches (m, cells, channels) int8 or None."""

    embeddings: Floats
    patches: Patches | None
    parts: ShardParts | None = None
    """None: the parts are not known."""
    places: Floats | None = None
    """(m, 5) float32: an `embed.describe.Place` for each image; None: not known."""
    digests: Digests | None = None
    """(m, 32) uint8: sha256 of each image file; None: not known."""
    damage: Mapping[int, str] = field(default_factory=dict)
    """What is wrong with damaged images, by the position of their record among those of the shard, rejects included."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What a catalog stores of one image file."""

    digest: bytes
    """Sha256 of the file."""
    embedding: Floats
    """(d,) float32, unit length."""
    patches: Patches | None
    """(cells, channels) int8; None if the encoder has none."""
    place: Floats
    """(5,) float32, as an `embed.describe.Place`."""
    parts: ShardParts
    damage: str | None = None
    """What is wrong with the file, if it was read only in part."""

    @classmethod
    def of(cls, digest: bytes, description: Description, damage: str | None = None) -> Self:
        """The stored form of a description with parts."""
        if description.parts is None or description.place is None:
            raise ValueError("the description has no parts")
        parts = description.parts
        return cls(
            digest,
            description.embedding,
            description.patches,
            np.array(description.place, np.float32),
            make_parts(np.array([len(parts.boxes)]), parts.embeddings, parts.boxes),
            damage,
        )


def load_shard_parts(shards: Path, number: int) -> ShardParts | None:
    """Read the parts of one shard; None: they are not known."""
    paths = [shards / f"{number:06}.part_{field.name}.npy" for field in fields(ShardParts)]
    return ShardParts(*(np.load(path, allow_pickle=False) for path in paths)) if paths[0].exists() else None


def load_shard(shards: Path, number: int) -> Shard:
    """Read the descriptions of one shard."""
    arrays: dict[str, Any] = {}
    for name in OPTIONAL_ARRAYS:
        path = shards / f"{number:06}.{name}.npy"
        arrays[name] = np.load(path, allow_pickle=False) if path.exists() else None
    embeddings = np.load(shards / f"{number:06}.npy", allow_pickle=False)
    return Shard(embeddings, parts=load_shard_parts(shards, number), damage=load_damage(shards, number), **arrays)


def load_damage(shards: Path, number: int) -> dict[int, str]:
    """Read `Shard.damage` of one shard."""
    path = shards / f"{number:06}.damage.json"
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def shard_count(total: int) -> int:
    """Number of shards for `total` records."""
    return -(-total // SHARD_ROWS)


def make_shard(outcomes: list[StoredImage | str], dimension: int) -> tuple[Shard, dict[int, str]]:
    """The images as arrays, and the reasons for rejecting the others, by position."""
    reasons = {position: reason for position, reason in enumerate(outcomes) if isinstance(reason, str)}
    images = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    patches = [image.patches for image in images if image.patches is not None]
    none = make_parts(np.empty(0, np.int64), np.empty((0, dimension), np.float32), np.empty((0, 4), np.float32))
    parts = [none, *(image.parts for image in images)]
    shard = Shard(
        np.array([image.embedding for image in images], np.float32).reshape(-1, dimension),
        np.stack(patches) if patches else None,
        ShardParts(*(np.concatenate([getattr(one, field.name) for one in parts]) for field in fields(ShardParts))),
        np.array([image.place for image in images], np.float32).reshape(-1, 5),
        np.frombuffer(b"".join(image.digest for image in images), np.uint8).reshape(-1, DIGEST_BYTES),
        {
            position: outcome.damage
            for position, outcome in enumerate(outcomes)
            if isinstance(outcome, StoredImage) and outcome.damage is not None
        },
    )
    return shard, reasons


def make_parts(counts: NDArray[np.int64], embeddings: Floats, boxes: Floats) -> ShardParts:
    """The parts of some images, as they are stored.

    Args:
        counts: (m,) int64: the number of parts of each image.
        embeddings: (p, d) float32, of any length.
        boxes: (p, 4) float32, as `embed.describe.Parts.boxes`.
    """
    return ShardParts(counts.astype(np.int32), shorten(embeddings), np.rint(boxes * BOX_STEPS).astype(np.uint16))


def write_shard(shards: Path, number: int, shard: Shard, reasons: dict[int, str]) -> None:
    """Write one shard; `reasons` are the reasons for its rejects, by position."""
    with replacing(shards / f"{number:06}.json") as file:
        file.write(json.dumps(list(reasons.items()), ensure_ascii=False).encode())
    if shard.damage:
        with replacing(shards / f"{number:06}.damage.json") as file:
            file.write(json.dumps(list(shard.damage.items()), ensure_ascii=False).encode())
    parts = {} if shard.parts is None else asdict(shard.parts)
    arrays = {name: getattr(shard, name) for name in OPTIONAL_ARRAYS} | {f"part_{name}": parts[name] for name in parts}
    for name, array in arrays.items():
        if array is not None:
            with replacing(shards / f"{number:06}.{name}.npy") as file:
                np.save(file, array, allow_pickle=False)
    with replacing(shards / f"{number:06}.npy") as file:
        np.save(file, shard.embeddings, allow_pickle=False)
