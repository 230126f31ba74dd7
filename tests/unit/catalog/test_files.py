from __future__ import annotations

import errno
from pathlib import Path

import pytest

from logo_similarity.catalog.files import replacing

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
