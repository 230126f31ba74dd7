"""A version with live changes is searched as if a catalog had been built from the logos that remain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from logo_similarity.domain import Hit, PartsMode, Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import NotFoundError
from logo_similarity.filters import Filter
from tests.segments import ChangedCatalog, make_changed_catalog


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> ChangedCatalog:
    return make_changed_catalog(tmp_path_factory.mktemp("changed"))


@pytest.fixture(scope="module")
def base(changed: ChangedCatalog) -> Iterator[SearchEngine]:
    with SearchEngine.open(changed.root) as opened:
        yield opened


@pytest.fixture(scope="module")
def live(base: SearchEngine, changed: ChangedCatalog) -> SearchEngine:
    return base.with_live(changed.live)


@pytest.fixture(scope="module")
def whole(changed: ChangedCatalog) -> Iterator[SearchEngine]:
    with SearchEngine.open(changed.whole) as opened:
        yield opened


def images(changed: ChangedCatalog) -> list[bytes]:
    """Images of the version, of both segments, and of hidden logos."""
    base, first, second = changed.records
    chosen = [*base[::25], base[3], base[7], base[20], base[40], *first[::9], first[10], first[-1], *second[::8]]
    return [(changed.images / record.filename).read_bytes() for record in chosen]


def same(ours: Sequence[Hit], theirs: Sequence[Hit]) -> None:
    """The hits are the same, except for the order of logos with the same score."""
    assert [round(hit.score, 4) for hit in ours] == pytest.approx([round(hit.score, 4) for hit in theirs], abs=2e-4)
    by_id = {hit.logo.logo_id: hit for hit in theirs}
    last = theirs[-1].score if theirs else 0
    for hit in ours:
        other = by_id.get(hit.logo.logo_id)
        if other is None:
            assert hit.score == pytest.approx(last, abs=1e-5), hit.logo.logo_id
            continue
        assert hit.score == pytest.approx(other.score, abs=1e-5), hit.logo.logo_id
        assert hit.expect == (None if other.expect is None else pytest.approx(other.expect, rel=1e-3)), hit
        assert hit.cosine == (None if other.cosine is None else pytest.approx(other.cosine, abs=1e-5))
        assert (hit.copies, hit.word_field, hit.picture) == (other.copies, other.word_field, other.picture)
        assert hit.word_similarity == (
            None if other.word_similarity is None else pytest.approx(other.word_similarity, abs=1e-5)
        )
        assert (hit.matched is None) == (other.matched is None)
        assert hit.logo.metadata_json == other.logo.metadata_json
    assert [hit.logo.logo_id for hit in ours[:5]] == [hit.logo.logo_id for hit in theirs[:5]]


@pytest.mark.parametrize("parts", list(PartsMode))
@pytest.mark.parametrize("top_k", [10, 150])
def test_images(live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog, parts: PartsMode, top_k: int) -> None:
    for image in images(changed):
        query = Query(image=image, parts=parts, top_k=top_k)
        same(live.search(query).hits, whole.search(query).hits)


TEXTS = ("saturn", "Saturnia", "kodack", "oak sons", "entirely other words", "words of a third kind", "newer company",
         "northernlights", "blue gmbh", "blau", "git", "data", "open", "heap", "docker", "dapr", "a", "xyzzy")  # fmt: skip
FILTERS = (
    {"field": "status", "is": ["ended"]},
    {"field": "nice_classes", "is": [3, 7]},
    {"not": {"field": "nice_classes", "is": [3, 7]}},
    {"field": "vienna_codes", "is": ["05"]},
    {"field": "company", "words": ["saturn", "ltd"]},
    {"or": [{"field": "year", "between": [2003, 2010]}, {"field": "text", "words": ["words"]}]},
)


@pytest.mark.parametrize("text", TEXTS)
def test_words(live: SearchEngine, whole: SearchEngine, text: str) -> None:
    for condition in (None, Filter.from_json(FILTERS[0])):
        for top_k in (3, 50):
            query = Query(words=text, top_k=top_k, filter=condition)
            same(live.search(query).hits, whole.search(query).hits)


def test_images_with_words(live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog) -> None:
    for image, text in zip(images(changed), TEXTS, strict=False):
        for condition in (None, Filter.from_json(FILTERS[2])):
            query = Query(image=image, words=text, top_k=30, filter=condition)
            same(live.search(query).hits, whole.search(query).hits)


@pytest.mark.parametrize("condition", FILTERS)
def test_filters(
    live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog, condition: dict[str, object]
) -> None:
    for image in images(changed)[::3]:
        query = Query(image=image, top_k=40, filter=Filter.from_json(condition), propose=True)
        ours, theirs = live.search(query), whole.search(query)
        same(ours.hits, theirs.hits)
        assert (ours.passed, ours.exact, ours.proposed) == (theirs.passed, theirs.exact, theirs.proposed)


@pytest.mark.parametrize("condition", [None, *FILTERS])
@pytest.mark.parametrize("under", [None, "05", "26"])
@pytest.mark.parametrize("most", [3, 50])
def test_facets(
    live: SearchEngine, whole: SearchEngine, condition: dict[str, object] | None, under: str | None, most: int
) -> None:
    passing = None if condition is None else Filter.from_json(condition)
    assert live.facets(passing, under=under, most=most) == whole.facets(passing, under=under, most=most)


@pytest.mark.parametrize("condition", [None, *FILTERS])
def test_browsing(live: SearchEngine, whole: SearchEngine, condition: dict[str, object] | None) -> None:
    def read(engine: SearchEngine) -> Iterator[tuple[int, tuple[str, ...]]]:
        start: int | None = 0
        while start is not None:
            page = engine.browse(None if condition is None else Filter.from_json(condition), start=start, limit=7)
            yield page.passed, tuple(logo.metadata_json for logo in page.logos)
            start = page.next_row

    assert list(read(live)) == list(read(whole))


def test_every_logo(live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog) -> None:
    """Found by its id, and searched for."""
    ids = {record.logo_id for records in changed.records for record in records}
    hidden = 0
    for logo_id in sorted(ids):
        ours, theirs = live.logo(logo_id), whole.logo(logo_id)
        if theirs is None:
            hidden += 1
            assert ours is None
            with pytest.raises(NotFoundError):
                live.search(Query(logo_id=logo_id))
            continue
        assert ours is not None
        assert ours[1:] == theirs[1:]
        query = Query(logo_id=logo_id, top_k=5)
        same(live.search(query).hits, whole.search(query).hits)
    assert hidden == 5


def test_explanations(live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog) -> None:
    base, first, second = changed.records
    for image in images(changed)[::5]:
        for record in (base[0], base[3], base[7], first[0], first[-1], second[0], second[-1], second[-2]):
            if whole.logo(record.logo_id) is None:
                with pytest.raises(NotFoundError):
                    live.explain(Query(image=image), record.logo_id)
                continue
            ours, theirs = (engine.explain(Query(image=image), record.logo_id) for engine in (live, whole))
            same([ours.hit], [theirs.hit])
            assert len(ours.regions) == len(theirs.regions)
            for our, their in zip(ours.regions, theirs.regions, strict=True):
                assert our.cosine == pytest.approx(their.cosine, abs=1e-5)
            assert ours.cells == theirs.cells


def test_pages(live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog) -> None:
    def read(engine: SearchEngine, query: Query) -> list[Hit]:
        hits: list[Hit] = []
        following: Query | None = query
        while following is not None:
            result = engine.search(following)
            hits.extend(result.hits)
            following = result.next
        return hits

    for query in (Query(image=images(changed)[3], top_k=30), Query(words="saturn", top_k=10)):
        ours = read(live, query)
        same(ours, read(whole, query))
        ids = [hit.logo.logo_id for hit in ours]
        assert len(ids) == len(set(ids))


def test_counts(live: SearchEngine, whole: SearchEngine, base: SearchEngine) -> None:
    assert live.logos.count == whole.logos.count == whole.manifest.count
    assert live.logos.row_count > live.logos.count
    assert live.logos.fields == whole.logos.fields
    assert live.metadata.newest() == whole.metadata.newest()
    assert (live.generation, base.generation) == (1, 0)
    assert live.search(Query(words="saturn")).generation == 1
