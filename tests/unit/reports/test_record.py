from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CaseError
from logo_similarity.reports.case import Case, CaseHit
from logo_similarity.reports.record import Changes, Moved, compare, query_of, repeat_search
from logo_similarity.reports.report import make_report


def changed(case: Case, **facts: Any) -> Case:
    return case.model_copy(update=facts)


def test_a_repetition_in_the_same_catalog_has_the_same_list(case: Case, engine: SearchEngine) -> None:
    repetition = repeat_search(Case.from_json(case.to_json()), engine)
    assert repetition.same_catalog
    assert not repetition.changes
    assert [hit.logo.logo_id for hit in repetition.result.hits] == [hit.id for hit in case.hits]
    assert repetition.result.passed == case.searched.passed == 200
    assert repetition.encoder == case.encoder


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        ("abc", "abc", Changes()),
        ("", "", Changes()),
        ("abc", "xabc", Changes(new=("x",))),
        ("abc", "ac", Changes(gone=("b",))),
        ("abc", "acb", Changes(moved=(Moved("b", 2, 3), Moved("c", 3, 2)))),
        (
            "abcd",
            "xdac",
            Changes(new=("x",), gone=("b",), moved=(Moved("a", 1, 3), Moved("c", 3, 4), Moved("d", 4, 2))),
        ),
    ],
)
def test_only_another_order_counts_as_moved(before: str, now: str, changes: Changes) -> None:
    assert compare(before, now) == changes
    assert bool(changes) == (before != now)


def test_what_changed_is_told(case: Case, engine: SearchEngine) -> None:
    hits = case.hits
    unknown = hits[3].model_copy(update={"id": "EM/none"})
    other = changed(case, hits=(hits[0], hits[2], hits[1], unknown, *hits[4:9]))
    changes = repeat_search(other, engine).changes
    assert changes.new == (hits[3].id, hits[9].id)
    assert changes.gone == changes.deleted == ("EM/none",)
    assert [one.logo_id for one in changes.moved] == [hits[2].id, hits[1].id]
    report = make_report(other, engine)
    assert [row.rank for row in report.rows] == [*range(1, 10), None, None]
    assert [row.rank_now for row in report.rows] == [1, 3, 2, None, 5, 6, 7, 8, 9, 4, 10]
    assert isinstance(report.rows[-1].hit, CaseHit)
    assert report.rows[-1].hit.metadata == hits[9].metadata


def test_a_search_that_cannot_be_made_again_is_reported(case: Case, engine: SearchEngine) -> None:
    two = changed(case, query=case.query.model_copy(update={"pictures": case.query.pictures * 2}))
    with pytest.raises(CaseError, match="several pictures"):
        query_of(two)
    report = make_report(two, engine)
    assert report.repetition is None
    assert "several pictures" in report.not_repeated
    report = make_report(case, None)
    assert (report.repetition, report.not_repeated) == (None, "no catalog was given to search again")
    assert {row.rank_now for row in report.rows} == {None}
    assert replace(report, not_repeated="") != report
