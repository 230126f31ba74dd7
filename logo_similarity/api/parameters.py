"""The parameters of a search over HTTP, generated from their declaration in `domain.Query`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Form, Query
from pydantic import Field, TypeAdapter
from pydantic.json_schema import SkipJsonSchema

from logo_similarity.classification import Language
from logo_similarity.domain import PARAMETERS, Parameter
from logo_similarity.reports.formats import ReportFormat
from logo_similarity.wording import allowed_values


def _bounds(parameter: Parameter) -> dict[str, Any]:
    names = ("min_length", "max_length") if parameter.type is str else ("ge", "le")
    return dict(zip(names, (parameter.least, parameter.most), strict=True))


def _allowed_values(parameter: Parameter) -> str:
    annotation: Any = Annotated[parameter.type, Field(**_bounds(parameter))]
    return allowed_values(TypeAdapter(annotation).json_schema())


EXPECTED = {
    "file": "an image file, as curl -F file=@logo.png does, or words",
    "language": f"one of {', '.join(Language)}",
    "case": "a case as a JSON file, as curl -F case=@case.json does",
    "format": f"one of {', '.join(ReportFormat)}",
    "logo_id": "the id of a logo, as a search returns it",
    **{parameter.name: _allowed_values(parameter) for parameter in PARAMETERS},
}
"""What to send for each parameter of a search, for messages."""

_FIELD = "_field"
"""Suffix of the arguments that are form fields."""

SearchParameters = dict[str, Any]
"""The values in the request of `PARAMETERS`, by name."""


async def get_parameters(**values: object) -> SearchParameters:
    """The parameters from the query string and the form. The route refuses a parameter that is in both."""
    return {name.removesuffix(_FIELD): value for name, value in values.items() if value is not None}


def _arguments() -> Iterator[inspect.Parameter]:
    """Each parameter twice: in the query string, and as a form field.

    Only the former is documented: documenting a value twice would mislead, and forms generated from the OpenAPI
    document (as on /docs) would fill in and send these fields.
    """
    for parameter in PARAMETERS:
        bounds = _bounds(parameter)
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
