"""Catalogs whose embeddings take less space answer as others do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.build import embeddings
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.compacting import compact
from logo_similarity.build.flushing import Flusher
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import (
    EMBEDDINGS,
    INDEX,
    PART_EMBEDDINGS,
    PART_INDEX,
    PATCHES,
    Manifest,
    read_manifest,
    verify,
)
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError
from logo_similarity.precision import Precision
from tests.changing import Office
from tests.importing import FILES, OPTIONS, Desk
from tests.samples import SampleCatalog
from tests.unit.catalog.test_versions import flip_byte

SMALLER = (Precision.FLOAT16, Precision.INT8)
TOLERANCE = 1e-2
"""Of scores: patches have 4 bits instead of 8, and scores depend on which 100 logos are the nearest, too."""


@pytest.fixture(scope="module", params=SMALLER)
def smaller(
    request: pytest.FixtureRequest, sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The catalog of the samples in this precision. What was embedded for the other catalog is taken over."""
    root = tmp_path_factory.mktemp(request.param) / "catalogs"
    shutil.copytree(sample_catalog.root, root)
    source = open_source(sample_catalog.root.parent / "marks.jsonl", images=sample_catalog.images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "describe_image", None)
        built = build_catalog(source, root, BuildOptions(precision=request.param)).manifest
    assert built.parts is not None
    assert built.index.precision == built.parts.index.precision == request.param
    return root


def test_hits_are_those_of_a_catalog_in_full_precision(sample_catalog: SampleCatalog, smaller: Path) -> None:
    with SearchEngine.open(sample_catalog.root) as full, SearchEngine.open(smaller) as engine:
        for name in sample_catalog.files[::20]:
            query = Query(image=(sample_catalog.images / name).read_bytes(), top_k=20)
            expected, result = full.search(query), engine.search(query)
            scores = {hit.logo.logo_id: hit.score for hit in full.search(replace(query, top_k=200)).hits}
            assert result.hits[0].logo.filename == name
            assert result.hits[0].score == pytest.approx(1, abs=5e-4)
            for ours, theirs in zip(result.hits, expected.hits, strict=True):
                assert ours.score == pytest.approx(theirs.score, abs=TOLERANCE)
                assert ours.score == pytest.approx(scores[ours.logo.logo_id], abs=TOLERANCE)


def test_files_are_smaller_and_a_flipped_byte_is_found(sample_catalog: SampleCatalog, smaller: Path) -> None:
    version = Catalog(smaller).current()
    manifest, full = read_manifest(version), read_manifest(Catalog(sample_catalog.root).current())
    assert manifest.distinct_images == full.distinct_images
    embedding_files = {EMBEDDINGS, PART_EMBEDDINGS} if manifest.index.precision is Precision.INT8 else set()
    assert manifest.files.keys() - full.files.keys() == embedding_files
    for name in (INDEX, PART_INDEX):
        assert manifest.files[name].size < 0.75 * full.files[name].size
    patches = np.load(version / PATCHES)
    assert (patches.dtype, patches.nbytes) == (np.uint8, 512 * manifest.distinct_images)
    for name in sorted({INDEX, PART_INDEX} | embedding_files):
        middle = manifest.files[name].size // 2
        flip_byte(version / name, middle)
        with pytest.raises(CatalogError, match=rf"{name}: damaged"):
            verify(version)
        flip_byte(version / name, middle)
    verify(version)


class SmallDesk(Desk):
    def __init__(self, folder: Path, precision: Precision) -> None:
        super().__init__(folder)
        self.options = replace(OPTIONS, precision=precision)


@pytest.mark.parametrize("precision", SMALLER)
def test_imports_and_compactions_keep_the_precision_and_the_embeddings(tmp_path: Path, precision: Precision) -> None:
    desk = SmallDesk(tmp_path, precision)
    desk.build(*(desk.record(f"US-{n}", 2, n) for n in range(20)))
    before = embeddings_of(desk)
    desk.options = OPTIONS
    same_pixels = FILES[3].read_bytes() + b"\n"
    (desk.images / "again.jpg").write_bytes(same_pixels)
    imported = desk.add(
        desk.record("US-30", 3, 30), replace(desk.record("US-31", 3), filename="again.jpg"), desk.record("US-4", 3, 40)
    ).manifest
    check(imported, precision, images=21)
    after = embeddings_of(desk)
    assert {logo_id for logo_id in before if after[logo_id] != before[logo_id]} == {"US-4"}
    assert after["US-31"] == before["US-3"]
    office = Office(desk)
    try:
        office.change("create", "US-50", 50)
        office.change("delete", "US-0", date=9)
        state = Flusher(desk.root, office.overlay, office.base).flush().state
        assert state.segments
        compacted = compact(desk.root, OPTIONS, None).manifest
    finally:
        office.overlay.close()
    check(compacted, precision, images=21)
    last = embeddings_of(desk)
    assert {logo_id for logo_id in after if last.get(logo_id) != after[logo_id]} == {"US-0"}
    with SearchEngine.open(desk.root) as engine:
        assert engine.search(Query(image=FILES[50].read_bytes())).hits[0].logo.logo_id == "US-50"


def check(manifest: Manifest, precision: Precision, images: int) -> None:
    assert manifest.index.precision == precision
    assert manifest.distinct_images == images


def embeddings_of(desk: Desk) -> dict[str, bytes]:
    with SearchEngine.open(desk.root) as engine:
        vectors = engine.base.row_map.vector_of(np.arange(engine.manifest.count))
        stored = engine.base.index.vectors[vectors]
    return {logo.logo_id: row.tobytes() for logo, row in zip(desk.logos(), stored, strict=True)}


def test_a_build_in_full_precision_takes_over_nothing_that_was_rounded(tmp_path: Path) -> None:
    patches = []
    for name, before in (("rounded", Precision.FLOAT16), ("fresh", None)):
        (tmp_path / name).mkdir()
        desk = SmallDesk(tmp_path / name, before or Precision.FLOAT32)
        records = [desk.record(f"US-{n}", 2, n) for n in range(12)]
        if before is not None:
            desk.build(*records)
            desk.options = OPTIONS
        desk.build(*records)
        version = Catalog(desk.root).current()
        assert read_manifest(version).index.precision is Precision.FLOAT32
        patches.append(np.load(version / PATCHES))
    assert patches[0].dtype == np.int8
    np.testing.assert_array_equal(*patches)
