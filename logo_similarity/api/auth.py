"""Checks the API key of a request before its body is read."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from logo_similarity.api.errors import problem_of
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.api.paths import UNMATCHED
from logo_similarity.api.routing import RouteTable
from logo_similarity.errors import ForbiddenError, LogoSimilarityError, NotFoundError

HEADER = b"x-api-key"
CALLER = "logo_similarity.caller"
"""Key in the ASGI scope for the API key of the request."""


class ApiKeyMiddleware:
    """Refuses requests that have no valid key with the role that the route requires."""

    def __init__(self, app: ASGIApp, *, keys: LiveKeys, routes: RouteTable) -> None:
        self._app = app
        self._keys = keys
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        role = self._routes.policy(scope).role if scope["type"] == "http" else None
        if role == "write" and not self._keys.needed:
            error = ForbiddenError(
                "changes need an API key, and this service has none; set LOGO_KEYS, and create a key with the role write"
            )
            await problem_of(error)(scope, receive, send)
            return
        if role is None or not self._keys.needed:
            await self._app(scope, receive, send)
            return
        # Bytes, not text: a header may contain any bytes, and comparing text fails outside ASCII.
        secrets = [value for name, value in scope["headers"] if name == HEADER]
        try:
            scope[CALLER] = await self._keys.admit(secrets, role)
        except LogoSimilarityError as error:
            await problem_of(self._refusal(error, scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, error: LogoSimilarityError, scope: Scope) -> LogoSimilarityError:
        """The error to return. If no route matches, a valid key of any role gets 404, as an admin key does."""
        if isinstance(error, ForbiddenError) and self._routes.template(scope) == UNMATCHED:
            return NotFoundError("no route matches this path")
        return error
