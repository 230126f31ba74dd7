"""Every source of candidates gives the same answers: a mapped index, an exact scan, joined segments and Milvus servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from logo_similarity.description import Description
from logo_similarity.filters import Filter
from logo_similarity.search.candidates import IdSet
from logo_similarity.search.joined import JoinedSource
from tests.conformance.conftest import SOURCES, VECTORS, Logos

if TYPE_CHECKING:
    from logo_similarity.search.candidates import Candidates
    from logo_similarity.search.sources import SegmentSource

K = 100
pytestmark = pytest.mark.parametrize("source", SOURCES, indirect=True, scope="session")

FILTERS = (
    Filter.where(status="ended"),
    Filter.where(office=["US", "DE"]),
    Filter.where(office="EM") & Filter.where(nice_classes=[5, 40]),
    ~Filter.where(nice_classes=[1, 2, 3]),
    Filter.where(application_date=("2005-01-01", None)),
    Filter.where(status="registered") | ~Filter.where(application_date=(None, "2010-01-01")),
    Filter.where(office="JP"),
)


@pytest.fixture(autouse=True)
def _searches_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a large collection: only a few vectors are compared one by one, and some more are searched by their ids."""
    monkeypatch.setattr("logo_similarity.milvus.source.COMPARED", 50)
    monkeypatch.setattr("logo_similarity.milvus.source.FEW", 400)


def passing(logos: Logos, condition: Filter) -> IdSet:
    """The vectors of the logos that pass a filter, computed from the records alone."""

    def passes(part: Filter, row: int) -> bool:
        tree = part.to_json()
        if "not" in tree:
            return not passes(Filter.from_json(tree["not"]), row)
        for name, combine in (("and", all), ("or", any)):
            if name in tree:
                return combine(passes(Filter.from_json(each), row) for each in tree[name])  # type: ignore[union-attr]
        value = logos.records[row].metadata()[str(tree["field"])]
        if "is" in tree:
            values = value if isinstance(value, list) else [value]
            return not {*map(str, values)}.isdisjoint(map(str, tree["is"]))  # type: ignore[arg-type]
        first, last = cast("list[str | None]", tree["between"])
        return value is not None and (first or "") <= value <= (last or "9")  # type: ignore[operator]

    rows = np.array([passes(condition, row) for row in range(len(logos.records))])
    return IdSet.of(logos.row_map.vectors_with(rows), condition)


def recall(candidates: Candidates, exact: tuple[object, object]) -> float:
    return float(np.isin(exact[0], candidates.ids).mean())  # type: ignore[arg-type]


def test_recall(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    found = []
    for query in logos.queries[:25]:
        candidates = source.candidates(Description(query, None), K)
        np.testing.assert_allclose(candidates.cosines, logos.vectors[candidates.ids] @ query, atol=1e-4)
        assert (np.diff(candidates.cosines) <= 0).all()
        assert len(candidates.ids) == len(set(candidates.ids.tolist())) == K
        assert candidates.patches is None
        found.append(recall(candidates, logos.nearest(query, K)))
    assert np.mean(found) >= 0.99


def test_a_broad_search_finds_the_nearest(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    parts: tuple[Any, ...] = getattr(source, "segments", (source,))
    broad: list[Any] = [replace(part, ef_search=VECTORS) for part in parts]
    wide: Any = replace(source, segments=tuple(broad)) if isinstance(source, JoinedSource) else broad[0]
    for query in logos.queries[:10]:
        ids, cosines = logos.nearest(query, 20)
        candidates = wide.candidates(Description(query, None), 20)
        assert candidates.ids.tolist() == ids.tolist()
        np.testing.assert_allclose(candidates.cosines, cosines, atol=1e-4)


def test_what_reranking_needs(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    for allowed in (None, IdSet.of(np.arange(VECTORS) % 2 == 0), IdSet.of(np.arange(VECTORS) % 50 == 0)):
        for query in logos.queries[:5]:
            candidates = source.candidates(Description(query, logos.patches[0]), 30, allowed)
            assert candidates.embeddings is not None
            assert candidates.patches is not None
            np.testing.assert_allclose(candidates.embeddings, logos.vectors[candidates.ids], atol=1e-6)
            np.testing.assert_array_equal(candidates.patches, logos.patches[candidates.ids])
            np.testing.assert_allclose(candidates.cosines, candidates.embeddings @ query, atol=1e-6)


@pytest.mark.parametrize("share", [0.0004, 0.01, 0.3, 0.95])
def test_only_allowed_vectors_are_found(source: SegmentSource | JoinedSource, logos: Logos, share: float) -> None:
    allowed = IdSet.of(np.random.default_rng(1).random(VECTORS) < share)
    found = []
    for query in logos.queries[:10]:
        candidates = source.candidates(Description(query, None), K, allowed)
        assert allowed.mask[candidates.ids].all()
        assert len(candidates.ids) == min(K, allowed.count)
        exact = logos.nearest(query, K, allowed.ids)
        if candidates.exact:
            np.testing.assert_array_equal(candidates.ids, exact[0])
        found.append(recall(candidates, exact))
    assert np.mean(found) >= 0.99


def test_allowed_vectors_far_from_the_query_are_found(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    for query in logos.queries[:5]:
        allowed = IdSet.of(logos.vectors @ query < 0)
        candidates = source.candidates(Description(query, None), 50, allowed)
        assert recall(candidates, logos.nearest(query, 50, allowed.ids)) >= 0.98


@pytest.mark.parametrize("condition", FILTERS, ids=lambda condition: str(condition.to_json()))
def test_filters(source: SegmentSource | JoinedSource, logos: Logos, condition: Filter) -> None:
    allowed = passing(logos, condition)
    found = [1.0]
    for query in logos.queries[:10]:
        candidates = source.candidates(Description(query, None), K, allowed)
        assert allowed.mask[candidates.ids].all()
        assert len(candidates.ids) == min(K, allowed.count)
        if allowed.count:
            found.append(recall(candidates, logos.nearest(query, K, allowed.ids)))
    assert np.mean(found) >= 0.99


def test_a_set_may_have_less_than_passes_its_filter_and_other_vectors_besides(
    source: SegmentSource | JoinedSource, logos: Logos
) -> None:
    """As if some of the logos were deleted, and others had copies in live segments."""
    own = passing(logos, Filter.where(status="ended"))
    besides = np.flatnonzero(~own.mask)[::9]
    mask = own.mask & (np.arange(VECTORS) % 4 > 0)
    mask[besides] = True
    allowed = IdSet.of(mask, own.condition, besides)
    for query in logos.queries[:10]:
        candidates = source.candidates(Description(query, None), K, allowed)
        assert allowed.mask[candidates.ids].all()
        assert recall(candidates, logos.nearest(query, K, allowed.ids)) >= 0.97


def test_no_vector_is_allowed(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    nothing = source.candidates(
        Description(logos.queries[0], logos.patches[0]), K, IdSet.of(np.zeros(VECTORS, np.bool_))
    )
    assert len(nothing.ids) == len(nothing.cosines) == 0


def test_more_than_there_are(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    candidates = source.candidates(Description(logos.queries[0], None), 2 * VECTORS)
    assert sorted(candidates.ids.tolist()) == list(range(VECTORS))


def test_given_vectors_are_compared_in_their_order(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    vectors = np.random.default_rng(2).permutation(VECTORS)[:300]
    query = logos.queries[0]
    for patches in (None, logos.patches[0]):
        compared = source.compare(Description(query, patches), vectors)
        np.testing.assert_array_equal(compared.ids, vectors)
        np.testing.assert_allclose(compared.cosines, logos.vectors[vectors] @ query, atol=1e-5)
        if patches is not None:
            np.testing.assert_array_equal(compared.patches, logos.patches[vectors])
    np.testing.assert_allclose(source.embeddings(vectors), logos.vectors[vectors], atol=1e-6)
    twice = np.array([5, 5, 2])
    np.testing.assert_allclose(source.embeddings(twice), logos.vectors[twice], atol=1e-6)


def test_many_threads_search_at_once(source: SegmentSource | JoinedSource, logos: Logos) -> None:
    def search(number: int) -> list[int]:
        ids: list[int] = source.candidates(Description(logos.queries[number], None), 10).ids.tolist()
        return ids

    alone = [search(number) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(search, range(20))) == alone
