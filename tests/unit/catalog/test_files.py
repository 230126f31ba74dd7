from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from logo_similarity.catalog.files import read_ahead, read_small, replacing

REASON = "No space left on device"


@pytest.mark.parametrize(
    ("error", "number", "reason"),
    [
        (OSError(errno.ENOSPC, REASON), errno.ENOSPC, REASON),
        (OSError("write error"), None, "cannot be written: write error; is the disk full?"),
    ],
)
def test_an_error_without_a_file_gets_the_name_of_the_replaced_one(
    tmp_path: Path, error: OSError, number: int | None, reason: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(OSError, match="file") as caught, replacing(path):
        raise error
    assert (caught.value.errno, caught.value.strerror, caught.value.filename) == (number, reason, str(path))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_that_names_a_file_is_raised_as_it_is(tmp_path: Path) -> None:
    error = OSError(errno.ENOENT, "No such file or directory", "other")
    with pytest.raises(OSError, match="other") as caught, replacing(tmp_path / "file"):
        raise error
    assert caught.value is error


def test_a_small_file_has_at_most_that_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_small(path, 6) == read_small(path, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes") as caught:
        read_small(path, 4)
    assert caught.value.errno == errno.EFBIG


def test_a_file_is_read_ahead_to_its_end(tmp_path: Path) -> None:
    """From a pipe, so that the writer gets rid of all its bytes only if they are read."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    written: list[int] = []
    writer = threading.Thread(target=lambda: written.append(write_all(path, 3 << 20)))
    writer.start()
    read_ahead(path)
    writer.join()
    assert written == [3 << 20]


def write_all(path: Path, size: int) -> int:
    """The number of bytes that a reader took."""
    with path.open("wb", buffering=0) as file:
        taken = 0
        while taken < size:
            try:
                taken += file.write(bytes(size - taken)) or 0
            except BrokenPipeError:
                break
        return taken
