from __future__ import annotations

import json

from logo_similarity.domain import Hit, Logo, ValueShare
from logo_similarity.fields import Record
from logo_similarity.search.propose import ASKED, MOST_PROPOSED, propose_codes


def hit(*codes: str) -> Hit:
    record = Record(logo_id="a", filename="a.png", vienna_codes=codes)
    return Hit(0.5, 0.5, Logo(0, "a", "a.png", json.dumps(record.metadata())), 0)


def test_shares_are_of_the_hits_that_have_codes() -> None:
    hits = [hit("01.01", "26.01"), hit("26.01"), hit(), hit("01.01"), hit("05.01")]
    assert propose_codes(hits, ["vienna_codes", "text"]) == {
        "vienna_codes": (ValueShare("01.01", 0.5), ValueShare("26.01", 0.5))
    }
    assert propose_codes(hits, ["text"]) == {}
    assert propose_codes([], ["vienna_codes"]) == {"vienna_codes": ()}


def test_only_the_best_hits_are_asked_and_only_the_most_frequent_codes_are_proposed() -> None:
    hits = [hit("01.01")] * ASKED + [hit("02.01")] * 500
    assert [share.value for share in propose_codes(hits, ["vienna_codes"])["vienna_codes"]] == ["01.01"]
    many = [hit(*(f"{number:02}" for number in range(1, 25)))] * 2
    assert len(propose_codes(many, ["vienna_codes"])["vienna_codes"]) == MOST_PROPOSED
