"""Parameters that a dependency reads from the request itself.

FastAPI visits every parameter that a route declares in each request, whether it is given or not. With a search's seventy
that takes longer than the search of the index. These are read if they are given, and are documented like FastAPI's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

FAMILY = ".NAME"
"""End of a declared parameter that stands for all with the same beginning: `extra.NAME` for `extra.colour`. Its dependency
reads these from all parameters of the request."""
REFERENCES = "#/components/schemas/{model}"

_T = TypeVar("_T")
Items = list[tuple[str, str, Any]]
"""Where each parameter of a request was given ("query" or "body"), its name, and its text or file."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter that a request may have."""

    name: str
    annotation: Any
    """Of its value; of a list, if it may be given several times."""
    description: str
    adapter: TypeAdapter[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", TypeAdapter(self.annotation))

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.annotation) is list

    def schema(self) -> dict[str, Any]:
        """Its entry in an OpenAPI document, which refers to its `definitions`."""
        schema = self._json_schema()
        schema.pop("$defs", None)
        title = self.name.replace("_", " ").title()
        return {
            "name": self.name,
            "in": "query",
            "required": False,
            "schema": {**schema, "description": self.description, "title": title},
            "description": self.description,
        }

    def definitions(self) -> dict[str, Any]:
        """The schemas of its annotation that have a name, by name."""
        definitions: dict[str, Any] = self._json_schema().get("$defs", {})
        return definitions

    def _json_schema(self) -> dict[str, Any]:
        optional: Any = self.annotation | None
        return TypeAdapter(optional).json_schema(ref_template=REFERENCES)


class RequestParameters(Generic[_T]):
    """A FastAPI dependency that reads some parameters and returns what `make` makes of their values."""

    def __init__(
        self, declared: Iterable[Declared], make: Callable[[dict[str, Any], Items], _T], *, in_form: bool = False
    ) -> None:
        """Declare the parameters.

        Args:
            declared: the parameters.
            make: called with the values that are given, by name, and with all parameters of the request.
            in_form: whether they may be fields of the form, too. Only those of the query string are documented:
                documenting a value twice would mislead, and forms generated from the OpenAPI document (as on /docs) would
                fill in and send these fields.
        """
        self.declared = {one.name: one for one in declared}
        self.in_form = in_form
        self._make = make

    async def __call__(self, request: Request) -> _T:
        """Read the request.

        Raises:
            RequestValidationError: a value is not valid.
        """
        items: Items = []
        if request.scope["query_string"]:
            items += (("query", *item) for item in request.query_params.multi_items())
        if self.in_form:
            items += (("body", *item) for item in (await request.form()).multi_items())  # cached by Starlette
        values: dict[str, Any] = {}
        errors = []
        for place, name, given in items:
            one = self.declared.get(name)
            # A browser sends an empty text for a field of a form that was not filled in.
            if one is None or (given == "" and place == "body" and not one.is_list):
                continue
            try:
                if one.is_list:
                    values.setdefault(name, []).extend(one.adapter.validate_python([given]))
                else:
                    values[name] = one.adapter.validate_python(given)
            except ValidationError as error:
                errors += [{**fault, "loc": (place, name)} for fault in error.errors(include_url=False)]
        if errors:
            raise RequestValidationError(errors)
        return self._make(values, items)


def request_parameters(dependant: Dependant) -> Iterator[RequestParameters[Any]]:
    """The dependencies of a route that read parameters themselves."""
    if isinstance(dependant.call, RequestParameters):
        yield dependant.call
    for inner in dependant.dependencies:
        yield from request_parameters(inner)
