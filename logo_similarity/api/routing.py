"""Routes that refuse undeclared and repeated parameters, and support HEAD wherever they support GET."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, get_args, get_origin

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.params import File, Form
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.fields import FieldInfo
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from logo_similarity.api.paths import UNMATCHED, Policy, policy_of
from logo_similarity.errors import InvalidRequestError

MAX_NAME = 64
"""Maximum length of a parameter name in an error message, in characters."""
FAMILY = ".NAME"
"""End of a declared parameter that stands for all with the same beginning: `extra.NAME` for `extra.colour`. Its route
reads these from the request itself."""

TEMPLATE = "logo_similarity.template"
"""Key in the ASGI scope for the template of the request's route, once looked up."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class CheckedRoute(APIRoute):
    """A route that accepts only the parameters in its signature, each at most once unless it is a list.

    A parameter that ends in `FAMILY` stands for any number of parameters.
    """

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, preceded by a check of parameter names against the route's declarations."""
        handler = super().get_route_handler()
        query = _declared(self.dependant, "query_params")
        form: dict[str, FieldInfo] | None = None
        if self.body_field is not None and isinstance(self.body_field.field_info, Form):
            form = _declared(self.dependant, "body_params")
        limits: Any = self.form_limits

        async def checked(request: Request) -> Response:
            seen: set[str] = set()
            if request.scope["query_string"]:
                _check(request.query_params.multi_items(), query, seen)
            try:
                if form is not None:
                    fields = await request.form(**limits)  # cached by Starlette; FastAPI's handler gets the same object
                    try:
                        _check(fields.multi_items(), form, seen)
                    except InvalidRequestError:
                        await fields.close()
                        raise
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=499)

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
        return policy_of(self.template(scope), scope.get("method", "GET"))

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


def _check(items: Iterable[tuple[str, object]], known: Mapping[str, FieldInfo], seen: set[str]) -> None:
    """Add the names of the items to `seen`.

    Args:
        items: names and values of parameters.
        known: the names that the route accepts, and the declaration of each.
        seen: the names of earlier items.

    Raises:
        InvalidRequestError: a name is not in `known`, or is already in `seen` and not the name of a list.
    """
    for given, value in items:
        beginning, dot, _ = given.partition(".")
        is_in_family = dot and beginning + FAMILY in known and not isinstance(value, UploadFile)
        name = beginning + FAMILY if is_in_family else given
        if name not in known:
            short = name[:MAX_NAME]
            if isinstance(value, UploadFile):  # meant for a field of files, whatever its name
                nearest = [other for other, declared in known.items() if isinstance(declared, File)]
            else:
                nearest = difflib.get_close_matches(short.lower(), known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            accepted = f"Known: {', '.join(sorted(known))}" if known else "This route accepts none"
            raise InvalidRequestError(f"unknown parameter {short!r}{hint} {accepted}")
        if name in seen and not _is_list(known[name].annotation):
            raise InvalidRequestError(f"parameter {name!r} is given twice; send it once")
        seen.add(name)


def _declared(dependant: Dependant, place: str) -> dict[str, FieldInfo]:
    """The declaration of each parameter of a route in the query string ("query_params") or the form ("body_params")."""
    declared = {field.alias: field.field_info for field in getattr(dependant, place)}
    for inner in dependant.dependencies:
        declared |= _declared(inner, place)
    return declared


def _is_list(annotation: Any) -> bool:  # noqa: ANN401 - a type expression
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))
