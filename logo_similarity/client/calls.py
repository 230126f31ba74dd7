"""The requests of a client."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from logo_similarity.client import answers
from logo_similarity.client.answers import (
    AddedWatch,
    AlertPage,
    ChangedLogo,
    ServiceAnswer,
    ServiceCatalog,
    ServiceLogo,
    ServicePage,
    WatchPage,
)
from logo_similarity.domain import PARAMETERS, Explanation, Facets, Query
from logo_similarity.errors import InvalidRequestError, LogoSimilarityError
from logo_similarity.filters import Filter

Answer = TypeVar("Answer")
Form = Sequence[tuple[str, "bytes | tuple[None, str]"]]
"""Fields of a multipart form: the content of a file, or a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Answer]):
    """A request, and how to read its response."""

    method: str
    path: str
    read: Callable[[Any], Answer]
    """Reads the JSON of a response; None: the response has no body."""
    parameters: Mapping[str, str | list[str]] | None = None
    """The query string."""
    form: Form | None = None
    headers: Mapping[str, str] | None = None
    repeatable: bool = True
    """Whether it does no harm to send it again if the connection broke, so that nobody knows what became of it."""


def search(query: Query) -> Call[ServiceAnswer]:
    """See `Client.search`."""
    parameters, images = _parameters(query), _images(query)
    if images:
        return _post("v1/search", answers.read_search, parameters, images)
    return Call(method="POST", path="v1/search", read=answers.read_search, form=_texts(parameters))


def batch(queries: Sequence[Query]) -> Call[tuple[ServiceAnswer | LogoSimilarityError, ...]]:
    """See `Client.search_batch`."""
    images = [_images(query) for query in queries]
    if any(len(one) != 1 for one in images):
        raise InvalidRequestError("a query of a batch needs one image; search for anything else alone")
    parameters = list(map(_parameters, queries))
    if not parameters or any(one != parameters[0] for one in parameters):
        raise InvalidRequestError("the queries of a batch must have the same parameters and filter")
    return _post("v1/search/batch", answers.read_batch, parameters[0], [one for (one,) in images])


def explain(query: Query, logo_id: str) -> Call[Explanation]:
    """See `Client.explain`."""
    if query.image is None and query.logo_id is None:
        raise InvalidRequestError("the query has no image and no logo_id to explain a hit with; give it one of them")
    pictures = {
        name: value
        for name, value in _parameters(query).items()
        if name in ("crop", "invert", "greyscale", "turned", "part_of_mark", "logo_id")
    }
    parameters, images = {"hit_id": logo_id, **pictures}, _images(query)[:1]
    if images:
        return _post("v1/explain", answers.read_explanation, parameters, images)
    return _get("v1/explain", answers.read_explanation, parameters)


def logo(logo_id: str) -> Call[ServiceLogo]:
    """See `Client.logo`."""
    return _get(_logo_path(logo_id), answers.read_logo)


def logos(condition: Filter | None, limit: int, cursor: str | None) -> Call[ServicePage]:
    """See `Client.logos`."""
    return _get("v1/logos", answers.read_page, {**_filter(condition), **_page(limit, cursor)})


def facets(condition: Filter | None, fields: Sequence[str], under: str | None, limit: int) -> Call[Facets]:
    """See `Client.facets`."""
    parameters: dict[str, str | list[str]] = {**_filter(condition), "limit": str(limit)}
    if fields:
        parameters["field"] = list(fields)
    if under is not None:
        parameters["under"] = under
    return _get("v1/facets", answers.read_facets, parameters)


def catalog() -> Call[ServiceCatalog]:
    """See `Client.catalog`."""
    return _get("v1/catalog", answers.read_catalog)


def add_logo(image: bytes, record: Mapping[str, object], day: dt.date | None) -> Call[ChangedLogo]:
    """See `Client.add_logo`."""
    return _change("POST", "v1/logos", answers.read_changed, form=_logo_form(image, record, day))


def replace_logo(logo_id: str, image: bytes, record: Mapping[str, object], day: dt.date | None) -> Call[ChangedLogo]:
    """See `Client.replace_logo`."""
    return _change("PUT", _logo_path(logo_id), answers.read_changed, form=_logo_form(image, record, day))


def update_logo(
    logo_id: str, record: Mapping[str, object], image: bytes | None, day: dt.date | None
) -> Call[ChangedLogo]:
    """See `Client.update_logo`."""
    return _change("PATCH", _logo_path(logo_id), answers.read_changed, form=_logo_form(image, record, day))


def delete_logo(logo_id: str, day: dt.date | None) -> Call[None]:
    """See `Client.delete_logo`."""
    parameters = None if day is None else {"transaction_date": day.isoformat()}
    return _change("DELETE", _logo_path(logo_id), answers.read_nothing, parameters=parameters)


def watches(limit: int, cursor: str | None) -> Call[WatchPage]:
    """See `Client.watches`."""
    return _get("v1/watches", answers.read_watches, _page(limit, cursor))


def add_watch(name: str, query: Query, marks: Sequence[str], webhook: str | None) -> Call[AddedWatch]:
    """See `Client.add_watch`."""
    texts = [("name", name), *_parameters(query).items(), *(("mark", mark) for mark in marks)]
    if webhook is not None:
        texts.append(("webhook", webhook))
    form = [*_texts(texts), *_files(_images(query))]
    # Once more would be a second watch.
    return Call(method="POST", path="v1/watches", read=answers.read_added_watch, form=form, repeatable=False)


def remove_watch(watch_id: str) -> Call[None]:
    """See `Client.remove_watch`."""
    return Call(method="DELETE", path=_watch_path(watch_id), read=answers.read_nothing)


def alerts(watch_id: str, limit: int, cursor: str | None) -> Call[AlertPage]:
    """See `Client.alerts`."""
    return _get(f"{_watch_path(watch_id)}/alerts", answers.read_alerts, _page(limit, cursor))


def _get(
    path: str, read: Callable[[Any], Answer], parameters: Mapping[str, str | list[str]] | None = None
) -> Call[Answer]:
    return Call(method="GET", path=path, read=read, parameters=parameters)


def _post(
    path: str, read: Callable[[Any], Answer], parameters: Mapping[str, str], images: Sequence[bytes]
) -> Call[Answer]:
    return Call(method="POST", path=path, read=read, parameters=parameters, form=_files(images))


def _change(
    method: str,
    path: str,
    read: Callable[[Any], Answer],
    *,
    parameters: Mapping[str, str] | None = None,
    form: Form | None = None,
) -> Call[Answer]:
    """A change of a logo, which has its effect once however often it is sent."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return Call(method=method, path=path, read=read, parameters=parameters, form=form, headers=headers)


def _logo_form(image: bytes | None, record: Mapping[str, object], day: dt.date | None) -> Form:
    if day is not None:
        if "transaction_date" in record:
            raise InvalidRequestError("the record has a transaction_date, too; give it once")
        record = {**record, "transaction_date": day}
    form: list[tuple[str, bytes | tuple[None, str]]] = [("record", (None, _json(record)))]
    return form if image is None else [*form, ("image", image)]


def _json(record: Mapping[str, object]) -> str:
    def text(value: object) -> str:
        if isinstance(value, dt.date):
            return value.isoformat()
        raise TypeError(f"a value of the type {type(value).__name__} cannot be sent as JSON")

    try:
        return json.dumps(dict(record), default=text, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"the record is not valid: {error}") from None


def _texts(values: Mapping[str, str] | Sequence[tuple[str, str]]) -> Form:
    pairs = values.items() if isinstance(values, Mapping) else values
    return [(name, (None, value)) for name, value in pairs]


def _files(images: Sequence[bytes]) -> Form:
    return [("file", image) for image in images]


def _logo_path(logo_id: str) -> str:
    return f"v1/logos/{quote(logo_id)}"


def _watch_path(watch_id: str) -> str:
    return f"v1/watches/{quote(watch_id, safe='')}"


def _page(limit: int, cursor: str | None) -> dict[str, str]:
    return {"limit": str(limit), **({} if cursor is None else {"cursor": cursor})}


def _filter(condition: Filter | None) -> dict[str, str]:
    return {} if condition is None else {"filter": json.dumps(condition.to_json(), ensure_ascii=False)}


def _parameters(query: Query) -> dict[str, str]:
    """Those that differ from their defaults, as texts."""
    given = {parameter.name: getattr(query, parameter.name) for parameter in PARAMETERS}
    parameters = {
        parameter.name: str(given[parameter.name]).lower() if parameter.type is bool else str(given[parameter.name])
        for parameter in PARAMETERS
        if given[parameter.name] != parameter.default
    }
    return {**parameters, **_filter(query.filter)}


def _images(query: Query) -> tuple[bytes, ...]:
    images = () if query.image is None else (query.image, *query.more_images)
    for image in images:
        if not isinstance(image, bytes):
            raise InvalidRequestError("an image is an array; a service needs the content of image files")
    return images  # type: ignore[return-value]  # checked above
