"""The clients: one for threads, one for asyncio."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Self

import httpx2
import tenacity

from logo_similarity.client import calls
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
from logo_similarity.client.calls import Answer, Call
from logo_similarity.client.transport import UnreachableError, check_url, headers_of, options_of, read, retrying
from logo_similarity.domain import Explanation, Facets, Query
from logo_similarity.errors import LogoSimilarityError, NotFoundError
from logo_similarity.filters import Filter

TIMEOUT_SECONDS = 60.0
"""For each attempt: longer than `LOGO_QUEUE_SECONDS` and `LOGO_SEARCH_SECONDS` together."""


class Client:
    """A client of a running service. Safe to use from many threads at once.

    A request that the service refuses for a limited time (429, 503) is repeated after its Retry-After, at most
    `MOST_ATTEMPTS` times within `PATIENCE_SECONDS`. So is one whose connection breaks, unless it adds a watch: changes of
    logos have an Idempotency-Key, and no other request does harm if it is repeated.

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
        self._url = check_url(url)
        self._client = httpx2.Client(base_url=self._url, headers=headers_of(api_key), timeout=timeout)
        self._retrying = tenacity.Retrying(**retrying())

    def search(self, query: Query) -> ServiceAnswer:
        """The logos most similar to the query's image or words, or to both, best first.

        Raises:
            InvalidRequestError: the image is an array; send the content of a file.
        """
        return self._send(calls.search(query))

    def search_batch(self, queries: Sequence[Query]) -> tuple[ServiceAnswer | LogoSimilarityError, ...]:
        """The answers to queries with one image each, in one request, or why there is none for an image.

        Only their images may differ. A service accepts at most 20 of them. The answers have no query id and no timings.
        """
        return self._send(calls.batch(queries))

    def explain(self, query: Query, logo_id: str) -> Explanation:
        """Why a logo is a hit of a query, or is none. Only the first picture of the query counts.

        Raises:
            NotFoundError: the catalog does not contain the logo.
        """
        return self._send(calls.explain(query, logo_id))

    def logo(self, logo_id: str) -> ServiceLogo | None:
        """The logo with this public id; None if the catalog does not contain it."""
        try:
            return self._send(calls.logo(logo_id))
        except NotFoundError:
            return None

    def logos(self, condition: Filter | None = None, *, limit: int = 100, cursor: str | None = None) -> ServicePage:
        """The logos that pass a filter, in the order of the catalog; `cursor` is `next` of the page before."""
        return self._send(calls.logos(condition, limit, cursor))

    def facets(
        self, condition: Filter | None = None, fields: Sequence[str] = (), *, under: str | None = None, limit: int = 50
    ) -> Facets:
        """How many of the logos that pass a filter have each value; `fields` are all that have facets by default."""
        return self._send(calls.facets(condition, fields, under, limit))

    def catalog(self) -> ServiceCatalog:
        """What the service can search."""
        return self._send(calls.catalog())

    def add_logo(
        self, image: bytes, record: Mapping[str, object], *, transaction_date: dt.date | None = None
    ) -> ChangedLogo:
        """Add a logo that the catalog does not have. When this returns, it is stored durably.

        This and the other changes need a key with the role write.

        Args:
            image: the content of its image file.
            record: `logo_id`, fields of the register by their names, and `extra`; docs/live.md.
            transaction_date: the date of the change at the office; None: it is later than everything that is known.

        Raises:
            LogoExistsError: the catalog has a logo with this id.
            SupersededError: a later deletion is known.
            NotWritableError: the service accepts no changes.
        """
        return self._send(calls.add_logo(image, record, transaction_date))

    def replace_logo(
        self, logo_id: str, image: bytes, record: Mapping[str, object], *, transaction_date: dt.date | None = None
    ) -> ChangedLogo:
        """Replace a logo with its image and all its fields, or add it. See `add_logo`."""
        return self._send(calls.replace_logo(logo_id, image, record, transaction_date))

    def update_logo(
        self,
        logo_id: str,
        record: Mapping[str, object] | None = None,
        *,
        image: bytes | None = None,
        transaction_date: dt.date | None = None,
    ) -> ChangedLogo:
        """Change some fields of a logo, or its image. All others stay as they are. See `add_logo`.

        Raises:
            NotFoundError: the catalog does not contain the logo.
        """
        return self._send(calls.update_logo(logo_id, record or {}, image, transaction_date))

    def delete_logo(self, logo_id: str, *, transaction_date: dt.date | None = None) -> None:
        """Delete a logo. See `add_logo`.

        Raises:
            NotFoundError: the catalog does not contain the logo.
            SupersededError: a later change of it is known.
        """
        self._send(calls.delete_logo(logo_id, transaction_date))

    def watches(self, *, limit: int = 100, cursor: str | None = None) -> WatchPage:
        """The watches of the key, oldest first; `cursor` is `next` of the page before."""
        return self._send(calls.watches(limit, cursor))

    def add_watch(
        self, name: str, query: Query, *, marks: Sequence[str] = (), webhook: str | None = None
    ) -> AddedWatch:
        """Add a watch for a query, which is searched for whenever the catalog has new or changed logos.

        Args:
            name: of the watch.
            query: pictures, words or both, and parameters and filter of the search.
            marks: ids of own marks, of which changes are reported.
            webhook: address to which alerts are sent.

        Raises:
            WatchLimitError: the key has as many watches as are allowed.
        """
        return self._send(calls.add_watch(name, query, marks, webhook))

    def remove_watch(self, watch_id: str) -> None:
        """Delete a watch with its alerts.

        Raises:
            NotFoundError: the key has no watch with this id, or an attempt whose response was lost has deleted it.
        """
        self._send(calls.remove_watch(watch_id))

    def alerts(self, watch_id: str, *, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """The alerts of a watch, newest first; `cursor` is `next` of the page before.

        Raises:
            NotFoundError: the key has no watch with this id.
        """
        return self._send(calls.alerts(watch_id, limit, cursor))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[Answer]) -> Answer:
        answer: Answer = self._retrying(self._send_once, call)
        return answer

    def _send_once(self, call: Call[Answer]) -> Answer:
        try:
            return read(call, self._client.request(call.method, call.path, **options_of(call)))
        except httpx2.TransportError as error:
            raise UnreachableError(self._url, error, call) from None


class AsyncClient:
    """The same for asyncio: the methods of `Client` as coroutines."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        """See `Client`."""
        self._url = check_url(url)
        self._client = httpx2.AsyncClient(base_url=self._url, headers=headers_of(api_key), timeout=timeout)
        self._retrying = tenacity.AsyncRetrying(**retrying())

    async def search(self, query: Query) -> ServiceAnswer:
        """See `Client.search`."""
        return await self._send(calls.search(query))

    async def search_batch(self, queries: Sequence[Query]) -> tuple[ServiceAnswer | LogoSimilarityError, ...]:
        """See `Client.search_batch`."""
        return await self._send(calls.batch(queries))

    async def explain(self, query: Query, logo_id: str) -> Explanation:
        """See `Client.explain`."""
        return await self._send(calls.explain(query, logo_id))

    async def logo(self, logo_id: str) -> ServiceLogo | None:
        """See `Client.logo`."""
        try:
            return await self._send(calls.logo(logo_id))
        except NotFoundError:
            return None

    async def logos(
        self, condition: Filter | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> ServicePage:
        """See `Client.logos`."""
        return await self._send(calls.logos(condition, limit, cursor))

    async def facets(
        self, condition: Filter | None = None, fields: Sequence[str] = (), *, under: str | None = None, limit: int = 50
    ) -> Facets:
        """See `Client.facets`."""
        return await self._send(calls.facets(condition, fields, under, limit))

    async def catalog(self) -> ServiceCatalog:
        """See `Client.catalog`."""
        return await self._send(calls.catalog())

    async def add_logo(
        self, image: bytes, record: Mapping[str, object], *, transaction_date: dt.date | None = None
    ) -> ChangedLogo:
        """See `Client.add_logo`."""
        return await self._send(calls.add_logo(image, record, transaction_date))

    async def replace_logo(
        self, logo_id: str, image: bytes, record: Mapping[str, object], *, transaction_date: dt.date | None = None
    ) -> ChangedLogo:
        """See `Client.replace_logo`."""
        return await self._send(calls.replace_logo(logo_id, image, record, transaction_date))

    async def update_logo(
        self,
        logo_id: str,
        record: Mapping[str, object] | None = None,
        *,
        image: bytes | None = None,
        transaction_date: dt.date | None = None,
    ) -> ChangedLogo:
        """See `Client.update_logo`."""
        return await self._send(calls.update_logo(logo_id, record or {}, image, transaction_date))

    async def delete_logo(self, logo_id: str, *, transaction_date: dt.date | None = None) -> None:
        """See `Client.delete_logo`."""
        await self._send(calls.delete_logo(logo_id, transaction_date))

    async def watches(self, *, limit: int = 100, cursor: str | None = None) -> WatchPage:
        """See `Client.watches`."""
        return await self._send(calls.watches(limit, cursor))

    async def add_watch(
        self, name: str, query: Query, *, marks: Sequence[str] = (), webhook: str | None = None
    ) -> AddedWatch:
        """See `Client.add_watch`."""
        return await self._send(calls.add_watch(name, query, marks, webhook))

    async def remove_watch(self, watch_id: str) -> None:
        """See `Client.remove_watch`."""
        await self._send(calls.remove_watch(watch_id))

    async def alerts(self, watch_id: str, *, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """See `Client.alerts`."""
        return await self._send(calls.alerts(watch_id, limit, cursor))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, call: Call[Answer]) -> Answer:
        return await self._retrying(self._send_once, call)

    async def _send_once(self, call: Call[Answer]) -> Answer:
        try:
            return read(call, await self._client.request(call.method, call.path, **options_of(call)))
        except httpx2.TransportError as error:
            raise UnreachableError(self._url, error, call) from None
