"""A build takes the embeddings of unchanged images over from the live version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.build import embeddings
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.build.reuse import KnownImages
from logo_similarity.catalog.manifest import IMAGE_DIGESTS, MODEL_FOLDER, Manifest, read_manifest
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.description import Description
from logo_similarity.embed.describe import describe_with_parts
from logo_similarity.embed.encoder import Encoder
from tests.samples import SampleCatalog

FIXTURE = Path(__file__).parents[2] / "fixtures" / "catalog-4"


@pytest.fixture
def folder(sample_catalog: SampleCatalog, tmp_path: Path) -> Path:
    """Images, and tables of the first 20 and of all 30; the last two logos have the same image."""
    images = tmp_path / "images"
    images.mkdir()
    rows = [json.loads(line) for line in (sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:30]]
    for row in rows:
        shutil.copy(sample_catalog.images / row["filename"], images / row["filename"])
    rows[-1]["filename"] = rows[-2]["filename"]
    for count in (20, 30):
        (tmp_path / f"{count}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
    return tmp_path


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The pictures that are described."""
    pictures: list[object] = []

    def count(pixels: NDArray[np.uint8], encoder: Encoder) -> Description:
        pictures.append(pixels)
        return describe_with_parts(pixels, encoder)

    monkeypatch.setattr(embeddings, "describe_with_parts", count)
    return pictures


def build(folder: Path, count: int, root: str) -> Manifest:
    source = open_source(folder / f"{count}.jsonl", images=folder / "images")
    return build_catalog(source, folder / root, BuildOptions()).manifest


def test_only_new_images_are_described_and_the_version_is_the_same(folder: Path, described: list[object]) -> None:
    build(folder, 20, "grown")
    assert len(described) == 20
    grown = build(folder, 30, "grown")
    assert len(described) == 20 + 10
    whole = build(folder, 30, "whole")
    assert len(described) == 30 + 30
    assert IMAGE_DIGESTS in grown.files
    assert grown.files == whole.files
    assert grown.distinct_images == 29


def test_a_changed_image_is_described_again(folder: Path, described: list[object]) -> None:
    build(folder, 30, "catalogs")
    first, second = sorted((folder / "images").iterdir())[:2]
    shutil.copy(first, second)  # known, and now the image of another logo
    with first.open("ab") as file:
        file.write(b"\n")
    described.clear()
    assert build(folder, 30, "catalogs").distinct_images == 28
    assert len(described) == 1


def test_damage_is_known_of_an_image_that_is_not_read_again(folder: Path, described: list[object]) -> None:
    first = json.loads((folder / "20.jsonl").read_text().splitlines()[0])["filename"]
    image = folder / "images" / first
    image.write_bytes(image.read_bytes()[:-200])
    assert build(folder, 20, "catalogs").source.damaged == 1
    described.clear()
    assert build(folder, 30, "catalogs").source.damaged == 1
    assert len(described) == 10


def test_a_damaged_version_is_not_used(folder: Path, described: list[object]) -> None:
    build(folder, 20, "catalogs")
    path = Catalog(folder / "catalogs").current() / "patches.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    described.clear()
    build(folder, 30, "catalogs")
    assert len(described) == 30


def test_a_version_of_another_encoder_is_not_used(sample_catalog: SampleCatalog) -> None:
    cells = Encoder.open(Catalog(FIXTURE).current() / MODEL_FOLDER, device="cpu", threads=1)
    live = Catalog(sample_catalog.root).current()
    assert KnownImages.open(live, cells) is None
    known = KnownImages.open(Catalog(FIXTURE).current(), cells)
    assert known is not None
    assert len(known.keys) == read_manifest(Catalog(FIXTURE).current()).count
    assert known.find(bytes(32)) is None
    stored = known.find(known.images.digests[7].tobytes())
    assert stored is not None
    assert stored.digest == known.images.digests[7].tobytes()
