"""The parameters of a search over HTTP, made from their declaration in `domain.Query`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Form, Query
from pydantic.json_schema import SkipJsonSchema

from logo_similarity.domain import PARAMETERS

_FIELD = "_field"
"""Ends the name of the argument that is a form field."""

SearchParameters = dict[str, Any]
"""What the request gives of `PARAMETERS`, by name."""


async def get_parameters(**values: object) -> SearchParameters:
    """The parameters in the query string or in the form. The route refuses one that is in both."""
    return {name.removesuffix(_FIELD): value for name, value in values.items() if value is not None}


def _arguments() -> Iterator[inspect.Parameter]:
    """Each parameter twice: in the query string, and as a form field.

    Only the former is documented: two places for one value mislead, and a form that is made from the description (as on
    /docs) would fill these fields in and send them.
    """
    for parameter in PARAMETERS:
        bounds = {"ge": parameter.least, "le": parameter.most}
        default = "" if parameter.default is None else f" Default: {parameter.default}."
        query = Query(description=parameter.description + default, **bounds)
        form = Form(alias=parameter.name, **bounds)
        yield _argument(parameter.name, Annotated[parameter.type | None, query])
        undocumented = SkipJsonSchema[parameter.type | None]  # type: ignore[name-defined]
        yield _argument(parameter.name + _FIELD, Annotated[undocumented, form])


def _argument(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


# FastAPI reads the arguments of a dependency from its signature.
get_parameters.__signature__ = inspect.Signature(list(_arguments()))  # type: ignore[attr-defined]

ParametersDep = Annotated[SearchParameters, Depends(get_parameters)]
