"""The accepted API keys, and their replacement while requests are served."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import assert_never

import structlog

from logo_similarity.api.live_usage import LiveUsage
from logo_similarity.config import Settings
from logo_similarity.errors import ForbiddenError, TryLaterError, UnauthorizedError
from logo_similarity.keys.document import Key, KeyDocument, Role
from logo_similarity.keys.fixed import read_fixed_keys
from logo_similarity.keys.owners import active_keys
from logo_similarity.keys.ring import KeyRing
from logo_similarity.keys.store import KeyStore, open_key_store
from logo_similarity.metrics import KEY_REQUESTS

log = structlog.get_logger(__name__)


class LiveKeys:
    """The accepted keys: those in the settings, and those in LOGO_KEYS, which may change."""

    def __init__(self, settings: Settings) -> None:
        """Read the keys in the settings; `open` reads those in LOGO_KEYS.

        Raises:
            ConfigError: a setting is invalid.
        """
        self._fixed = read_fixed_keys(settings)
        self._store: KeyStore | None = None
        if settings.keys is not None:
            self._store = open_key_store(settings, copy=settings.catalogs / ".keys.json")
        self.usage = LiveUsage(settings)
        self._uncounted = frozenset(key.id for key in self._fixed)
        self.document = KeyDocument()
        self.needed = settings.has_api_keys
        self.ring = KeyRing(self._fixed)

    def open(self) -> None:
        """Read the keys, and open what counts their requests. If that fails, requests are not counted.

        Raises:
            ConfigError, StoreError: the keys cannot be read.
        """
        if self._store is not None:
            self.usage.open()
            self.document = self._store.read()
            self.ring = KeyRing((*self.document.keys, *self._fixed))

    def close(self) -> None:
        """Close what counts requests."""
        self.usage.close()

    async def look(self) -> None:
        """Replace the keys if they have changed since the last look.

        Raises:
            ConfigError, StoreError: they cannot be read; the previous keys stay valid.
        """
        if self._store is None:
            return
        changed = await asyncio.to_thread(self._read_changed, self._store)
        if changed is not None:
            self.document, self.ring = changed
            log.info("keys_changed", keys=len(self.document.keys), changes=len(self.document.audit))

    async def admit(self, secrets: list[bytes], role: Role) -> Key:
        """Authorize and count a request. Returns its key.

        Args:
            secrets: the values of its X-API-Key headers.
            role: the role that its route requires.

        Returns:
            Its key.

        Raises:
            UnauthorizedError: it does not have exactly one valid key.
            ForbiddenError: the key has another role.
            RateLimitedError, QuotaSpentError: the key has used up its rate or quota.
        """
        if len(secrets) != 1:
            raise UnauthorizedError("send exactly one valid key in the X-API-Key header")
        key = self.ring.find(secrets[0], dt.datetime.now(dt.UTC))
        structlog.contextvars.bind_contextvars(key=key.id)  # the public id, not the secret
        if not _may(key.role, role):
            KEY_REQUESTS.labels(key.id, ForbiddenError.code).inc()
            raise ForbiddenError(f"this key has the role {key.role}; this request requires the role {role}")
        try:
            await self._count(key)
        except TryLaterError as error:
            KEY_REQUESTS.labels(key.id, error.code).inc()
            raise
        KEY_REQUESTS.labels(key.id, "admitted").inc()
        return key

    def active(self) -> frozenset[str]:
        """The ids of the keys that are neither revoked nor expired."""
        return active_keys((*self.document.keys, *self._fixed), dt.datetime.now(dt.UTC))

    async def _count(self, key: Key) -> None:
        if self._store is not None and key.id not in self._uncounted:
            await self.usage.count(key)

    def _read_changed(self, store: KeyStore) -> tuple[KeyDocument, KeyRing] | None:
        document = store.read_changed()
        return None if document is None else (document, KeyRing((*document.keys, *self._fixed)))


def _may(has: Role, needs: Role) -> bool:
    match has:
        case "admin":
            return True
        case "write":
            return needs in ("search", "write")
        case "search":
            return needs == "search"
        case _:
            assert_never(has)
