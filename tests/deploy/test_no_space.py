"""A real disk that is full: a tmpfs of a few megabytes. Needs root, to mount it; `make faults` runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logo_similarity.catalog.manifest import verify
from logo_similarity.catalog.replica import publish_version, pull_version
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.errors import CatalogError
from logo_similarity.storage.objects import ObjectFolder
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
        assert Catalog(disk / "catalogs").names() == []
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert verify(Catalog(disk / "catalogs").current()).count == ROWS


def test_a_pull_leaves_a_reserve(
    built: Catalog, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room it fetches nothing, and where others fill the disk meanwhile it stops before the last byte."""
    remote = ObjectFolder(str(settings.catalog_url), settings)
    publish_version(built.current(), remote)
    with small_disk(tmp_path / "disk", 4_000) as disk:
        there = Catalog(disk / "catalogs")
        with pytest.raises(CatalogError, match="catalog prune"):
            pull_version(remote, there)
        assert not list(disk.rglob("model.onnx*"))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        monkeypatch.setattr("logo_similarity.catalog.replica.PARALLEL", 1)

        def fill(_: int) -> None:
            if not (disk / "other").exists():  # the first piece is there, the others are to come
                (disk / "other").write_bytes(bytes(shutil.disk_usage(disk).free - (2 << 20)))

        with pytest.raises(CatalogError, match="catalog prune"):
            pull_version(remote, there, fill)
        assert shutil.disk_usage(disk).free > 1 << 20
        assert there.names() == []
        (disk / "other").unlink()
        assert pull_version(remote, there) == built.current().name
        verify(there.current())
