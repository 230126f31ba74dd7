"""Which keys are active: what belongs to another key rests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from logo_similarity.config import Settings
from logo_similarity.keys.document import Key
from logo_similarity.keys.fixed import read_fixed_keys
from logo_similarity.keys.store import open_key_store


def active_keys(keys: Iterable[Key], now: dt.datetime) -> frozenset[str]:
    """The ids of the keys that are neither revoked nor expired."""
    return frozenset(key.id for key in keys if key.state(now) == "active")


def read_keys(settings: Settings) -> tuple[Key, ...]:
    """All keys in the settings and in LOGO_KEYS.

    Raises:
        ConfigError, StoreError: they cannot be read.
    """
    managed = () if settings.keys is None else open_key_store(settings).read().keys
    return (*managed, *read_fixed_keys(settings))
