"""Precomputed embeddings: a build uses them instead of encoding the images."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.build.records import read_records
from logo_similarity.build.shards import SHARD_ROWS, Shard, ShardParts, make_parts, shard_count, write_shard
from logo_similarity.catalog.files import sha256_file
from logo_similarity.embed.describe import Floats, Patches, describe
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.parts import MOST_PARTS
from logo_similarity.errors import BadImageError, BuildError, SourceError
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import ImageFiles
from logo_similarity.search.parts import DIMENSIONS, SHORTEST
from logo_similarity.wording import counted

IDS, EMBEDDINGS, CELLS = "ids.txt", "embeddings.npy", "patches.npy"
PART_COUNTS, PART_EMBEDDINGS, PART_BOXES = PARTS = "part_counts.npy", "part_embeddings.npy", "part_boxes.npy"
CHECKED_IMAGES = 8
ALIKE = 0.98
"""Smallest cosine of a precomputed embedding and that of the encoder. The rounding of another processor stays above it,
another model stays below."""
NO_EMBEDDING = "no precomputed embedding for its id"
BAD_EMBEDDING = "its precomputed embedding is zero or not finite"


@dataclass(frozen=True, slots=True)
class PrecomputedEmbeddings:
    """A folder of embeddings.

    `ids.txt` has one logo id per line, in the order of the rows of the arrays. `embeddings.npy` is (n, d) float32, of
    any length above 0. `patches.npy` is optional, (n, cells, channels) int8 as from `embed.describe.quantize_patches`.
    Optional, too, are the parts of each image, in order: `part_counts.npy`, (n,) int32, their number;
    `part_embeddings.npy`, (p, d) float32; and `part_boxes.npy`, (p, 4) float32, as `embed.describe.Parts.boxes`.
    """

    folder: Path
    rows: dict[str, int]
    """Row of each logo id."""
    embeddings: Floats
    patches: Patches | None
    """None: the file is missing, or the encoder does not use patches."""
    parts: _Parts | None
    """None: the files are missing."""

    @classmethod
    def open(cls, folder: Path, encoder: Encoder) -> PrecomputedEmbeddings:
        """Map the files into memory.

        Raises:
            SourceError: a file cannot be read, an array has the wrong shape or dtype, or an id occurs more than once.
        """
        try:
            lines = (folder / IDS).read_text(encoding="utf-8-sig").splitlines()
            ids = [unicodedata.normalize("NFC", line.strip()) for line in lines]  # as the ids of a catalog
            embeddings = np.load(folder / EMBEDDINGS, mmap_mode="r", allow_pickle=False)
            has_patches = encoder.has_patches and (folder / CELLS).exists()
            patches = np.load(folder / CELLS, mmap_mode="r", allow_pickle=False) if has_patches else None
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{folder} is not a folder of precomputed embeddings ({IDS} and {EMBEDDINGS}): {error}"
            ) from None
        if embeddings.dtype != np.float32 or embeddings.shape != (len(ids), encoder.dimension):
            raise SourceError(
                f"{folder / EMBEDDINGS} is {embeddings.dtype} {embeddings.shape}; for {counted(len(ids), 'id')} and the encoder "
                f"{encoder.model.id} it must be float32 ({len(ids)}, {encoder.dimension})"
            )
        if patches is not None and (patches.dtype != np.int8 or patches.ndim != 3 or len(patches) != len(ids)):
            raise SourceError(
                f"{folder / CELLS} is {patches.dtype} {patches.shape}; it must be int8 ({len(ids)}, cells, channels)"
            )
        rows = {logo_id: row for row, logo_id in enumerate(ids)}
        if len(rows) < len(ids):
            duplicate = next(logo_id for row, logo_id in enumerate(ids) if rows[logo_id] != row)
            raise SourceError(f"{folder / IDS}: {duplicate!r} occurs more than once")
        return cls(folder, rows, embeddings, patches, _Parts.open(folder, len(ids), encoder.dimension))

    def digests(self) -> tuple[str, ...]:
        """Sha256 of each file that exists."""
        return tuple(
            sha256_file(path) for name in (IDS, EMBEDDINGS, CELLS, *PARTS) if (path := self.folder / name).exists()
        )

    def check(self, records: Path, images: ImageFiles, encoder: Encoder, limits: ImageLimits) -> None:
        """Compare the embeddings of up to `CHECKED_IMAGES` images with those that the encoder computes.

        Args:
            records: file written by `write_records`.
            images: the images that they name; missing ones are skipped.
            encoder: the encoder of the catalog.
            limits: images beyond them are skipped.

        Raises:
            BuildError: an embedding differs: another encoder computed it.
        """
        with Decoder(limits) as decoder:
            self._check(records, images, encoder, decoder)

    def _check(self, records: Path, images: ImageFiles, encoder: Encoder, decoder: Decoder) -> None:
        candidates = (
            record
            for record in read_records(records)
            if record.logo_id in self.rows and images.size(record.filename) is not None
        )
        for record in islice(candidates, CHECKED_IMAGES):
            try:
                content = images.read(record.filename, decoder.limits.max_bytes)
                expected = describe(decoder.decode(content), encoder).embedding
            except BadImageError:
                continue
            embedding = self.embeddings[self.rows[record.logo_id]]
            if not float(expected @ embedding) >= ALIKE * float(np.linalg.norm(embedding)):
                raise BuildError(
                    f"{self.folder}: the embedding of {record.logo_id} differs from the one that {encoder.model.id} "
                    f"computes for {record.filename}; use --model with the encoder that computed the embeddings"
                )

    def write_shards(self, records: Path, total: int, shards: Path, on_rows: Callable[[int], None]) -> None:
        """Write the shards that `embed_records` would write; a record without an embedding becomes a reject.

        Args:
            records: file written by `write_records`.
            total: number of its records.
            shards: the folder to fill.
            on_rows: called with the number of records done.
        """
        shards.mkdir(exist_ok=True)
        reader = read_records(records)
        for number in range(shard_count(total)):
            batch = list(islice(reader, SHARD_ROWS))
            if not (shards / f"{number:06}.npy").exists():
                write_shard(shards, number, *self._shard([record.logo_id for record in batch]))
            on_rows(min((number + 1) * SHARD_ROWS, total))

    def _shard(self, logo_ids: list[str]) -> tuple[Shard, dict[int, str]]:
        """The shard of a batch of records, and the reasons for its rejects, by position."""
        reasons = {position: NO_EMBEDDING for position, logo_id in enumerate(logo_ids) if logo_id not in self.rows}
        positions = [position for position in range(len(logo_ids)) if position not in reasons]
        rows = np.array([self.rows[logo_ids[position]] for position in positions], np.int64)
        embeddings = self.embeddings[rows]
        lengths = np.linalg.norm(embeddings, axis=1)
        valid = np.isfinite(lengths) & (lengths > 1e-6)
        reasons |= {
            position: BAD_EMBEDDING for position, is_valid in zip(positions, valid, strict=True) if not is_valid
        }
        normalised = np.asarray(embeddings[valid] / lengths[valid, np.newaxis], np.float32)
        patches = None if self.patches is None else self.patches[rows[valid]]
        parts = None if self.parts is None else self.parts.of_rows(rows[valid])
        return Shard(normalised, patches, parts), dict(sorted(reasons.items()))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts in a folder of embeddings. Those of row i are from `offsets[i]` up to `offsets[i + 1]`."""

    offsets: NDArray[np.int64]
    embeddings: Floats
    boxes: Floats

    @classmethod
    def open(cls, folder: Path, count: int, dimension: int) -> Self | None:
        """Map the files into memory; None if none of them exists. Raises SourceError if they are not valid."""
        if not any((folder / name).exists() for name in PARTS):
            return None
        try:
            counts, embeddings, boxes = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in PARTS)
        except (OSError, ValueError) as error:
            raise SourceError(f"{folder}: the parts ({', '.join(PARTS)}) cannot be read: {error}") from None
        if counts.dtype != np.int32 or counts.shape != (count,) or (counts < 0).any() or (counts > MOST_PARTS).any():
            raise SourceError(
                f"{folder / PART_COUNTS}: must be int32 ({count},) with numbers from 0 to {MOST_PARTS}, one for each id"
            )
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        for name, array, columns in ((PART_EMBEDDINGS, embeddings, dimension), (PART_BOXES, boxes, 4)):
            if array.dtype != np.float32 or array.shape != (offsets[-1], columns):
                raise SourceError(
                    f"{folder / name} is {array.dtype} {array.shape}; for {counted(int(offsets[-1]), 'part')} it must be "
                    f"float32 ({offsets[-1]}, {columns})"
                )
        return cls(offsets, embeddings, boxes)

    def of_rows(self, rows: NDArray[np.int64]) -> ShardParts:
        """The parts of some rows. A part without a valid embedding and box is left out."""
        counts = self.offsets[rows + 1] - self.offsets[rows]
        places = np.repeat(self.offsets[rows] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        embeddings, boxes = self.embeddings[places], self.boxes[places]
        lengths = np.linalg.norm(embeddings[:, :DIMENSIONS], axis=1)
        valid = np.isfinite(lengths) & (lengths > SHORTEST) & ((boxes >= 0) & (boxes <= 1)).all(axis=1)
        owners = np.repeat(np.arange(len(rows)), counts)[valid]
        return make_parts(np.bincount(owners, minlength=len(rows)), embeddings[valid], boxes[valid])
