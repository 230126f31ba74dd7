"""Embeddings that were computed elsewhere; a build takes them instead of the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from logo_similarity.build.embeddings import SHARD_ROWS, Shard, shard_count, write_shard
from logo_similarity.build.records import read_records
from logo_similarity.catalog.files import sha256_file
from logo_similarity.embed.describe import Floats, Patches, describe
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import BadImageError, BuildError, SourceError
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits

IDS, EMBEDDINGS, CELLS = "ids.txt", "embeddings.npy", "patches.npy"
CHECKED_IMAGES = 8
ALIKE = 0.98
"""Least cosine between a precomputed embedding and the encoder's own: processors round differently, other models differ more."""
NO_EMBEDDING = "the precomputed embeddings have none for its id"
BAD_EMBEDDING = "its precomputed embedding is zero or not finite"


@dataclass(frozen=True, slots=True)
class PrecomputedEmbeddings:
    """A folder of embeddings: `ids.txt`, one logo id a line, and in the same order the rows of `embeddings.npy`.

    `embeddings.npy` is (n, d) float32 of any length but 0; `patches.npy`, which may be missing, is (n, cells, channels) int8
    as from `embed.describe.quantize_patches`.
    """

    folder: Path
    rows: dict[str, int]
    """From a logo id to its row."""
    embeddings: Floats
    patches: Patches | None

    @classmethod
    def open(cls, folder: Path, encoder: Encoder) -> PrecomputedEmbeddings:
        """Map the files.

        Raises:
            SourceError: a file cannot be read or has another shape or dtype, or an id occurs twice.
        """
        try:
            ids = (folder / IDS).read_text(encoding="utf8").splitlines()
            embeddings = np.load(folder / EMBEDDINGS, mmap_mode="r", allow_pickle=False)
            used = encoder.has_patches and (folder / CELLS).exists()
            patches = np.load(folder / CELLS, mmap_mode="r", allow_pickle=False) if used else None
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{folder} is not a folder of precomputed embeddings ({IDS} and {EMBEDDINGS}): {error}"
            ) from None
        if embeddings.dtype != np.float32 or embeddings.shape != (len(ids), encoder.dimension):
            raise SourceError(
                f"{folder / EMBEDDINGS} is {embeddings.dtype} {embeddings.shape}; for {len(ids)} ids and the encoder "
                f"{encoder.model.id} it must be float32 ({len(ids)}, {encoder.dimension})"
            )
        if patches is not None and (patches.dtype != np.int8 or patches.ndim != 3 or len(patches) != len(ids)):
            raise SourceError(
                f"{folder / CELLS} is {patches.dtype} {patches.shape}; it must be int8 ({len(ids)}, cells, channels)"
            )
        rows = {logo_id: row for row, logo_id in enumerate(ids)}
        if len(rows) < len(ids):
            twice = next(logo_id for row, logo_id in enumerate(ids) if rows[logo_id] != row)
            raise SourceError(f"{folder / IDS}: {twice!r} occurs more than once")
        return cls(folder, rows, embeddings, patches)

    def digests(self) -> tuple[str, ...]:
        """Sha256 of each file."""
        return tuple(sha256_file(path) for name in (IDS, EMBEDDINGS, CELLS) if (path := self.folder / name).exists())

    def check(self, records: Path, images: Path, encoder: Encoder, limits: ImageLimits) -> None:
        """Compare some of them with the encoder's own embeddings, as far as the images are at hand.

        Raises:
            BuildError: another encoder made them.
        """
        with Decoder(limits) as decoder:
            self._check(records, images, encoder, decoder)

    def _check(self, records: Path, images: Path, encoder: Encoder, decoder: Decoder) -> None:
        known = (record for record in read_records(records) if record.logo_id in self.rows)
        for record in islice((record for record in known if (images / record.filename).is_file()), CHECKED_IMAGES):
            try:
                made = describe(decoder.decode((images / record.filename).read_bytes()), encoder).embedding
            except BadImageError:
                continue
            given = self.embeddings[self.rows[record.logo_id]]
            if not float(made @ given) >= ALIKE * float(np.linalg.norm(given)):
                raise BuildError(
                    f"{self.folder}: the embedding of {record.logo_id} differs from that of {encoder.model.id} for "
                    f"{record.filename}; name the encoder that made the embeddings with --model: queries must use the same"
                )

    def write_shards(self, records: Path, total: int, shards: Path, on_rows: Callable[[int], None]) -> None:
        """Write shards as `embed_records` does; a record without an embedding is a reject."""
        shards.mkdir(exist_ok=True)
        reader = read_records(records)
        for number in range(shard_count(total)):
            batch = list(islice(reader, SHARD_ROWS))
            if not (shards / f"{number:06}.npy").exists():
                write_shard(shards, number, *self._shard([record.logo_id for record in batch]))
            on_rows(min((number + 1) * SHARD_ROWS, total))

    def _shard(self, logo_ids: list[str]) -> tuple[Shard, dict[int, str]]:
        refused = {place: NO_EMBEDDING for place, logo_id in enumerate(logo_ids) if logo_id not in self.rows}
        places = [place for place in range(len(logo_ids)) if place not in refused]
        rows = np.array([self.rows[logo_ids[place]] for place in places], np.int64)
        embeddings = self.embeddings[rows]
        lengths = np.linalg.norm(embeddings, axis=1)
        good = np.isfinite(lengths) & (lengths > 1e-6)
        refused |= {place: BAD_EMBEDDING for place, fine in zip(places, good, strict=True) if not fine}
        unit = np.asarray(embeddings[good] / lengths[good, np.newaxis], np.float32)
        return Shard(unit, None if self.patches is None else self.patches[rows[good]]), dict(sorted(refused.items()))
