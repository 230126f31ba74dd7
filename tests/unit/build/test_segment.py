from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from logo_similarity.build import version_files
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.build.segment import SegmentEntry, write_segment
from logo_similarity.catalog.manifest import (
    DAMAGED,
    MODEL_FOLDER,
    WORDS,
    Manifest,
    check_sizes,
    read_manifest,
    read_segment_manifest,
)
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import CatalogError
from logo_similarity.search.word_file import WordArrays
from tests.samples import SampleCatalog
from tests.segments import describe_entries

LOGOS = 30


@pytest.fixture(scope="module")
def base(sample_catalog: SampleCatalog) -> Manifest:
    return read_manifest(Catalog(sample_catalog.root).current())


@pytest.fixture(scope="module")
def entries(sample_catalog: SampleCatalog) -> list[SegmentEntry]:
    """Entries of the first logos; the last two have the same image."""
    version = Catalog(sample_catalog.root).current()
    records = [logo.record for logo in Metadata(version / "metadata.db").fetch(list(range(LOGOS)))]
    records[-1] = replace(records[-1], filename=records[-2].filename)
    return describe_entries(
        records, sample_catalog.images, Encoder.open(version / MODEL_FOLDER, device="cpu", threads=1)
    )


def test_the_files_are_those_of_a_version(
    entries: list[SegmentEntry], base: Manifest, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    manifest = write_segment(tmp_path / "segment", entries, base)
    rows = [json.loads(line) for line in (sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:LOGOS]]
    rows[-1]["filename"] = rows[-2]["filename"]
    (tmp_path / "marks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = open_source(tmp_path / "marks.jsonl", images=sample_catalog.images)
    built = build_catalog(source, tmp_path / "catalogs", BuildOptions(ef_search=base.index.ef_search)).manifest
    assert manifest.files == {name: file for name, file in built.files.items() if not name.startswith(MODEL_FOLDER)}
    assert (manifest.count, manifest.distinct_images, manifest.logo_ids) == (LOGOS, LOGOS - 1, built.logo_ids)
    assert (manifest.fields, manifest.parts, manifest.index) == (built.fields, built.parts, built.index)
    assert read_segment_manifest(tmp_path / "segment") == manifest
    check_sizes(tmp_path / "segment", manifest)


def test_one_logo_is_enough(entries: list[SegmentEntry], base: Manifest, tmp_path: Path) -> None:
    entry = replace(entries[0], image_text="Read in it", damaged="truncated")
    manifest = write_segment(tmp_path / "segment", iter([entry]), base)
    assert (manifest.count, manifest.source.damaged, manifest.recall.value) == (1, 1, 1.0)
    assert WordArrays.open(tmp_path / "segment" / WORDS, 1).text(0, "image") == "read in it"
    assert json.loads((tmp_path / "segment" / DAMAGED).read_text())["reason"] == "truncated"


def test_a_segment_is_no_version(entries: list[SegmentEntry], base: Manifest, tmp_path: Path) -> None:
    write_segment(tmp_path / "segment", entries[:2], base)
    with pytest.raises(CatalogError, match="name of its folder"):
        read_manifest(tmp_path / "segment")
    version = base.model_dump_json()
    (tmp_path / "segment" / "manifest.json").write_text(version)
    with pytest.raises(CatalogError, match="must not be listed"):
        read_segment_manifest(tmp_path / "segment")


def test_the_folder_appears_whole_or_not_at_all(
    entries: list[SegmentEntry], base: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert not (tmp_path / "segment").exists()
        raise OSError("no space")

    def broken() -> Iterator[SegmentEntry]:
        yield entries[0]
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(version_files, "digest_files", fail)
        with pytest.raises(OSError, match="no space"):
            write_segment(tmp_path / "segment", entries[:2], base)
    with pytest.raises(RuntimeError):
        write_segment(tmp_path / "segment", broken(), base)
    with pytest.raises(ValueError, match="at least one"):
        write_segment(tmp_path / "segment", [], base)
    assert list(tmp_path.iterdir()) == []
    write_segment(tmp_path / "segment", entries[:1], base)
    with pytest.raises(OSError, match="segment"):
        write_segment(tmp_path / "segment", entries[:2], base)
    assert read_segment_manifest(tmp_path / "segment").count == 1
