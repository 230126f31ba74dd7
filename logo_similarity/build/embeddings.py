"""The longest stage of a build: decode and encode every image, in shards that can be resumed."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from logo_similarity.build.records import read_records, reject_of
from logo_similarity.build.reuse import StoredImages
from logo_similarity.build.shards import (
    SHARD_ROWS,
    StoredImage,
    load_damage,
    make_shard,
    shard_count,
    write_shard,
)
from logo_similarity.description import DIGEST_BYTES
from logo_similarity.domain import Reject
from logo_similarity.embed.describe import describe_with_parts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import BadImageError
from logo_similarity.fields import Record
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits, Pixels
from logo_similarity.image.files import ImageFiles
from logo_similarity.opening import Digests

FILE_DIGESTS = "file-digests.bin"
"""Beside the records: for each, the sha256 of its image file, 32 bytes, or zeros if it has to be read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the records of a shard."""

    indexed: list[Record]
    unread: list[tuple[Record, str]]
    """The others, with the reason why they have no embedding."""
    damaged: list[Reject]
    """Those of the indexed records whose image is damaged, with the damage as the reason."""


class Embedder(Protocol):
    """Computes what a build stores of its images: in this process, or on other machines."""

    threads: int
    """Number of batches in progress at once."""
    batch_rows: int
    """Most records of a batch."""

    def embed(self, names: Sequence[str], digests: Sequence[bytes | None]) -> list[StoredImage | str]:
        """The stored form of each image, or the reason for rejecting it. Called from `threads` threads at once.

        Args:
            names: of the image files.
            digests: sha256 of each; None: not known.
        """
        ...

    def stop(self) -> None:
        """End the calls in progress soon; their results are not needed."""
        ...


def embed_records(
    records: Path,
    total: int,
    shards: Path,
    dimension: int,
    embedder: Embedder,
    on_rows: Callable[[int], None] = lambda _: None,
) -> None:
    """Embed all records and write them in shards; existing shards are kept.

    A shard consists of `<number>.json`, its rejects as `[position in the shard, reason]`; `<number>.damage.json`, its
    damaged images in the same form, if it has any; `<number>.npy`, the
    embeddings of the other records, (m, dimension) float32 in order; and if the encoder has patches,
    `<number>.patches.npy`, (m, cells, channels) int8. `<number>.places.npy` has the places of the images,
    `<number>.digests.npy` the digests of their files, and `<number>.part_counts.npy`, `<number>.part_embeddings.npy`
    and `<number>.part_boxes.npy` have the fields of `ShardParts`. The embeddings are written last: they mark the shard
    as complete. No file depends on the embedder.

    Args:
        records: file written by `write_records`.
        total: number of its records.
        shards: the folder to fill.
        dimension: of the embeddings.
        embedder: computes what the shards contain.
        on_rows: called with the number of records done, including those of earlier runs.
    """
    shards.mkdir(exist_ok=True)
    done = 0
    pending: deque[tuple[int, list[Future[list[StoredImage | str]]]]] = deque()
    # Enough that no thread waits for the last images of a shard.
    shards_ahead = 1 + math.ceil(embedder.threads * embedder.batch_rows / SHARD_ROWS)

    def finish_oldest() -> int:
        number, tasks = pending.popleft()
        outcomes = [outcome for task in tasks for outcome in task.result()]
        write_shard(shards, number, *make_shard(outcomes, dimension))
        return len(outcomes)

    digests = records.with_name(FILE_DIGESTS)
    digest_of = _read_digests(digests) if total and digests.exists() else lambda _: None

    def work(batch: list[Record], first: int) -> list[StoredImage | str]:
        return embedder.embed(
            [record.filename for record in batch], [digest_of(first + place) for place in range(len(batch))]
        )

    with ThreadPoolExecutor(embedder.threads, "embed") as pool:
        try:
            for number in range(shard_count(total)):
                rows = min(SHARD_ROWS, total - number * SHARD_ROWS)
                if (shards / f"{number:06}.npy").exists():
                    done += rows
                    on_rows(done)
                    continue
                # Continue with the open reader: starting over for each shard would take quadratic time.
                if not pending or number != pending[-1][0] + 1:
                    reader = read_records(records, number * SHARD_ROWS)
                batch = list(islice(reader, rows))
                first = number * SHARD_ROWS
                starts = range(0, len(batch), embedder.batch_rows)
                tasks = [pool.submit(work, batch[i : i + embedder.batch_rows], first + i) for i in starts]
                pending.append((number, tasks))
                if len(pending) == shards_ahead:
                    done += finish_oldest()
                    on_rows(done)
            while pending:
                done += finish_oldest()
                on_rows(done)
        except BaseException:
            embedder.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class LocalEmbedder:
    """Reads and embeds images in threads of this process, each one image at a time: see `Embedder`."""

    batch_rows = 16
    """Enough to make the overhead of a task negligible, few enough to keep all threads busy."""

    def __init__(
        self,
        images: ImageFiles,
        encoder: Encoder,
        *,
        threads: int,
        limits: ImageLimits,
        known: StoredImages | None = None,
    ) -> None:
        """Prepare it.

        Args:
            images: where the files are.
            encoder: called from `threads` threads at once.
            threads: number of images in progress at once.
            limits: an image beyond them is a reject.
            known: images that need not be embedded again; None: there are none.
        """
        self.threads = threads
        self._images = images
        self._encoder = encoder
        self._known = known
        self._decoder = Decoder(limits)

    def embed(self, names: Sequence[str], digests: Sequence[bytes | None]) -> list[StoredImage | str]:
        """See `Embedder.embed`. A file with a known digest is not read."""
        return [self._embed(name, digest) for name, digest in zip(names, digests, strict=True)]

    def stop(self) -> None:
        """Nothing: the calls in progress take less than a second."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def _embed(self, name: str, digest: bytes | None) -> StoredImage | str:
        if self._known is not None and digest is not None and (stored := self._known.find(digest)) is not None:
            return stored
        try:
            content = self._images.read(name, self._decoder.limits.max_bytes)
            digest = sha256(content).digest()
            if self._known is not None and (stored := self._known.find(digest)) is not None:
                return stored
            return describe_file(content, self._encoder, self._decoder)
        except BadImageError as error:
            return str(error)


def describe_file(content: bytes, encoder: Encoder, decoder: Decoder) -> StoredImage:
    """The stored form of an image file. Raises BadImageError if it cannot be decoded."""
    damage: list[str] = []
    pixels = decoder.decode(content, damage.append)
    return describe_image(sha256(content).digest(), pixels, encoder, next(iter(damage), None))


def describe_image(digest: bytes, pixels: Pixels, encoder: Encoder, damage: str | None) -> StoredImage:
    """The stored form of the pixels of an image file with this sha256."""
    return StoredImage.of(digest, describe_with_parts(pixels, encoder), damage)


def read_outcomes(shards: Path, total: int, records: Path) -> Iterator[Outcome]:
    """The outcome of each shard."""
    reader = read_records(records)
    for number in range(shard_count(total)):
        reasons = dict(json.loads((shards / f"{number:06}.json").read_bytes()))
        batch = list(islice(reader, SHARD_ROWS))
        indexed = [record for position, record in enumerate(batch) if position not in reasons]
        damage = load_damage(shards, number)
        yield Outcome(
            indexed,
            [(batch[position], reason) for position, reason in reasons.items()],
            [reject_of(batch[position], text) for position, text in damage.items()],
        )


def _read_digests(path: Path) -> Callable[[int], bytes | None]:
    """The digests in a file: the one at a place, or None if the image has to be read."""
    digests: Digests = np.memmap(path, np.uint8, "r").view(np.ndarray).reshape(-1, DIGEST_BYTES)
    return lambda place: digests[place].tobytes() if digests[place].any() else None
