from __future__ import annotations

import pytest

from logo_similarity.domain import Query
from logo_similarity.errors import InvalidRequestError
from logo_similarity.fields import Record
from logo_similarity.watch.model import MOST_PICTURE_BYTES, NewWatch, query_from_json, query_to_json, values_of


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "a\x00"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="1 to 100 printable characters"):
        NewWatch(name=name, query=Query(words="x"))


@pytest.mark.parametrize("place", [0, 1])
def test_the_size_of_a_picture_is_bounded(place: int) -> None:
    pictures = [b"x", b"x"]
    pictures[place] = bytes(MOST_PICTURE_BYTES)
    NewWatch(name="x", query=Query(image=pictures[0], more_images=(pictures[1],)))
    pictures[place] += b"x"
    with pytest.raises(InvalidRequestError, match="5,000,001 bytes"):
        NewWatch(name="x", query=Query(image=pictures[0], more_images=(pictures[1],)))


@pytest.mark.parametrize(("given", "kept"), [(None, 1.0), (0.0, 0.0), (5.0, 5.0)])
def test_a_watch_has_a_threshold(given: float | None, kept: float) -> None:
    assert NewWatch(name="x", query=Query(words="x", max_expect=given)).query.max_expect == kept


@pytest.mark.parametrize(("parameter", "value"), [("top_k", 0), ("unknown", 1), ("parts", "unknown")])
def test_a_stored_query_that_is_no_longer_accepted(parameter: str, value: object) -> None:
    content = query_to_json(Query(words="x", top_k=7))
    assert content == {"parameters": {"words": "x", "top_k": 7}, "filter": None}
    content["parameters"][parameter] = value
    with pytest.raises(InvalidRequestError, match=parameter if parameter != "parts" else "PartsMode"):
        query_from_json(content, ())


def test_status_owner_and_expiry_are_monitored() -> None:
    assert set(values_of(Record(logo_id="x", filename="y"))) == {
        "status", "office_status", "company", "applicant", "expiry_date"
    }  # fmt: skip
