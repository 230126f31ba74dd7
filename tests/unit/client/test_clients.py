"""The client against a real service, and against one that refuses as often as a test needs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.client import NO_ROW, AsyncClient, Client, ServiceAnswer, transport
from logo_similarity.domain import PartsMode, Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import (
    BadImageError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    QuotaSpentError,
    ServiceError,
    UnauthorizedError,
)
from logo_similarity.field_kinds import as_json
from logo_similarity.filters import Filter
from tests.commands import run
from tests.moody import CUT_OFF, Moody, MoodyAnswer, problem
from tests.samples import SampleCatalog
from tests.service import KEY, Server, serving


@pytest.fixture(scope="module")
def service(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(sample_catalog, tmp_path_factory.mktemp("service"), LOGO_WORKERS="1", LOGO_THREADS="1") as server:
        yield server


@pytest.fixture
def query(sample_catalog: SampleCatalog) -> Query:
    return Query(image=(sample_catalog.images / sample_catalog.files[3]).read_bytes(), top_k=7, parts=PartsMode.OFF)


def test_a_search_is_that_of_the_engine(service: Server, sample_catalog: SampleCatalog, query: Query) -> None:
    with SearchEngine.open(sample_catalog.root) as engine, Client(service.url, api_key=KEY) as client:
        expected, answer = engine.search(query), client.search(query)
        assert answer.logos == engine.manifest.count
        assert answer.fields == engine.manifest.fields
    assert answer.result.version == expected.version
    assert not answer.result.parts
    assert len(answer.result.hits) == len(answer.image_urls) == 7
    for hit, own in zip(answer.result.hits, expected.hits, strict=True):
        assert hit.logo.id == NO_ROW
        assert replace(hit.logo.record, filename=own.logo.filename) == own.logo.record
        assert hit.band == own.band
        assert hit == own._replace(logo=hit.logo)


def test_a_batch_has_the_answers_of_its_searches(service: Server, sample_catalog: SampleCatalog, query: Query) -> None:
    other = replace(query, image=(sample_catalog.images / sample_catalog.files[8]).read_bytes())
    with Client(service.url, api_key=KEY) as client:
        first, bad, second = client.search_batch([query, replace(query, image=b"no image"), other])
        alone = client.search(other)
        assert isinstance(bad, BadImageError)
        assert "the file is not an image" in str(bad)
        assert isinstance(first, ServiceAnswer)
        assert isinstance(second, ServiceAnswer)
        assert first.result.hits[0].logo.logo_id == "EM/000003"
        assert second.result.hits == alone.result.hits
        assert (second.fields, second.pictures) == (alone.fields, ((None, 0, False),))
        with pytest.raises(InvalidRequestError, match="the same parameters"):
            client.search_batch([query, replace(other, top_k=3)])
        with pytest.raises(InvalidRequestError, match="needs one image"):
            client.search_batch([Query(words="x")])


def test_the_command_searches_for_each_of_many_images(
    service: Server, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    """More than fit into one request; one of them is larger than a request may be."""
    images = [sample_catalog.images / file for file in sample_catalog.files[:22]]
    (tmp_path / "huge.jpg").write_bytes(images[0].read_bytes() + bytes(26_000_000))
    (tmp_path / "text.jpg").write_text("no image")
    words = ("search", "--each", *images[:5], tmp_path / "huge.jpg", tmp_path / "text.jpg", *images[5:])
    options = ("--top-k", 1, "--columns", "id")
    done = run(*words, *options, "--url", service.url, LOGO_API_KEYS=KEY)
    assert done.stdout == "".join(f"{image}\tEM/{number:06}\n" for number, image in enumerate(images))
    assert done.returncode == 1
    assert "text.jpg: the file is not an image" in done.stderr
    assert "huge.jpg: 413 the request body exceeds" in done.stderr
    refused = run(*words, *options, "--url", service.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "valid key" in refused.stderr


def test_damage_is_told(service: Server, sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes((sample_catalog.images / sample_catalog.files[3]).read_bytes()[:-300])
    done = run("search", tmp_path / "cut.jpg", "--url", service.url, "--top-k", 1, LOGO_API_KEYS=KEY)
    assert "the JPEG file is cut off; it is searched for as far as it is readable" in done.stderr


def test_parameters_and_words_are_sent(service: Server, query: Query) -> None:
    with Client(service.url, api_key=KEY) as client:
        assert not client.search(replace(query, rerank=False)).result.reranked
        answer = client.search(Query(words="gradle", top_k=1))
        assert answer.result.words == "gradle"
        assert answer.result.hits[0].cosine is None
        client.search(query)
        assert client.search(query).cached
        assert [one.turned for one in client.search(replace(query, turned=True)).pictures] == [0, 90, 180, 270]


def test_an_explanation_is_that_of_the_engine(service: Server, sample_catalog: SampleCatalog, query: Query) -> None:
    query = Query(image=query.image)
    with SearchEngine.open(sample_catalog.root) as engine, Client(service.url, api_key=KEY) as client:
        expected, explanation = engine.explain(query, "EM/000003"), client.explain(query, "EM/000003")
    assert explanation.regions == expected.regions
    assert len(explanation.cells) == len(expected.cells) > 0
    assert explanation.cells[0].query_box == expected.cells[0].query_box


def test_a_logo(service: Server) -> None:
    with Client(service.url, api_key=KEY) as client:
        found = client.logo("EM/000003")
        assert found is not None
        assert found.logo.record.company == "Company 3"
        assert found.image_url is None or found.image_url.startswith("http")
        assert client.logo("EM/none") is None


def test_queries_of_every_kind_are_sent(service: Server, sample_catalog: SampleCatalog, query: Query) -> None:
    other = (sample_catalog.images / sample_catalog.files[8]).read_bytes()
    queries = [
        Query(logo_id="EM/000003", top_k=3),
        Query(image=query.image, more_images=(other,), top_k=3),
        Query(image=query.image, crop="0,0,0.5,1", greyscale=True, top_k=3),
        Query(image=query.image, filter=Filter.where(year=2023) & ~Filter.where(company="Company 3"), top_k=3),
    ]
    with SearchEngine.open(sample_catalog.root) as engine, Client(service.url, api_key=KEY) as client:
        for one in queries:
            answer, expected = client.search(one).result, engine.search(one)
            assert [hit.logo.logo_id for hit in answer.hits] == [hit.logo.logo_id for hit in expected.hits]
            assert (answer.passed, answer.exact) == (expected.passed, expected.exact)
        explanation = client.explain(queries[0], "EM/000004")
        assert explanation.hit.logo.logo_id == "EM/000004"
        assert explanation.regions == engine.explain(queries[0], "EM/000004").regions


def test_lists_counts_and_the_catalog(service: Server, sample_catalog: SampleCatalog) -> None:
    with SearchEngine.open(sample_catalog.root) as engine, Client(service.url, api_key=KEY) as client:
        condition = Filter.where(company=["Company 1", "Company 2", "Company 3"])
        first = client.logos(condition, limit=2)
        second = client.logos(condition, limit=2, cursor=first.next)
        ids = [one.logo.logo_id for page in (first, second) for one in page.logos]
        assert ids == ["EM/000001", "EM/000002", "EM/000003"]
        assert (first.passed, second.next) == (3, None)
        counts = client.facets(condition, ["vienna_codes"], under="26")
        assert counts == engine.facets(condition, ["vienna_codes"], under="26", most=50)
        described = client.catalog()
        assert (described.version, described.logos, described.fields) == (engine.version, 200, engine.manifest.fields)
        assert described.encoder_sha256 == engine.manifest.encoder.sha256
        assert described.created == engine.manifest.created
        assert described.newest == dt.date(2023, 1, 1)


@pytest.mark.anyio
async def test_lists_counts_and_the_catalog_for_asyncio(service: Server) -> None:
    async with AsyncClient(service.url, api_key=KEY) as client:
        assert (await client.logos(limit=1)).passed == 200
        assert (await client.facets(fields=["year"])).counts["year"][0] == (2023, 200)
        assert (await client.catalog()).logos == 200


@pytest.mark.anyio
async def test_the_same_for_asyncio(service: Server, query: Query) -> None:
    async with AsyncClient(service.url, api_key=KEY) as client:
        answer = await client.search(query)
        assert answer.result.hits[0].logo.logo_id == "EM/000003"
        assert (await client.explain(query, "EM/000003")).hit.logo.logo_id == "EM/000003"
        assert await client.logo("EM/none") is None
        found = await client.logo("EM/000003")
        assert found is not None
        with pytest.raises(NotFoundError):
            await client.explain(query, "EM/none")


def test_errors_have_the_type_and_the_message_that_the_service_reports(service: Server, query: Query) -> None:
    with Client(service.url, api_key=KEY) as client:
        with pytest.raises(BadImageError, match="damaged or cut off"):
            client.search(replace(query, image=query.image[:200]))  # type: ignore[index]
        with pytest.raises(NotFoundError, match="EM/none"):
            client.explain(query, "EM/none")
        with pytest.raises(InvalidRequestError, match="no image and no logo_id to explain"):
            client.explain(Query(words="x"), "EM/000003")
        with pytest.raises(InvalidRequestError, match="is an array"):
            client.search(Query(image=np.zeros((9, 9, 3), np.uint8)))
    with Client(service.url, api_key="wrong") as client, pytest.raises(UnauthorizedError, match="valid key"):
        client.search(query)


@pytest.mark.parametrize("url", ["logos.example", "ftp://x", "http://", "http://x:y", ""])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not an HTTP address"):
        Client(url)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_an_invalid_key_is_refused_before_it_is_sent(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="the API key has"):
        Client("http://127.0.0.1:1", api_key=key)


GOOD: MoodyAnswer = 200, {}, json.dumps({"id": "a", "image_url": None, "metadata": {}}).encode()


def test_a_request_that_is_refused_for_a_limited_time_is_repeated() -> None:
    refusals = [problem(503, "overloaded"), problem(429, "rate_limited"), CUT_OFF]
    with Moody([*refusals, GOOD]) as server, Client(server.url) as client:
        assert client.logo("a") is not None
        assert server.asked == 4


@pytest.mark.anyio
async def test_an_asynchronous_request_is_repeated_too() -> None:
    with Moody([problem(503, "overloaded"), CUT_OFF, GOOD]) as server:
        async with AsyncClient(server.url) as client:
            assert await client.logo("a") is not None
        assert server.asked == 3


def test_the_last_refusal_is_raised_with_its_time() -> None:
    with Moody([problem(503, "overloaded")]) as server, Client(server.url) as client:
        with pytest.raises(OverloadedError, match="a detail") as refusal:
            client.logo("a")
        assert refusal.value.retry_after == 0
        assert server.asked == transport.MOST_ATTEMPTS


def test_a_request_that_must_wait_for_too_long_is_not_repeated() -> None:
    with Moody([problem(429, "quota_spent", "3600")]) as server, Client(server.url) as client:
        with pytest.raises(QuotaSpentError) as refusal:
            client.logo("a")
        assert (refusal.value.retry_after, server.asked) == (3600, 1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (problem(503, "image_store_unavailable", None), "a detail"),
        (problem(500, "catalog_invalid", None), "500 a detail"),
        (problem(413, "body_too_large", None), "413 a detail"),
        ((502, {}, b"<html>"), "answers 502"),
        ((200, {}, b"<html>"), "responds, but not as logo-similarity does"),
        ((200, {}, b"[]"), "responds, but not as logo-similarity does"),
        ((307, {"Location": "http://127.0.0.1:1/"}, b""), "responds, but not as logo-similarity does"),
    ],
)
def test_other_failures_are_not_repeated(answer: MoodyAnswer, message: str) -> None:
    with Moody([answer]) as server, Client(server.url) as client:
        with pytest.raises(Exception, match=message) as failure:
            client.logo("a")
        assert server.asked == 1
        assert isinstance(failure.value, ServiceError) or failure.value.args == ("a detail",)


def test_a_service_that_is_not_reachable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_backoff", lambda _: 0)
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9/ is not reachable"),
    ):
        client.logo("a")


def test_the_command_prints_the_same_as_for_a_catalog(
    service: Server, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    image = sample_catalog.images / sample_catalog.files[5]
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    words = ("search", image, "--top-k", 4)
    here, there = (*words, "--catalogs", sample_catalog.root), (*words, "--url", service.url, "--key-file", key)
    own, other = run(*here), run(*there)
    assert other.returncode == 0, other.stderr
    assert other.stdout == own.stdout
    columns = ("--columns", "id,company")
    assert run(*there, *columns).stdout == run(*here, *columns).stdout
    answers = [json.loads(run(*command, "--json").stdout) for command in (here, there)]
    for answer in answers:
        del answer["timings_ms"]
        for hit in answer["results"]:
            del hit["filename"]
    assert as_json(answers[1]) == as_json(answers[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--url", "http://127.0.0.1:9", "--catalogs", "x"),
            "cannot be combined with --catalogs",
        ),
        (("--key-file", "x"), "needs --url"),
    ],
)
def test_options_that_exclude_each_other(options: tuple[str, ...], message: str) -> None:
    outcome = run("search", "--words", "x", *options)
    assert outcome.returncode == 2
    assert message in " ".join(outcome.stderr.split())


def test_the_command_names_what_is_wrong_with_a_key(service: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name, message in (("empty", "has no API key"), ("none", "No such file")):
        outcome = run("search", "--words", "x", "--url", service.url, "--key-file", tmp_path / name)
        assert outcome.returncode == 1
        assert message in outcome.stderr
    outcome = run("search", "--words", "x", "--url", service.url, "--columns", "colour", LOGO_API_KEYS=KEY)
    assert "unknown column 'colour'" in outcome.stderr
    assert "valid key" in run("search", "--words", "x", "--url", service.url).stderr
