"""The limits of keys, counted in a file and on a server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from logo_similarity.errors import QuotaSpentError, RateLimitedError
from logo_similarity.keys.document import Key
from logo_similarity.keys.usage import Usage
from logo_similarity.keys.usage_file import open_usage_file
from logo_similarity.keys.usage_server import UsageServer
from tests.unit.keys.conftest import Clock


@pytest.fixture(params=["file", "server"])
def usage(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Usage]:
    if request.param == "file":
        opened = open_usage_file(tmp_path / "usage.db")
    else:
        opened = UsageServer(SecretStr(request.getfixturevalue("valkey").patient_url)).open()
    yield opened
    opened.close()


def key(name: str = "team", rate: str | None = None, quota: int | None = None) -> Key:
    return Key(id=name, name=name, created=dt.datetime.now(dt.UTC), rate=rate, quota=quota, secrets=())


def admitted(usage: Usage, one: Key, tries: int) -> int:
    done = 0
    for _ in range(tries):
        try:
            usage.admit(one)
            done += 1
        except (RateLimitedError, QuotaSpentError):
            pass
    return done


def test_a_rate_holds_in_every_window(usage: Usage, clock: Clock) -> None:
    limited = key(rate="5/second")
    assert admitted(usage, limited, 9) == 5
    clock.now += 0.9
    with pytest.raises(RateLimitedError, match="5/second") as refusal:
        usage.admit(limited)
    assert refusal.value.retry_after == 1
    clock.now += 0.2
    assert admitted(usage, limited, 9) == 5
    assert usage.today(limited) == 10


def test_retry_after_is_when_there_is_room_again(usage: Usage, clock: Clock) -> None:
    limited = key(rate="2/minute")
    usage.admit(limited)
    clock.now += 20
    usage.admit(limited)
    clock.now += 10
    with pytest.raises(RateLimitedError) as refusal:
        usage.admit(limited)
    assert refusal.value.retry_after == 30
    clock.now += refusal.value.retry_after + 0.001
    usage.admit(limited)


def test_a_quota_holds_until_midnight_utc(usage: Usage, clock: Clock) -> None:
    limited = key(quota=7)
    assert admitted(usage, limited, 20) == 7
    with pytest.raises(QuotaSpentError, match="7 requests a day") as refusal:
        usage.admit(limited)
    assert refusal.value.retry_after == 12 * 3600
    assert usage.today(limited) == 7
    clock.now += 12 * 3600 - 1
    assert admitted(usage, limited, 1) == 0
    clock.now += 1
    assert usage.today(limited) == 0
    assert admitted(usage, limited, 20) == 7


def test_what_the_rate_refuses_costs_no_quota(usage: Usage, clock: Clock) -> None:
    limited = key(rate="2/second", quota=3)
    assert admitted(usage, limited, 10) == 2
    clock.now += 2
    assert admitted(usage, limited, 10) == 1


def test_keys_do_not_take_from_each_other(usage: Usage) -> None:
    assert admitted(usage, key("a", quota=3), 5) == 3
    assert admitted(usage, key("b", quota=3), 5) == 3
    assert admitted(usage, key("c"), 200) == 200
    assert usage.today(key("c")) == 200
