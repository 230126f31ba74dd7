from __future__ import annotations

import pytest

from benchmarks.make_benchmark import read_list
from scripts.make_training_set import LISTS, group, group_and_family, may_be_learned_from, surplus


@pytest.mark.parametrize(
    ("name", "in_group", "in_family"),
    [
        ("home", "home", "home"),
        ("home-outline", "home", "home"),
        ("Home_2_Fill", "home", "home"),
        ("arrow-left-bold", "arrow-left", "arrow"),
        ("left", "left", "left"),
        ("fill", "fill", "fill"),
        ("24-hours-line", "hours", "hours"),
    ],
)
def test_names_without_style_and_direction(name: str, in_group: str, in_family: str) -> None:
    assert group_and_family(name) == (in_group, in_family)


def test_only_what_may_be_learned_from() -> None:
    assert may_be_learned_from({"split": "concept", "licence": "MIT"})
    assert not may_be_learned_from({"split": "public", "licence": "MIT"})
    assert not any(
        may_be_learned_from({"split": "train", "licence": licence})
        for licence in ("CC-BY-SA-4.0", "CC-BY-NC-4.0", "GPL-3.0-or-later", "MPL-2.0")
    )


HORSES = [
    {"file": "a", "name": "horse", "set": "noto", "split": "distractor"},
    {"file": "a", "name": "horse", "set": "noto", "concept": "emoji:horse-face", "relation": "redrawn"},
    {"file": "b", "name": "u1f434", "set": "openmoji", "concept": "emoji:horse-face", "relation": "redrawn"},
    {"file": "c", "name": "horse-line", "set": "ri", "concept": "name:horse", "relation": "namesake"},
    {"file": "d", "name": "horse-fill", "set": "ri", "concept": "ri:horse"},
    {"file": "e", "name": "horse-left", "set": "ri", "concept": "ri:horse-left"},
    {"file": "f", "name": "saddle", "set": "ri", "concept": "ri:saddle"},
    {"file": "g", "name": "horse", "set": "logos", "brand": "horse", "kind": "mark"},
]


def test_a_drawing_in_two_lists_joins_the_groups_of_both() -> None:
    groups = group(HORSES)
    assert {name: groups[name]["group"] for name in groups} == {
        **dict.fromkeys("abcd", "emoji:horse-face"),
        "e": "horse-left",
        "f": "saddle",
    }
    assert len({groups[name]["family"] for name in "abcde"}) == 1
    assert groups["f"]["family"] == "saddle"
    assert groups == group(HORSES[::-1])


def test_only_what_artists_drew_again_shows_one_thing_for_certain() -> None:
    groups = group(HORSES)
    assert {name: groups[name].get("subject") for name in "abcd"} == {
        **dict.fromkeys("ab", "emoji:horse-face"),
        **dict.fromkeys("cd"),
    }


def test_large_groups_are_thinned_but_for_what_is_certain() -> None:
    assert surplus(group(HORSES), 1) == {"d"}
    assert surplus(group(HORSES), 2) == set()


def test_no_list_has_a_measured_brand_among_what_is_learned_from() -> None:
    rows = [row for path in LISTS for row in read_list(path)]
    measured = {row["file"] for row in rows if row["split"] == "public"}
    assert measured
    assert not measured & {row["file"] for row in rows if may_be_learned_from(row)}
