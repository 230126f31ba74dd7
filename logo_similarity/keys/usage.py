"""Rate limits and daily quotas of keys, counted in a storage of `limits`."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable

from limits import RateLimitItemPerDay
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from logo_similarity.errors import QuotaSpentError, RateLimitedError
from logo_similarity.keys.document import Key, parse_rate
from logo_similarity.wording import counted

DAY = 86_400
ANY_NUMBER = 2**62


class Usage:
    """Counts the requests of keys and enforces their limits."""

    def __init__(self, storage: Storage, close: Callable[[], object]) -> None:
        """Count in a storage with a moving window; `close` closes it."""
        self.close = close
        self.failures = storage.base_exceptions
        """The errors of the storage, with which every method may fail."""
        self._storage = storage
        self._rates = MovingWindowRateLimiter(storage)
        self._quotas = FixedWindowRateLimiter(storage)

    def admit(self, key: Key) -> None:
        """Count one request of a key.

        Raises:
            RateLimitedError: the rate limit of the key is reached.
            QuotaSpentError: the quota of the day is reached.
        """
        now = time.time()
        if key.rate is not None:
            rate = parse_rate(key.rate)
            if not self._rates.hit(rate, key.id):
                wait = self._rates.get_window_stats(rate, key.id).reset_time - now
                raise RateLimitedError(f"this key is limited to {key.rate}", retry_after=_seconds(wait))
        quota, day = RateLimitItemPerDay(key.quota or ANY_NUMBER), _day(now)
        if not (self._quotas.test(quota, key.id, day) and self._quotas.hit(quota, key.id, day)):
            raise QuotaSpentError(
                f"this key is limited to {counted(quota.amount, 'request')} a day; a day begins at 00:00 UTC",
                retry_after=_seconds(DAY - now % DAY),
            )

    def today(self, key: Key) -> int:
        """Number of admitted requests of the key since 00:00 UTC."""
        return min(self._storage.get(counter_of(key)), key.quota or ANY_NUMBER)


def counter_of(key: Key) -> str:
    """Name of the counter of a key for today, as `limits` forms it."""
    return RateLimitItemPerDay(key.quota or ANY_NUMBER).key_for(key.id, _day(time.time()))


def _day(now: float) -> str:
    return dt.datetime.fromtimestamp(now, dt.UTC).date().isoformat()


def _seconds(wait: float) -> int:
    return max(1, math.ceil(wait))
