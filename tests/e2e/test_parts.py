"""Composite marks: a figure finds the mark in which it stands, and the mark finds the figure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.description import WHOLE_BOX, Box
from logo_similarity.domain import Hit, PartsMode, Query, SearchResult
from logo_similarity.engine import SearchEngine
from logo_similarity.evaluation.composites import generator, put_beside, put_in_label
from logo_similarity.filters import Filter
from logo_similarity.image.decode import Pixels, decode
from tests.samples import SampleCatalog

FIGURE, OTHER = 12, 57


def pixels(samples: SampleCatalog, number: int) -> Pixels:
    return decode((samples.images / samples.files[number]).read_bytes())


def beside(samples: SampleCatalog) -> tuple[Pixels, Box]:
    """Two samples side by side, and the place of the first."""
    composite = put_beside(pixels(samples, FIGURE), [pixels(samples, OTHER)], generator("beside", "test"))
    height, width = composite.pixels.shape[:2]
    left, top, right, bottom = (composite.box / np.array([width, height, width, height])).tolist()
    return composite.pixels, (left, top, right, bottom)


def found(result: SearchResult, logo_id: str) -> Hit | None:
    return next((hit for hit in result.hits if hit.logo.logo_id == logo_id), None)


@pytest.fixture(scope="module")
def engine(sample_catalog: SampleCatalog) -> Iterator[SearchEngine]:
    with SearchEngine.open(sample_catalog.root) as engine:
        yield engine


@pytest.fixture(scope="module")
def with_composites(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """A catalog of the samples without the figure, and of two composites that contain it."""
    folder = tmp_path_factory.mktemp("composites")
    for number, name in enumerate(sample_catalog.files):
        if number != FIGURE:
            shutil.copy(sample_catalog.images / name, folder / f"{number}.jpg")
    figure, others = pixels(sample_catalog, FIGURE), [pixels(sample_catalog, OTHER)]
    label = put_in_label(figure, others, generator("label", "test")).pixels
    for name, image in (("beside", beside(sample_catalog)[0]), ("label", label)):
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    build_catalog(open_source(folder), folder.with_name("out"), BuildOptions(threads=2))
    with SearchEngine.open(folder.with_name("out")) as engine:
        yield engine


def test_a_composite_finds_both_of_its_figures(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    image, place = beside(sample_catalog)
    result = engine.search(Query(image=image, top_k=2))
    assert {hit.logo.logo_id for hit in result.hits} == {f"EM/{FIGURE:06}", f"EM/{OTHER:06}"}
    hit = found(result, f"EM/{FIGURE:06}")
    assert hit is not None
    assert hit.matched is not None
    np.testing.assert_allclose(hit.matched.query_box, place, atol=0.03)
    assert hit.matched.hit_box == WHOLE_BOX
    assert hit.expect is not None
    assert hit.expect < 1
    assert hit.score < 0.9


def test_without_parts_it_finds_less(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    image, _ = beside(sample_catalog)
    result = engine.search(Query(image=image, top_k=2, parts=PartsMode.OFF))
    assert not result.parts
    assert all(hit.matched is None for hit in result.hits)
    assert {hit.logo.logo_id for hit in result.hits} != {f"EM/{FIGURE:06}", f"EM/{OTHER:06}"}


@pytest.mark.parametrize("mode", [PartsMode.AUTO, PartsMode.ONLY])
def test_a_figure_finds_the_composites_in_which_it_stands(
    with_composites: SearchEngine, sample_catalog: SampleCatalog, mode: PartsMode
) -> None:
    result = with_composites.search(Query(image=pixels(sample_catalog, FIGURE), top_k=3, parts=mode))
    composites = [hit for hit in result.hits if hit.logo.filename in ("beside.png", "label.png")]
    assert [hit.logo.filename for hit in composites] == [hit.logo.filename for hit in result.hits[:2]]
    for hit in composites:
        assert hit.matched is not None
        assert hit.matched.query_box == WHOLE_BOX
        assert hit.matched.hit_box != WHOLE_BOX
    beside_hit = next(hit for hit in composites if hit.logo.filename == "beside.png")
    assert beside_hit.matched is not None
    np.testing.assert_allclose(beside_hit.matched.hit_box, beside(sample_catalog)[1], atol=0.03)


def test_only_parts(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    result = engine.search(Query(image=beside(sample_catalog)[0], parts=PartsMode.ONLY))
    assert result.hits
    assert all(hit.matched is not None for hit in result.hits)
    expects = [hit.expect for hit in result.hits if hit.expect is not None]
    assert len(expects) == len(result.hits)
    assert expects == sorted(expects)


def test_under_a_filter_a_figure_is_found_with_the_same_expected_number(
    engine: SearchEngine, sample_catalog: SampleCatalog
) -> None:
    image, _ = beside(sample_catalog)
    everywhere = found(engine.search(Query(image=image)), f"EM/{FIGURE:06}")
    company = Filter.where(company=f"Company {FIGURE}")
    (hit,) = engine.search(Query(image=image, filter=company)).hits
    assert everywhere is not None
    assert hit.logo.logo_id == f"EM/{FIGURE:06}"
    assert hit.matched == everywhere.matched
    assert hit.expect == pytest.approx(everywhere.expect, rel=1e-3)
    others = engine.search(Query(image=image, filter=~company))
    assert found(others, f"EM/{FIGURE:06}") is None
    assert found(others, f"EM/{OTHER:06}") is not None


def test_an_expected_number_bounds_the_hits(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    image = beside(sample_catalog)[0]
    every = engine.search(Query(image=image, top_k=200)).hits
    assert every[-1].expect is not None
    assert every[0].expect is not None
    assert every[-1].expect > 10 > every[0].expect
    assert max(hit.expect or 0 for hit in every) <= engine.manifest.count
    surprising = engine.search(Query(image=image, top_k=200, max_expect=1)).hits
    assert surprising == tuple(hit for hit in every if (hit.expect or 0) <= 1)
    assert 2 <= len(surprising) < 20


def test_every_logo_finds_itself_first(engine: SearchEngine, sample_catalog: SampleCatalog) -> None:
    for number in range(0, 200, 4):
        data = (sample_catalog.images / sample_catalog.files[number]).read_bytes()
        hit = engine.search(Query(image=data, top_k=1)).hits[0]
        assert hit.logo.logo_id == f"EM/{number:06}"
        assert hit.score == pytest.approx(1, abs=1e-5)
        assert hit.matched is None


def test_a_catalog_of_images_without_parts_is_searched_with_the_parts_of_the_query(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for number in range(70):
        blob = cv2.GaussianBlur(random.normal(size=(120, 120)).astype(np.float32), (0, 0), 9)
        image = np.full((160, 160), 255, np.uint8)
        image[20:140, 20:140][blob > 0.02] = 0
        count, labels = cv2.connectedComponents((image == 0).astype(np.uint8))
        largest = 1 + np.argmax([np.count_nonzero(labels == label) for label in range(1, count)])
        filled = cv2.morphologyEx(
            np.where(labels == largest, 255, 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((41, 41))
        )
        cv2.imwrite(str(tmp_path / f"{number}.png"), 255 - filled)
    result = build_catalog(open_source(tmp_path), tmp_path / "out", BuildOptions(threads=2))
    assert result.manifest.parts is not None
    if result.manifest.parts.count == 0:
        assert not json.loads((result.folder / "manifest.json").read_text())["files"].get("parts/index.faiss")
    with SearchEngine.open(tmp_path / "out") as engine:
        mark = decode((tmp_path / "5.png").read_bytes())
        query = np.concatenate([mark, pixels(sample_catalog, FIGURE)[:160, :160]], axis=1)
        assert engine.search(Query(image=query, top_k=3)).hits[0].logo.filename == "5.png"
