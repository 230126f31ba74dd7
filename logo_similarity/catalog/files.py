"""Durable files: written under a temporary name, synced to disk, then renamed atomically."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

READ_BYTES = 1 << 20
_synced_later: ContextVar[bool] = ContextVar("synced_later", default=False)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` atomically when the `with` block ends without an error.

    Raises:
        OSError: the file cannot be written; unlike the system's error for a full disk, it names the file.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            _sync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(
            error.errno, error.strerror or f"cannot be written: {error}; is the disk full?", str(path)
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def read_small(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes` bytes. Does not block, as opening a named pipe could.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
    return content


def create_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """Create a writable memory-mapped .npy file, with its disk space allocated in advance.

    Otherwise, a disk that fills up later would kill the process with SIGBUS on an assignment.

    Raises:
        OSError: the disk has too little space.
    """
    import numpy as np  # the master of a service loads this module, and must not load OpenBLAS, which starts threads

    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
    return array


def sync_file(path: Path) -> None:
    """Flush a file to disk, so that its content survives a power failure."""
    with path.open("rb") as file:
        _sync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder to disk, so that renames in it survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def synced_together(folder: Path) -> Iterator[None]:
    """Flush the files that this thread writes in the `with` block only at its end, and only those in `folder`.

    For a folder that is renamed when it is complete. Syncing each of its files at once would take many times as long.
    """
    token = _synced_later.set(True)
    try:
        yield
    finally:
        _synced_later.reset(token)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)


def _sync(descriptor: int) -> None:
    if not _synced_later.get():
        os.fsync(descriptor)


def read_ahead(path: Path) -> None:
    """Read a file into the page cache, for all processes that map it.

    A sequential read takes seconds where the random page accesses of searches would take minutes.
    """
    buffer = bytearray(READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def sha256_file(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Hex sha256 of a file, read sequentially; `on_bytes` is called with the size of each piece read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest()
