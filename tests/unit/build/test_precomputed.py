from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.build.catalog import BuildResult, build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.build.precomputed import PARTS, PrecomputedEmbeddings
from logo_similarity.build.records import count_lines, write_records
from logo_similarity.catalog.manifest import MODEL_FOLDER
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.images import NamesAsWritten
from logo_similarity.catalog.versions import Catalog
from logo_similarity.description import Parts
from logo_similarity.domain import PartsMode, Query
from logo_similarity.embed.describe import describe_parts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import model_folder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import BuildError, InvalidRequestError, SourceError
from logo_similarity.image.decode import decode
from logo_similarity.search.sources import all_rows
from tests.samples import SampleCatalog


def describe_file(sample_catalog: SampleCatalog, row: int, encoder: Encoder) -> Parts:
    return describe_parts(decode((sample_catalog.images / sample_catalog.files[row]).read_bytes()), encoder)


@pytest.fixture
def ready(sample_catalog: SampleCatalog, tmp_path: Path) -> Path:
    """The sample catalog's embeddings, in another order and of another length."""
    folder = tmp_path / "ready"
    folder.mkdir()
    with SearchEngine.open(sample_catalog.root) as engine:
        order = np.random.default_rng(0).permutation(engine.manifest.count)
        vectors = engine.base.row_map.vector_of(order)
        ids = [logo.record.logo_id for logo in engine.metadata.fetch(order.tolist())]
        assert engine.base.patches is not None
        np.save(folder / "embeddings.npy", 3 * engine.base.index.vectors[vectors])
        np.save(folder / "patches.npy", engine.base.patches[vectors])
        described = [describe_file(sample_catalog, row, engine.encoder) for row in order.tolist()]
    np.save(folder / "part_counts.npy", np.array([len(parts.boxes) for parts in described], np.int32))
    np.save(folder / "part_embeddings.npy", 2 * np.concatenate([parts.embeddings for parts in described]))
    np.save(folder / "part_boxes.npy", np.concatenate([parts.boxes for parts in described]))
    (folder / "ids.txt").write_text("\n".join(ids) + "\n")
    return folder


def table(sample_catalog: SampleCatalog) -> Path:
    return sample_catalog.root.parent / "marks.jsonl"


def build(source: Path, ready: Path, out: Path, images: Path | None = None, **options: object) -> BuildResult:
    opened = open_source(source, images=images, names=NamesAsWritten)
    return build_catalog(opened, out, BuildOptions(embeddings=ready, **options))  # type: ignore[arg-type]


def test_ready_embeddings_make_the_catalog_that_the_images_make(
    sample_catalog: SampleCatalog, ready: Path, tmp_path: Path
) -> None:
    result = build(table(sample_catalog), ready, tmp_path / "out", images=tmp_path / "nowhere")
    with SearchEngine.open(sample_catalog.root) as one, SearchEngine.open(tmp_path / "out") as other:
        np.testing.assert_allclose(all_rows(other.base.index.vectors), all_rows(one.base.index.vectors), atol=1e-6)
        picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
        ours, theirs = (each.search(Query(image=picture, top_k=30)).hits for each in (one, other))
        one_parts, other_parts = (each.logos.segments[0].parts for each in (one, other))
        assert one_parts is not None
        assert other_parts is not None
        np.testing.assert_array_equal(other_parts.boxes, one_parts.boxes)
        np.testing.assert_allclose(all_rows(other_parts.index.vectors), all_rows(one_parts.index.vectors), atol=1e-6)
    assert [hit.logo for hit in ours] == [hit.logo for hit in theirs]
    assert [hit.matched for hit in ours] == [hit.matched for hit in theirs]
    assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=1e-5)
    assert result.manifest.source.rejected == 0
    assert build(table(sample_catalog), ready, tmp_path / "out", images=tmp_path / "nowhere").reused


def test_without_parts_only_whole_images_are_compared(
    sample_catalog: SampleCatalog, ready: Path, tmp_path: Path
) -> None:
    for name in PARTS:
        (ready / name).unlink()
    assert build(table(sample_catalog), ready, tmp_path / "out").manifest.parts is None
    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    with SearchEngine.open(tmp_path / "out") as engine:
        result = engine.search(Query(image=picture))
        assert not result.parts
        assert result.hits[0].logo.logo_id == "EM/000003"
        with pytest.raises(InvalidRequestError, match="cannot compare parts"):
            engine.search(Query(image=picture, parts=PartsMode.ONLY))


def test_a_part_that_is_no_number_is_left_out(sample_catalog: SampleCatalog, ready: Path, tmp_path: Path) -> None:
    count = build(table(sample_catalog), ready, tmp_path / "all").manifest.parts
    embeddings, boxes = np.load(ready / "part_embeddings.npy"), np.load(ready / "part_boxes.npy")
    embeddings[3], embeddings[5, 7], boxes[9, 2] = 0, np.nan, 1.5
    np.save(ready / "part_embeddings.npy", embeddings)
    np.save(ready / "part_boxes.npy", boxes)
    fewer = build(table(sample_catalog), ready, tmp_path / "out").manifest.parts
    assert count is not None
    assert fewer is not None
    assert fewer.count == count.count - 3


def test_a_changed_embedding_is_another_catalog(sample_catalog: SampleCatalog, ready: Path, tmp_path: Path) -> None:
    first = build(table(sample_catalog), ready, tmp_path / "out")
    embeddings = np.load(ready / "embeddings.npy")
    embeddings[0] = embeddings[1]
    np.save(ready / "embeddings.npy", embeddings)
    second = build(table(sample_catalog), ready, tmp_path / "out")
    assert not second.reused
    assert second.manifest.inputs != first.manifest.inputs


def test_a_logo_without_a_usable_embedding_is_a_reject(
    sample_catalog: SampleCatalog, ready: Path, tmp_path: Path
) -> None:
    ids = (ready / "ids.txt").read_text().splitlines()
    embeddings = np.load(ready / "embeddings.npy")
    embeddings[5], embeddings[6, 0] = 0, np.nan
    np.save(ready / "embeddings.npy", embeddings)
    missing = ids[7]
    ids[7] = "another"
    (ready / "ids.txt").write_text("\n".join(ids))
    result = build(table(sample_catalog), ready, tmp_path / "out")
    rejects = [json.loads(line) for line in (result.folder / "rejected.jsonl").read_text().splitlines()]
    reasons = sorted(reject["reason"] for reject in rejects)
    assert reasons == [
        "its precomputed embedding is zero or not finite",
        "its precomputed embedding is zero or not finite",
        "no precomputed embedding for its id",
    ]
    with SearchEngine.open(tmp_path / "out") as engine:
        assert engine.manifest.count == len(ids) - 3
        assert all(engine.logo(logo_id) is None for logo_id in (ids[5], ids[6], missing))
        # What is left belongs to its own row still.
        for file in sample_catalog.files[::10]:
            best = engine.search(Query(image=(sample_catalog.images / file).read_bytes(), top_k=1)).hits[0]
            assert best.logo.record.filename == file or best.score < 0.999


def test_ids_may_have_a_mark_blanks_and_another_form_of_unicode(
    sample_catalog: SampleCatalog, ready: Path, tmp_path: Path
) -> None:
    ids = (ready / "ids.txt").read_text().splitlines()
    source = tmp_path / "marks.jsonl"
    source.write_text(table(sample_catalog).read_text().replace(ids[0], "Käse"))
    (ready / "ids.txt").write_text("\ufeff" + "\n".join(["Ka\u0308se ", *(f"{logo_id} " for logo_id in ids[1:])]))
    assert build(source, ready, tmp_path / "out").manifest.source.rejected == 0


def test_without_patches_there_is_no_second_stage(sample_catalog: SampleCatalog, ready: Path, tmp_path: Path) -> None:
    (ready / "patches.npy").unlink()
    build(table(sample_catalog), ready, tmp_path / "out")
    with SearchEngine.open(tmp_path / "out") as engine:
        assert engine.base.patches is None


def test_embeddings_of_another_model_are_found_out(sample_catalog: SampleCatalog, ready: Path, tmp_path: Path) -> None:
    embeddings = np.load(ready / "embeddings.npy")
    np.save(ready / "embeddings.npy", embeddings[:, ::-1].copy())
    with pytest.raises(BuildError, match="--model"):
        build(table(sample_catalog), ready, tmp_path / "out")
    # Our own in float32 are near enough to those in int8.
    np.save(ready / "embeddings.npy", embeddings)
    build(table(sample_catalog), ready, tmp_path / "out", model=model_folder(Path("fp32")))


def test_embeddings_that_are_only_similar_are_found_out(
    sample_catalog: SampleCatalog, ready: Path, tmp_path: Path
) -> None:
    """The cosine of each with the encoder's own is 0.9, and its length is 3."""
    embeddings = np.load(ready / "embeddings.npy")
    across = embeddings[::-1] - (embeddings[::-1] * embeddings).sum(axis=1, keepdims=True) / 9 * embeddings
    across *= 3 / np.linalg.norm(across, axis=1, keepdims=True)
    np.save(ready / "embeddings.npy", (0.9 * embeddings + 0.19**0.5 * across).astype(np.float32))
    with pytest.raises(BuildError, match="--model"):
        build(table(sample_catalog), ready, tmp_path / "out")


def test_the_progress_of_writing_shards_ends_with_all_records(
    sample_catalog: SampleCatalog, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logo_similarity.build.precomputed.SHARD_ROWS", 80)
    monkeypatch.setattr("logo_similarity.build.shards.SHARD_ROWS", 80)
    write_records(open_source(table(sample_catalog)), tmp_path / "records", tmp_path / "rejects")
    encoder = Encoder.open(Catalog(sample_catalog.root).current() / MODEL_FOLDER, device="cpu", threads=1)
    steps: list[int] = []
    total = count_lines(tmp_path / "records")
    PrecomputedEmbeddings.open(ready, encoder).write_shards(
        tmp_path / "records", total, tmp_path / "shards", steps.append
    )
    assert steps == [80, 160, 200]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "ids.txt").unlink(), "not a folder of precomputed embeddings"),
        (lambda folder: (folder / "embeddings.npy").write_bytes(b"no array"), "not a folder of precomputed embeddings"),
        (
            lambda folder: (folder / "ids.txt").write_text("one\ntwo\n"),
            r"for 2 ids .* it must be float32 \(2, 256\)",
        ),
        (lambda folder: np.save(folder / "embeddings.npy", np.ones((60, 256))), "is float64"),
        (lambda folder: np.save(folder / "patches.npy", np.ones((200, 64, 16))), r"patches\.npy is float64"),
        (
            lambda folder: np.save(folder / "patches.npy", np.ones((60, 64), np.int8)),
            r"patches\.npy is int8 \(60, 64\)",
        ),
        (
            lambda folder: np.save(folder / "patches.npy", np.ones((199, 64, 16), np.int8)),
            r"patches\.npy is int8 \(199",
        ),
        (lambda folder: (folder / "part_boxes.npy").unlink(), r"the parts .* cannot be read"),
        (
            lambda folder: np.save(folder / "part_counts.npy", np.ones(200, np.int64)),
            r"part_counts\.npy: must be int32",
        ),
        (lambda folder: np.save(folder / "part_counts.npy", np.full(200, 6, np.int32)), "numbers from 0 to 5"),
        (lambda folder: np.save(folder / "part_counts.npy", np.full(200, -1, np.int32)), "numbers from 0 to 5"),
        (
            lambda folder: np.save(folder / "part_counts.npy", np.zeros(200, np.int32)),
            r"for 0 parts it must be float32",
        ),
        (lambda folder: np.save(folder / "part_boxes.npy", np.ones((9, 4), np.float32)), r"part_boxes\.npy is float32"),
        (
            lambda folder: (folder / "ids.txt").write_text(
                (folder / "ids.txt").read_text().replace("EM/000004", "EM/000003")
            ),
            "'EM/000003' occurs more than once",
        ),
    ],
)
def test_unusable_files_are_named(
    sample_catalog: SampleCatalog, ready: Path, tmp_path: Path, spoil: object, message: str
) -> None:
    assert callable(spoil)
    spoil(ready)
    with pytest.raises(SourceError, match=message):
        build(table(sample_catalog), ready, tmp_path / "out")
