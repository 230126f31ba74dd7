"""API keys: which requests need one, of which role, and whether the one that came may do this now."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import problem_of
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.errors import LogoSimilarityError
from logo_similarity.keys.document import Role

HEADER = b"x-api-key"
# What answers without a key. Everything else needs one: a new route is closed until it is named here.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
# Files of the documentation page.
DOCS_ASSETS = "/docs/assets/"
# Image links carry their own signature.
OPEN_PREFIXES = ("/v1/files/", DOCS_ASSETS)
# What a key of the role "search" opens. Everything else needs one of the role "admin".
SEARCH_PATHS = frozenset({"/v1/search"})
SEARCH_PREFIXES = ("/v1/logos/", "/v1/image/")


def role_needed(path: str) -> Role | None:
    """The role that a path asks for; None where it is open to all."""
    if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
        return None
    return "search" if path in SEARCH_PATHS or path.startswith(SEARCH_PREFIXES) else "admin"


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
            await self._keys.admit(texts, role)
        except LogoSimilarityError as error:
            await problem_of(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
