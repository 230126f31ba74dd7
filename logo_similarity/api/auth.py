"""API keys: which requests need one, and whether the one that came is known."""

from __future__ import annotations

import hashlib
import hmac
import re

from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import problem_of
from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError, UnauthorizedError

HEADER = b"x-api-key"
# What answers without a key. Everything else needs one: a new route is closed until it is named here.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
# Carries its own signature.
OPEN_PREFIX = "/v1/files/"

KEY_LINE = re.compile(r"^(?P<name>[^:#\s]+):(?P<digest>[0-9a-f]{64})$")


def load_key_digests(settings: Settings) -> tuple[bytes, ...]:
    """Sha256 digests of the accepted keys, from the settings and the key file.

    Raises:
        ConfigError: the key file can't be read, has a line that is no `name:sha256-hex`, or no key at all.
    """
    digests = [hashlib.sha256(key.get_secret_value().encode()).digest() for key in settings.api_keys]
    path = settings.api_keys_file
    if path is not None:
        try:
            lines = path.read_text(encoding="utf8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"LOGO_API_KEYS_FILE: {path} cannot be read: {error}") from None
        for number, line in enumerate(lines, 1):
            content = line.partition("#")[0].strip()
            if not content:
                continue
            match = KEY_LINE.match(content)
            if match is None:
                raise ConfigError(f"LOGO_API_KEYS_FILE: {path}, line {number}: expected `name:sha256-hex`")
            digests.append(bytes.fromhex(match["digest"]))
        if not digests:
            raise ConfigError(f"LOGO_API_KEYS_FILE: {path} holds no key: nobody could be let in")
    return tuple(digests)


def is_known(key: bytes, digests: tuple[bytes, ...]) -> bool:
    """Whether a key is one of those with these digests, in a time that does not tell which, or how nearly."""
    given = hashlib.sha256(key).digest()
    known = False
    for digest in digests:
        known |= hmac.compare_digest(given, digest)
    return known


class ApiKeyMiddleware:
    """Refuses requests without a known key before their body is read."""

    def __init__(self, app: ASGIApp, *, digests: tuple[bytes, ...]) -> None:
        self._app = app
        self._digests = digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._digests or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        # Bytes all the way: a header may hold any of them, and text comparison fails on those outside ASCII.
        keys = [value for name, value in scope["headers"] if name == HEADER]
        if len(keys) == 1 and is_known(keys[0], self._digests):
            await self._app(scope, receive, send)
        else:
            refusal = problem_of(UnauthorizedError("send one known key in the X-API-Key header"))
            await refusal(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)
