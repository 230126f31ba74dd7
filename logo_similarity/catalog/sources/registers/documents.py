"""The documents of a register: XML and JSON in files, gzip files, ZIP files, ZIP files in ZIP files, and folders of these."""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from logo_similarity.errors import SourceError
from logo_similarity.image.folder import image_names
from logo_similarity.image.formats import EXTENSIONS
from logo_similarity.image.zip_directory import DamagedZipError, read_directory

PIECE_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
EXPANDED_BYTES = 1 << 30
MOST_EXPANSION = 200
"""A file that expands to more than `EXPANDED_BYTES` must not expand by more than this factor; XML reaches about 50."""
LARGEST_NESTED = 4 << 30
DEEPEST_NESTING = 3
ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
MARKUP = (b"<", b"{", b"[", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""First bytes of XML and JSON, with or without a byte order mark."""
DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
"""What a damaged, encrypted or unusually compressed file raises while it is read."""


@dataclass(frozen=True, slots=True)
class Document:
    """An XML or JSON file. It can be read once, until the next document of the same register is asked for."""

    name: str
    """Its name in the register, with the names of the ZIP files around it: "apc.zip/apc.xml"."""
    head: bytes
    """Its first 64 KB, decompressed."""
    _rest: IO[bytes] = field(repr=False)
    _limit: int = field(repr=False)

    def pieces(self) -> Iterator[bytes]:
        """The content, in pieces of at most 1 MB.

        Raises:
            SourceError: the rest cannot be decompressed, or expands too far.
        """
        size = len(self.head)
        yield self.head
        with reading(self.name):
            while piece := self._rest.read(PIECE_BYTES):
                size += len(piece)
                if size > self._limit:
                    raise SourceError(
                        f"{self.name}: expands to more than {MOST_EXPANSION} times its size; remove the file"
                    )
                yield piece


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Translate the errors of a damaged file into a SourceError that names it."""
    try:
        yield
    except DAMAGES as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(f"{name}: cannot be read ({reason}); fetch the file again") from None


def register_files(path: Path) -> Iterator[Path]:
    """The files that may contain documents: `path` itself, or in order all files below it that are not images.

    Raises:
        SourceError: the folder cannot be read.
    """
    if path.is_dir():
        for name in sorted(name for name in image_names(path) if not name.lower().endswith(EXTENSIONS)):
            yield path / name
    else:
        yield path


def read_documents(path: Path) -> Generator[Document]:
    """The documents in a file or folder, in the order of their names; other files are passed over.

    Raises:
        SourceError: a file is damaged, or expands too far.
    """
    for file in register_files(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        name = name.encode("utf8", "replace").decode()  # it is written into messages and reports
        with reading(name), file.open("rb", buffering=0) as opened:
            yield from _documents(opened, name, file.stat().st_size, DEEPEST_NESTING)


def _documents(file: IO[bytes] | io.RawIOBase, name: str, size: int, depth: int) -> Iterator[Document]:
    with io.BufferedReader(cast("io.RawIOBase", file), HEAD_BYTES) as buffered:
        start = buffered.peek(len(ZIP))[: len(ZIP)]
        if start.startswith(GZIP):
            with gzip.open(buffered) as unpacked:
                yield from _text(cast("IO[bytes]", unpacked), name, size)
        elif start != ZIP:
            yield from _text(buffered, name, size)
        elif depth == DEEPEST_NESTING:
            yield from _members(buffered, name, size, depth)
        elif depth == 0:
            raise SourceError(f"{name}: is inside {DEEPEST_NESTING} other ZIP files; unpack the outer ones")
        elif size > LARGEST_NESTED:
            raise SourceError(f"{name}: has more than {LARGEST_NESTED >> 30} GB; unpack the ZIP file around it")
        else:
            # A ZIP file is read from its end, and to go there in a compressed file takes as long as to read it.
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(buffered, copy, PIECE_BYTES)
                yield from _members(copy, name, size, depth)


def _has_images_only(file: IO[bytes]) -> bool:
    """Whether a ZIP file has no documents. `zipfile` would take a GB for the directory of 1,500,000 images."""
    try:
        return all(entry.name.lower().endswith(EXTENSIONS) for entry in read_directory(file))
    except DamagedZipError:
        return False  # `zipfile` says it
    finally:
        file.seek(0)


def _text(file: IO[bytes], name: str, size: int) -> Iterator[Document]:
    head = _read_fully(file, HEAD_BYTES)
    if head.lstrip().startswith(MARKUP):
        yield Document(name, head, file, max(EXPANDED_BYTES, MOST_EXPANSION * size))


def _read_fully(file: IO[bytes], size: int) -> bytes:
    """Up to `size` bytes: a decompressor may return fewer at a time."""
    head = b""
    while len(head) < size and (piece := file.read(size - len(head))):
        head += piece
    return head


def _members(file: IO[bytes], name: str, size: int, depth: int) -> Iterator[Document]:
    if _has_images_only(file):
        return
    with zipfile.ZipFile(file) as archive:
        members = [
            member
            for member in sorted(archive.infolist(), key=lambda member: member.filename)
            if not member.is_dir() and not member.filename.lower().endswith(EXTENSIONS)
        ]
        # Members may overlap, so the sum can be too large although no single one is.
        if sum(member.file_size for member in members) > max(EXPANDED_BYTES, MOST_EXPANSION * size):
            raise SourceError(f"{name}: expands to more than {MOST_EXPANSION} times its size; remove the file")
        for member in members:
            inner = f"{name}/{member.filename}"
            with reading(inner), archive.open(member) as opened:
                yield from _documents(opened, inner, member.file_size, depth - 1)
