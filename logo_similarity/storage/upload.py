"""Bring a folder of images into the bucket: in parallel, and only what is not there yet."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logo_similarity.errors import SourceError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logo_similarity.storage.s3 import S3Service

LARGEST_FILE = 100_000_000
"""Bytes. A larger file is not sent: each one that is under way lies in memory."""

KEPT_FAILURES = 100
"""Failures that a summary describes; the others are only counted."""

GIVE_UP_AFTER = 50
"""Refused or unanswered files in a row after which the store, and not the files, is at fault."""


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far an upload is, in files, and in bytes sent so far."""

    total: int
    uploaded: int
    skipped: int
    failed: int
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class UploadFailure:
    """A file that was not sent, and why."""

    filename: str
    reason: str


@dataclass(frozen=True, slots=True)
class UploadSummary:
    """The end of an upload; `failures` describes the first `KEPT_FAILURES` of the `failed` files."""

    uploaded: int
    skipped: int
    failed: int
    bytes_sent: int
    failures: tuple[UploadFailure, ...]


async def upload_folder(
    service: S3Service, folder: Path, *, concurrency: int, on_progress: Callable[[UploadProgress], None]
) -> UploadSummary:
    """Send every image below `folder`, each under its path relative to it, at most `concurrency` at a time.

    A file whose name and size the bucket already has is skipped, so an upload that was stopped goes on where it was. A
    file that can't be sent is counted and does not stop the others. `on_progress` is called after each file.

    Raises:
        SourceError: the folder can't be read.
        StoreError: the bucket can't be listed, or it refused `GIVE_UP_AFTER` files in a row.
    """
    if not await asyncio.to_thread(folder.is_dir):
        raise SourceError(f"{folder} is not a folder")
    present = {stored.filename: stored.size async for stored in service.list_objects()}
    total = await asyncio.to_thread(lambda: sum(1 for _ in _walk(folder)))
    upload = _Upload(service, folder, present, total, on_progress)
    found = _walk(folder)
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(upload.send_all(found))
    return upload.summary()


@dataclass(frozen=True, slots=True)
class _Found:
    """A file on disk, its size in bytes, and why it can't be sent, if so."""

    path: Path
    size: int
    problem: str | None


class _Upload:
    """The counts of one upload, shared by its tasks."""

    def __init__(
        self,
        service: S3Service,
        folder: Path,
        present: dict[str, int],
        total: int,
        on_progress: Callable[[UploadProgress], None],
    ) -> None:
        self._service = service
        self._folder = folder
        self._present = present
        self._total = total
        self._on_progress = on_progress
        self._uploaded = self._skipped = self._failed = self._bytes_sent = 0
        self._failures: list[UploadFailure] = []
        self._refused_in_a_row = 0
        self._given_up: StoreError | None = None

    async def send_all(self, found: Iterator[_Found]) -> None:
        """Send files until there are none. All tasks draw from the one iterator, so nothing waits in memory."""
        for file in found:
            if self._given_up is not None:
                return
            filename = file.path.relative_to(self._folder).as_posix()
            try:
                await self._send(file, filename)
            except OSError as error:
                self._fail(filename, error.strerror or str(error))
            except StoreError as error:
                self._fail(filename, str(error))
                self._refused_in_a_row += 1
                if self._refused_in_a_row >= GIVE_UP_AFTER:
                    self._given_up = error
            self._on_progress(
                UploadProgress(self._total, self._uploaded, self._skipped, self._failed, self._bytes_sent)
            )

    def summary(self) -> UploadSummary:
        """The result; raises StoreError when the upload was given up."""
        if self._given_up is not None:
            raise StoreError(
                f"gave up after {GIVE_UP_AFTER} files in a row were not accepted ({self._uploaded} uploaded before): "
                f"{self._given_up}"
            ) from self._given_up
        return UploadSummary(self._uploaded, self._skipped, self._failed, self._bytes_sent, tuple(self._failures))

    async def _send(self, file: _Found, filename: str) -> None:
        if file.problem is not None:
            self._fail(filename, file.problem)
            return
        if self._present.get(filename) == file.size:
            self._skipped += 1
            return
        data = await asyncio.to_thread(file.path.read_bytes)
        content_type = _content_type(data, file.path.suffix.lower())
        if content_type is None:
            self._fail(filename, "not an image of a known format")
            return
        await self._service.put(filename, data, content_type=content_type)
        self._refused_in_a_row = 0
        self._uploaded += 1
        self._bytes_sent += len(data)

    def _fail(self, filename: str, reason: str) -> None:
        self._failed += 1
        if len(self._failures) < KEPT_FAILURES:
            self._failures.append(UploadFailure(filename, reason))


def _walk(folder: Path) -> Iterator[_Found]:
    """Everything below a folder that is not itself a folder, as the file system gives it: nothing is collected.

    A folder that can't be opened comes out too, so that it is reported instead of silently left out.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            entries = os.scandir(current)
        except OSError as error:
            yield _Found(current, 0, error.strerror)
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield _look_at(entry)


def _look_at(entry: os.DirEntry[str]) -> _Found:
    try:
        info = entry.stat()
    except OSError as error:
        return _Found(Path(entry.path), 0, error.strerror)
    if not stat.S_ISREG(info.st_mode):
        return _Found(Path(entry.path), 0, "not a file; links to folders are not followed")
    if info.st_size > LARGEST_FILE:
        return _Found(Path(entry.path), info.st_size, f"larger than {LARGEST_FILE:,} bytes")
    return _Found(Path(entry.path), info.st_size, None)


def _content_type(data: bytes, suffix: str) -> str | None:
    """By the first bytes; SVG, which is text, by the name."""
    for magic, content_type in _MAGIC:
        if data.startswith(magic):
            return content_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return "image/svg+xml" if suffix == ".svg" else None


_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
