"""The keys of a service without its application; `test_roles.py` has them in requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from logo_similarity.api import live_keys, live_usage
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.config import Settings, load_settings
from logo_similarity.errors import ForbiddenError, QuotaSpentError, RateLimitedError, UnauthorizedError
from logo_similarity.keys.document import Key
from logo_similarity.keys.store import open_key_store
from logo_similarity.metrics import KEY_REQUESTS, USAGE_LOST
from tests.keys import make_key
from tests.logs import logs_of

pytestmark = pytest.mark.anyio
FIXED = b"fixed"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(keys=str(tmp_path / "keys.json"), usage_db=tmp_path / "usage.db", api_keys=FIXED.decode())


@pytest.fixture
def keys(settings: Settings) -> Iterator[LiveKeys]:
    opened = LiveKeys(settings)
    opened.open()
    yield opened
    opened.close()


def find(settings: Settings, name: str) -> Key:
    return open_key_store(settings).read().find(name)


def requests(key: Key, outcome: str) -> float:
    return float(KEY_REQUESTS.labels(key.id, outcome)._value.get())


async def added(keys: LiveKeys, settings: Settings, name: str, **options: object) -> tuple[bytes, Key]:
    """A key that the service knows."""
    secret = make_key(open_key_store(settings), name, **options)  # type: ignore[arg-type]
    await keys.look()
    return secret.encode(), find(settings, name)


async def test_a_request_has_exactly_one_valid_key(keys: LiveKeys, settings: Settings) -> None:
    secret, key = await added(keys, settings, "team")
    structlog.contextvars.clear_contextvars()
    await keys.admit([secret], "search")
    assert structlog.contextvars.get_contextvars() == {"key": key.id}
    await keys.admit([FIXED], "search")
    for secrets in ([], [secret, secret], [secret, b""], [b"wrong"]):
        with pytest.raises(UnauthorizedError, match="exactly one valid key"):
            await keys.admit(secrets, "search")
    expired, _ = await added(keys, settings, "past", lives=dt.timedelta(seconds=-1))
    with pytest.raises(UnauthorizedError, match="expired"):
        await keys.admit([expired], "search")


async def test_the_role_of_a_key_is_checked_before_it_is_counted(keys: LiveKeys, settings: Settings) -> None:
    (admin, _), (search, key) = await added(keys, settings, "boss", role="admin"), await added(keys, settings, "team")
    await keys.admit([admin], "admin")
    await keys.admit([admin], "search")
    with pytest.raises(ForbiddenError, match="has the role search; this request requires the role admin"):
        await keys.admit([search], "admin")
    assert (requests(key, "forbidden"), requests(key, "admitted"), keys.usage.today(key)) == (1, 0, 0)


@pytest.mark.parametrize(("limit", "error"), [({"quota": 2}, QuotaSpentError), ({"rate": "2/hour"}, RateLimitedError)])
async def test_requests_are_counted(
    keys: LiveKeys, settings: Settings, limit: dict[str, object], error: type[QuotaSpentError | RateLimitedError]
) -> None:
    secret, key = await added(keys, settings, "team", **limit)
    for _ in range(2):
        await keys.admit([secret], "search")
    for _ in range(3):
        with pytest.raises(error):
            await keys.admit([secret], "search")
    assert (requests(key, "admitted"), requests(key, error.code), keys.usage.today(key)) == (2, 3, 2)


async def test_fixed_keys_are_not_counted(keys: LiveKeys) -> None:
    (fixed,) = (entry[0] for entry in keys.ring._keys.values())
    before = requests(fixed, "admitted")
    await keys.admit([FIXED], "search")
    assert (requests(fixed, "admitted"), keys.usage.today(fixed)) == (before + 1, 0)


async def test_changes_are_noticed(keys: LiveKeys, settings: Settings) -> None:
    with logs_of(live_keys) as lines:
        await keys.look()
        secret, _ = await added(keys, settings, "team")
        await keys.look()
        await keys.admit([secret], "search")
        await keys.admit([FIXED], "search")  # stays
        store = open_key_store(settings)
        store.change(lambda document: document.revoked("team", by="me", now=dt.datetime.now(dt.UTC)))
        await keys.look()
        with pytest.raises(UnauthorizedError, match="revoked"):
            await keys.admit([secret], "search")
    assert [(line["event"], line["keys"], line["changes"]) for line in lines] == [
        ("keys_changed", 1, 1),
        ("keys_changed", 1, 2),
    ]
    assert len(keys.document.audit) == 2


async def test_keys_that_exist_at_the_start_are_known(settings: Settings) -> None:
    secret = make_key(open_key_store(settings), "team")
    keys = LiveKeys(settings)
    with pytest.raises(UnauthorizedError):
        await keys.admit([secret.encode()], "search")
    keys.open()
    await keys.admit([secret.encode()], "search")
    await keys.admit([FIXED], "search")
    assert [key.name for key in keys.document.keys] == ["team"]
    keys.close()


@pytest.mark.parametrize(("api_keys", "needed"), [(None, False), ("one", True)])
async def test_without_a_store_nothing_is_followed(tmp_path: Path, api_keys: str | None, needed: bool) -> None:
    keys = LiveKeys(load_settings(api_keys=api_keys, usage_db=tmp_path / "usage.db"))
    keys.open()
    await keys.look()
    assert (keys.needed, len(keys.ring), keys.usage._local.is_open) == (needed, needed, False)
    if needed:
        await keys.admit([b"one"], "search")
    keys.close()


async def test_requests_are_admitted_while_they_cannot_be_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = make_key(open_key_store(settings), "team", quota=1).encode()
    usage = settings.usage_db
    assert usage is not None
    usage.mkdir()
    keys, before = LiveKeys(settings), USAGE_LOST._value.get()
    with logs_of(live_usage) as lines:
        keys.open()
        for _ in range(3):
            await keys.admit([secret], "search")
        assert [line["event"] for line in lines] == ["usage_not_counted"]  # once in a while
        assert (keys.usage.today(find(settings, "team")), USAGE_LOST._value.get()) == (None, before + 3)
        assert "LOGO_USAGE_DB" in lines[0]["error"]
        monkeypatch.setattr(live_usage, "LOST_SECONDS", 0)
        await keys.admit([secret], "search")
        assert len(lines) == 2
        usage.rmdir()
        await keys.usage.look()
        await keys.admit([secret], "search")
        with pytest.raises(QuotaSpentError):
            await keys.admit([secret], "search")
        assert len(lines) == 2
    keys.close()
