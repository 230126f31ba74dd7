from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from logo_similarity.build.catalog import BuildOptions, BuildResult, build_catalog
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.errors import BuildError
from tests.samples import SampleCatalog

POOR = BuildOptions(threads=2, m=2, ef_construction=1, ef_search=1, recall_floor=0.0)
"""An index that misses some of the exact answers."""


@pytest.fixture
def table(sample_catalog: SampleCatalog, tmp_path: Path) -> Path:
    path = tmp_path / "marks.jsonl"
    path.write_text("\n".join((sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:60]))
    return path


def build(table: Path, images: Path, options: BuildOptions) -> BuildResult:
    return build_catalog(open_source(table, images=images), table.parent / "catalogs", options)


def test_a_version_is_used_again_down_to_the_recall_that_it_has(sample_catalog: SampleCatalog, table: Path) -> None:
    """Its own recall is enough; any more is not, and the live version stays while a build that asks for it fails."""
    first = build(table, sample_catalog.images, POOR)
    recall = first.manifest.recall.value
    assert (first.reused, 0 < recall < 1) == (False, True)
    again = build(table, sample_catalog.images, replace(POOR, recall_floor=recall))
    assert (again.reused, again.folder) == (True, first.folder)
    with pytest.raises(BuildError, match="less than the floor of"):
        build(table, sample_catalog.images, replace(POOR, recall_floor=recall + 1e-6))
    assert Catalog(table.parent / "catalogs").current() == first.folder
