"""Routes that refuse undeclared and repeated parameters, and support HEAD wherever they support GET."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.params import File, Form
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from logo_similarity.api.calling import Handler, contains, direct_handler
from logo_similarity.api.declared import FAMILY, request_parameters
from logo_similarity.api.paths import UNMATCHED, Policy, policy_of
from logo_similarity.errors import InvalidRequestError

MAX_NAME = 64
"""Maximum length of a parameter name in an error message, in characters."""
TEMPLATE = "logo_similarity.template"
"""Key in the ASGI scope for the template of the request's route, once looked up."""


class CheckedRoute(APIRoute):
    """A route that accepts only the parameters in its signature, each at most once unless it is a list.

    A parameter that ends in `FAMILY` stands for any number of parameters.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(*arguments, **options)
        documented = [one.schema() for group in request_parameters(self.dependant) for one in group.declared.values()]
        if documented:
            self.openapi_extra = {"parameters": documented}

    def get_route_handler(self) -> Handler:
        """The handler of the endpoint, preceded by a check of parameter names against the route's declarations."""
        handler = direct_handler(self.dependant) or super().get_route_handler()
        query = _known(self.dependant, "query_params")
        form: dict[str, Known] | None = None
        if self.body_field is not None and isinstance(self.body_field.field_info, Form):
            form = _known(self.dependant, "body_params")
        for group in request_parameters(self.dependant):
            names = {name: Known(is_list=one.is_list, is_file=False) for name, one in group.declared.items()}
            query |= names
            if form is not None and group.in_form:
                form |= names
        limits: Any = self.form_limits

        async def checked(request: Request) -> Response:
            seen: set[str] = set()
            if request.scope["query_string"]:
                _check(request.query_params.multi_items(), query, seen, in_form=form or {})
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


class Known(NamedTuple):
    """What a route says of a parameter that it accepts."""

    is_list: bool
    """Whether it may be given several times."""
    is_file: bool


def _check(
    items: Iterable[tuple[str, object]],
    known: Mapping[str, Known],
    seen: set[str],
    *,
    in_form: Mapping[str, Known] | None = None,
) -> None:
    """Add the names of the items to `seen`.

    Args:
        items: names and values of parameters.
        known: the parameters that the route accepts.
        seen: the names of earlier items.
        in_form: those that it accepts as form fields, if the items are not the form's.

    Raises:
        InvalidRequestError: a name is not in `known`, or is already in `seen` and not the name of a list.
    """
    for given, value in items:
        beginning, dot, _ = given.partition(".")
        is_in_family = dot and beginning + FAMILY in known and not isinstance(value, UploadFile)
        name = beginning + FAMILY if is_in_family else given
        if name not in known:
            short = name[:MAX_NAME]
            if in_form and name in in_form:
                raise InvalidRequestError(f"{short} is a form field; send it in the body, as curl -F {short}=... does")
            if isinstance(value, UploadFile):  # meant for a field of files, whatever its name
                nearest = [other for other, declared in known.items() if declared.is_file]
            else:
                nearest = difflib.get_close_matches(short.lower(), known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            accepted = f"Known: {', '.join(sorted(known))}" if known else "This route accepts none"
            raise InvalidRequestError(f"unknown parameter {short!r}{hint} {accepted}")
        if name in seen and not known[name].is_list:
            raise InvalidRequestError(f"parameter {name!r} is given twice; send it once")
        seen.add(name)


def _known(dependant: Dependant, place: str) -> dict[str, Known]:
    """The parameters of a route that FastAPI reads, in the query string ("query_params") or the form ("body_params")."""
    known = {
        field.alias: Known(contains(field.field_info.annotation, list), isinstance(field.field_info, File))
        for field in getattr(dependant, place)
    }
    for inner in dependant.dependencies:
        known |= _known(inner, place)
    return known
