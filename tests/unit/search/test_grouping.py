from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from logo_similarity import ranking as ranking_module
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Group, Hit, Others, Query
from logo_similarity.embed.describe import Floats
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import InvalidRequestError
from logo_similarity.search.grouping import SAME_PICTURE, group_names, group_pictures, take_groups
from tests.samples import SAMPLES, SampleCatalog

pytestmark = pytest.mark.xdist_group("grouping")  # the catalog is made once, in one process

WATER = "XX-000011"
"""A mark without words. XX-000211 is the same drawing in other colours, of another applicant."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """The synthetic samples, and three copies of one of them."""
    folder = tmp_path_factory.mktemp("grouping")
    rows = [json.loads(line) for line in (SAMPLES / "marks.jsonl").read_text().splitlines()]
    marks = [row for row in rows if row["logo_id"].startswith("XX-")]
    (original,) = (row for row in marks if row["logo_id"] == WATER)
    marks += [{**original, "logo_id": f"copy-{number}", "company": f"Owner {number}"} for number in range(3)]
    (folder / "marks.jsonl").write_text("\n".join(map(json.dumps, marks)))
    build_catalog(open_source(folder / "marks.jsonl", images=SAMPLES), folder / "catalogs", BuildOptions(threads=2))
    with SearchEngine.open(folder / "catalogs") as opened:
        yield opened


def pages(engine: SearchEngine, query: Query) -> Iterator[tuple[Hit, ...]]:
    following: Query | None = query
    while following is not None:
        result = engine.search(following)
        yield result.hits
        following = result.next


def read(logo_id: str) -> bytes:
    return (SAMPLES / "synthetic" / "images" / f"{logo_id}.jpg").read_bytes()


QUERIES = [
    Query(image=read(WATER)),
    Query(logo_id=WATER),
    Query(words="home"),
    Query(image=read(WATER), words="studio"),
]


def test_a_group_of_pictures_has_the_copies_and_the_same_drawing_in_other_colours(engine: SearchEngine) -> None:
    hits = engine.search(Query(image=read(WATER), group=Group.PICTURE, top_k=20)).hits
    assert hits[0].others is not None
    assert {hits[0].logo.logo_id, *hits[0].others.ids} == {WATER, "XX-000211", "copy-0", "copy-1", "copy-2"}
    assert hits[0].others.count == 4
    assert len(hits) == 20
    ungrouped = engine.search(Query(image=read(WATER), top_k=5)).hits
    assert [hit.logo.logo_id for hit in ungrouped] == [hits[0].logo.logo_id, *hits[0].others.ids]
    assert hits[0]._replace(others=None) == ungrouped[0]
    assert ungrouped[0].others is None


def test_a_group_of_an_applicant_ignores_how_the_name_is_written(engine: SearchEngine) -> None:
    hits = engine.search(Query(image=read(WATER), group=Group.COMPANY, top_k=50)).hits
    companies = [hit.logo.record.company for hit in hits]
    assert len(set(companies)) == len(companies) == 50
    for hit in hits:
        assert hit.others is not None
        for logo_id in hit.others.ids:
            logo = engine.logo(logo_id)
            assert logo is not None
            assert logo.record.company == hit.logo.record.company


@pytest.mark.parametrize("group", [Group.PICTURE, Group.COMPANY])
@pytest.mark.parametrize("query", QUERIES)
def test_pages_are_parts_of_one_list_of_groups(engine: SearchEngine, query: Query, group: Group) -> None:
    whole = engine.search(replace(query, group=group, top_k=1000))
    assert whole.next is None
    parts = list(pages(engine, replace(query, group=group, top_k=9)))
    assert tuple(chain(*parts)) == whole.hits
    assert all(len(part) == 9 for part in parts[:-1])
    assert parts[-1]
    named = [one for hit in whole.hits if hit.others for one in (hit.logo.logo_id, *hit.others.ids)]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("query", QUERIES)
def test_groups_have_the_hits_of_a_search_without_groups(engine: SearchEngine, query: Query) -> None:
    single = {hit.logo.logo_id for hit in engine.search(replace(query, top_k=1000)).hits}
    grouped = engine.search(replace(query, group=Group.COMPANY, top_k=1000)).hits
    assert {one for hit in grouped if hit.others for one in (hit.logo.logo_id, *hit.others.ids)} == single
    assert sum(1 + hit.others.count for hit in grouped if hit.others) == len(single)


def test_the_logo_of_the_query_is_in_no_group_but_its_copies_are(engine: SearchEngine) -> None:
    hits = list(chain(*pages(engine, Query(logo_id=WATER, group=Group.COMPANY, top_k=7))))
    named = {one for hit in hits if hit.others for one in (hit.logo.logo_id, *hit.others.ids)}
    assert WATER not in named
    # Marks of its own applicant are on some page.
    own = engine.logo(WATER)
    assert own is not None
    assert own.record.company in {hit.logo.record.company for hit in hits}
    (first,) = engine.search(Query(logo_id=WATER, group=Group.PICTURE, top_k=1)).hits
    assert first.others is not None
    assert {first.logo.logo_id, *first.others.ids} == {"XX-000211", "copy-0", "copy-1", "copy-2"}


def test_others_are_counted_and_the_best_named(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    query = Query(image=read(WATER), group=Group.PICTURE, top_k=3)
    (first, *_) = engine.search(query).hits
    monkeypatch.setattr(ranking_module, "MOST_OTHERS", 2)
    (bounded, *_) = engine.search(query).hits
    assert first.others is not None
    assert bounded.others == Others(4, first.others.ids[:2])


def test_a_catalog_without_applicants_cannot_group_by_them(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    rows = [{"logo_id": file, "filename": file} for file in sample_catalog.files[:3]]
    (tmp_path / "marks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = open_source(tmp_path / "marks.jsonl", images=sample_catalog.images)
    build_catalog(source, tmp_path / "catalogs", BuildOptions(threads=1))
    with (
        SearchEngine.open(tmp_path / "catalogs") as opened,
        pytest.raises(InvalidRequestError, match="has no company to group by"),
    ):
        opened.search(Query(logo_id=sample_catalog.files[0], group=Group.COMPANY))


def unit(*angles: float) -> Floats:
    return np.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1), np.float32)


def test_a_picture_belongs_to_the_best_hit_that_shows_the_same() -> None:
    near = float(np.arccos(SAME_PICTURE)) * 0.9
    # The third is near to the second, but the second belongs to the first, and the third is not near to that.
    leaders = group_pictures(unit(0, near, 2 * near, 1, 1 + near, 0))
    assert leaders.tolist() == [0, 0, 2, 3, 3, 0]
    assert group_pictures(np.float32(0.5) * unit(0, 0)).tolist() == [0, 1]  # never without a leader
    assert group_pictures(np.empty((0, 2), np.float32)).tolist() == []


def test_equal_names_are_one_group_and_no_name_is_none() -> None:
    assert group_names([("acme",), (), ("acme",), (), ("other",)]).tolist() == [0, 1, 0, 3, 4]
    assert group_names([]).tolist() == []


def test_groups_of_earlier_pages_do_not_come_back() -> None:
    leaders = np.array([0, 1, 0, 3, 1, 5])
    page = take_groups(leaders, np.zeros(6, np.bool_), 2)
    assert (page.places.tolist(), [others.tolist() for others in page.others], page.more) == ([0, 1], [[2], [4]], True)
    page = take_groups(leaders, np.array([1, 1, 0, 0, 0, 0], np.bool_), 2)
    assert (page.places.tolist(), [others.tolist() for others in page.others], page.more) == ([3, 5], [[], []], False)
