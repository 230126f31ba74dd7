"""A stage of a build: the words in the images of logos without text, read in shards that can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from logo_similarity.build.records import read_records
from logo_similarity.build.shards import SHARD_ROWS, shard_count
from logo_similarity.catalog.files import replacing
from logo_similarity.embed.text import thread_reader
from logo_similarity.errors import BadImageError
from logo_similarity.fields import Record
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import ImageFiles


def read_texts(
    records: Path,
    total: int,
    images: ImageFiles,
    texts: Path,
    *,
    threads: int,
    limits: ImageLimits,
    on_rows: Callable[[int], None] = lambda _: None,
) -> None:
    """Read the words in the image of each record without text, and write them in shards; existing shards are kept.

    A shard is `<number>.json`, the words by the id of the logo. An image that cannot be decoded has none.

    Args:
        records: file written by `write_records`.
        total: number of its records.
        images: the images that they name.
        texts: the folder to fill.
        threads: number of images in progress at once.
        limits: an image beyond them is not read.
        on_rows: called with the number of records done, including those of earlier runs.

    Raises:
        InvalidRequestError: RapidOCR is not installed.
    """
    texts.mkdir(exist_ok=True)
    reader = read_records(records)
    with Decoder(limits) as decoder, ThreadPoolExecutor(threads, "read") as pool:
        for number in range(shard_count(total)):
            batch = list(islice(reader, SHARD_ROWS))
            if not (texts / _name(number)).exists():
                found = pool.map(lambda record: _read(images, record, decoder), batch)
                words = {record.logo_id: text for record, text in zip(batch, found, strict=True) if text is not None}
                write_texts(texts, number, words)
            on_rows(number * SHARD_ROWS + len(batch))


def write_texts(texts: Path, number: int, words: Mapping[str, str]) -> None:
    """Write the words of one shard by the id of the logo."""
    with replacing(texts / _name(number)) as file:
        file.write(json.dumps(words, ensure_ascii=False).encode())


def load_texts(texts: Path, number: int) -> dict[str, str]:
    """The words of one shard by the id of the logo; empty if no images were read."""
    path = texts / _name(number)
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def _name(number: int) -> str:
    return f"{number:06}.json"


def _read(images: ImageFiles, record: Record, decoder: Decoder) -> str | None:
    if record.text is not None:
        return None
    try:
        pixels = decoder.decode(images.read(record.filename, decoder.limits.max_bytes))
    except BadImageError:
        return None  # the stage before has rejected it, with the reason
    return thread_reader().read(pixels)
