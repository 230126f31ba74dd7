"""Facets of a catalog into which files are imported."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from logo_similarity.build.compacting import compact
from logo_similarity.build.flushing import Flusher
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import InvalidRequestError, SourceError
from logo_similarity.filters import Filter
from tests.changing import Office
from tests.importing import OPTIONS, Desk


def counts(desk: Desk, name: str) -> dict[str, int]:
    field = f"extra.{name}"
    with SearchEngine.open(desk.root) as engine:
        return {str(value): logos for value, logos in engine.facets(fields=[field]).counts[field]}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    one, two = (desk.record(f"L{number}", 1, number, extra={"colour": "red", "shape": "round"}) for number in (1, 2))
    desk.build(one, two, facets=("colour",))
    return desk


def test_a_delta_with_the_same_facets_keeps_counting(desk: Desk) -> None:
    changed = desk.record("L1", 2, extra={"colour": ["blue", "green"]})
    result = desk.add(changed, desk.record("L3", 2, 3, extra={"colour": "red"}), facets=("colour",))
    assert result.manifest.facets == ("colour",)
    assert counts(desk, "colour") == {"red": 2, "blue": 1, "green": 1}
    with SearchEngine.open(desk.root) as engine:
        found = engine.browse(Filter.where(**{"extra.colour": ["green", "x"]})).logos
    assert [logo.logo_id for logo in found] == ["L1"]


def test_the_facets_of_the_version_stay_if_a_delta_declares_none(desk: Desk) -> None:
    result = desk.add(desk.record("L1", 2, text="new"), desk.record("L3", 2, 3, extra={"colour": "red; blue"}))
    assert result.manifest.facets == ("colour",)
    assert counts(desk, "colour") == {"red": 2, "red; blue": 1}  # nobody said how the delta writes several values


def test_a_delta_may_add_a_facet_which_counts_the_values_that_were_kept_before(desk: Desk) -> None:
    result = desk.add(desk.record("L1", 2, extra={"shape": "square"}), facets=("shape",))
    assert result.manifest.facets == ("colour", "shape")
    assert counts(desk, "shape") == {"round": 1, "square": 1}


def test_a_further_facet_alone_is_a_change(desk: Desk) -> None:
    known = desk.record("L1", 1, 1, extra={"colour": "red", "shape": "round"})
    assert not desk.add(known).published
    result = desk.add(known, facets=("shape",))
    assert (result.published, result.summary.changed) == (True, 0)
    assert counts(desk, "shape") == {"round": 2}


def test_too_many_facets_together_are_refused(desk: Desk) -> None:
    facets = tuple(f"f{number}" for number in range(20))
    with pytest.raises(SourceError, match="have 21 different facets together; at most 20 are possible"):
        desk.add(desk.record("L1", 2, extra={}), facets=facets)
    assert counts(desk, "colour") == {"red": 2}


def test_a_facet_without_values_is_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.build(desk.record("L1", 1, 1), facets=("colour",))
    assert counts(desk, "colour") == {}
    with SearchEngine.open(desk.root) as engine:
        assert engine.browse(Filter.where(**{"extra.colour": "red"})).passed == 0
        assert engine.browse(~Filter.where(**{"extra.colour": "red"})).passed == 1


def test_changes_of_single_logos_have_facets_and_a_compaction_keeps_them(desk: Desk) -> None:
    office = Office(desk)
    with closing(office.overlay):
        office.change("create", "L3", 3, extra={"colour": ["green", "red"]})
        office.change("update", "L1", extra={"colour": "blue"})
        for value in ({"not": "a text"}, ["red", 5], 5):
            with pytest.raises(InvalidRequestError, match=r"extra.colour is a facet of this catalog; send a text"):
                office.change("create", "L4", 4, extra={"colour": value})
        changed = {"red": 2, "blue": 1, "green": 1}
        Flusher(desk.root, office.overlay, office.base).flush()
        with SearchEngine.open(desk.root) as engine:
            live = engine.with_changes(desk.root)
            field = "extra.colour"
            assert dict(live.facets(fields=[field]).counts[field]) == changed
            found = live.browse(Filter.where(**{field: "green"})).logos
            assert [logo.logo_id for logo in found] == ["L3"]
        assert compact(desk.root, OPTIONS, None).manifest.facets == ("colour",)
        assert counts(desk, "colour") == changed
