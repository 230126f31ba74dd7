"""Catalogs in which many logos have the same image: no other logo is lost, and none is hidden without being counted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.api.schemas import SearchResponse
from logo_similarity.build.catalog import BuildResult, build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import PATCHES, ROW_MAP, ROW_VECTORS, VECTOR_OFFSETS, VECTOR_ROWS
from logo_similarity.catalog.replica import publish_version, pull_version
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.images import NamesAsWritten
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings, load_settings
from logo_similarity.description import Description
from logo_similarity.domain import Query
from logo_similarity.embed.describe import describe
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError
from logo_similarity.filters import Filter
from logo_similarity.image.decode import decode
from logo_similarity.search.rows import GroupedMap, IdentityMap, Numbers
from logo_similarity.storage.objects import ObjectFolder
from tests.commands import run, run_on_terminal
from tests.hostile_catalogs import rewrite_manifest
from tests.pictures import encode
from tests.samples import SAMPLES

MARKS = 300
PLACEHOLDER, BLANK, PALE = MARKS, MARKS + 1, MARKS + 2
COPIES = 2_000


@dataclass(frozen=True, slots=True)
class Pictures:
    """Image files and what the encoder sees in them, by number."""

    files: list[bytes]
    descriptions: list[Description]


def placeholder() -> bytes:
    canvas = np.full((200, 200, 3), 225, np.uint8)
    for line, text in enumerate(("image", "not", "available")):
        cv2.putText(canvas, text, (20, 70 + 40 * line), cv2.FONT_HERSHEY_SIMPLEX, 1, (130, 130, 130), 2)
    return encode(canvas, "PNG")


def pale() -> bytes:
    """A disc that differs from the paper by too little for patches."""
    canvas = np.full((200, 200, 3), 255, np.uint8)
    cv2.circle(canvas, (100, 100), 70, (248, 248, 248), -1)
    return encode(canvas, "PNG")


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    names = [row["file"] for row in json.loads((SAMPLES / "results.json").read_text())[:MARKS]]
    files = [(SAMPLES / "images" / name).read_bytes() for name in names]
    files += [placeholder(), encode(np.full((100, 100, 3), 255, np.uint8), "PNG"), pale()]
    encoder = Encoder.open(default_model_folder(), device="cpu", threads=1)
    return Pictures(files, [describe(decode(file), encoder) for file in files])


def build(folder: Path, pictures: Pictures, rows: Sequence[int]) -> BuildResult:
    """A catalog from precomputed embeddings, whose row i has the picture `rows[i]` and the id i."""
    folder.mkdir(exist_ok=True)
    ids = [str(row) for row in range(len(rows))]
    (folder / "ids.txt").write_text("\n".join(ids))
    np.save(folder / "embeddings.npy", np.stack([pictures.descriptions[number].embedding for number in rows]))
    patches = [pictures.descriptions[number].patches for number in rows]
    np.save(folder / "patches.npy", np.stack([cells for cells in patches if cells is not None]))
    table = ({"logo_id": logo_id, "filename": f"{logo_id}.png", "year": 2000 + int(logo_id) % 10} for logo_id in ids)
    (folder / "marks.jsonl").write_text("\n".join(map(json.dumps, table)))
    source = open_source(folder / "marks.jsonl", images=folder, names=NamesAsWritten)
    return build_catalog(source, folder / "catalogs", BuildOptions(embeddings=folder, threads=2))


ALL = [*range(MARKS), PLACEHOLDER, BLANK, PALE]
REGISTERS = {
    "copies last": [*ALL, *[PLACEHOLDER] * COPIES],
    "copies first": [*[PLACEHOLDER] * COPIES, *ALL],
    "copies of one mark": [*ALL, *[17] * 150],
    "five marks filed 200 times": np.random.default_rng(0).permutation([*ALL, *[3, 50, 51, 200, 299] * 200]).tolist(),
    "copies of a blank image": [*ALL, *[BLANK] * 500],
}


@pytest.mark.parametrize("name", REGISTERS)
def test_every_mark_finds_itself_first(tmp_path: Path, pictures: Pictures, name: str) -> None:
    rows = REGISTERS[name]
    manifest = build(tmp_path, pictures, rows).manifest
    assert (manifest.count, manifest.distinct_images) == (len(rows), len(ALL))
    assert manifest.recall.self_found == 1  # of all images: they are fewer than the build samples
    counts = np.bincount(rows)
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        for number in {
            *range(0, MARKS, 6),
            *(number for number in ALL if counts[number] > 1),
            PLACEHOLDER,
            BLANK,
            PALE,
        }:
            hit = engine.search(Query(image=pictures.files[number], min_score=0.9, top_k=1)).hits[0]
            assert rows[hit.logo.id] == number
            assert rows.index(number) == hit.logo.id
            assert hit.score == pytest.approx(1, abs=1e-5)
            assert hit.copies == counts[number] - 1


@pytest.fixture(scope="module")
def register(pictures: Pictures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a catalog that begins with copies of the placeholder."""
    folder = tmp_path_factory.mktemp("identical")
    build(folder, pictures, REGISTERS["copies first"])
    return folder / "catalogs"


def test_a_filter_applies_to_each_logo_with_an_image(register: Path, pictures: Pictures) -> None:
    query = Query(image=pictures.files[PLACEHOLDER], top_k=1000, max_identical=20)
    with SearchEngine.open(register) as engine:
        every = engine.search(query).hits
        result = engine.search(replace(query, filter=Filter.where(year=2003)))
        few = engine.search(replace(query, filter=Filter.where(year=2003), top_k=30))
    others = [hit for hit in every[20:] if hit.logo.id % 10 == 3]
    assert result.passed == COPIES // 10 + len(others)
    # The first 20 of the 200 copies of the placeholder that pass, and then all other logos that pass.
    assert [hit.logo.id for hit in result.hits[:20]] == [*range(3, 200, 10)]
    assert [hit.logo for hit in result.hits[20:]] == [hit.logo for hit in others]
    assert [hit.copies for hit in result.hits] == [COPIES // 10 - 1] * 20 + [0] * len(others)
    scores = [every[0].score] * 20 + [hit.score for hit in others]
    assert [hit.score for hit in result.hits] == pytest.approx(scores, abs=1e-6)
    assert few.hits == result.hits[:30]


def test_the_copies_of_an_image_leave_room_for_others(register: Path, pictures: Pictures) -> None:
    with SearchEngine.open(register) as engine:
        hits = engine.search(Query(image=pictures.files[PLACEHOLDER])).hits
        assert [hit.logo.id for hit in hits[:10]] == list(range(10))
        assert {(hit.score, hit.cosine, hit.copies) for hit in hits[:10]} == {(hits[0].score, hits[0].cosine, COPIES)}
        assert len(hits) == 100
        assert all(hit.logo.id >= COPIES and hit.copies == 0 for hit in hits[10:])
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(("top_k", "most", "copies"), [(100, 1, 1), (100, 99, 99), (100, 1000, 100), (5, 10, 5)])
def test_the_copies_are_as_many_as_wanted(
    register: Path, pictures: Pictures, top_k: int, most: int, copies: int
) -> None:
    with SearchEngine.open(register) as engine:
        hits = engine.search(Query(image=pictures.files[PLACEHOLDER], top_k=top_k, max_identical=most)).hits
    assert len(hits) == top_k
    assert [hit.copies for hit in hits] == [COPIES] * copies + [0] * (top_k - copies)


@pytest.mark.parametrize("rerank", [True, False])
def test_copies_change_no_other_hit(register: Path, pictures: Pictures, tmp_path: Path, rerank: bool) -> None:
    """The scores are those of a catalog in which each image is once."""
    build(tmp_path, pictures, [PLACEHOLDER, *range(MARKS), BLANK, PALE])
    with SearchEngine.open(register) as many, SearchEngine.open(tmp_path / "catalogs") as once:
        for file in (pictures.files[PLACEHOLDER], pictures.files[5]):
            query = Query(image=file, rerank=rerank, max_identical=1)
            expected = once.search(query).hits
            hits = many.search(query).hits
            assert [(hit.score, hit.cosine) for hit in hits] == [(hit.score, hit.cosine) for hit in expected]
            rows = REGISTERS["copies first"]
            assert [rows[hit.logo.id] for hit in hits] == [
                (PLACEHOLDER, *range(MARKS), BLANK, PALE)[hit.logo.id] for hit in expected
            ]


def test_each_image_is_stored_once(register: Path, pictures: Pictures) -> None:
    version = Catalog(register).current()
    assert len(np.load(version / PATCHES)) == len(ALL)
    with SearchEngine.open(register) as engine:
        assert engine.base.index.count == len(ALL)
        assert isinstance(engine.base.row_map, GroupedMap)
        engine.check((0, 1, COPIES - 1, COPIES, engine.manifest.count - 1))
        row = COPIES + 7
        (vector,) = engine.base.row_map.vector_of(np.array([row]))
        np.testing.assert_array_equal(engine.base.index.vectors[vector], pictures.descriptions[7].embedding)


def test_a_catalog_without_identical_images_has_no_row_map(pictures: Pictures, tmp_path: Path) -> None:
    manifest = build(tmp_path, pictures, ALL).manifest
    assert manifest.count == manifest.distinct_images == len(ALL)
    assert not set(ROW_MAP) & set(manifest.files)
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        assert isinstance(engine.base.row_map, IdentityMap)


def test_a_catalog_of_one_image_only(pictures: Pictures, tmp_path: Path) -> None:
    assert build(tmp_path, pictures, [4] * 30).manifest.distinct_images == 1
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        hits = engine.search(Query(image=pictures.files[4], max_identical=20)).hits
        assert [(hit.logo.id, hit.copies) for hit in hits] == [(row, 29) for row in range(20)]


def test_identical_files_and_other_files_of_the_same_pixels_are_one_image(pictures: Pictures, tmp_path: Path) -> None:
    """From the files themselves, in several shards."""
    (tmp_path / "images").mkdir()
    for number in range(30):
        (tmp_path / "images" / f"{number:02}.jpg").write_bytes(pictures.files[number])
    for number in range(40):
        (tmp_path / "images" / f"again-{number:02}.jpg").write_bytes(pictures.files[8])
    (tmp_path / "images" / "other.bmp").write_bytes(encode(decode(pictures.files[8]), "BMP"))
    with pytest.MonkeyPatch.context() as patch:
        for module in ("catalog", "embeddings", "shards"):
            patch.setattr(f"logo_similarity.build.{module}.SHARD_ROWS", 16)
        result = build_catalog(open_source(tmp_path / "images"), tmp_path / "catalogs", BuildOptions(threads=2))
    assert (result.manifest.count, result.manifest.distinct_images) == (71, 30)
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        hits = engine.search(Query(image=pictures.files[8], max_identical=50)).hits
        names = ["08.jpg", *(f"again-{number:02}.jpg" for number in range(40)), "other.bmp"]
        assert sorted(hit.logo.filename for hit in hits[:42]) == names
        assert [hit.copies for hit in hits] == [41] * 42 + [0] * 29
        assert sorted(hit.logo.id for hit in hits) == list(range(71))


def spoil(version: Path, name: str, edit: Callable[[Numbers], object]) -> None:
    numbers = np.load(version / name)
    edit(numbers)
    np.save(version / name, numbers)


@pytest.mark.parametrize(
    ("name", "edit", "reason"),
    [
        (VECTOR_OFFSETS, lambda numbers: numbers.__setitem__(2, 0), "do not ascend"),
        (VECTOR_ROWS, lambda numbers: numbers.__setitem__(5, 10**6), "does not exist"),
        (VECTOR_ROWS, lambda numbers: numbers.__setitem__(-1, numbers[-2]), "contradicts"),
        (ROW_VECTORS, lambda numbers: numbers.__setitem__(0, 5), "contradicts"),
    ],
)
def test_a_version_with_a_damaged_row_map_is_not_opened(
    register: Path, tmp_path: Path, name: str, edit: Callable[[Numbers], object], reason: str
) -> None:
    """All digests are correct."""
    version = shutil.copytree(Catalog(register).current(), tmp_path / "copy")
    spoil(version, name, edit)
    version = rewrite_manifest(version)
    with pytest.raises(CatalogError, match=f"damaged: .*{reason}"):
        SearchEngine.open(tmp_path, version=version.name)
    with pytest.raises(CatalogError, match=f"failed its trial: .*damaged: .*{reason}"):
        Trial()(version)


def test_a_row_map_of_another_number_of_images_is_refused(register: Path, tmp_path: Path) -> None:
    version = shutil.copytree(Catalog(register).current(), tmp_path / "copy")
    version = rewrite_manifest(version, lambda manifest: manifest.update(distinct_images=len(ALL) - 1))
    with pytest.raises(
        CatalogError, match=r"vector_offsets\.npy: damaged: the array is int32 \(304,\); expected int32 \(303,\)"
    ):
        SearchEngine.open(tmp_path, version=version.name)


@pytest.mark.parametrize("query", ["?max_identical=2", "?max_identical=1000", ""])
def test_http_shows_and_counts_the_copies(register: Path, pictures: Pictures, query: str) -> None:
    with TestClient(create_app(load_settings(catalogs=register, log_level="error", threads=1))) as client:
        response = client.post(f"/v1/search{query}", files={"file": pictures.files[PLACEHOLDER]})
        form = {"max_identical": query.partition("=")[2]} if query else {}
        same = client.post("/v1/search", files={"file": pictures.files[PLACEHOLDER]}, data=form)
    results = SearchResponse.model_validate_json(response.content).results
    shown = {"?max_identical=2": 2, "?max_identical=1000": 100, "": 10}[query]
    assert [hit.copies for hit in results] == [COPIES] * shown + [0] * (100 - shown)
    assert [hit["id"] for hit in same.json()["results"]] == [hit.id for hit in results]
    assert response.json()["catalog"]["logos"] == COPIES + len(ALL)


def test_the_command_line_shows_and_counts_the_copies(register: Path, pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "query.png").write_bytes(pictures.files[PLACEHOLDER])
    words = ("search", tmp_path / "query.png", "--catalogs", register)
    lines = [line.split("\t") for line in run(*words).stdout.splitlines()]
    assert [line[3:] for line in lines[:3]] == [[str(row), str(2000 + row), f"+{COPIES}"] for row in range(3)]
    assert len(lines) == 10
    assert all(line[-1] == "" for line in lines[3:])
    assert run(*words, "--columns", "copies,id", "--top-k", 1).stdout == f"+{COPIES}\t0\n"
    header, first, *_ = run_on_terminal(*words, "--columns", "score,band,id,year,copies", width=80)
    assert header.split() == ["score", "band", "id", "year", "copies"]
    assert first.split() == ["1.0000", "near-identical", "0", "2000", f"+{COPIES}"]
    hits = json.loads(run(*words, "--json", "--max-identical", 1).stdout)["results"]
    assert [hit["copies"] for hit in hits] == [COPIES] + [0] * 9


def test_commands_work_on_the_catalog(register: Path) -> None:
    assert "files verified" in run("catalog", "verify", "--catalogs", register).stdout
    assert f"{COPIES + len(ALL):,} logos" in run("doctor", "--catalogs", register).stdout
    plan = json.loads(run("plan", register, "--json").stdout)
    assert plan["logos"] == COPIES + len(ALL)
    assert plan["bytes_per_logo"] < 1_000 + 10_000_000 / plan["logos"]  # the embedding and the patches take 2 kB


def test_a_replica_pulls_the_catalog(register: Path, settings: Settings, pictures: Pictures, tmp_path: Path) -> None:
    remote, replica = ObjectFolder(str(settings.catalog_url), settings), Catalog(tmp_path / "replica")
    publish_version(Catalog(register).current(), remote)
    pull_version(remote, replica, keep=1, trial=Trial())
    with SearchEngine.open(register) as own, SearchEngine.open(replica.root) as other:
        query = Query(image=pictures.files[PLACEHOLDER])
        assert own.search(query).hits == other.search(query).hits
    for name in ROW_MAP:
        digests = {
            hashlib.sha256((Catalog(root).current() / name).read_bytes()).digest() for root in (register, replica.root)
        }
        assert len(digests) == 1


def test_the_blank_and_the_pale_image_have_no_patches(pictures: Pictures) -> None:
    """So the searches for them above are decided by the cosine."""
    for number in (BLANK, PALE):
        patches = pictures.descriptions[number].patches
        assert patches is not None
        assert not patches.any()
