"""API keys: which requests need one, of which role, and whether the one that came may do this now."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, assert_never

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import problem_of
from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError, ForbiddenError, LogoSimilarityError, TryLaterError, UnauthorizedError
from logo_similarity.keys.document import Key, KeyDocument, Role, Secret
from logo_similarity.keys.place import KeyPlace, open_keys
from logo_similarity.keys.usage import Usage, usage_path
from logo_similarity.metrics import KEY_REQUESTS, KEYS_REFUSED, USAGE_LOST

log = structlog.get_logger(__name__)

HEADER = b"x-api-key"
# What answers without a key. Everything else needs one: a new route is closed until it is named here.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
# Carries its own signature.
OPEN_PREFIX = "/v1/files/"
# What a key of the role "search" opens. Everything else needs one of the role "admin".
SEARCH_PATHS = frozenset({"/v1/search"})
SEARCH_PREFIXES = ("/v1/logos/", "/v1/image/")

KEY_LINE = re.compile(r"^(?P<name>[A-Za-z0-9._@\-]{1,64}):(?P<digest>[0-9a-f]{64})$")
LOST_SECONDS = 10.0
"""How often it is said that requests can't be counted."""


def role_needed(path: str) -> Role | None:
    """The role that a path asks for; None where it is open to all."""
    if path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
        return None
    return "search" if path in SEARCH_PATHS or path.startswith(SEARCH_PREFIXES) else "admin"


def read_fixed_keys(settings: Settings) -> tuple[Key, ...]:
    """The keys of LOGO_API_KEYS and of LOGO_API_KEYS_FILE: for searching, without an end or bounds.

    Raises:
        ConfigError: the key file can't be read, has a line that is no `name:sha256-hex`, or no key at all.
    """
    found = [
        _fixed(f"setting-{number}", hashlib.sha256(key.get_secret_value().encode()).hexdigest())
        for number, key in enumerate(settings.api_keys, 1)
    ]
    if settings.api_keys_file is not None:
        found += _read_key_file(settings.api_keys_file)
    return tuple(found)


def _read_key_file(path: Path) -> list[Key]:
    try:
        lines = path.read_text(encoding="utf8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"LOGO_API_KEYS_FILE: {path} cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = KEY_LINE.match(content)
        if match is None:
            raise ConfigError(f"LOGO_API_KEYS_FILE: {path}, line {number}: expected `name:sha256-hex`")
        found.append(_fixed(match["name"], match["digest"]))
    if not found:
        raise ConfigError(f"LOGO_API_KEYS_FILE: {path} holds no key: nobody could be let in")
    return found


def _fixed(name: str, digest: str) -> Key:
    began = dt.datetime.fromtimestamp(0, dt.UTC)
    return Key(id=name, name=name, created=began, secrets=(Secret(sha256=digest),))


class KeyRing:
    """Finds the key that a text opens with, in a time that does not tell how nearly a wrong one fits.

    Digests are kept under a code of this process's own, which nobody can aim at: what the lookup compares says nothing.
    """

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._code = secrets.token_bytes(32)
        self._keys = {self._place(bytes.fromhex(secret.sha256)): (key, secret) for key, secret in _secrets(keys)}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, text: bytes, now: dt.datetime) -> Key:
        """The key, where it opens now.

        Raises:
            UnauthorizedError: it is not known, revoked, or its time is over.
        """
        key, secret = self._keys.get(self._place(hashlib.sha256(text).digest()), (None, None))
        if key is None or secret is None:
            raise UnauthorizedError("send one known key in the X-API-Key header")
        if key.revoked is not None:
            raise UnauthorizedError(f"this key was revoked at {key.revoked.isoformat(timespec='seconds')}")
        if secret.expires is not None and secret.expires <= now:
            raise UnauthorizedError(f"this key's time was over at {secret.expires.isoformat(timespec='seconds')}")
        return key

    def _place(self, digest: bytes) -> bytes:
        return hmac.digest(self._code, digest, "sha256")


def _secrets(keys: tuple[Key, ...]) -> Iterator[tuple[Key, Secret]]:
    for key in keys:
        for secret in key.secrets:
            yield key, secret


class LiveKeys:
    """The keys that are accepted now: those of the settings, and those of LOGO_KEYS, as they change."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet but the settings and their key file.

        Raises:
            ConfigError: a setting can't be used.
        """
        self._fixed = read_fixed_keys(settings)
        self._place: KeyPlace | None = None
        if settings.keys is not None:
            self._place = open_keys(settings, copy=settings.catalogs / ".keys.json")
        self._usage_path = usage_path(settings)
        self._lost: float | None = None
        self._uncounted = frozenset(key.id for key in self._fixed)
        self._usage: Usage | None = None
        self._said = ""
        self.document = KeyDocument()
        self.needed = settings.has_api_keys
        self.ring = KeyRing(self._fixed)

    def open(self) -> None:
        """Read the keys, and open the file that counts their requests, where it can be opened.

        Raises:
            ConfigError, StoreError: the keys can't be had.
        """
        if self._place is not None:
            self._open_usage()
            self.document = self._place.read()
            self.ring = KeyRing((*self.document.keys, *self._fixed))

    def close(self) -> None:
        """Close that file."""
        if self._usage is not None:
            self._usage.close()

    async def follow(self, seconds: float) -> NoReturn:
        """Look for a change every so often, for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> None:
        """Take the keys as they are now. Where they can't be read, those that were known stay."""
        if self._place is None:
            return
        if self._usage is None:
            self._open_usage()
        try:
            changed = await asyncio.to_thread(self._read_changed, self._place)
        except Exception as error:
            KEYS_REFUSED.inc()
            if str(error) != self._said:  # a bucket that is down says the same for hours
                expected = isinstance(error, LogoSimilarityError | OSError)
                log.exception("keys_not_read", error=str(error), exc_info=None if expected else error)
            self._said = str(error)
            return
        self._said = ""
        if changed is not None:
            self.document, self.ring = changed
            log.info("keys_changed", keys=len(self.document.keys), changes=len(self.document.audit))

    def admit(self, texts: list[bytes], role: Role) -> None:
        """Let a request in, and count it.

        Args:
            texts: every X-API-Key header of it.
            role: what its path asks for.

        Raises:
            UnauthorizedError: no known key that is valid now.
            ForbiddenError: a key of another role.
            RateLimitedError, QuotaSpentError: it asks too often.
        """
        if len(texts) != 1:
            raise UnauthorizedError("send one known key in the X-API-Key header")
        key = self.ring.find(texts[0], dt.datetime.now(dt.UTC))
        structlog.contextvars.bind_contextvars(key=key.id)  # the log names who asks, by the public id
        if not _may(key.role, role):
            KEY_REQUESTS.labels(key.id, ForbiddenError.code).inc()
            raise ForbiddenError(f"this key has the role {key.role}, this needs the role {role}")
        try:
            self._count(key)
        except TryLaterError as error:
            KEY_REQUESTS.labels(key.id, error.code).inc()
            raise
        KEY_REQUESTS.labels(key.id, "admitted").inc()

    def today(self, key: Key) -> int | None:
        """How often the key was used today on this machine; None where nobody counts."""
        try:
            return None if self._usage is None else self._usage.today(key)
        except sqlite3.Error:
            return None

    def _count(self, key: Key) -> None:
        if self._place is None or key.id in self._uncounted:
            return
        usage, reason = self._usage, "its file is not open"
        if usage is not None:
            try:
                usage.admit(key)
            except sqlite3.Error as error:
                reason = str(error)
                if not isinstance(error, sqlite3.OperationalError):  # damaged: the next look makes a new one
                    usage.close()
                    self._usage = None
            else:
                return
        # A full disk must stop no search: for that long, bounds do not bind.
        USAGE_LOST.inc()
        self._say_lost(reason)

    def _open_usage(self) -> None:
        try:
            self._usage = Usage(self._usage_path)
        except ConfigError as error:
            self._say_lost(str(error))

    def _say_lost(self, reason: str) -> None:
        if self._lost is None or time.monotonic() - self._lost >= LOST_SECONDS:
            log.error("usage_not_counted", error=reason)
            self._lost = time.monotonic()

    def _read_changed(self, place: KeyPlace) -> tuple[KeyDocument, KeyRing] | None:
        document = place.read_changed()
        return None if document is None else (document, KeyRing((*document.keys, *self._fixed)))


def _may(has: Role, needs: Role) -> bool:
    match has:
        case "admin":
            return True
        case "search":
            return needs == "search"
        case _:
            assert_never(has)


class ApiKeyMiddleware:
    """Refuses requests without a key that may do this, before their body is read."""

    def __init__(self, app: ASGIApp, *, keys: LiveKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._keys.needed or (role := role_needed(scope["path"])) is None:
            await self._app(scope, receive, send)
            return
        # Bytes all the way: a header may hold any of them, and text comparison fails on those outside ASCII.
        texts = [value for name, value in scope["headers"] if name == HEADER]
        try:
            self._keys.admit(texts, role)
        except LogoSimilarityError as error:
            await problem_of(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
