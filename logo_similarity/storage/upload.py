"""Parallel upload of the images in a folder or in ZIP files to the bucket. Files that the bucket already has are skipped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logo_similarity.errors import BadImageError, SourceError, StoreError
from logo_similarity.image.formats import recognise
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logo_similarity.image.files import ImageFiles
    from logo_similarity.image.folder import FolderEntry
    from logo_similarity.storage.s3 import S3Service

LARGEST_FILE = 100_000_000
"""Maximum size of a file in bytes: files are held in memory while they are sent."""

KEPT_FAILURES = 100
"""Maximum number of failures described in a summary; further ones are only counted."""

GIVE_UP_AFTER = 50
"""Number of consecutive failed requests after which the upload ends: the store is at fault, not the files."""


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """Progress of an upload: numbers of files, and bytes sent so far."""

    total: int
    uploaded: int
    skipped: int
    failed: int
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class UploadFailure:
    """A file that was not uploaded, and the reason."""

    filename: str
    reason: str


@dataclass(frozen=True, slots=True)
class UploadSummary:
    """Result of an upload; `failures` describes the first `KEPT_FAILURES` of the `failed` files."""

    uploaded: int
    skipped: int
    failed: int
    bytes_sent: int
    failures: tuple[UploadFailure, ...]


async def upload_images(
    service: S3Service, images: ImageFiles, *, concurrency: int, on_progress: Callable[[UploadProgress], None]
) -> UploadSummary:
    """Upload every image under its name, at most `concurrency` at a time.

    The files and their names are those of a catalog. A file is skipped if the bucket has an object with its name
    and size, so an interrupted upload can be repeated. All other files that are not sent count as failed and do not
    stop the upload. `on_progress` is called after each file.

    Raises:
        SourceError: the folder does not exist.
        StoreError: the bucket cannot be listed, or `GIVE_UP_AFTER` requests in a row failed.
    """
    if not await asyncio.to_thread(images.exists):
        raise SourceError(f"{images}: no such folder or ZIP file")
    present = {entry.filename: entry.size async for entry in service.list_objects()}
    total = await asyncio.to_thread(lambda: sum(1 for _ in images.entries()))
    upload = _Upload(service, images, present, total, on_progress)
    entries = images.entries()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(upload.send_all(entries))
    return upload.summary()


class _Upload:
    """The counts of one upload, shared by its tasks."""

    def __init__(
        self,
        service: S3Service,
        images: ImageFiles,
        present: dict[str, int],
        total: int,
        on_progress: Callable[[UploadProgress], None],
    ) -> None:
        self._service = service
        self._images = images
        self._present = present
        self._total = total
        self._on_progress = on_progress
        self._uploaded = self._skipped = self._failed = self._bytes_sent = 0
        self._failures: list[UploadFailure] = []
        self._refused_in_a_row = 0
        self._abort_error: StoreError | None = None

    async def send_all(self, entries: Iterator[FolderEntry]) -> None:
        """Send files until none are left. All tasks share one iterator, so no files wait in memory."""
        for entry in entries:
            if self._abort_error is not None:
                return
            try:
                await self._send(entry)
            except BadImageError as error:
                self._fail(entry.name, str(error))
            except StoreError as error:
                self._fail(entry.name, str(error))
                self._refused_in_a_row += 1
                if self._refused_in_a_row >= GIVE_UP_AFTER:
                    self._abort_error = error
            self._on_progress(
                UploadProgress(self._total, self._uploaded, self._skipped, self._failed, self._bytes_sent)
            )

    def summary(self) -> UploadSummary:
        """The result. Raises StoreError if the upload was aborted."""
        if self._abort_error is not None:
            raise StoreError(
                f"the store rejected {GIVE_UP_AFTER} files in a row (after {counted(self._uploaded, 'upload')}): "
                f"{self._abort_error}"
            ) from self._abort_error
        return UploadSummary(self._uploaded, self._skipped, self._failed, self._bytes_sent, tuple(self._failures))

    async def _send(self, entry: FolderEntry) -> None:
        if entry.problem is not None:
            self._fail(entry.name, entry.problem)
            return
        size = self._images.size(entry.name)
        if size is None:
            self._fail(entry.name, "the file does not exist any more")
            return
        if size > LARGEST_FILE:
            self._fail(entry.name, f"larger than {LARGEST_FILE:,} bytes")
            return
        if self._present.get(entry.name) == size:
            self._skipped += 1
            return
        data = await asyncio.to_thread(self._images.read, entry.name, LARGEST_FILE)
        await self._service.put(entry.name, data, content_type=_content_type(data, entry.name))
        self._refused_in_a_row = 0
        self._uploaded += 1
        self._bytes_sent += len(data)

    def _fail(self, filename: str, reason: str) -> None:
        self._failed += 1
        if len(self._failures) < KEPT_FAILURES:
            self._failures.append(UploadFailure(filename, reason))


def _content_type(data: bytes, name: str) -> str:
    """The media type, from the first bytes. Raises BadImageError if the file is not an image in an accepted format."""
    try:
        return recognise(data).media_type
    except BadImageError:
        # Browsers display SVG files. A build rejects them, but a catalog with precomputed embeddings may contain them.
        if name.lower().endswith(".svg"):
            return "image/svg+xml"
        raise
