"""A version with live changes is searched as if a catalog had been built from the logos that remain."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.api.cursor import read_cursor, write_cursor
from logo_similarity.build.segment import write_segment
from logo_similarity.catalog.live import LiveFiles
from logo_similarity.catalog.manifest import MANIFEST, Manifest, read_segment_manifest
from logo_similarity.description import Description
from logo_similarity.domain import Group, Hit, PartsMode, Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogChangedError, CatalogError, InvalidRequestError, NotFoundError
from logo_similarity.field_kinds import JsonValue
from logo_similarity.filters import Filter
from logo_similarity.ranking import NO_ROWS
from logo_similarity.search.candidates import Ids
from tests.segments import FACET, ChangedCatalog, describe_entries, make_changed_catalog

pytestmark = pytest.mark.xdist_group("segments")  # their catalogs are made once, in one process


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


@pytest.fixture(scope="module")
def pictures(base: SearchEngine, changed: ChangedCatalog) -> list[Description]:
    """Images of the version, of both segments, and of hidden logos."""
    of_base, first, second = changed.records
    chosen = [
        *of_base[::40],
        of_base[3],
        of_base[7],
        of_base[20],
        of_base[40],
        *first[::9],
        first[10],
        first[-1],
        *second[::9],
    ]
    contents = [(changed.images / record.filename).read_bytes() for record in chosen]
    return [base.search(Query(image=content, top_k=1)).pictures[0] for content in contents]


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
def test_images(
    live: SearchEngine, whole: SearchEngine, pictures: list[Description], parts: PartsMode, top_k: int
) -> None:
    for picture in pictures:
        described = replace(picture, parts=None) if parts is PartsMode.OFF else picture
        query = Query(described=(described,), parts=parts, top_k=top_k)
        same(live.search(query).hits, whole.search(query).hits)


def _read_pages(engine: SearchEngine, query: Query) -> list[Hit]:
    hits: list[Hit] = []
    following: Query | None = query
    while following is not None:
        result = engine.search(following)
        hits.extend(result.hits)
        following = result.next
    return hits


TEXTS = ("saturn", "Saturnia", "kodack", "oak sons", "entirely other words", "words of a third kind", "newer company",
         "northernlights", "blue gmbh", "blau", "git", "data", "open", "heap", "docker", "dapr", "a", "xyzzy")  # fmt: skip
FILTERS: tuple[JsonValue, ...] = (
    {"field": "status", "is": ["ended"]},
    {"field": "nice_classes", "is": [3, 7]},
    {"not": {"field": "nice_classes", "is": [3, 7]}},
    {"field": "vienna_codes", "is": ["05"]},
    {"field": "company", "words": ["saturn", "ltd"]},
    {"field": f"extra.{FACET}", "is": ["light blue", "green"]},
    {"or": [{"field": "year", "between": [2003, 2010]}, {"field": "text", "words": ["words"]}]},
)


@pytest.mark.parametrize("text", TEXTS)
def test_words(live: SearchEngine, whole: SearchEngine, text: str) -> None:
    for condition in (None, Filter.from_json(FILTERS[0])):
        for top_k in (3, 50):
            query = Query(words=text, top_k=top_k, filter=condition)
            same(live.search(query).hits, whole.search(query).hits)


def test_images_with_words(live: SearchEngine, whole: SearchEngine, pictures: list[Description]) -> None:
    for picture, text in zip(pictures, TEXTS, strict=False):
        for condition in (None, Filter.from_json(FILTERS[2])):
            query = Query(described=(picture,), words=text, top_k=30, filter=condition)
            same(live.search(query).hits, whole.search(query).hits)


@pytest.mark.parametrize("condition", FILTERS)
def test_filters(live: SearchEngine, whole: SearchEngine, pictures: list[Description], condition: JsonValue) -> None:
    for picture in pictures[::2]:
        query = Query(described=(picture,), top_k=40, filter=Filter.from_json(condition), propose=True)
        ours, theirs = live.search(query), whole.search(query)
        same(ours.hits, theirs.hits)
        assert (ours.passed, ours.exact, ours.proposed) == (theirs.passed, theirs.exact, theirs.proposed)


@pytest.mark.parametrize("condition", [None, *FILTERS])
@pytest.mark.parametrize("under", [None, "05", "26"])
@pytest.mark.parametrize("most", [3, 50])
def test_facets(live: SearchEngine, whole: SearchEngine, condition: JsonValue, under: str | None, most: int) -> None:
    passing = None if condition is None else Filter.from_json(condition)
    assert live.facets(passing, under=under, most=most) == whole.facets(passing, under=under, most=most)


def test_further_columns_as_facets(live: SearchEngine, whole: SearchEngine) -> None:
    """Those of the version count in its segments, too, with values that the version does not have."""
    field = f"extra.{FACET}"
    assert live.logos.filter_fields == whole.logos.filter_fields == (*whole.logos.fields, field)
    expected = {"red": 0, "light blue": 0, "blue": 0, "green": 0}
    start: int | None = 0
    while start is not None:
        page = live.browse(start=start)
        for logo in page.logos:
            values = logo.record.extra.get(FACET, [])
            for value in values if isinstance(values, list) else [values]:
                expected[str(value)] += 1
        start = page.next_row
    counts = dict(live.facets(fields=[field]).counts[field])
    assert counts == expected
    assert counts["green"] == 1
    for value in (*expected, "yellow"):
        for condition in (Filter.where(**{field: value}), ~Filter.where(**{field: value})):
            ours, theirs = live.browse(condition, limit=300), whole.browse(condition, limit=300)
            assert [logo.metadata_json for logo in ours.logos] == [logo.metadata_json for logo in theirs.logos]
            assert live.facets(condition) == whole.facets(condition)
        assert live.browse(Filter.where(**{field: value})).passed == expected.get(value, 0)
    for name in ("extra.note", "extra.other"):
        with pytest.raises(InvalidRequestError, match=f"this catalog has no {name} to filter by"):
            live.browse(Filter.where(**{name: "kept"}))


@pytest.mark.parametrize("condition", [None, *FILTERS])
def test_browsing(live: SearchEngine, whole: SearchEngine, condition: JsonValue) -> None:
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
    for number, logo_id in enumerate(sorted(ids)):
        ours, theirs = live.logo(logo_id), whole.logo(logo_id)
        if theirs is None:
            hidden += 1
            assert ours is None
            with pytest.raises(NotFoundError):
                live.search(Query(logo_id=logo_id))
            continue
        assert ours is not None
        assert ours[1:] == theirs[1:]
        if number % 4:
            continue
        query = Query(logo_id=logo_id, top_k=5)
        same(live.search(query).hits, whole.search(query).hits)
    assert hidden == 5


def test_explanations(
    live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog, pictures: list[Description]
) -> None:
    base, first, second = changed.records
    for picture in pictures[::5]:
        for record in (base[0], base[3], base[7], first[0], first[-1], second[0], second[-1], second[-2]):
            if whole.logo(record.logo_id) is None:
                with pytest.raises(NotFoundError):
                    live.explain(Query(described=(picture,)), record.logo_id)
                continue
            ours, theirs = (engine.explain(Query(described=(picture,)), record.logo_id) for engine in (live, whole))
            same([ours.hit], [theirs.hit])
            assert len(ours.regions) == len(theirs.regions)
            for our, their in zip(ours.regions, theirs.regions, strict=True):
                assert our.cosine == pytest.approx(their.cosine, abs=1e-5)
            assert ours.cells == theirs.cells


def test_pages(live: SearchEngine, whole: SearchEngine, pictures: list[Description]) -> None:
    for query in (Query(described=tuple(pictures[3:5]), top_k=30), Query(words="saturn", top_k=10)):
        ours = _read_pages(live, query)
        same(ours, _read_pages(whole, query))
        ids = [hit.logo.logo_id for hit in ours]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("group", [Group.PICTURE, Group.COMPANY])
def test_groups(live: SearchEngine, whole: SearchEngine, pictures: list[Description], group: Group) -> None:
    sizes = []
    for query in (
        *(Query(described=(picture,), group=group, top_k=20) for picture in pictures),
        Query(words="saturn", group=group),
        Query(described=(pictures[0],), words="saturn", group=group),
        Query(logo_id="copy-40", group=group),
    ):
        ours, theirs = (_read_pages(engine, query) for engine in (live, whole))
        same(ours, theirs)
        others = {hit.logo.logo_id: hit.others for hit in theirs}
        for hit in ours:
            assert hit.others == others[hit.logo.logo_id]
            sizes.append(0 if hit.others is None else hit.others.count)
    assert max(sizes) > 0


def test_damage(live: SearchEngine, whole: SearchEngine, changed: ChangedCatalog, pictures: list[Description]) -> None:
    def read(engine: SearchEngine) -> dict[str, str | None]:
        hits = engine.search(Query(described=(pictures[0],), top_k=1000)).hits
        damage = {hit.logo.logo_id: hit.damage for hit in hits}
        for logo_id, each in damage.items():
            assert engine.explain(Query(described=(pictures[0],)), logo_id).hit.damage == each
        return damage

    ours = read(live)
    assert ours == read(whole)
    of_base, first, second = changed.records
    cut = [of_base[60], of_base[75], first[5], second[15]]  # two others were deleted, and one has another image now
    assert {logo_id for logo_id, each in ours.items() if each is not None} == {record.logo_id for record in cut}


def test_counts(live: SearchEngine, whole: SearchEngine, base: SearchEngine) -> None:
    assert live.logos.count == whole.logos.count == whole.manifest.count
    assert live.logos.rows.total > live.logos.count
    assert live.logos.fields == whole.logos.fields
    assert live.metadata.newest() == whole.metadata.newest()
    assert (live.generation, base.generation) == (1, 0)
    assert live.search(Query(words="saturn")).generation == 1


def test_what_both_engines_need_is_opened_once(
    base: SearchEngine, live: SearchEngine, changed: ChangedCatalog, pictures: list[Description]
) -> None:
    folders, hidden = changed.live.segments, changed.live.hidden
    assert live.logos.segments[0] is base.logos.segments[0]
    first = live.with_live(LiveFiles(2, folders[:1], hidden[:2]))
    assert first.generation == 2
    assert first.logos.segments == live.logos.segments[:2]
    plain = live.with_live(LiveFiles(3, (), (NO_ROWS,)))
    for member in ("source", "metadata", "postings", "words"):
        assert getattr(plain.logos, member) is getattr(base.logos.segments[0], member)
    assert (plain.logos.count, plain.logos.marks) == (150, (base.version,))
    query = Query(described=(pictures[0],))
    assert plain.search(query).hits == base.search(query).hits


def test_all_logos_of_the_version_may_be_hidden(
    base: SearchEngine, changed: ChangedCatalog, pictures: list[Description]
) -> None:
    rows = np.arange(150)
    only = base.with_live(LiveFiles(1, changed.live.segments[1:], (rows, NO_ROWS)))
    second = {record.logo_id for record in changed.records[2]}
    for query in (Query(described=(pictures[0],)), Query(words="saturn", described=(pictures[0],))):
        hits = only.search(query).hits
        assert {hit.logo.logo_id for hit in hits} == second
    assert len(only.browse().logos) == only.logos.count == len(second)
    none = base.with_live(LiveFiles(1, (), (rows,)))
    assert none.search(Query(described=(pictures[0],))).hits == ()
    assert none.search(Query(words="saturn")).hits == ()
    assert none.browse().logos == ()
    assert none.metadata.newest() is None
    assert not any(none.facets().counts.values())


def test_a_segment_without_words(
    base: SearchEngine, changed: ChangedCatalog, pictures: list[Description], tmp_path: Path
) -> None:
    record = replace(changed.records[0][0], logo_id="new", text=None, company=None)
    write_segment(tmp_path / "segment", describe_entries([record], changed.images, base.encoder), base.manifest)
    engine = base.with_live(LiveFiles(1, (tmp_path / "segment",), (NO_ROWS, NO_ROWS)))
    same(engine.search(Query(words="saturn")).hits, base.search(Query(words="saturn")).hits)
    (first, second) = engine.search(Query(described=(pictures[0],), top_k=2)).hits
    assert (first.copies, second.copies, second.logo.logo_id) == (1, 1, "new")
    assert len(engine.search(Query(described=(pictures[0],), max_identical=1, top_k=200)).hits) == 150


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([150]), "the row 150 cannot be hidden: the segment has 150 rows"),
        (np.array([-1, 3]), "the row -1 cannot be hidden"),
        (np.array([3, 3]), "not an ascending array"),
        (np.array([4, 3]), "not an ascending array"),
        (np.array([3], np.int32), "not an ascending array of int64"),
    ],
)
def test_rows_that_cannot_be_hidden(base: SearchEngine, rows: Ids, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        base.with_live(LiveFiles(1, (), (rows,)))
    with pytest.raises(CatalogError, match="1 segments, but the hidden rows of 2"):
        base.with_live(LiveFiles(1, (), (NO_ROWS, NO_ROWS)))


def other_encoder(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"encoder": manifest.encoder.model_copy(update={"sha256": "0" * 64})})


def other_preprocessing(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"encoder": manifest.encoder.model_copy(update={"preprocessing": "0"})})


def no_words(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"files": {k: v for k, v in manifest.files.items() if k != "words.index"}})


def unknown_field(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"fields": (*manifest.fields, "colour")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_encoder, "is not the encoder that computed its embeddings"),
        (other_preprocessing, "built with preprocessing version 0"),
        (no_words, "has no words, but the version"),
        (unknown_field, "has the field 'colour', which this version of the software does not know"),
    ],
)
def test_a_segment_that_does_not_fit_is_refused(
    base: SearchEngine,
    changed: ChangedCatalog,
    tmp_path: Path,
    change: Callable[[Manifest], Manifest],
    message: str,
) -> None:
    folder = tmp_path / "segment"
    shutil.copytree(changed.live.segments[0], folder)
    (folder / MANIFEST).write_bytes(change(read_segment_manifest(folder)).to_json())
    with pytest.raises(CatalogError, match=message):
        base.with_live(LiveFiles(1, (folder,), (NO_ROWS, NO_ROWS)))


@pytest.mark.parametrize("name", ["index.faiss", "metadata.db", "words.index", "manifest.json", "image_digests.npy"])
def test_a_truncated_file_is_refused(base: SearchEngine, changed: ChangedCatalog, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "segment"
    shutil.copytree(changed.live.segments[0], folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:-10])
    with pytest.raises(CatalogError, match=name):
        base.with_live(LiveFiles(1, (folder,), (NO_ROWS, NO_ROWS)))
    with pytest.raises(CatalogError, match="cannot be read"):
        base.with_live(LiveFiles(1, (tmp_path / "missing",), (NO_ROWS, NO_ROWS)))


def test_a_page_follows_after_logos_were_added_and_only_then(
    base: SearchEngine, live: SearchEngine, changed: ChangedCatalog, pictures: list[Description]
) -> None:
    folders, hidden = changed.live.segments, changed.live.hidden
    before = base.with_live(LiveFiles(1, folders[:1], hidden[:2]))
    first = before.search(Query(described=(pictures[0],), top_k=100))
    assert first.next is not None
    cursor = write_cursor(first.next, before.logos.marks[-1])
    second = live.search(read_cursor(cursor, live))
    ids = [{hit.logo.logo_id for hit in result.hits} for result in (first, second)]
    assert not ids[0] & ids[1]
    assert ids[1] & {record.logo_id for record in changed.records[2]}
    fewer = LiveFiles(2, folders[:1], (hidden[0], hidden[1][1:]))
    for other in (
        base,
        base.with_live(fewer),
        live.with_live(LiveFiles(3, folders[::-1], (hidden[0], NO_ROWS, NO_ROWS))),
    ):
        with pytest.raises(CatalogChangedError):
            read_cursor(cursor, other)
    of_base = base.search(Query(words="saturn", top_k=2)).next
    assert of_base is not None
    unchanged = base.with_live(LiveFiles(1, folders[:1], (NO_ROWS, NO_ROWS)))
    assert read_cursor(write_cursor(of_base, base.logos.marks[-1]), unchanged).shown == of_base.shown
