"""Reads files that an operator names, without blocking on one that is not a regular file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path) -> bytes:
    """The content of a regular file, or of the regular file behind a symbolic link.

    Raises:
        OSError: it cannot be read, or is not a regular file. Opening a FIFO would block until a writer opens it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read()
