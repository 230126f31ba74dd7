"""Images in a ZIP file: a small index of its entries, each of which is read within bounds."""

from __future__ import annotations

import os
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from logo_similarity.errors import BadImageError, SourceError
from logo_similarity.image.folder import FileState, FolderEntry, check_size
from logo_similarity.image.zip_directory import (
    LOCAL_HEADER,
    LOCAL_SIGNATURE,
    DamagedZipError,
    Way,
    read_directory,
)

SUFFIX = ".zip"
_REASONS = {
    Way.ENCRYPTED: "it is encrypted",
    Way.UNSUPPORTED: "its compression is not supported; use Deflate",
    Way.REPEATED: "several entries have its name",
}
_PIECE_BYTES = 1 << 16
_DIRECTORY_BUFFER = 1 << 20


class BrokenZipError(SourceError):
    """The directory of a ZIP file cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: cannot be read ({reason})")
        self.reason = reason


class ZipImages:
    """The files in a ZIP file; see `ImageFiles`.

    `zipfile` keeps more than 600 bytes for each entry, and one open file for all readers. Here an entry takes about 110
    bytes, and each reading opens the file, so that threads and processes share nothing.
    """

    def __init__(self, path: Path) -> None:
        """Read the directory.

        Raises:
            BrokenZipError: the file cannot be read, or is not a complete ZIP file.
        """
        self.path = path
        self.unread: list[FolderEntry] = []
        """The entries that are not read, with the reasons."""
        names: list[str] = []
        columns = array("B"), array("q"), array("q"), array("q"), array("I")
        try:
            with path.open("rb", buffering=_DIRECTORY_BUFFER) as file:
                self._version = _version(file)
                for entry in read_directory(file):
                    if entry.problem is not None:
                        self.unread.append(FolderEntry(entry.name, entry.problem))
                        continue
                    names.append(entry.name)
                    numbers = entry.way, entry.offset, entry.packed, entry.size, entry.crc
                    for column, number in zip(columns, numbers, strict=True):
                        column.append(number)
        except OSError as error:
            raise BrokenZipError(path, error.strerror or str(error)) from None
        except DamagedZipError as error:
            raise BrokenZipError(path, f"{error}; fetch it again") from None
        order = sorted(range(len(names)), key=names.__getitem__)
        self._names = [names[place] for place in order]
        self._ways, self._offsets, self._packed, self._sizes, self._crcs = (
            array(column.typecode, (column[place] for place in order)) for column in columns
        )
        for place in range(1, len(order)):
            if self._names[place - 1] == self._names[place]:
                self._ways[place - 1] = self._ways[place] = Way.REPEATED

    def __str__(self) -> str:
        return str(self.path)

    def folder_name(self) -> str:
        """See `ImageFiles.folder_name`."""
        return self.path.resolve().stem

    def exists(self) -> bool:
        """See `ImageFiles.exists`."""
        return self.path.exists()

    def states(self) -> Iterator[FileState]:
        """See `ImageFiles.states`."""
        status = self.path.stat()
        yield FileState(self.path.name, status.st_size, status.st_mtime_ns)

    def archives(self) -> tuple[ZipImages, ...]:
        """This one."""
        return (self,)

    def roots(self) -> tuple[str, ...]:
        """The folder that has all files, if there is one."""
        if not self._names:
            return ()
        shared = os.path.commonpath([name.rpartition("/")[0] for name in (self._names[0], self._names[-1])])
        return (shared,) if shared else ()

    def entries(self) -> Iterator[FolderEntry]:
        """The files in the order of their names, then the entries that are not read."""
        for place, name in enumerate(self._names):
            if place == 0 or self._names[place - 1] != name:
                yield FolderEntry(name)
        yield from self.unread

    def size(self, name: str) -> int | None:
        """See `ImageFiles.size`."""
        place = self._find(name)
        return None if place is None else self._sizes[place]

    def start(self, name: str, size: int) -> bytes:
        """See `ImageFiles.start`."""
        with self._reading(name) as (place, file):
            return self._unpack(place, file, size)

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `ImageFiles.read`. A file whose length or checksum differs from the directory is damaged."""
        with self._reading(name) as (place, file):
            check_size(self._sizes[place], max_bytes)
            content = self._unpack(place, file, self._sizes[place] + 1)
            self._check(place, content)
            return content

    def _find(self, name: str) -> int | None:
        place = bisect_left(self._names, name)
        return place if place < len(self._names) and self._names[place] == name else None

    @contextmanager
    def _reading(self, name: str) -> Iterator[tuple[int, FileIO]]:
        """The place of a file in the arrays, and the ZIP file at the start of its data. Names both in errors."""
        try:
            place = self._find_readable(name)
            with self.path.open("rb", buffering=0) as file:
                self._go_to_data(place, file)
                yield place, file
        except (_BadEntryError, OSError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise BadImageError(f"the file cannot be read: {reason} (entry {name!r} of '{self.path.name}')") from None

    def _find_readable(self, name: str) -> int:
        place = self._find(name)
        if place is None:
            raise _BadEntryError("there is no such entry")
        if (reason := _REASONS.get(Way(self._ways[place]))) is not None:
            raise _BadEntryError(reason)
        return place

    def _go_to_data(self, place: int, file: FileIO) -> None:
        if _version(file) != self._version:
            raise _BadEntryError("the ZIP file was changed while it was in use; run the command again")
        file.seek(self._offsets[place])
        header = file.read(LOCAL_HEADER.size) or b""
        if len(header) < LOCAL_HEADER.size or not header.startswith(LOCAL_SIGNATURE):
            raise _BadEntryError("its header is damaged")
        *_, name_length, extra_length = LOCAL_HEADER.unpack(header)
        file.seek(name_length + extra_length, os.SEEK_CUR)

    def _unpack(self, place: int, file: FileIO, most: int) -> bytes:
        """Up to `most` bytes of the content. Never reads or expands more."""
        packed = self._packed[place]
        if self._ways[place] == Way.STORED:
            return file.read(min(packed, most)) or b""
        content = bytearray()
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        while len(content) < most and not decompressor.eof:
            piece = decompressor.unconsumed_tail
            if not piece:
                piece = file.read(min(packed, _PIECE_BYTES)) or b""
                packed -= len(piece)
                if not piece:
                    break
            content += decompressor.decompress(piece, most - len(content))
        return bytes(content)

    def _check(self, place: int, content: bytes) -> None:
        size = self._sizes[place]
        if len(content) != size:
            more_or_less = "more" if len(content) > size else "less"
            raise _BadEntryError(f"it has {more_or_less} than the {size:,} bytes that the directory states")
        if zlib.crc32(content) != self._crcs[place]:
            raise _BadEntryError("its checksum is wrong")


class _BadEntryError(Exception):
    """Why an entry cannot be read."""


def _version(file: BinaryIO | FileIO) -> tuple[int, int, int]:
    """Changes when the file is replaced or written."""
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns
