from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.build import catalog
from logo_similarity.build.catalog import BuildResult, build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import MANIFEST, SIGNATURE, read_manifest, verify
from logo_similarity.catalog.postings import file_names
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import BuildError, CatalogError
from logo_similarity.search.build import EF_SEARCHES
from logo_similarity.version import __version__
from tests.importing import CELLS
from tests.registers import case_file, uspto, zip_of
from tests.samples import SampleCatalog
from tests.zips import make_zip

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
        "marks.csv:6": ("5", None),
        "marks.csv:8": ("broken", "broken.jpg"),
    }


def test_a_catalog_of_images_in_zip_files_is_that_of_the_same_images_in_folders(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    contents = {file: (sample_catalog.images / file).read_bytes() for file in sample_catalog.files[:40]}
    archives = {"part1": dict([*contents.items()][:20]), "part2": dict([*contents.items()][20:])}
    zipped, unpacked = tmp_path / "zipped", tmp_path / "unpacked"
    for name, files in archives.items():
        zipped.mkdir(exist_ok=True)
        make_zip(zipped / f"{name}.zip", {**files, "broken.jpg": b"no image"})
        for file, content in {**files, "broken.jpg": b"no image"}.items():
            (unpacked / name / file).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / name / file).write_bytes(content)
    options = BuildOptions(model=CELLS, threads=2, trial=lambda _version: None)
    made = [
        build_catalog(open_source(folder), tmp_path / f"of-{folder.name}", options) for folder in (zipped, unpacked)
    ]
    for name in ("rejected.jsonl", "metadata.db", "patches.npy", "image_digests.npy"):
        one, other = ((result.folder / name).read_bytes() for result in made)
        assert one == other, name
    assert made[0].manifest.logo_ids == made[1].manifest.logo_ids
    assert made[0].manifest.source == made[1].manifest.source
    assert made[0].manifest.source.rejected == 2
    make_zip(zipped / "part2.zip", archives["part2"])
    again = build_catalog(open_source(zipped), tmp_path / "of-zipped", options)
    assert (again.reused, again.manifest.source.rejected) == (False, 1)


@pytest.mark.slow
def test_a_register_is_built_from_its_files_and_updated_by_a_new_one(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    images, register = tmp_path / "images", tmp_path / "daily"
    images.mkdir()
    register.mkdir()
    serials = ["90000001", "90000002", "90000003"]
    for serial, file in zip(serials, sample_catalog.files, strict=False):
        shutil.copy(sample_catalog.images / file, images / f"{serial}{Path(file).suffix}")
    status, word_mark = "<status-code>{}</status-code>", "<mark-drawing-code>4000</mark-drawing-code>"
    cases = [case_file(serial, header=status.format(641)) for serial in serials]
    (register / "1.zip").write_bytes(zip_of(a__xml=uspto(*cases, case_file("90000009", header=word_mark))))
    options = BuildOptions(threads=2)

    def build_register() -> tuple[BuildResult, list[str | None]]:
        result = build_catalog(open_source(register, images=images), tmp_path / "catalogs", options)
        with SearchEngine.open(result.folder.parent) as engine:
            logos = [engine.logo(f"US-{serial}") for serial in serials]
        return result, [logo and logo.record.status for logo in logos]

    first, statuses = build_register()
    assert statuses == ["pending"] * 3
    counts = first.manifest.source
    assert (counts.kind, counts.indexed, counts.rejected) == ("register", 3, 1)
    (register / "2.xml").write_text(uspto(case_file(serials[1], header=status.format(700), date="20240102")))
    second, statuses = build_register()
    assert second.folder != first.folder
    assert statuses == ["pending", "registered", "pending"]
    assert build_register()[0].reused


def test_a_damaged_image_is_indexed_as_far_as_it_is_readable_and_counted(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in sample_catalog.files[:4]:
        (images / file).write_bytes((sample_catalog.images / file).read_bytes())
    cut = images / sample_catalog.files[2]
    cut.write_bytes(cut.read_bytes()[:-400])
    (images / sample_catalog.files[1]).write_bytes(b"no image")
    rows = [f"{number},{file}" for number, file in enumerate(sample_catalog.files[:4])]
    (tmp_path / "marks.csv").write_text("\n".join(["logo_id,filename", *rows]))
    result = build(tmp_path / "marks.csv", images, BuildOptions(threads=2))
    source = result.manifest.source
    assert (source.read, source.indexed, source.rejected, source.damaged) == (4, 3, 1, 1)
    (line,) = (result.folder / "damaged.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "where": "marks.csv:4", "reason": "the JPEG file is cut off", "logo_id": "2", "filename": cut.name
    }  # fmt: skip


def test_a_build_without_a_logo_names_rows_and_images(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    (tmp_path / "marks.csv").write_text("filename\nb.jpg\na.jpg\n")
    with pytest.raises(
        BuildError, match=r"1: no image 'b\.jpg' .* \(marks\.csv:2\)\n  1: the file .* \(marks\.csv:3, a\.jpg\)\n"
    ):
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


QUICK = BuildOptions(threads=2, recall_queries=7, recall_k=5, trial=lambda _: None)
Stage = tuple[str, int, int | None]


@pytest.fixture
def few(sample_catalog: SampleCatalog, tmp_path: Path) -> Path:
    """A table of 20 logos, of which one has a damaged image, and of a row with an unusable id; and their images."""
    rows = (sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:20]
    rows[4] = json.dumps({"logo_id": "EM/damaged", "filename": "damaged.jpg"})
    rows.insert(9, json.dumps(json.loads(rows[9]) | {"logo_id": "x" * 201}))
    images = tmp_path / "images"
    images.mkdir()
    (images / "damaged.jpg").write_bytes(b"damaged")
    for name in sample_catalog.files[:20]:
        shutil.copy(sample_catalog.images / name, images)
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(rows))
    return path


def build_few(few: Path, options: BuildOptions = QUICK) -> tuple[BuildResult, list[Stage]]:
    stages = list[Stage]()
    result = build_catalog(
        open_source(few, images=few.parent / "images"),
        few.parent / "catalogs",
        options,
        lambda stage, done, total: stages.append((stage, done, total)),
    )
    return result, stages


def test_the_manifest_describes_the_version(few: Path) -> None:
    result, stages = build_few(few)
    manifest, folder = result.manifest, result.folder
    assert verify(folder) == manifest
    assert not result.reused
    ids = [f"EM/{number:06}" for number in range(20) if number != 4]
    encoder = Encoder.open(default_model_folder(), threads=1)
    assert manifest.logo_ids == hashlib.sha256("".join(f"{ident}\n" for ident in ids).encode()).hexdigest()
    assert (manifest.software, manifest.count, manifest.dimension) == (__version__, 19, encoder.dimension)
    assert abs(dt.datetime.now(dt.UTC) - manifest.created) < dt.timedelta(hours=1)
    assert manifest.created.microsecond == 0
    assert set(manifest.fields) >= {"text", "company", "vienna_codes", "application_date"}
    assert (manifest.encoder.id, manifest.encoder.sha256) == (encoder.model.id, encoder.model.sha256)
    assert (manifest.index.m, manifest.index.ef_construction) == (QUICK.m, QUICK.ef_construction)
    assert (manifest.recall.k, manifest.recall.queries, manifest.recall.floor) == (5, 1, 0.95)
    assert [point.ef_search for point in manifest.recall.curve] == list(EF_SEARCHES)
    assert manifest.source.model_dump() == {"kind": "table", "read": 21, "indexed": 19, "rejected": 2, "damaged": 0}
    rejects = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert len(rejects) == 2
    assert "logo_id" in rejects[0]["reason"]
    assert "damaged.jpg" in str(rejects[1])
    assert np.load(folder / "patches.npy").shape[0] == 19
    assert not list(folder.parent.glob(".build-*"))
    assert list(dict.fromkeys(stage for stage, _, _ in stages)) == [
        "logos embedded", "finding identical images", "images indexed", "checking recall", "parts indexed",
        "computing digests",
    ]  # fmt: skip
    last = {stage: (done, total) for stage, done, total in stages}
    assert manifest.parts is not None
    assert last == {
        "logos embedded": (20, 20),
        "finding identical images": (0, None),
        "images indexed": (19, 19),
        "checking recall": (0, None),
        "parts indexed": (manifest.parts.distinct, manifest.parts.distinct),
        "computing digests": (0, None),
    }
    with SearchEngine.open(folder.parent) as engine:
        assert [logo and logo.logo_id for logo in map(engine.logo, ids)] == ids


def test_a_build_resumes_after_the_last_complete_stage(few: Path) -> None:
    def fail(_: Path) -> None:
        raise CatalogError("failed its trial")

    with pytest.raises(CatalogError, match="failed its trial"):
        build_few(few, replace(QUICK, trial=fail))
    assert Catalog(few.parent / "catalogs").names() == []
    result, stages = build_few(few)
    assert {stage for stage, _, _ in stages} == {
        "logos embedded",
        "finding identical images",
        "checking recall",
        "computing digests",
    }
    assert verify(result.folder).recall.queries == 1
    with SearchEngine.open(result.folder.parent) as engine:
        assert engine.logo("EM/000019") is not None


class MakesFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._path),)


def test_a_shard_is_never_unpickled(few: Path) -> None:
    def fail(_: Path) -> None:
        raise CatalogError("failed its trial")

    with pytest.raises(CatalogError, match="failed its trial"):
        build_few(few, replace(QUICK, trial=fail))
    (shard,) = (few.parent / "catalogs").glob(".build-*/shards/*0.npy")
    shard.write_bytes(pickle.dumps(MakesFolder(few.parent / "unpickled")))
    with pytest.raises(ValueError, match="pickle"):
        build_few(few)
    assert not (few.parent / "unpickled").exists()


def test_a_breadth_that_is_given_is_kept(few: Path) -> None:
    result, _ = build_few(few, replace(QUICK, ef_search=77))
    assert result.manifest.index.ef_search == 77
    assert [point.ef_search for point in result.manifest.recall.curve] == [77]


def test_a_version_that_is_used_again_is_tried_signed_and_made_live(few: Path) -> None:
    first, _ = build_few(few)
    assert not (first.folder / SIGNATURE).exists()
    second, _ = build_few(few, replace(QUICK, m=16))
    assert not second.reused
    damaged = first.folder.with_name("29991231T235959Z-00000000")  # newer
    damaged.mkdir()
    (damaged / MANIFEST).write_bytes(b"{}")
    tried: list[Path] = []
    options = replace(QUICK, trial=tried.append, signing_key=Ed25519PrivateKey.generate())
    again, stages = build_few(few, options)
    assert (again.reused, again.folder, tried, stages) == (True, first.folder, [first.folder], [])
    assert (first.folder / SIGNATURE).exists()
    assert Catalog(first.folder.parent).current() == first.folder


def test_a_source_without_a_usable_logo_names_some_reasons(tmp_path: Path) -> None:
    table = tmp_path / "few.jsonl"
    bad = [json.dumps({"logo_id": str(number), "filename": f"{number}.jpg"}) for number in range(5)]
    table.write_text("\n".join(bad))
    (tmp_path / "images").mkdir()
    with pytest.raises(BuildError) as failure:
        build_few(table)
    looked = f"  the images were looked for in {tmp_path / 'images'}"
    assert str(failure.value).splitlines() == [
        "no logo could be indexed: 5 rows were rejected",
        "  5: no image '0.jpg' in the image folder (few.jsonl:1)",
        f"{looked}; if they are elsewhere, name their folder or ZIP file with --images",
    ]
    assert Catalog(tmp_path / "catalogs").names() == []


def test_a_version_with_other_posting_lists_is_not_used_again(
    sample_catalog: SampleCatalog, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(table, sample_catalog.images, POOR)
    monkeypatch.setattr(catalog, "POSTINGS_LAYOUT", 0)
    other = build(table, sample_catalog.images, POOR)
    assert not other.reused
    assert other.manifest.inputs != first.manifest.inputs


def test_a_build_writes_the_posting_lists_of_the_fields_that_occur(sample_catalog: SampleCatalog) -> None:
    manifest = read_manifest(Catalog(sample_catalog.root).current())
    written = {name for name in manifest.files if name.startswith("postings/")}
    assert written == file_names(manifest.fields)
    assert "postings/vienna_codes.values" in written
    assert "postings/office.values" not in written
