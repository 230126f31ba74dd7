"""Two services that count on one server, which fails and comes back."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from logo_similarity.api import live_usage
from logo_similarity.api.live_usage import LiveUsage
from logo_similarity.config import load_settings
from logo_similarity.errors import ConfigError, QuotaSpentError, RateLimitedError
from logo_similarity.keys import counting
from logo_similarity.keys.document import Key
from logo_similarity.metrics import USAGE_LOST, USAGE_SERVER_FAILURES
from tests.logs import logs_of
from tests.valkey import ValkeyServer, run_valkey

pytestmark = pytest.mark.anyio


def key(rate: str | None = None, quota: int | None = None) -> Key:
    return Key(id="team", name="team", created=dt.datetime.now(dt.UTC), rate=rate, quota=quota, secrets=())


def of_replica(folder: Path, url: str) -> LiveUsage:
    return LiveUsage(load_settings(usage_db=folder / "usage.db", usage_url=url))


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, a count may take longer than a request would wait for it."""
    monkeypatch.setattr(counting, "COUNT_SECONDS", 60.0)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that the test may stop."""
    with run_valkey(tmp_path) as server:
        yield server


@pytest.fixture
def replicas(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[tuple[LiveUsage, LiveUsage]]:
    one, other = (of_replica(tmp_path / name, own_valkey.patient_url) for name in ("one", "other"))
    for replica in (one, other):
        replica.open()
    yield one, other
    for replica in (one, other):
        replica.close()


async def admitted(one: LiveUsage, limited: Key, tries: int) -> int:
    done = 0
    for _ in range(tries):
        try:
            await one.count(limited)
            done += 1
        except (RateLimitedError, QuotaSpentError):
            pass
    return done


@pytest.mark.parametrize("limits", [{"quota": 7}, {"rate": "7/hour"}])
async def test_replicas_count_together(replicas: tuple[LiveUsage, LiveUsage], limits: dict[str, object]) -> None:
    one, other = replicas
    limited = key(**limits)  # type: ignore[arg-type]
    assert [await admitted(one, limited, 4), await admitted(other, limited, 9)] == [4, 3]
    assert [one.today(limited), other.today(limited)] == [7, 7]
    assert one._local.today(limited) == 0


async def test_what_is_refused_is_not_counted(replicas: tuple[LiveUsage, LiveUsage]) -> None:
    one, other = replicas
    limited = key(rate="2/hour", quota=5)
    assert [await admitted(one, limited, 9), await admitted(other, limited, 9)] == [2, 0]
    assert other.today(limited) == 2


async def test_each_replica_counts_for_itself_while_the_server_is_down(
    replicas: tuple[LiveUsage, LiveUsage], own_valkey: ValkeyServer
) -> None:
    one, other = replicas
    assert await admitted(one, key(quota=3), 1) == 1
    failures, lost = USAGE_SERVER_FAILURES._value.get(), USAGE_LOST._value.get()
    own_valkey.stop()
    assert [await admitted(one, key(quota=3), 9), await admitted(other, key(quota=3), 9)] == [3, 3]
    assert (USAGE_SERVER_FAILURES._value.get() - failures, USAGE_LOST._value.get() - lost) == (18, 0)
    assert one.today(key(quota=3)) is None
    with pytest.raises(ConfigError, match=f"127.0.0.1:{own_valkey.port} cannot be used") as failure:
        await one.look()
    assert own_valkey.password not in str(failure.value)
    own_valkey.start()
    with logs_of(live_usage) as lines:
        for replica in (one, other):
            await replica.look()
            await replica.look()
    assert [line["event"] for line in lines] == ["usage_shared"] * 2
    assert [await admitted(one, key(quota=3), 2), await admitted(other, key(quota=3), 9)] == [2, 1]


async def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path, own_valkey: ValkeyServer) -> None:
    """One request waits for it, and the others with it; those after them do not."""
    one = of_replica(tmp_path, own_valkey.url)
    one.open()
    with own_valkey.held():
        await asyncio.gather(*(one.count(key(quota=30)) for _ in range(20)))
        assert one._shared is not None
        assert not one._shared.is_open
        await one.count(key(quota=30))
        assert (one.today(key(quota=30)), one._local.today(key(quota=30))) == (None, 21)
    one.close()


async def test_a_service_starts_while_the_server_is_down(tmp_path: Path, own_valkey: ValkeyServer) -> None:
    own_valkey.stop()
    usage = of_replica(tmp_path, own_valkey.patient_url)
    usage.open()
    assert await admitted(usage, key(quota=2), 4) == 2
    own_valkey.start()
    await usage.look()
    assert await admitted(usage, key(quota=2), 4) == 2
    usage.close()


async def test_a_server_that_cannot_write_does_not_count(tmp_path: Path, own_valkey: ValkeyServer) -> None:
    with own_valkey.client() as client:
        client.config_set("maxmemory", "1")
    usage = of_replica(tmp_path, own_valkey.url)
    usage.open()
    with pytest.raises(ConfigError, match="maxmemory"):
        await usage.look()
    assert await admitted(usage, key(quota=2), 4) == 2
    usage.close()
