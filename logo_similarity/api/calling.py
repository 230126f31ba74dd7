"""Calls an endpoint with its parameters, without FastAPI's analysis of them in each request.

This is possible for endpoints that return a response and whose parameters are the request, dependencies of the same kind,
and form fields. FastAPI documents them as it does all others.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast, get_args, get_origin, get_type_hints

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from starlette.datastructures import FormData, UploadFile

if TYPE_CHECKING:
    from fastapi._compat import ModelField

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
READ_BY_FASTAPI = (
    "path_params",
    "query_params",
    "header_params",
    "cookie_params",
    "websocket_param_name",
    "http_connection_param_name",
    "response_param_name",
    "background_tasks_param_name",
    "security_scopes_param_name",
)


class _Call(NamedTuple):
    """A coroutine function with the dependencies that its arguments come from."""

    function: Callable[..., Awaitable[Any]]
    request_name: str | None
    """Of the argument that gets the request."""
    dependencies: tuple[tuple[str, _Call], ...]

    @classmethod
    def of(cls, dependant: Dependant) -> Self | None:
        """None if an argument has to be read by FastAPI, or the function is not a coroutine function."""
        function = dependant.call
        is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        if not is_coroutine or any(getattr(dependant, kind) for kind in READ_BY_FASTAPI):
            return None
        inner = [(str(one.name), cls.of(one)) for one in dependant.dependencies if not one.body_params]
        dependencies = tuple((name, call) for name, call in inner if call is not None)
        if len(dependencies) < len(dependant.dependencies):
            return None
        return cls(cast("Callable[..., Awaitable[Any]]", function), dependant.request_param_name, dependencies)

    async def run(self, request: Request, known: dict[object, Any], fields: Callable[[], dict[str, Any]] = dict) -> Any:  # noqa: ANN401 - whatever the function returns
        """The function's result for a request.

        Args:
            request: the request.
            known: the results of dependencies so far; each is run once.
            fields: reads the arguments that are fields of the form.
        """
        arguments: dict[str, Any] = {}
        for name, call in self.dependencies:
            if call.function not in known:
                known[call.function] = await call.run(request, known)
            arguments[name] = known[call.function]
        arguments.update(fields())
        if self.request_name is not None:
            arguments[self.request_name] = request
        return await self.function(**arguments)


class _Field(NamedTuple):
    """A field of a form."""

    declared: ModelField
    is_list: bool

    def given(self, form: FormData) -> Any:  # noqa: ANN401
        """Its value as sent; None if it was not filled in: a browser sends an empty text or file then."""
        if self.is_list:
            return [one for one in form.getlist(self.declared.alias) if not _is_empty_file(one)] or None
        value = form.get(self.declared.alias)
        return None if value == "" or _is_empty_file(value) else value

    def read(self, form: FormData) -> tuple[Any, list[dict[str, Any]]]:
        """Its validated value, and the validation errors."""
        given, place = self.given(form), ("body", self.declared.alias)
        if given is not None:
            return self.declared.validate(given, loc=place)
        if self.declared.field_info.is_required():
            return None, [{"type": "missing", "loc": place, "msg": "Field required", "input": None}]
        return self.declared.get_default(), []


def direct_handler(dependant: Dependant) -> Handler | None:
    """A handler of requests that calls the endpoint with these parameters; None if FastAPI has to do it.

    It closes the form, which has been read before.
    """
    call = _Call.of(dependant)
    infos = [field.field_info for field in dependant.body_params]
    if call is None or get_type_hints(dependant.call).get("return") is not Response:
        return None
    if not all(isinstance(info, Form) and not contains(info.annotation, bytes) for info in infos):
        return None
    fields = [_Field(field, contains(field.field_info.annotation, list)) for field in dependant.body_params]

    async def handle(request: Request) -> Response:
        if not fields:
            return cast("Response", await call.run(request, {}))
        form = await request.form()  # cached by Starlette
        try:
            return cast("Response", await call.run(request, {}, lambda: _read(fields, form)))
        finally:
            await form.close()

    return handle


def _read(fields: Sequence[_Field], form: FormData) -> dict[str, Any]:
    """The values of all fields, by the names of their arguments. Raises RequestValidationError."""
    values, errors = {}, []
    for field in fields:
        values[field.declared.name], wrong = field.read(form)
        errors += wrong
    if errors:
        raise RequestValidationError(errors, body=form)
    return values


def contains(annotation: Any, kind: type) -> bool:  # noqa: ANN401 - a type expression
    """Whether a type expression is, or has in it, a class or a generic form of it."""
    return (
        annotation is kind or get_origin(annotation) is kind or any(contains(one, kind) for one in get_args(annotation))
    )


def _is_empty_file(value: object) -> bool:
    return isinstance(value, UploadFile) and value.filename == "" and value.size == 0
