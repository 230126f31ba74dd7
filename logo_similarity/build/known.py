"""What a new version takes over from the live one: its rows, and the descriptions and words of its images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from logo_similarity.build.embeddings import FILE_DIGESTS
from logo_similarity.build.shards import SHARD_ROWS
from logo_similarity.build.texts import write_texts
from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.updates import UpdateRow, logo_row, read_updates
from logo_similarity.description import DIGEST_BYTES
from logo_similarity.domain import Logo

BATCH = 1_000
UNREAD = bytes(DIGEST_BYTES)
"""Stands for the digest of an image that has to be read."""


def version_rows(metadata: Metadata, updates: Path | None) -> Iterator[UpdateRow]:
    """The rows of a version that decide what further rows lead to.

    Args:
        metadata: of the version.
        updates: its `updates.sqlite`; None: it has none.
    """
    with_rows: set[str] = set()
    for row in () if updates is None else read_updates(updates):
        with_rows.add(row.logo_id)
        yield row
    for logo in version_logos(metadata):
        if logo.logo_id not in with_rows:
            yield logo_row(logo)


def version_logos(metadata: Metadata) -> Iterator[Logo]:
    """All logos of a version."""
    count = metadata.count()
    for start in range(0, count, BATCH):
        yield from metadata.fetch(list(range(start, min(start + BATCH, count))))


class KnownWriter:
    """Writes, beside the records of a build, the digests of the images that it need not read, and the words in them."""

    def __init__(self, work: Path, texts: str) -> None:
        """Write nothing yet; `texts` is the name of the folder of words in `work`."""
        self._digests = replacing(work / FILE_DIGESTS)
        self._texts = work / texts
        self._shard: dict[str, str] = {}
        self._records = 0
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self._file = self._digests.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write_texts()
        self._digests.__exit__(kind, error, trace)

    def add(self, logo_id: str, digest: bytes | None, text: str | None) -> None:
        """Add the next record.

        Args:
            logo_id: its id.
            digest: sha256 of its image file; None: it has to be read.
            text: the words that were read in its image; None: none are known.
        """
        self._file.write(UNREAD if digest is None else digest)
        if text is not None:
            self._shard[logo_id] = text
        self._records += 1
        if self._records % SHARD_ROWS == 0:
            self._write_texts()

    def _write_texts(self) -> None:
        if self._shard:
            self._texts.mkdir(exist_ok=True)
            write_texts(self._texts, (self._records - 1) // SHARD_ROWS, self._shard)
            self._shard = {}
