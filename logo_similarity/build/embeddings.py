"""The longest stage of a build: decode and encode every image, on all cores, in shards that can be resumed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from logo_similarity.build.records import read_records, reject_of
from logo_similarity.catalog.files import replacing
from logo_similarity.description import Description
from logo_similarity.domain import Reject
from logo_similarity.embed.describe import Floats, Patches, describe, describe_parts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import BadImageError
from logo_similarity.fields import Record
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.search.part_index import BOX_STEPS, BoxSteps
from logo_similarity.search.parts import shorten
from logo_similarity.search.rows import Numbers

SHARD_ROWS = 1_024
TASK_ROWS = 16
"""Records per task: enough to make the overhead of a task negligible, few enough to keep all threads busy."""
SHARDS_AHEAD = 2
"""Shards in progress at once, so that no thread waits for the last images of a shard."""


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
    damage: Mapping[int, str] = field(default_factory=dict)
    """What is wrong with damaged images, by the position of their record among those of the shard, rejects included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the records of a shard."""

    indexed: list[Record]
    rejects: list[Reject]
    damaged: list[Reject]
    """Those of the indexed records whose image is damaged, with the damage as the reason."""


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
    """Embed all records and write them in shards; existing shards are kept.

    A shard consists of `<number>.json`, its rejects as `[position in the shard, reason]`; `<number>.damage.json`, its
    damaged images in the same form, if it has any; `<number>.npy`, the
    embeddings of the other records, (m, dimension) float32 in order; and if the encoder has patches,
    `<number>.patches.npy`, (m, cells, channels) int8. `<number>.places.npy` has the places of the images;
    `<number>.part_counts.npy`, `<number>.part_embeddings.npy` and `<number>.part_boxes.npy` have the fields of
    `ShardParts`. The embeddings are written last: they mark the shard as complete.

    Args:
        records: file written by `write_records`.
        total: number of its records.
        images: the folder that their filenames are relative to.
        shards: the folder to fill.
        encoder: called from `threads` threads at once.
        threads: number of images in progress at once.
        limits: an image beyond them is a reject.
        on_rows: called with the number of records done, including those of earlier runs.
    """
    shards.mkdir(exist_ok=True)
    done = 0
    pending: deque[tuple[int, list[Future[list[Description | str]]]]] = deque()

    def finish_oldest() -> int:
        number, tasks = pending.popleft()
        outcomes = [outcome for task in tasks for outcome in task.result()]
        write_shard(shards, number, *_make_shard(outcomes, encoder.dimension))
        return len(outcomes)

    def work(batch: list[Record]) -> list[Description | str]:
        return [_describe_file(images / record.filename, encoder, decoder) for record in batch]

    with Decoder(limits) as decoder, ThreadPoolExecutor(threads, "embed") as pool:
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


def read_outcomes(shards: Path, total: int, records: Path) -> Iterator[Outcome]:
    """The outcome of each shard."""
    reader = read_records(records)
    for number in range(shard_count(total)):
        reasons = dict(json.loads((shards / f"{number:06}.json").read_bytes()))
        batch = list(islice(reader, SHARD_ROWS))
        indexed = [record for position, record in enumerate(batch) if position not in reasons]
        damage = _load_damage(shards, number)
        yield Outcome(
            indexed, *([reject_of(batch[at], text) for at, text in texts.items()] for texts in (reasons, damage))
        )


def load_shard_parts(shards: Path, number: int) -> ShardParts | None:
    """Read the parts of one shard; None: they are not known."""
    paths = [shards / f"{number:06}.part_{field.name}.npy" for field in fields(ShardParts)]
    return ShardParts(*(np.load(path, allow_pickle=False) for path in paths)) if paths[0].exists() else None


def load_shard(shards: Path, number: int) -> Shard:
    """Read the descriptions of one shard."""
    patches, places = (shards / f"{number:06}.{name}.npy" for name in ("patches", "places"))
    return Shard(
        np.load(shards / f"{number:06}.npy", allow_pickle=False),
        np.load(patches, allow_pickle=False) if patches.exists() else None,
        load_shard_parts(shards, number),
        np.load(places, allow_pickle=False) if places.exists() else None,
        _load_damage(shards, number),
    )


def shard_count(total: int) -> int:
    """Number of shards for `total` records."""
    return -(-total // SHARD_ROWS)


def _describe_file(path: Path, encoder: Encoder, decoder: Decoder) -> Description | str:
    """The description of an image file, or the reason why the image is rejected."""
    try:
        if path.stat().st_size > decoder.limits.max_bytes:
            return f"the file has more than {decoder.limits.max_bytes:,} bytes (LOGO_MAX_UPLOAD_BYTES)"
        damage: list[str] = []
        pixels = decoder.decode(path.read_bytes(), damage.append)
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    except BadImageError as error:
        return str(error)
    description = replace(describe(pixels, encoder), parts=describe_parts(pixels, encoder))
    return replace(description, damage=next(iter(damage), None))


def _make_shard(outcomes: list[Description | str], dimension: int) -> tuple[Shard, dict[int, str]]:
    """The descriptions as arrays, and the reasons for rejecting the other images, by position."""
    reasons = {position: reason for position, reason in enumerate(outcomes) if isinstance(reason, str)}
    descriptions = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    embeddings = np.array([description.embedding for description in descriptions], np.float32).reshape(-1, dimension)
    patches = [description.patches for description in descriptions if description.patches is not None]
    parts = [description.parts for description in descriptions if description.parts is not None]
    shard_parts = make_parts(
        np.array([len(one.boxes) for one in parts]),
        np.concatenate([np.empty((0, dimension), np.float32), *(one.embeddings for one in parts)]),
        np.concatenate([np.empty((0, 4), np.float32), *(one.boxes for one in parts)]),
    )
    places = np.array([description.place for description in descriptions], np.float32).reshape(-1, 5)
    damage = {
        position: outcome.damage
        for position, outcome in enumerate(outcomes)
        if isinstance(outcome, Description) and outcome.damage is not None
    }
    return Shard(embeddings, np.stack(patches) if patches else None, shard_parts, places, damage), reasons


def make_parts(counts: NDArray[np.int64], embeddings: Floats, boxes: Floats) -> ShardParts:
    """The parts of some images, as they are stored.

    Args:
        counts: (m,) int64: the number of parts of each image.
        embeddings: (p, d) float32, of any length.
        boxes: (p, 4) float32, as `embed.describe.Parts.boxes`.
    """
    return ShardParts(counts.astype(np.int32), shorten(embeddings), np.rint(boxes * BOX_STEPS).astype(np.uint16))


def _load_damage(shards: Path, number: int) -> dict[int, str]:
    path = shards / f"{number:06}.damage.json"
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def write_shard(shards: Path, number: int, shard: Shard, reasons: dict[int, str]) -> None:
    """Write one shard; `reasons` are the reasons for its rejects, by position."""
    with replacing(shards / f"{number:06}.json") as file:
        file.write(json.dumps(list(reasons.items()), ensure_ascii=False).encode())
    if shard.damage:
        with replacing(shards / f"{number:06}.damage.json") as file:
            file.write(json.dumps(list(shard.damage.items()), ensure_ascii=False).encode())
    parts = {} if shard.parts is None else asdict(shard.parts)
    arrays = {"patches": shard.patches, "places": shard.places, **{f"part_{name}": parts[name] for name in parts}}
    for name, array in arrays.items():
        if array is not None:
            with replacing(shards / f"{number:06}.{name}.npy") as file:
                np.save(file, array, allow_pickle=False)
    with replacing(shards / f"{number:06}.npy") as file:
        np.save(file, shard.embeddings, allow_pickle=False)
