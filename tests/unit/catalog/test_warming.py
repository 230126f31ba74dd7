from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.catalog import warming
from logo_similarity.catalog.manifest import INDEX, METADATA, PART_INDEX, PATCHES, read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.catalog.warming import SPARSE, read_version_ahead
from logo_similarity.plan import available_memory
from tests.samples import SampleCatalog


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read, in order."""
    paths: list[Path] = []
    monkeypatch.setattr(warming, "read_ahead", paths.append)
    return paths


def test_nothing_is_read_if_what_a_search_reads_all_over_does_not_fit(
    sample_catalog: SampleCatalog, read: list[Path]
) -> None:
    folder = Catalog(sample_catalog.root).current()
    manifest = read_manifest(folder)
    size = sum(entry.size for name, entry in manifest.files.items() if name not in SPARSE)
    read_version_ahead(folder, manifest, size - 1)
    assert not read
    read_version_ahead(folder, manifest, size)
    assert sum(path.stat().st_size for path in read) == size


@pytest.mark.parametrize("room", [0, -1])
def test_what_a_search_reads_all_over_is_read_last_or_alone(
    sample_catalog: SampleCatalog, read: list[Path], room: int
) -> None:
    folder = Catalog(sample_catalog.root).current()
    manifest = read_manifest(folder)
    read_version_ahead(folder, manifest, manifest.size + room)
    names = [path.relative_to(folder).as_posix() for path in read]
    sparse, others = {PATCHES, METADATA} & set(names), {INDEX, PART_INDEX}
    assert others <= set(names)
    if room < 0:
        assert not sparse
    else:
        assert set(names) == set(manifest.files)
        assert max(map(names.index, sparse)) < min(map(names.index, others))


def test_the_memory_is_that_of_the_machine_or_of_its_limit(sample_catalog: SampleCatalog, read: list[Path]) -> None:
    folder = Catalog(sample_catalog.root).current()
    manifest = read_manifest(folder)
    assert available_memory() > manifest.size
    read_version_ahead(folder, manifest)
    assert len(read) == len(manifest.files)
