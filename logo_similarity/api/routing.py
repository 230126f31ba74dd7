"""Routes that refuse parameters nobody declared, and that answer HEAD wherever they answer GET."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from logo_similarity.errors import InvalidRequestError

UNMATCHED = "unmatched"
"""The route of a path that no route matches, in metrics and logs."""
SHOWN = 64
"""Characters of an unknown parameter's name in the answer."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class CheckedRoute(APIRoute):
    """A route that accepts the parameters in its signature and no others, each of them once."""

    def get_route_handler(self) -> Handler:
        """FastAPI's handler behind a check of the names, which come from the route's own declarations."""
        handler = super().get_route_handler()
        query = frozenset(_query_names(self.dependant))
        form: frozenset[str] | None = None
        if self.body_field is not None and isinstance(self.body_field.field_info, Form):
            form = frozenset(_body_names(self.dependant))
        limits: Any = self.form_limits

        async def checked(request: Request) -> Response:
            seen: set[str] = set()
            if request.scope["query_string"]:
                _check((name for name, _ in request.query_params.multi_items()), query, seen)
            if form is not None:
                try:
                    fields = await request.form(**limits)  # read here once; FastAPI's handler gets the same object
                except ClientDisconnect:
                    return Response(status_code=499)
                try:
                    _check((name for name, _ in fields.multi_items()), form, seen)
                except InvalidRequestError:
                    await fields.close()
                    raise
            return await handler(request)

        return checked


class CheckedRouter(APIRouter):
    """A router of such routes. Each GET route answers HEAD, too; the server leaves out the body."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(route_class=CheckedRoute, **options)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401
        """Like FastAPI's; HEAD is not part of the OpenAPI document."""
        super().add_api_route(path, endpoint, **options)
        if options.get("methods") == ["GET"]:
            super().add_api_route(path, endpoint, **{**options, "methods": ["HEAD"], "include_in_schema": False})


class RouteTable:
    """Finds the template of the route that a request is for, without running it."""

    def __init__(self) -> None:
        self._routes: list[tuple[Any, str]] | None = None

    def template(self, scope: Scope) -> str:
        """The path template of the route, e.g. `/v1/logos/{logo_id:path}`; UNMATCHED if there is none."""
        route = scope.get("route")
        if route is not None:
            return str(route.path)
        if self._routes is None:
            app: FastAPI = scope["app"]
            contexts = iter_route_contexts(app.routes)
            self._routes = [(one.path_regex, one.path) for one in contexts if one.path is not None]
        return next((template for regex, template in self._routes if regex.match(scope["path"])), UNMATCHED)


def _check(names: Iterable[str], known: frozenset[str], seen: set[str]) -> None:
    """Raise InvalidRequestError for an unknown name, or for one that was seen already; adds the names to `seen`."""
    for name in names:
        if name not in known:
            shown = name[:SHOWN]
            nearest = difflib.get_close_matches(shown.lower(), known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            accepted = f"Known: {', '.join(sorted(known))}" if known else "None is known here"
            raise InvalidRequestError(f"unknown parameter {shown!r}{hint} {accepted}")
        if name in seen:
            raise InvalidRequestError(f"parameter {name!r} is given twice; send it once")
        seen.add(name)


def _query_names(dependant: Dependant) -> Iterable[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _body_names(dependant: Dependant) -> Iterable[str]:
    yield from (field.alias for field in dependant.body_params)
    for inner in dependant.dependencies:
        yield from _body_names(inner)
