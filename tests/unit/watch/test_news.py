from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.build.flushing import Flusher
from logo_similarity.catalog.live_folder import LIVE
from logo_similarity.engine import SearchEngine
from logo_similarity.watch.news import RegisterState, compare, state_of
from tests.changing import Office
from tests.importing import Desk


def state(**contents: int) -> RegisterState:
    ids = [int.from_bytes(name.encode(), "little") for name in contents]
    return RegisterState("some", np.array(ids, np.uint64), np.array([*contents.values()], np.uint64))


@pytest.mark.parametrize(
    ("before", "after", "new", "changed"),
    [
        (state(a=1, b=2), state(a=1, b=2), [], []),
        (state(a=1, b=2), state(c=1, b=2, a=1), [0], []),
        (state(b=2, a=1), state(a=3, b=2, c=5), [2], [0]),
        (state(a=1, b=2, c=3), state(b=2), [], []),
        (state(), state(a=1, b=2), [0, 1], []),
        (state(a=1), state(), [], []),
    ],
)
def test_what_the_later_state_has_alone(
    before: RegisterState, after: RegisterState, new: list[int], changed: list[int]
) -> None:
    news = compare(before, after)
    assert (news.new.tolist(), news.changed.tolist()) == (new, changed)


def test_the_id_the_data_and_the_image_of_a_logo_count(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.build(*(desk.record(f"US-{number}", 1, number, text="old") for number in range(4)))
    with SearchEngine.open(desk.root, device="cpu") as engine:
        before, _ = state_of(engine)
    desk.add(desk.record("US-1", 2, 1, text="new"), desk.record("US-2", 2, 9, text="old"), desk.record("US-9", 2, 5))
    with SearchEngine.open(desk.root, device="cpu") as engine:
        (after, rows) = state_of(engine)
        ids = [logo.logo_id for logo in engine.metadata.fetch(rows.tolist())]
    news = compare(before, after)
    assert [ids[row] for row in news.new] == ["US-9"]
    assert {ids[row] for row in news.changed} == {"US-1", "US-2"}
    assert before.version != after.version


def test_a_live_segment_that_was_deleted_can_still_be_read(tmp_path: Path) -> None:
    """A later change replaces the segment, while an engine has it open."""
    desk = Desk(tmp_path)
    desk.build(*(desk.record(f"US-{number}", 1, number, text="old") for number in range(4)))
    office = Office(desk)
    office.change("create", "US-9", 9, text="new")
    Flusher(desk.root, office.overlay, office.base).flush()
    office.overlay.close()
    with SearchEngine.open(desk.root, device="cpu").with_changes(desk.root) as engine:
        shutil.rmtree(desk.root / LIVE)
        state, rows = state_of(engine)
        assert [logo.logo_id for logo in engine.metadata.fetch(rows.tolist())] == [
            *(f"US-{n}" for n in range(4)),
            "US-9",
        ]
        assert state.version == f"{engine.version}+1"
