"""Routes that refuse undeclared and repeated parameters, and support HEAD wherever they support GET."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.params import File, Form
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from logo_similarity.api.paths import UNMATCHED, Policy, policy_of
from logo_similarity.errors import InvalidRequestError

MAX_NAME = 64
"""Maximum length of a parameter name in an error message, in characters."""

TEMPLATE = "logo_similarity.template"
"""Key in the ASGI scope for the template of the request's route, once looked up."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class CheckedRoute(APIRoute):
    """A route that accepts only the parameters in its signature, each at most once."""

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, preceded by a check of parameter names against the route's declarations."""
        handler = super().get_route_handler()
        query = dict.fromkeys(_query_names(self.dependant), False)
        form: dict[str, bool] | None = None
        if self.body_field is not None and isinstance(self.body_field.field_info, Form):
            form = dict(_body_names(self.dependant))
        limits: Any = self.form_limits

        async def checked(request: Request) -> Response:
            seen: set[str] = set()
            if request.scope["query_string"]:
                _check(request.query_params.multi_items(), query, seen)
            if form is not None:
                try:
                    fields = await request.form(**limits)  # cached by Starlette; FastAPI's handler gets the same object
                except ClientDisconnect:
                    return Response(status_code=499)
                try:
                    _check(fields.multi_items(), form, seen)
                except InvalidRequestError:
                    await fields.close()
                    raise
            return await handler(request)

        return checked


class CheckedRouter(APIRouter):
    """A router of `CheckedRoute`. Every GET route also supports HEAD; the server omits the body."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(route_class=CheckedRoute, **options)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401
        """Like FastAPI's; HEAD is not part of the OpenAPI document."""
        super().add_api_route(path, endpoint, **options)
        if options.get("methods") == ["GET"]:
            super().add_api_route(path, endpoint, **{**options, "methods": ["HEAD"], "include_in_schema": False})


class RouteTable:
    """Finds the route of a request before the router does, using the path patterns of the application."""

    def __init__(self) -> None:
        self._patterns: dict[str, re.Pattern[str]] = {}

    def template(self, scope: Scope) -> str:
        """The path template of the route, e.g. `/v1/logos/{logo_id:path}`; UNMATCHED if no route matches."""
        if TEMPLATE not in scope:
            scope[TEMPLATE] = self._find(scope["path"], scope["app"])
        return str(scope[TEMPLATE])

    def policy(self, scope: Scope) -> Policy:
        """The policy of the route."""
        return policy_of(self.template(scope))

    def _find(self, path: str, app: FastAPI) -> str:
        if not self._patterns:
            contexts = iter_route_contexts(app.routes)
            self._patterns = {one.path: one.path_regex for one in contexts if one.path is not None}
        if path in self._patterns:  # a path without parameters needs no pattern search
            return path
        return next((template for template, pattern in self._patterns.items() if pattern.match(path)), UNMATCHED)


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """The methods of all routes that match a path, in alphabetical order."""
    contexts = (one for one in iter_route_contexts(app.routes) if one.path is not None and one.path_regex.match(path))
    return sorted({method for context in contexts for method in context.methods or ()})


def _check(items: Iterable[tuple[str, object]], known: Mapping[str, bool], seen: set[str]) -> None:
    """Add the names of the items to `seen`.

    Args:
        items: names and values of parameters.
        known: the names that the route accepts, and whether each is a file.
        seen: the names of earlier items.

    Raises:
        InvalidRequestError: a name is not in `known`, or already in `seen`.
    """
    for name, value in items:
        if name not in known:
            short = name[:MAX_NAME]
            if isinstance(value, UploadFile):  # meant for a field of files, whatever its name
                nearest = [other for other, is_file in known.items() if is_file]
            else:
                nearest = difflib.get_close_matches(short.lower(), known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            accepted = f"Known: {', '.join(sorted(known))}" if known else "This route accepts none"
            raise InvalidRequestError(f"unknown parameter {short!r}{hint} {accepted}")
        if name in seen:
            raise InvalidRequestError(f"parameter {name!r} is given twice; send it once")
        seen.add(name)


def _query_names(dependant: Dependant) -> Iterable[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _body_names(dependant: Dependant) -> Iterable[tuple[str, bool]]:
    """The name of each form field, and whether it is a file."""
    yield from ((field.alias, isinstance(field.field_info, File)) for field in dependant.body_params)
    for inner in dependant.dependencies:
        yield from _body_names(inner)
