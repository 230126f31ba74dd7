"""The parameters of requests, generated from their declarations: those of a search in `domain.Query`, filters in `fields`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import orjson
from fastapi import Depends, Form, Query, Request
from pydantic import Field, TypeAdapter
from pydantic.json_schema import SkipJsonSchema

from logo_similarity.api.routing import FAMILY
from logo_similarity.classification import Language
from logo_similarity.domain import PARAMETERS, Parameter
from logo_similarity.errors import InvalidRequestError
from logo_similarity.facets import EXTRA
from logo_similarity.field_kinds import Operator
from logo_similarity.fields import FIELDS, RegisterField
from logo_similarity.filters import Filter
from logo_similarity.reports.formats import ReportFormat
from logo_similarity.watch.model import LONGEST_NAME, MOST_MARKS
from logo_similarity.wording import allowed_values

LONGEST_FILTER = 4_000
"""Maximum length of a filter in a request, in characters."""
LONGEST_FIELD = 66_000
"""Maximum size of a form field, in bytes: a cursor is the longest."""
LONGEST_RECORD = 100_000
"""Maximum size of a record in a request, in bytes."""
FILTER = "filter"
FACETS = EXTRA.rstrip(".") + FAMILY
"""Stands for the parameters that filter by facets."""
PICTURE_PARAMETERS = ("logo_id", "crop", "invert", "greyscale", "turned", "part_of_mark")
"""The parameters of a search that say which picture is meant."""


def _bounds(parameter: Parameter) -> dict[str, Any]:
    names = ("min_length", "max_length") if parameter.type is str else ("ge", "le")
    return dict(zip(names, (parameter.least, parameter.most), strict=True))


def _allowed_values(parameter: Parameter) -> str:
    annotation: Any = Annotated[parameter.type, Field(**_bounds(parameter))]
    return allowed_values(TypeAdapter(annotation).json_schema())


EXPECTED = {
    "file": "an image file, as curl -F file=@logo.png does, or words or a logo_id",
    "hit_id": "the id of a logo, as a search returns it",
    "limit": "a whole number from 1 to 1000",
    "cursor": "the `next` of an earlier response",
    "field": "the name of a field of the catalog",
    "under": "a code, for example 26.01",
    FILTER: f"a filter as JSON, at most {LONGEST_FILTER:,} characters",
    **{field.parameter: "a shorter text" for field in FIELDS},
    FACETS: "a shorter text",
    "language": f"one of {', '.join(Language)}",
    "image": "an image file, as curl -F image=@logo.png does",
    "record": f"a record as JSON, at most {LONGEST_RECORD:,} bytes",
    "Idempotency-Key": "a text of 1 to 200 visible ASCII characters",
    "case": "a case as a JSON file, as curl -F case=@case.json does",
    "name": f"a name of at most {LONGEST_NAME} characters",
    "mark": f"the ids of own marks, at most {MOST_MARKS}",
    "webhook": "the address of a webhook, as https://hooks.example.com/path",
    "format": f"one of {', '.join(ReportFormat)}",
    **{parameter.name: _allowed_values(parameter) for parameter in PARAMETERS},
}
"""What to send for each parameter, for messages."""

_FIELD = "_field"
"""Suffix of the arguments that are form fields."""

SearchParameters = dict[str, Any]
"""The values in the request of `PARAMETERS`, by name."""


async def get_parameters(**values: object) -> SearchParameters:
    """The parameters from the query string and the form. The route refuses a parameter that is in both."""
    return {name.removesuffix(_FIELD): value for name, value in values.items() if value is not None}


async def get_picture_parameters(**values: object) -> SearchParameters:
    """The parameters in the query string that say which picture is meant."""
    return {name: value for name, value in values.items() if value is not None}


def _arguments() -> Iterator[inspect.Parameter]:
    """Each parameter twice: in the query string, and as a form field.

    Only the former is documented: documenting a value twice would mislead, and forms generated from the OpenAPI
    document (as on /docs) would fill in and send these fields.
    """
    for parameter in PARAMETERS:
        form = Form(alias=parameter.name, **_bounds(parameter))
        yield _query_argument(parameter)
        undocumented = SkipJsonSchema[parameter.type | None]  # type: ignore[name-defined]
        yield _argument(parameter.name + _FIELD, Annotated[undocumented, form])


def _query_argument(parameter: Parameter) -> inspect.Parameter:
    default = "" if parameter.default is None else f" Default: {parameter.default}."
    query = Query(description=parameter.description + default, **_bounds(parameter))
    return _argument(parameter.name, Annotated[parameter.type | None, query])


def _argument(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


async def get_filter(request: Request, **values: object) -> Filter | None:
    """The filter in the query string."""
    return _read_filter(values, request.query_params.multi_items())


async def get_search_filter(request: Request, **values: object) -> Filter | None:
    """The filter in the query string and the form, of which all conditions must be met."""
    form = await request.form()  # cached by Starlette
    return _read_filter(values, (*request.query_params.multi_items(), *form.multi_items()))


def _read_filter(values: dict[str, Any], items: Iterable[tuple[str, object]]) -> Filter | None:
    """The filter in the declared parameters, and in all parameters of a request for facets."""
    facets = [(name, text) for name, text in items if name.startswith(EXTRA) and isinstance(text, str)]
    if any(len(text) > LONGEST_FILTER for _, text in facets):
        raise InvalidRequestError(
            f"the value of {FACETS} has more than {LONGEST_FILTER:,} characters; send a shorter text"
        )
    values = {name: value for name, value in values.items() if name.removesuffix(_FIELD) != _identifier(FACETS)}
    tree = values.pop(FILTER, None) or values.pop(FILTER + _FIELD, None)
    try:
        parsed = None if tree is None else orjson.loads(tree)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"filter is not valid JSON: {error}") from None
    texts = [(name.removesuffix(_FIELD), text) for name, given in values.items() for text in given or ()]
    return Filter.parse((*texts, *facets), parsed)


def _filter_arguments(*, with_form: bool) -> Iterator[inspect.Parameter]:
    """A parameter for each register field, which may be repeated, and `filter` for everything that they cannot say."""
    tree = (
        "Filter as JSON, see the documentation of filters. It must be passed besides the conditions on single fields."
    )
    longest = LONGEST_FILTER
    yield _argument(FILTER, Annotated[str | None, Query(description=tree, max_length=longest)])
    if with_form:
        undocumented = SkipJsonSchema[str | None]
        yield _argument(FILTER + _FIELD, Annotated[undocumented, Form(alias=FILTER, max_length=longest)])
    yield inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    facets = (
        "Filter by a facet of the catalog, which `GET /v1/catalog` lists: `extra.colour=red,blue` for one of several values. "
        "A leading `-` excludes them."
    )
    descriptions = {field.parameter: _describe_condition(field) for field in FIELDS} | {FACETS: facets}
    for parameter, description in descriptions.items():
        texts: Any = list[Annotated[str, Field(max_length=longest)]] | None
        name = _identifier(parameter)
        yield _argument(name, Annotated[texts, Query(alias=parameter, description=description)])
        if with_form:
            undocumented_texts = SkipJsonSchema[texts]
            yield _argument(name + _FIELD, Annotated[undocumented_texts, Form(alias=parameter)])


def _identifier(parameter: str) -> str:
    return parameter.replace(".", "_")


def _describe_condition(field: RegisterField[Any]) -> str:
    operators = field.kind.operators
    if Operator.WORDS in operators:
        return f"Filter by `{field.name}`: logos with all these words. A leading `-` excludes them."
    example = ",".join(map(str, field.kind.items(field.example)))
    between = f", or a range: `{example.split(',')[0]}..`" if Operator.BETWEEN in operators else ""
    return (
        f"Filter by `{field.name}`: one of several values, `{example}`{between}. A leading `-` excludes them. Repeat the "
        "parameter for conditions that must all be met."
    )


# FastAPI reads the arguments of a dependency from its signature.
get_parameters.__signature__ = inspect.Signature(list(_arguments()))  # type: ignore[attr-defined]
get_picture_parameters.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [_query_argument(parameter) for parameter in PARAMETERS if parameter.name in PICTURE_PARAMETERS]
)
get_filter.__signature__ = inspect.Signature(list(_filter_arguments(with_form=False)))  # type: ignore[attr-defined]
get_search_filter.__signature__ = inspect.Signature(list(_filter_arguments(with_form=True)))  # type: ignore[attr-defined]

ParametersDep = Annotated[SearchParameters, Depends(get_parameters)]
PictureParametersDep = Annotated[SearchParameters, Depends(get_picture_parameters)]
FilterDep = Annotated[Filter | None, Depends(get_filter)]
SearchFilterDep = Annotated[Filter | None, Depends(get_search_filter)]
