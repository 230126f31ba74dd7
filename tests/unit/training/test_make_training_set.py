from __future__ import annotations

import pytest

from scripts.make_training_set import group_of, may_be_learned_from


@pytest.mark.parametrize(
    ("name", "group", "family"),
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
def test_names_without_style_and_direction(name: str, group: str, family: str) -> None:
    assert group_of(name) == {"group": group, "family": family}


def test_only_what_may_be_learned_from() -> None:
    assert may_be_learned_from({"split": "concept", "licence": "MIT"})
    assert not may_be_learned_from({"split": "public", "licence": "MIT"})
    assert not any(
        may_be_learned_from({"split": "train", "licence": licence})
        for licence in ("CC-BY-SA-4.0", "CC-BY-NC-4.0", "GPL-3.0-or-later", "MPL-2.0")
    )
