"""The long part of a build: every image decoded and encoded, on all cores, in shards that survive a kill."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.records import read_records
from logo_similarity.domain import Record, Reject
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import BadImageError
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.search.index import FloatArray

SHARD_ROWS = 1_024
# Records that one thread takes at a time: enough to make the hand-over cheap, few enough to keep all threads busy.
TASK_ROWS = 16
# Shards being worked on at once, so that no thread waits while the last images of a shard are finished.
SHARDS_AHEAD = 2


def embed_records(
    records: Path,
    total: int,
    images: Path,
    shards: Path,
    encoder: Encoder,
    *,
    threads: int,
    limits: ImageLimits,
    on_rows: Callable[[int], None] = lambda _: None,
) -> None:
    """Embed the records of a file that has no shard yet.

    A shard is two files: `<number>.json`, the rejects of its records as `[position in the shard, reason]`, and
    `<number>.npy`, the embeddings of the others, (m, dimension) float32 in order. The second one is renamed into place
    last, so a shard is there or it is not.

    Args:
        records: the file that `write_records` made.
        total: how many records it has.
        images: the folder that their filenames are relative to.
        shards: the folder to fill.
        encoder: gives the embeddings; called from `threads` threads at once.
        threads: how many images are worked on at a time.
        limits: an image past them is a reject.
        on_rows: gets the number of records done, those of earlier runs included.
    """
    shards.mkdir(exist_ok=True)
    done = 0
    pending: deque[tuple[int, list[Future[list[FloatArray | str]]]]] = deque()

    def finish_oldest() -> int:
        number, tasks = pending.popleft()
        outcomes = [outcome for task in tasks for outcome in task.result()]
        _write_shard(shards, number, outcomes, encoder.dimension)
        return len(outcomes)

    def work(batch: list[Record]) -> list[FloatArray | str]:
        return [_embed(images / record.filename, encoder, limits) for record in batch]

    with ThreadPoolExecutor(threads, "embed") as pool:
        try:
            for number in range(shard_count(total)):
                rows = min(SHARD_ROWS, total - number * SHARD_ROWS)
                if (shards / f"{number:06}.npy").exists():
                    done += rows
                    on_rows(done)
                    continue
                # One pass over the file for each shard would be quadratic: keep the reader where it is.
                if not pending or number != pending[-1][0] + 1:
                    reader = read_records(records, number * SHARD_ROWS)
                batch = list(islice(reader, rows))
                pending.append(
                    (number, [pool.submit(work, batch[i : i + TASK_ROWS]) for i in range(0, len(batch), TASK_ROWS)])
                )
                if len(pending) == SHARDS_AHEAD:
                    done += finish_oldest()
                    on_rows(done)
            while pending:
                done += finish_oldest()
                on_rows(done)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def read_shards(shards: Path, total: int, records: Path) -> Iterator[tuple[list[Record], FloatArray, list[Reject]]]:
    """Shard by shard: the records that have an embedding, their embeddings (m, d) float32, and the rejects."""
    reader = read_records(records)
    for number in range(shard_count(total)):
        embeddings: FloatArray = np.load(shards / f"{number:06}.npy", allow_pickle=False)
        refused = dict(json.loads((shards / f"{number:06}.json").read_bytes()))
        rows = list(islice(reader, SHARD_ROWS))
        kept = [record for position, record in enumerate(rows) if position not in refused]
        yield kept, embeddings, [Reject(rows[position].filename, reason) for position, reason in refused.items()]


def shard_count(total: int) -> int:
    """Number of shards for `total` records."""
    return -(-total // SHARD_ROWS)


def _embed(path: Path, encoder: Encoder, limits: ImageLimits) -> FloatArray | str:
    """The embedding of one image file, (d,) float32, or why there is none."""
    try:
        if path.stat().st_size > limits.max_bytes:
            return f"the file has more than {limits.max_bytes} bytes"
        image: NDArray[np.uint8] = decode(path.read_bytes(), limits)
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    except BadImageError as error:
        return str(error)
    # One image at a time, as a query is: a batch would gain nothing on a core, and might round differently.
    return np.asarray(encoder.encode([image])[0])


def _write_shard(shards: Path, number: int, outcomes: list[FloatArray | str], dimension: int) -> None:
    refused = [[position, reason] for position, reason in enumerate(outcomes) if isinstance(reason, str)]
    embeddings = [embedding for embedding in outcomes if not isinstance(embedding, str)]
    with replacing(shards / f"{number:06}.json") as file:
        file.write(json.dumps(refused, ensure_ascii=False).encode())
    with replacing(shards / f"{number:06}.npy") as file:
        np.save(file, np.array(embeddings, dtype=np.float32).reshape(-1, dimension), allow_pickle=False)
