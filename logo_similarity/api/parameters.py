"""The parameters of requests, generated from their declarations: those of a search in `domain.Query`, filters in `fields`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
from fastapi import Depends
from pydantic import Field, TypeAdapter

from logo_similarity.api.declared import FAMILY, Declared, Items, RequestParameters
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
    "file": "an image file, as curl -F file=@logo.png does",
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

SearchParameters = dict[str, Any]
"""The values in the request of `PARAMETERS`, by name."""


def declared(parameter: Parameter) -> Declared:
    """The parameter of a request for one of a search."""
    default = "" if parameter.default is None else f" Default: {parameter.default}."
    annotation: Any = Annotated[parameter.type, Field(**_bounds(parameter))]
    return Declared(parameter.name, annotation, parameter.description + default)


def _conditions() -> Iterator[Declared]:
    """A parameter for each register field, which may be repeated, and `filter` for everything that they cannot say."""
    text = Annotated[str, Field(max_length=LONGEST_FILTER)]
    yield Declared(
        FILTER,
        text,
        "Filter as JSON, see the documentation of filters. It must be passed besides the conditions on single fields.",
    )
    for field in FIELDS:
        yield Declared(field.parameter, list[text], _describe_condition(field))
    yield Declared(
        FACETS,
        list[text],
        "Filter by a facet of the catalog, which `GET /v1/catalog` lists: `extra.colour=red,blue` for one of several values. "
        "A leading `-` excludes them.",
    )


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


def _read_filter(values: dict[str, Any], items: Items) -> Filter | None:
    """The filter in the declared parameters, and in all parameters of a request for facets: all conditions must be met."""
    facets = [(name, text) for _, name, text in items if name.startswith(EXTRA) and isinstance(text, str)]
    if any(len(text) > LONGEST_FILTER for _, text in facets):
        raise InvalidRequestError(
            f"the value of {FACETS} has more than {LONGEST_FILTER:,} characters; send a shorter text"
        )
    tree = values.pop(FILTER, None)
    try:
        parsed = None if tree is None else orjson.loads(tree)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"filter is not valid JSON: {error}") from None
    texts = [(name, text) for name, given in values.items() if name != FACETS for text in given]
    return Filter.parse((*texts, *facets), parsed)


def _as_given(values: dict[str, Any], _items: Items) -> SearchParameters:
    return values


_pictures = [declared(one) for one in PARAMETERS if one.name in PICTURE_PARAMETERS]
ParametersDep = Annotated[
    SearchParameters, Depends(RequestParameters(map(declared, PARAMETERS), _as_given, in_form=True))
]
PictureParametersDep = Annotated[SearchParameters, Depends(RequestParameters(_pictures, _as_given))]
"""The parameters in the query string that say which picture is meant."""
FilterDep = Annotated[Filter | None, Depends(RequestParameters(_conditions(), _read_filter))]
SearchFilterDep = Annotated[Filter | None, Depends(RequestParameters(_conditions(), _read_filter, in_form=True))]
