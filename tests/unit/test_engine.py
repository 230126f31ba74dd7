from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logo_similarity import engine as engine_module
from logo_similarity import ranking as ranking_module
from logo_similarity.catalog.manifest import (
    IMAGE_DIGESTS,
    MANIFEST,
    PATCHES,
    EncoderEntry,
    Manifest,
    read_manifest,
    version_name,
)
from logo_similarity.catalog.metadata import Metadata, write_metadata
from logo_similarity.catalog.postings import POSTINGS
from logo_similarity.catalog.publish import digest_files
from logo_similarity.catalog.versions import Catalog
from logo_similarity.domain import PartsMode, Query, Timings
from logo_similarity.embed import describe as describe_module
from logo_similarity.embed.describe import describe
from logo_similarity.embed.encoder import Encoder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import BadImageError, CatalogError, InvalidRequestError, NotFoundError
from logo_similarity.fields import Record
from logo_similarity.filters import Filter
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import decode
from logo_similarity.search.hnsw import HnswSource
from logo_similarity.search.score import RERANKED, agreement
from tests.pictures import embed
from tests.samples import SampleCatalog


@pytest.fixture(scope="module")
def engine(sample_catalog: SampleCatalog) -> Iterator[SearchEngine]:
    with SearchEngine.open(sample_catalog.root) as opened:
        yield opened


def picture(catalog: SampleCatalog, number: int = 0) -> bytes:
    return (catalog.images / catalog.files[number]).read_bytes()


def test_bytes_and_their_pixels_find_the_same(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    data = picture(sample_catalog, 8)
    by_bytes, by_pixels = engine.search(Query(image=data, top_k=5)), engine.search(Query(image=decode(data), top_k=5))
    assert by_bytes.hits == by_pixels.hits
    assert by_bytes.hits[0].logo.record.logo_id == "EM/000008"
    assert by_bytes.hits[0].score > 0.9999
    assert by_bytes.version == engine.version


@pytest.mark.parametrize("rerank", [True, False])
def test_cosines_are_those_of_the_embeddings(engine: SearchEngine, sample_catalog: SampleCatalog, rerank: bool) -> None:
    (query,) = embed(engine.encoder, [decode(picture(sample_catalog, 3))])
    for hit in engine.search(Query(image=picture(sample_catalog, 3), top_k=20, rerank=rerank)).hits:
        (other,) = embed(engine.encoder, [decode(picture(sample_catalog, hit.logo.id))])
        assert hit.cosine == pytest.approx(float(query @ other), abs=1e-5)
        assert rerank or hit.score == hit.cosine


def test_reranked_scores_are_made_of_cosine_and_patches(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    data = picture(sample_catalog, 3)
    result = engine.search(Query(image=data, top_k=50, parts=PartsMode.OFF))
    assert result.reranked
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    described = [describe(decode(picture(sample_catalog, hit.logo.id)), engine.encoder) for hit in result.hits]
    patches = np.stack([one.patches for one in described if one.patches is not None])
    vectors = np.stack([one.embedding for one in described])
    cosines = np.array([hit.cosine for hit in result.hits], np.float32)
    query = describe(decode(data), engine.encoder)
    assert query.patches is not None
    # The mean of all candidates is of those that were not asked for too.
    nearest = engine.base.candidates(query, RERANKED)
    assert nearest.embeddings is not None
    common = nearest.embeddings.mean(axis=0)
    weight = engine.encoder.model.rerank_weight
    means = (1 - weight) * cosines + weight * agreement(query.patches, patches)
    expected = means + (1 - means) * ((query.embedding - vectors) @ common)
    np.testing.assert_allclose([hit.score for hit in result.hits], expected, atol=1e-6)
    assert cosines.tolist() != sorted(cosines.tolist(), reverse=True), "re-ranking has changed nothing"


def test_reranking_looks_past_what_is_asked_for(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    every = engine.search(Query(image=picture(sample_catalog, 3), top_k=200)).hits
    assert engine.search(Query(image=picture(sample_catalog, 3), top_k=7)).hits == every[:7]


def test_a_catalog_without_patches_says_so(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    folder = Catalog(tmp_path / "catalogs")
    version = folder.current()
    (version / PATCHES).unlink()
    changed = read_manifest(version).model_copy(update={"files": digest_files(version)})
    (version / MANIFEST).write_bytes(changed.to_json())
    folder.flip(version.rename(version.with_name(version_name(changed))).name)
    with SearchEngine.open(folder.root) as opened:
        result = opened.search(Query(image=picture(sample_catalog), top_k=5))
        assert not result.reranked
        assert all(hit.score == hit.cosine for hit in result.hits)
        with pytest.raises(InvalidRequestError, match="cannot re-rank"):
            opened.search(Query(image=picture(sample_catalog), rerank=True))


def test_every_stage_has_its_time(
    engine: SearchEngine, sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only the stages advance, the first by one second, the second by two, and so on."""
    now = 0.0

    def advancing(call: Callable[..., Any], seconds: int) -> Callable[..., Any]:
        def advance_and_call(*arguments: Any, **named: Any) -> Any:
            nonlocal now
            now += seconds
            return call(*arguments, **named)

        return advance_and_call

    stages = (
        (Decoder, "decode"),
        (describe_module, "prepare"),
        (Encoder, "infer_with_patches"),
        (engine_module, "describe_parts"),
        (HnswSource, "candidates"),
        (ranking_module, "fuse"),
        (Metadata, "fetch"),
    )
    for seconds, (owner, name) in enumerate(stages, start=1):
        monkeypatch.setattr(owner, name, advancing(getattr(owner, name), seconds))
    monkeypatch.setattr("time.perf_counter", lambda: now)
    timings = engine.search(Query(image=picture(sample_catalog))).timings
    assert timings == Timings(
        decode=1000, preprocess=2000, embed=3000, parts=4000, search=5000, rerank=6000, metadata=7000
    )


def test_min_score_and_top_k(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    every = engine.search(Query(image=picture(sample_catalog), top_k=200)).hits
    assert len(every) == 200
    assert engine.search(Query(image=picture(sample_catalog), top_k=200, min_score=every[9].score)).hits == every[:10]


def test_parameters_at_the_ends_of_their_ranges(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    data = picture(sample_catalog)
    assert len(engine.search(Query(image=data, top_k=1000, min_score=-1)).hits) == 200
    assert len(engine.search(Query(image=data, top_k=1, min_score=None)).hits) == 1
    assert len(engine.search(Query(image=data, top_k=1, min_score=1)).hits) <= 1


@pytest.mark.parametrize(
    "options", [{"top_k": 0}, {"top_k": 1001}, {"min_score": 1.01}, {"min_score": -1.01}, {"min_score": float("nan")}]
)
def test_parameters_out_of_range(sample_catalog: SampleCatalog, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        Query(image=picture(sample_catalog), **options)


@pytest.mark.parametrize(
    "image",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 4), np.uint8)],
)
def test_arrays_that_are_no_picture(engine: SearchEngine, image: Any) -> None:
    with pytest.raises(InvalidRequestError):
        engine.search(Query(image=image))


def test_bytes_that_are_no_picture(engine: SearchEngine) -> None:
    with pytest.raises(BadImageError):
        engine.search(Query(image=b"nothing"))


EVERY_FIFTH = Filter.where(company=[f"Company {number}" for number in range(0, 200, 5)])


@pytest.mark.parametrize("rerank", [True, False])
def test_only_logos_that_pass_the_filter_are_found(
    engine: SearchEngine, sample_catalog: SampleCatalog, rerank: bool
) -> None:
    """Hits and scores are those of a search for all logos, without the others."""
    data = picture(sample_catalog, 3)
    every = engine.search(Query(image=data, top_k=200, rerank=rerank))
    result = engine.search(Query(image=data, top_k=200, rerank=rerank, filter=EVERY_FIFTH))
    assert (every.exact, every.passed) == (False, None)
    assert (result.exact, result.passed, result.reranked) == (True, 40, rerank)
    expected = [hit for hit in every.hits if hit.logo.id % 5 == 0]
    assert [hit.logo for hit in result.hits] == [hit.logo for hit in expected]
    for name in ("score", "cosine"):
        values, others = ([getattr(hit, name) for hit in hits] for hits in (result.hits, expected))
        assert values == pytest.approx(others, abs=1e-6)
    few = engine.search(Query(image=data, top_k=7, rerank=rerank, filter=EVERY_FIFTH))
    assert few.hits == result.hits[:7]
    best = engine.search(Query(image=data, min_score=result.hits[2].score, rerank=rerank, filter=EVERY_FIFTH))
    assert best.hits == result.hits[:3]


@pytest.mark.parametrize("condition", [None, EVERY_FIFTH])
def test_only_the_rows_of_a_query_are_found(
    engine: SearchEngine, sample_catalog: SampleCatalog, condition: Filter | None
) -> None:
    """Scores and expected numbers are those of a search of the whole catalog."""
    data, rows = picture(sample_catalog, 3), (3, 10, 77, 105)
    every = {hit.logo.id: hit for hit in engine.search(Query(image=data, top_k=200)).hits}
    result = engine.search(Query(image=data, rows=rows, filter=condition))
    expected = [row for row in rows if condition is None or row % 5 == 0]
    assert (sorted(hit.logo.id for hit in result.hits), result.passed) == (expected, len(expected))
    for hit in result.hits:
        assert hit.score == pytest.approx(every[hit.logo.id].score, abs=1e-6)
        assert hit.expect == pytest.approx(every[hit.logo.id].expect, rel=1e-3)
    words = engine.search(Query(words="Company 77", rows=rows, filter=condition)).hits
    assert {hit.logo.id for hit in words} <= set(expected)
    assert engine.search(Query(image=data, rows=())).hits == ()


def test_every_kind_of_field_can_be_filtered_by(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    def passed(condition: Filter) -> int | None:
        result = engine.search(Query(image=picture(sample_catalog), filter=condition))
        assert len(result.hits) == min(result.passed or 0, 100)
        return result.passed

    assert passed(Filter.where(vienna_codes="26.1")) == 200
    assert passed(Filter.where(vienna_codes="27.05.02")) == 0
    assert passed(Filter.where(application_date=("2023-01-01", None), year=2023)) == 200
    assert passed(Filter.words(company="company 7") | Filter.where(company="Company 8")) == 2
    assert passed(~Filter.words(company="company 7")) == 199
    assert passed(Filter.where(nice_classes=9)) == 5
    with pytest.raises(InvalidRequestError, match="this catalog has no office to filter by; it has text, company"):
        passed(~Filter.where(office="EM"))


@pytest.mark.parametrize("rerank", [True, False])
def test_a_filter_that_no_logo_passes_has_no_hits(
    engine: SearchEngine, sample_catalog: SampleCatalog, rerank: bool
) -> None:
    nothing = Filter.where(company="Nobody")
    result = engine.search(Query(image=picture(sample_catalog), rerank=rerank, filter=nothing))
    assert (result.hits, result.exact, result.passed) == ((), True, 0)


def test_a_catalog_without_posting_lists_opens_and_refuses_filters(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    folder = Catalog(tmp_path / "catalogs")
    version = folder.current()
    shutil.rmtree(version / POSTINGS)
    changed = read_manifest(version).model_copy(update={"files": digest_files(version)})
    (version / MANIFEST).write_bytes(changed.to_json())
    folder.flip(version.rename(version.with_name(version_name(changed))).name)
    with SearchEngine.open(folder.root) as opened:
        assert len(opened.search(Query(image=picture(sample_catalog))).hits) == 100
        with pytest.raises(InvalidRequestError, match=r"this catalog cannot filter: .* build it again"):
            opened.search(Query(image=picture(sample_catalog), filter=EVERY_FIFTH))


def test_one_logo_by_its_id(engine: SearchEngine) -> None:
    found = engine.logo("EM/000012")
    assert found is not None
    assert found.id == 12
    assert engine.logo("EM/999999") is None


def test_a_version_by_its_name(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    with SearchEngine.open(str(sample_catalog.root), version=engine.version) as named:
        assert named.version == engine.version
    with pytest.raises(NotFoundError):
        SearchEngine.open(sample_catalog.root, version="20200101T000000Z-00000000")


def one_row_less(version: Path, manifest: Manifest) -> Manifest:
    (version / "metadata.db").unlink()
    write_metadata(version / "metadata.db", [Record(logo_id=str(n), filename="x") for n in range(manifest.count - 1)])
    return manifest


def fewer_logos(_: Path, manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"count": 7, "distinct_images": 7})


def one_patch_less(version: Path, manifest: Manifest) -> Manifest:
    np.save(version / PATCHES, np.load(version / PATCHES)[1:])
    return manifest


def other_patches(version: Path, manifest: Manifest) -> Manifest:
    np.save(version / PATCHES, np.load(version / PATCHES).astype(np.float32))
    return manifest


def no_patches(version: Path, manifest: Manifest) -> Manifest:
    (version / PATCHES).write_bytes(b"patches")
    return manifest


def one_digest_less(version: Path, manifest: Manifest) -> Manifest:
    np.save(version / IMAGE_DIGESTS, np.load(version / IMAGE_DIGESTS)[1:])
    return manifest


def no_postings(version: Path, manifest: Manifest) -> Manifest:
    (version / POSTINGS / "year.values").write_bytes(b"postings")
    return manifest


def other_preprocessing(_: Path, manifest: Manifest) -> Manifest:
    encoder = EncoderEntry(id=manifest.encoder.id, sha256=manifest.encoder.sha256, preprocessing="0")
    return manifest.model_copy(update={"encoder": encoder})


def other_encoder(_: Path, manifest: Manifest) -> Manifest:
    encoder = EncoderEntry(id=manifest.encoder.id, sha256="0" * 64, preprocessing=manifest.encoder.preprocessing)
    return manifest.model_copy(update={"encoder": encoder})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_row_less, "different numbers of logos"),
        (one_patch_less, "different numbers of distinct images"),
        (other_patches, "expected int8"),
        (no_patches, "damaged"),
        (one_digest_less, "expected uint8"),
        (fewer_logos, "different numbers of logos"),
        (no_postings, "year.values: damaged"),
        (lambda _, manifest: manifest.model_copy(update={"dimension": 7}), "different numbers of dimensions"),
        (other_preprocessing, "build the catalog again"),
        (other_encoder, "not the encoder"),
    ],
)
def test_a_version_that_contradicts_itself_is_not_opened(
    sample_catalog: SampleCatalog, tmp_path: Path, change: Callable[[Path, Manifest], Manifest], message: str
) -> None:
    """Every digest is right here: the parts are whole and do not belong together."""
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    folder = Catalog(tmp_path / "catalogs")
    version = folder.current()
    changed = change(version, read_manifest(version)).model_copy(update={"files": digest_files(version)})
    (version / MANIFEST).write_bytes(changed.to_json())
    folder.flip(version.rename(version.with_name(version_name(changed))).name)
    with pytest.raises(CatalogError, match=message):
        SearchEngine.open(folder.root)


def test_words_alone_find_texts_and_companies(engine: SearchEngine) -> None:
    logo = engine.metadata.fetch([3])[0].record
    assert logo.text is not None
    result = engine.search(Query(words=logo.text.upper(), top_k=5))
    first = result.hits[0]
    assert first.logo.record.text == logo.text
    assert (first.score, first.word_similarity, first.word_field) == (1, 1, "text")
    assert (first.cosine, first.image_score) == (None, None)
    assert not result.reranked
    assert not result.exact
    company = engine.search(Query(words="company 7", top_k=1)).hits[0]
    assert (company.logo.record.company, company.word_field) == ("Company 7", "company")


@pytest.mark.parametrize("parts", [PartsMode.AUTO, PartsMode.OFF])
@pytest.mark.parametrize("rerank", [True, False])
def test_an_image_and_words_fuse_and_both_are_complete(
    engine: SearchEngine, sample_catalog: SampleCatalog, rerank: bool, parts: PartsMode
) -> None:
    image, text = picture(sample_catalog, 9), engine.metadata.fetch([11])[0].record.text
    query = Query(image=image, words=text, word_weight=0.25, top_k=1000, rerank=rerank, parts=parts)
    result = engine.search(query)
    by_image = {hit.logo.id: hit for hit in engine.search(replace(query, words=None)).hits}
    assert {9, 11} <= {hit.logo.id for hit in result.hits[:5]}
    assert result.reranked is rerank
    for hit in result.hits:
        other = by_image[hit.logo.id]
        assert hit.cosine == pytest.approx(other.cosine, abs=1e-5)
        assert hit.expect == pytest.approx(other.expect, rel=0.01)
        assert hit.matched == other.matched
        assert hit.image_score is not None
        if hit.matched is None:
            assert hit.image_score == pytest.approx(other.score, abs=1e-5)
        else:
            assert hit.image_score > other.score
        assert hit.score == pytest.approx(0.75 * hit.image_score + 0.25 * (hit.word_similarity or 0), abs=1e-5)
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    assert result.parts is any(hit.matched for hit in result.hits) is (parts is PartsMode.AUTO)


def test_bounds_of_the_image_hold_with_words(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    query = Query(image=picture(sample_catalog, 3), words="company", top_k=1000)
    few = engine.search(replace(query, max_expect=1)).hits
    assert {hit.logo.id for hit in few} == {hit.logo.id for hit in engine.search(query).hits if (hit.expect or 0) <= 1}
    assert len(few) < 100
    assert all(hit.matched for hit in engine.search(replace(query, parts=PartsMode.ONLY)).hits)


def test_a_logo_with_the_words_is_scored_though_its_image_is_no_candidate(
    engine: SearchEngine, sample_catalog: SampleCatalog
) -> None:
    image = picture(sample_catalog, 3)
    every = engine.search(Query(image=image, top_k=1000, rerank=False)).hits
    last = every[-1]
    words = last.logo.record.text
    hits = engine.search(Query(image=image, words=words, top_k=1, word_weight=1, rerank=False)).hits
    assert hits[0].logo.record.text == words
    (found,) = (hit for hit in every if hit.logo.id == hits[0].logo.id)
    assert hits[0].image_score == pytest.approx(found.score, abs=1e-5)


def test_words_under_a_filter(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    company = Filter.where(company="Company 7")
    for image in (None, picture(sample_catalog, 3)):
        result = engine.search(Query(image=image, words="company", filter=company))
        assert [hit.logo.record.company for hit in result.hits] == ["Company 7"]
        assert (result.passed, result.hits[0].copies) == (1, 0)


def test_min_score_applies_to_words(engine: SearchEngine) -> None:
    hits = engine.search(Query(words="company 7", min_score=0.99)).hits
    assert [hit.logo.record.company for hit in hits] == ["Company 7"]


def test_words_without_letters_and_catalogs_without_words_are_refused(engine: SearchEngine) -> None:
    with pytest.raises(InvalidRequestError, match="no letter or digit"):
        engine.search(Query(words="!?"))
    with pytest.raises(InvalidRequestError, match=r"cannot be searched by words.*build it again"):
        replace(engine, logos=replace(engine.logos, words=None)).search(Query(words="kodak"))


def test_a_query_needs_an_image_or_words() -> None:
    with pytest.raises(InvalidRequestError, match="no image, no logo_id and no words"):
        Query(top_k=5)
    with pytest.raises(InvalidRequestError, match="the length of words is 201; it must be from 1 to 200"):
        Query(words="a" * 201)
