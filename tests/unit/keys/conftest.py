from __future__ import annotations

import datetime as dt
import time

import pytest

MOMENT = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = MOMENT

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    return clock
