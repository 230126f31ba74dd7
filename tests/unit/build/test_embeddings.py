from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.build.embeddings import LocalEmbedder, embed_records
from logo_similarity.build.records import write_records
from logo_similarity.catalog.manifest import MODEL_FOLDER
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.embed.encoder import Encoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import open_images
from tests.samples import SampleCatalog

ROWS = 10


def test_only_missing_shards_are_made(
    sample_catalog: SampleCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("embeddings", "shards"):
        monkeypatch.setattr(f"logo_similarity.build.{module}.SHARD_ROWS", 4)
    table = tmp_path / "marks.jsonl"
    table.write_text("\n".join((sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:ROWS]))
    write_records(open_source(table, images=sample_catalog.images), tmp_path / "records", tmp_path / "rejects")
    encoder = Encoder.open(Catalog(sample_catalog.root).current() / MODEL_FOLDER, device="cpu", threads=1)
    shards = tmp_path / "shards"

    def embed() -> list[int]:
        steps: list[int] = []
        with LocalEmbedder(open_images(sample_catalog.images), encoder, threads=1, limits=ImageLimits()) as embedder:
            embed_records(tmp_path / "records", ROWS, shards, encoder.dimension, embedder, steps.append)
        return steps

    assert embed() == [4, 8, 10]
    whole = {path.name: path.read_bytes() for path in shards.iterdir()}
    assert {name for name in whole if name.endswith(".json")} == {f"{number:06}.json" for number in range(3)}
    (shards / "000001.npy").unlink()
    assert embed() == [4, 6, 10]  # the last shard exists, and has two rows
    assert {path.name: path.read_bytes() for path in shards.iterdir()} == whole
    assert embed() == [4, 8, 10]
