"""A real disk that is full: a tmpfs of a few megabytes. Needs root, to mount it; `make faults` runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logo_similarity.catalog.manifest import verify
from logo_similarity.catalog.versions import CatalogFolder
from tests.samples import SampleCatalog
from tests.service import command

ROWS = 200


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("kilobytes", [100, 250, 450, 500, 650, 850, 1_000, 1_500, 3_000])
def test_a_build_says_so_and_ends_well_when_there_is_room(
    sample_catalog: SampleCatalog, tmp_path: Path, kilobytes: int
) -> None:
    table = sample_catalog.root.parent / "marks.jsonl"
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        words = command("build", str(table), "--images", str(sample_catalog.images), "--out", str(disk / "catalogs"))
        # What SQLite sorts beside its file is to meet the full disk, too.
        environment = {**os.environ, "SQLITE_TMPDIR": str(disk)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, (done.returncode, done.stderr)  # and not by a signal
        assert "Traceback" not in done.stderr
        assert "disk" in done.stderr or "No space left" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        assert CatalogFolder(disk / "catalogs").names() == []
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert verify(CatalogFolder(disk / "catalogs").current()).count == ROWS
