"""Files that survive a crash: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

READ_BYTES = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` when the block ends without an error, whole or not at all.

    Raises:
        OSError: it can't be written; names the file, which the system's own message about a full disk does not.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
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


def read_small(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Never waits, as opening a named pipe would.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content


def create_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """A new .npy file to be filled through memory, with all its room on the disk taken at once.

    Without that, a disk that fills up meanwhile would kill the process by a signal in the midst of an assignment.

    Raises:
        OSError: there is no room.
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
    """Make the content of a file that a library wrote survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_ahead(path: Path) -> None:
    """Bring a file into the page cache, where everybody who maps it finds it.

    One pass in order takes seconds for what a search's jumps from page to page would take minutes.
    """
    room = bytearray(READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(room):
            pass


def sha256_file(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Hex sha256 of a file, read in one sequential pass; `on_bytes` gets the size of each piece read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest()
