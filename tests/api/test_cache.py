from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.api.cache import AnswerCache
from logo_similarity.config import load_settings
from logo_similarity.domain import Hit, Logo, Query, SearchResult, Timings
from logo_similarity.embed.encoder import Encoder
from tests.samples import SampleCatalog


@pytest.fixture(scope="module")
def service(sample_catalog: SampleCatalog) -> Iterator[TestClient]:
    settings = load_settings(
        catalogs=sample_catalog.root, images_dir=sample_catalog.images, threads=2, cache_hits=60, log_level="error"
    )
    with TestClient(create_app(settings)) as opened:
        yield opened


def ask(service: TestClient, sample_catalog: SampleCatalog, number: int, **parameters: Any) -> dict[str, Any]:
    data = (sample_catalog.images / sample_catalog.files[number]).read_bytes()
    response = service.post("/v1/search", params=parameters, files={"file": data})
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def test_the_same_picture_is_not_encoded_again(
    service: TestClient, sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(service, sample_catalog, 1, top_k=20)
    assert first["cached"] is False
    monkeypatch.setattr(Encoder, "infer_with_patches", None)  # whoever calls it fails
    second = ask(service, sample_catalog, 1, top_k=20)
    assert second["cached"] is True
    for name in ("score", "cosine", "id", "metadata"):
        assert [hit[name] for hit in second["results"]] == [hit[name] for hit in first["results"]]
    assert second["query_id"] != first["query_id"]
    assert second["timings_ms"]["embed"] == 0
    link = second["results"][0]["image_url"].removeprefix("http://testserver")
    assert service.get(link).status_code == 200


@pytest.mark.parametrize(
    "parameters", [{"top_k": 7}, {"min_score": 0.1}, {"max_identical": 1}, {"rerank": False}, {"rerank": True}]
)
def test_other_parameters_are_another_search(
    service: TestClient, sample_catalog: SampleCatalog, parameters: dict[str, Any]
) -> None:
    ask(service, sample_catalog, 2, top_k=5)
    assert ask(service, sample_catalog, 2, **{"top_k": 5, **parameters})["cached"] is False


def test_the_oldest_answer_goes_first_and_one_too_large_is_not_kept(
    service: TestClient, sample_catalog: SampleCatalog
) -> None:
    for number in (10, 11, 12):
        ask(service, sample_catalog, number, top_k=20)
    assert ask(service, sample_catalog, 10, top_k=20)["cached"]
    ask(service, sample_catalog, 13, top_k=20)  # 80 hits: more than there is room for
    assert [ask(service, sample_catalog, number, top_k=20)["cached"] for number in (10, 13, 11)] == [True, True, False]
    assert not any(ask(service, sample_catalog, 14, top_k=61)["cached"] for _ in range(2))


def test_metrics_count_them_and_no_stage_that_was_not_run(service: TestClient, sample_catalog: SampleCatalog) -> None:
    def figure(name: str) -> float:
        line = next(line for line in service.get("/metrics").text.splitlines() if line.startswith(name + " "))
        return float(line.split()[-1])

    ask(service, sample_catalog, 20, top_k=3)
    names = ("logo_cached_total", 'logo_stage_seconds_count{stage="embed"}', 'logo_stage_seconds_count{stage="links"}')
    before = [figure(name) for name in names]
    ask(service, sample_catalog, 20, top_k=3)
    assert [figure(name) - value for name, value in zip(names, before, strict=True)] == [1, 0, 1]


def answer(hits: int) -> SearchResult:
    hit = Hit(1.0, 1.0, Logo(0, "a", "a.jpg", "{}"), 0)
    return SearchResult((hit,) * hits, False, False, "v", Timings(0, 0, 0, 0, 0, 0, 0), exact=False, passed=None)


def test_another_version_has_other_answers() -> None:
    cache = AnswerCache(10)
    cache.put(cache.key("one", 0, Query(image=b"picture")), answer(3))
    assert cache.get(cache.key("one", 0, Query(image=b"picture"))) is not None
    assert cache.get(cache.key("one", 1, Query(image=b"picture"))) is None
    assert cache.get(cache.key("two", 0, Query(image=b"picture"))) is None
    assert cache.get(cache.key("one", 0, Query(image=b"picturE"))) is None


def test_answers_without_hits_take_room_too() -> None:
    cache = AnswerCache(10)
    keys = [cache.key("one", 0, Query(image=bytes([number]))) for number in range(100)]
    for key in keys:
        cache.put(key, answer(0))
    assert sum(cache.get(key) is not None for key in keys) == 10


def test_a_result_that_fills_the_cache_is_kept() -> None:
    cache = AnswerCache(3)
    key = cache.key("one", 0, Query(image=b""))
    cache.put(key, answer(3))
    assert cache.get(key) is not None


def test_no_room_means_none(tmp_path: Path) -> None:
    cache = AnswerCache(0)
    key = cache.key("one", 0, Query(image=b""))
    cache.put(key, answer(0))
    assert cache.get(key) is None


def test_words_are_part_of_what_is_asked(service: TestClient, sample_catalog: SampleCatalog) -> None:
    image = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    for files in ({}, {"file": image}):
        for words in ("company 8", "company 9"):
            answers = [
                service.post("/v1/search", params={"words": words, "top_k": 5}, files=files).json() for _ in range(2)
            ]
            assert [answer["cached"] for answer in answers] == [False, True]
            similarities = [[hit["word_similarity"] for hit in answer["results"]] for answer in answers]
            assert similarities[0] == similarities[1]
