from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from logo_similarity.build.catalog import BuildOptions, BuildResult, build_catalog
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.errors import BuildError
from tests.samples import SampleCatalog

POOR = BuildOptions(threads=2, m=2, ef_construction=1, ef_search=1, recall_floor=0.0, self_floor=0.0)
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


def test_every_reject_has_its_position_its_id_and_its_file(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """Rejected by the reader of the table, for its id, and by the decoder; at the start, and in the middle of a shard."""
    images = tmp_path / "images"
    images.mkdir()
    for file in sample_catalog.files[:3]:
        (images / file).write_bytes((sample_catalog.images / file).read_bytes())
    (images / "broken.jpg").write_bytes(b"no image")
    first, second, third = sample_catalog.files[:3]
    rows = ["b,broken.jpg", f"1,{first}", "2,missing.jpg", f"1,{second}", "5", f"4,{third}", ",broken.jpg"]
    (tmp_path / "marks.csv").write_text("\n".join(["logo_id,filename", *rows]))
    result = build(tmp_path / "marks.csv", images, BuildOptions(threads=2))
    rejects = [json.loads(line) for line in (result.folder / "rejected.jsonl").read_text().splitlines()]
    places = {reject["where"]: (reject["logo_id"], reject["filename"]) for reject in rejects}
    assert places == {
        "marks.csv:2": ("b", "broken.jpg"),
        "marks.csv:4": ("2", "missing.jpg"),
        "marks.csv:5": ("1", second),
        "marks.csv:6": (None, None),
        "marks.csv:8": ("broken", "broken.jpg"),
    }


def test_a_build_without_a_logo_names_rows_and_images(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    (tmp_path / "marks.csv").write_text("filename\nb.jpg\na.jpg\n")
    with pytest.raises(BuildError, match=r"for example marks\.csv:2 \(b\.jpg\): no .+; marks\.csv:3 \(a\.jpg\): the "):
        build(tmp_path / "marks.csv", tmp_path, BuildOptions(threads=2))


def test_a_version_is_used_again_down_to_its_share_of_images_that_find_themselves(
    sample_catalog: SampleCatalog, table: Path
) -> None:
    first = build(table, sample_catalog.images, POOR)
    share = first.manifest.recall.self_found
    assert 0 < share < 1
    assert build(table, sample_catalog.images, replace(POOR, self_floor=share)).reused
    with pytest.raises(
        BuildError, match=rf"indexed image finds it in {share:.1%} of the cases, less than the floor of .* --self-floor"
    ):
        build(table, sample_catalog.images, replace(POOR, self_floor=share + 1e-6))
    assert Catalog(table.parent / "catalogs").current() == first.folder
