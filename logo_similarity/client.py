"""A client of a running service, with the interface of `SearchEngine`. Needs the extra `client`.

>>> from logo_similarity.client import Client
>>> from logo_similarity import Query
>>> with Client("https://logos.example", api_key="lsk_...") as client:
...     answer = client.search(Query(image=Path("logo.png").read_bytes(), top_k=10))
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Self, TypeVar
from urllib.parse import quote

from logo_similarity.domain import (
    PARAMETERS,
    STAGES,
    CellMatch,
    Explanation,
    Facets,
    Hit,
    Logo,
    Matched,
    Others,
    Query,
    RegionMatch,
    SearchResult,
    Timings,
    ValueCount,
)
from logo_similarity.errors import (
    ConfigError,
    InvalidRequestError,
    LogoSimilarityError,
    NotFoundError,
    ServiceError,
    TryLaterError,
)
from logo_similarity.filters import Filter
from logo_similarity.version import __version__

try:
    import httpx2
    import tenacity
except ImportError:
    raise ConfigError(
        "the client needs httpx2 and tenacity: run pip install '.[client]' in the source folder"
    ) from None

TIMEOUT_SECONDS = 60.0
"""For each attempt: longer than `LOGO_QUEUE_SECONDS` and `LOGO_SEARCH_SECONDS` together."""
MOST_ATTEMPTS = 5
PATIENCE_SECONDS = 60.0
"""A request is not repeated if that would take longer in total."""
NO_ROW = -1
"""`Logo.id` of a logo of a service, which does not send its row."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """The answer of a service to a search."""

    result: SearchResult
    """Its logos have no row (`NO_ROW`) and no filename."""
    image_urls: tuple[str | None, ...]
    """A signed, short-lived link for each hit; None: the service has no image store."""
    damage: tuple[str | None, ...]
    """For each picture of the query, what is wrong with its file, of which only a part is readable; None: nothing."""
    query_id: str
    cached: bool
    """Whether the service answered from its cache."""
    logos: int
    """Number of logos in the catalog."""
    fields: tuple[str, ...]
    """Names of the register fields in it."""


@dataclass(frozen=True, slots=True)
class ServiceLogo:
    """One logo of a service."""

    logo: Logo
    image_url: str | None


@dataclass(frozen=True, slots=True)
class ServicePage:
    """A page of logos of a service, in the order of its catalog."""

    logos: tuple[ServiceLogo, ...]
    passed: int
    """Number of logos that pass the filter, on all pages."""
    next: str | None
    """The cursor of the next page; None: this is the last one."""


@dataclass(frozen=True, slots=True)
class ServiceCatalog:
    """What a service can search."""

    version: str
    created: dt.datetime
    newest: dt.date | None
    """Latest application date of its logos; None: not known."""
    logos: int
    fields: tuple[str, ...]
    """Names of the register fields, and of the facets as `extra.colour`."""
    encoder_id: str
    encoder_sha256: str
    engine: str
    """Version of the software."""
    description: Mapping[str, Any]
    """The whole response, as JSON."""


class _Call(NamedTuple, Generic[Answer]):
    """A request, and how to read its response."""

    method: str
    path: str
    read: Callable[[dict[str, Any]], Answer]
    parameters: Mapping[str, str | list[str]] = {}
    images: tuple[bytes, ...] = ()


class Client:
    """A client of a running service. Safe to use from many threads at once.

    A request that the service refuses for a limited time (429, 503) is repeated after its Retry-After, at most
    `MOST_ATTEMPTS` times within `PATIENCE_SECONDS`; so is one whose connection breaks, since requests change nothing.

    Methods raise the error that the service reports, with its message: a subclass of `LogoSimilarityError` such as
    `UnauthorizedError`, `InvalidRequestError` or `BadImageError`. If there is no valid response, or the service fails,
    they raise `ServiceError`.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        """Connect to nothing yet.

        Args:
            url: address of the service, as "https://logos.example"; it may have a path.
            api_key: a key with the role search; None: the service needs none.
            timeout: time limit for connecting, and for each pause in an answer, in seconds.

        Raises:
            InvalidRequestError: the address is not an HTTP address, or the key has characters that no key has.
        """
        self._url = _check_url(url)
        self._client = httpx2.Client(base_url=self._url, headers=_headers(api_key), timeout=timeout)
        self._retrying = tenacity.Retrying(**_retrying())

    def search(self, query: Query) -> ServiceAnswer:
        """The logos most similar to the query's image or words, or to both, best first.

        Raises:
            InvalidRequestError: the image is an array; send the content of a file.
        """
        return self._send(_search_call(query))

    def search_batch(self, queries: Sequence[Query]) -> tuple[ServiceAnswer | LogoSimilarityError, ...]:
        """The answers to queries with one image each, in one request, or why there is none for an image.

        Only their images may differ. A service accepts at most 20 of them. The answers have no query id and no timings.
        """
        return self._send(_batch_call(queries))

    def explain(self, query: Query, logo_id: str) -> Explanation:
        """Why a logo is a hit of a query, or is none. Only the first picture of the query counts.

        Raises:
            NotFoundError: the catalog does not contain the logo.
        """
        return self._send(_explain_call(query, logo_id))

    def logo(self, logo_id: str) -> ServiceLogo | None:
        """The logo with this public id; None if the catalog does not contain it."""
        try:
            return self._send(_logo_call(logo_id))
        except NotFoundError:
            return None

    def logos(self, condition: Filter | None = None, *, limit: int = 100, cursor: str | None = None) -> ServicePage:
        """The logos that pass a filter, in the order of the catalog; `cursor` is `next` of the page before."""
        return self._send(_logos_call(condition, limit, cursor))

    def facets(
        self, condition: Filter | None = None, fields: Sequence[str] = (), *, under: str | None = None, limit: int = 50
    ) -> Facets:
        """How many of the logos that pass a filter have each value; `fields` are all that have facets by default."""
        return self._send(_facets_call(condition, fields, under, limit))

    def catalog(self) -> ServiceCatalog:
        """What the service can search."""
        return self._send(_catalog_call())

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: _Call[Answer]) -> Answer:
        answer: Answer = self._retrying(self._send_once, call)
        return answer

    def _send_once(self, call: _Call[Answer]) -> Answer:
        try:
            return _read(call, self._client.request(call.method, call.path, **_options(call)))
        except httpx2.TransportError as error:
            raise _UnreachableError(self._url, error) from None


class AsyncClient:
    """The same for asyncio: the methods of `Client` as coroutines."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        """See `Client`."""
        self._url = _check_url(url)
        self._client = httpx2.AsyncClient(base_url=self._url, headers=_headers(api_key), timeout=timeout)
        self._retrying = tenacity.AsyncRetrying(**_retrying())

    async def search(self, query: Query) -> ServiceAnswer:
        """See `Client.search`."""
        return await self._send(_search_call(query))

    async def search_batch(self, queries: Sequence[Query]) -> tuple[ServiceAnswer | LogoSimilarityError, ...]:
        """See `Client.search_batch`."""
        return await self._send(_batch_call(queries))

    async def explain(self, query: Query, logo_id: str) -> Explanation:
        """See `Client.explain`."""
        return await self._send(_explain_call(query, logo_id))

    async def logo(self, logo_id: str) -> ServiceLogo | None:
        """See `Client.logo`."""
        try:
            return await self._send(_logo_call(logo_id))
        except NotFoundError:
            return None

    async def logos(
        self, condition: Filter | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> ServicePage:
        """See `Client.logos`."""
        return await self._send(_logos_call(condition, limit, cursor))

    async def facets(
        self, condition: Filter | None = None, fields: Sequence[str] = (), *, under: str | None = None, limit: int = 50
    ) -> Facets:
        """See `Client.facets`."""
        return await self._send(_facets_call(condition, fields, under, limit))

    async def catalog(self) -> ServiceCatalog:
        """See `Client.catalog`."""
        return await self._send(_catalog_call())

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, call: _Call[Answer]) -> Answer:
        return await self._retrying(self._send_once, call)

    async def _send_once(self, call: _Call[Answer]) -> Answer:
        try:
            return _read(call, await self._client.request(call.method, call.path, **_options(call)))
        except httpx2.TransportError as error:
            raise _UnreachableError(self._url, error) from None


class _UnreachableError(ServiceError):
    """No response arrived; another attempt may get one."""

    def __init__(self, url: str, error: httpx2.TransportError) -> None:
        super().__init__(f"{url} is not reachable: {error or type(error).__name__}")
        self.lasting = isinstance(error, httpx2.TimeoutException | httpx2.UnsupportedProtocol | httpx2.ProxyError)


def _retrying() -> dict[str, Any]:
    """When a request is repeated, and after what time."""
    return {
        "retry": tenacity.retry_if_exception(
            lambda error: (
                isinstance(error, TryLaterError) or (isinstance(error, _UnreachableError) and not error.lasting)
            )
        ),
        "wait": _wait,
        "stop": tenacity.stop_after_attempt(MOST_ATTEMPTS) | tenacity.stop_before_delay(PATIENCE_SECONDS),
        "reraise": True,
    }


_backoff = tenacity.wait_exponential_jitter(multiplier=0.2, max=5)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: the Retry-After of the response, or an increasing time."""
    error = None if state.outcome is None else state.outcome.exception()
    return float(error.retry_after) if isinstance(error, TryLaterError) else _backoff(state)


def _check_url(url: str) -> str:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidRequestError(f"{url} is not an HTTP address; write https://host or http://host:port")
    return url.rstrip("/") + "/"


def _headers(api_key: str | None) -> dict[str, str]:
    headers = {"User-Agent": f"logo-similarity/{__version__}"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
            raise InvalidRequestError("the API key has spaces, line breaks or characters that no key has")
        headers["X-API-Key"] = api_key
    return headers


def _search_call(query: Query) -> _Call[ServiceAnswer]:
    return _Call("POST", "v1/search", _read_search, _parameters(query), _images(query))


def _batch_call(queries: Sequence[Query]) -> _Call[tuple[ServiceAnswer | LogoSimilarityError, ...]]:
    images = [_images(query) for query in queries]
    if any(len(one) != 1 for one in images):
        raise InvalidRequestError("a query of a batch needs one image; search for anything else alone")
    parameters = list(map(_parameters, queries))
    if not parameters or any(one != parameters[0] for one in parameters):
        raise InvalidRequestError("the queries of a batch must have the same parameters and filter")
    return _Call("POST", "v1/search/batch", _read_batch, parameters[0], tuple(one for (one,) in images))


def _explain_call(query: Query, logo_id: str) -> _Call[Explanation]:
    if query.image is None and query.logo_id is None:
        raise InvalidRequestError("the query has no image and no logo_id to explain a hit with; give it one of them")
    pictures = {
        name: value
        for name, value in _parameters(query).items()
        if name in ("crop", "invert", "greyscale", "turned", "logo_id")
    }
    images = _images(query)[:1]
    return _Call("POST" if images else "GET", "v1/explain", _read_explanation, {"hit_id": logo_id, **pictures}, images)


def _logo_call(logo_id: str) -> _Call[ServiceLogo]:
    return _Call("GET", f"v1/logos/{quote(logo_id)}", _read_logo)


def _logos_call(condition: Filter | None, limit: int, cursor: str | None) -> _Call[ServicePage]:
    parameters = {**_filter(condition), "limit": str(limit), **({} if cursor is None else {"cursor": cursor})}
    return _Call("GET", "v1/logos", _read_page, parameters)


def _facets_call(condition: Filter | None, fields: Sequence[str], under: str | None, limit: int) -> _Call[Facets]:
    parameters: dict[str, str | list[str]] = {**_filter(condition), "limit": str(limit)}
    if fields:
        parameters["field"] = list(fields)
    if under is not None:
        parameters["under"] = under
    return _Call("GET", "v1/facets", _read_facets, parameters)


def _catalog_call() -> _Call[ServiceCatalog]:
    return _Call("GET", "v1/catalog", _read_catalog)


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


def _options(call: _Call[Any]) -> dict[str, Any]:
    """Arguments of a request. A form even without a file: a search requires one."""
    if call.method == "GET":
        return {"params": call.parameters}
    if not call.images:
        return {"files": {name: (None, value) for name, value in call.parameters.items()}}
    return {"params": call.parameters, "files": [("file", image) for image in call.images]}


def _read(call: _Call[Answer], response: httpx2.Response) -> Answer:
    """The answer in a response. Raises the error that it reports, or ServiceError."""
    if response.is_error:
        raise _error_of(response)
    try:
        return call.read(response.json())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ServiceError(
            f"{response.url.copy_with(query=None)} responds, but not as logo-similarity does",
            answered=response.status_code,
        ) from None


@functools.cache
def _errors_by_code() -> dict[str, type[LogoSimilarityError]]:
    """For each code of a client's error, the most general class with it."""
    classes: dict[str, type[LogoSimilarityError]] = {}
    kinds = [LogoSimilarityError]
    for kind in kinds:
        classes.setdefault(kind.code, kind)
        kinds += kind.__subclasses__()
    return classes


def _error_of(response: httpx2.Response) -> LogoSimilarityError:
    try:
        problem = response.json()
        code, message = problem["code"], str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, TypeError):
        code, message = "", f"{response.url.copy_with(query=None)} answers {response.status_code}"
    kind = _errors_by_code().get(code, ServiceError)
    if issubclass(kind, TryLaterError):
        seconds = response.headers.get("Retry-After", "")
        return kind(message, retry_after=int(seconds) if seconds.isdigit() else 1)
    if kind.status != response.status_code or kind.status == LogoSimilarityError.status:
        return ServiceError(f"{response.status_code} {message}", answered=response.status_code)
    return kind(message)


def _read_search(answer: dict[str, Any]) -> ServiceAnswer:
    catalog, hits = answer["catalog"], answer["results"]
    return ServiceAnswer(
        result=SearchResult(
            hits=tuple(map(_read_hit, hits)),
            reranked=answer["reranked"],
            parts=answer["parts"],
            version=catalog["version"],
            timings=Timings(**{stage: answer["timings_ms"][stage] for stage in STAGES}),
            exact=answer["exact"],
            passed=answer["passed"],
            words=answer["words"],
        ),
        image_urls=tuple(hit["image_url"] for hit in hits),
        damage=tuple(picture.get("damage") for picture in answer["pictures"]),
        query_id=answer["query_id"],
        cached=answer["cached"],
        logos=catalog["logos"],
        fields=tuple(catalog["fields"]),
    )


def _read_batch(answer: dict[str, Any]) -> tuple[ServiceAnswer | LogoSimilarityError, ...]:
    common = {"catalog": answer["catalog"], "timings_ms": dict.fromkeys(STAGES, 0.0), "query_id": "", "cached": False}
    return tuple(
        _kind_of(one["code"], one["detail"]) if one["answer"] is None else _read_search({**one["answer"], **common})
        for one in answer["searches"]
    )


def _kind_of(code: str, message: str) -> LogoSimilarityError:
    """The error of an image in a batch."""
    kind = _errors_by_code().get(code, ServiceError)
    return kind(message, retry_after=1) if issubclass(kind, TryLaterError) else kind(message)


def _read_hit(answer: dict[str, Any]) -> Hit:
    matched, others = answer["matched"], answer["others"]
    return Hit(
        score=answer["score"],
        cosine=answer["cosine"],
        logo=_logo(answer),
        copies=answer["copies"],
        expect=answer["expect"],
        matched=None if matched is None else Matched(tuple(matched["query_box"]), tuple(matched["hit_box"])),
        image_score=answer["image_score"],
        word_similarity=answer["word_similarity"],
        picture=answer["picture"],
        word_field=answer["word_field"],
        damage=answer["damage"],
        others=None if others is None else Others(others["count"], tuple(others["ids"])),
    )


def _logo(answer: dict[str, Any]) -> Logo:
    return Logo(NO_ROW, answer["id"], "", json.dumps(answer["metadata"], ensure_ascii=False))


def _read_logo(answer: dict[str, Any]) -> ServiceLogo:
    return ServiceLogo(_logo(answer), answer["image_url"])


def _read_page(answer: dict[str, Any]) -> ServicePage:
    return ServicePage(tuple(map(_read_logo, answer["logos"])), answer["passed"], answer["next"])


def _read_facets(answer: dict[str, Any]) -> Facets:
    counts = {
        name: tuple(ValueCount(one["value"], one["count"]) for one in values)
        for name, values in answer["facets"].items()
    }
    return Facets(answer["passed"], counts)


def _read_catalog(answer: dict[str, Any]) -> ServiceCatalog:
    newest = answer["newest"]
    return ServiceCatalog(
        version=answer["version"],
        created=dt.datetime.fromisoformat(answer["created"]),
        newest=None if newest is None else dt.date.fromisoformat(newest),
        logos=answer["logos"],
        fields=tuple(field["name"] for field in answer["fields"]),
        encoder_id=answer["encoder"]["id"],
        encoder_sha256=answer["encoder"]["sha256"],
        engine=answer["engine"],
        description=answer,
    )


def _read_explanation(answer: dict[str, Any]) -> Explanation:
    def boxes(match: dict[str, Any]) -> tuple[Any, Any]:
        return tuple(match["query_box"]), tuple(match["hit_box"])

    return Explanation(
        _read_hit(answer["hit"]),
        tuple(RegionMatch(*boxes(match), match["cosine"]) for match in answer["regions"]),
        tuple(CellMatch(*boxes(match), match["strength"]) for match in answer["cells"]),
    )
