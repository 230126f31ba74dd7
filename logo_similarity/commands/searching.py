"""Where the command `search` searches: the live catalog of this machine, or a running service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin

from logo_similarity.commands.hits import default_columns
from logo_similarity.domain import Group, Query, SearchedPicture, SearchResult
from logo_similarity.errors import BadImageError, LogoSimilarityError, SearchTimeoutError, ServiceError, TryLaterError

if TYPE_CHECKING:
    from logo_similarity.client import Client, ServiceAnswer
    from logo_similarity.config import Settings
    from logo_similarity.engine import SearchEngine

ReadFile = Callable[[int, int], "bytes | None"]
"""The image file of a hit, by its place in the list, with at most so many bytes; None: it cannot be read."""
OF_ONE_PICTURE = (BadImageError, TryLaterError, SearchTimeoutError)
"""Errors that say nothing about the search for another picture."""
TOO_LARGE = 413
"""Status of a service for a request with more bytes than it accepts."""
MOST_IN_BATCH = 20
"""Images of a request to a service, which accepts no more."""
BATCH_BYTES = 20_000_000
"""Their size in total, unless one is larger: below the default of `LOGO_MAX_UPLOAD_BYTES`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one search."""

    result: SearchResult
    columns: list[str]
    """Those to print by default."""
    pictures: Sequence[SearchedPicture]
    """Those that were searched for: with `turned`, the image four times."""
    read_file: ReadFile | None
    """None: there is no image store."""


class Place(Protocol):
    """A catalog or a service."""

    def search(self, query: Query) -> Answer:
        """The answer to a query."""
        ...

    def search_each(self, query: Query, images: Iterable[bytes]) -> Iterator[Answer | LogoSimilarityError]:
        """For each image the answer to a query for it, or why there is none."""
        ...

    def further_columns(self) -> Iterable[str]:
        """Columns that a logo may have besides those of the hits."""
        ...


@contextmanager
def open_catalog(settings: Settings) -> Iterator[tuple[Place, SearchEngine]]:
    """The live catalog, and the engine on it."""
    from logo_similarity.engine import SearchEngine

    version = SearchEngine.of(settings)
    with version.with_changes(settings.catalogs) as engine:
        yield _Catalog(engine, settings), engine


@contextmanager
def open_service(url: str, key: str | None) -> Iterator[Place]:
    """A running service."""
    from logo_similarity.client import Client

    with Client(url, api_key=key) as client:
        yield _Service(client, url)


class _Catalog:
    def __init__(self, engine: SearchEngine, settings: Settings) -> None:
        from logo_similarity.storage import open_store

        self._engine = engine
        self._store = open_store(settings)

    def search(self, query: Query) -> Answer:
        result = self._engine.search(query)
        manifest = self._engine.manifest
        columns = default_columns(
            self._engine.logos.fields,
            has_words=result.words is not None and bool(result.pictures),
            has_parts=self._engine.has_parts,
            has_copies=manifest.distinct_images < manifest.count,
            has_groups=query.group is not Group.NONE,
            has_damage=self._engine.logos.has_damage,
        )

        def read_file(place: int, most: int) -> bytes | None:
            from logo_similarity.errors import NotFoundError, StoreError

            try:
                return None if self._store is None else self._store.read(result.hits[place].logo.filename, most)
            except (NotFoundError, StoreError):
                return None

        pictures = [SearchedPicture(picture.damage, picture.turned, picture.completed) for picture in result.pictures]
        return Answer(result, columns, pictures, None if self._store is None else read_file)

    def search_each(self, query: Query, images: Iterable[bytes]) -> Iterator[Answer | LogoSimilarityError]:
        for image in images:
            try:
                yield self.search(replace(query, image=image))
            except OF_ONE_PICTURE as error:
                yield error

    def further_columns(self) -> Iterable[str]:
        return self._engine.metadata.extra_columns()


class _Service:
    def __init__(self, client: Client, url: str) -> None:
        self._client = client
        self._url = url

    def search(self, query: Query) -> Answer:
        return self._answer(query, self._client.search(query))

    def search_each(self, query: Query, images: Iterable[bytes]) -> Iterator[Answer | LogoSimilarityError]:
        for batch in _batches(images):
            queries = [replace(query, image=image) for image in batch]
            outcomes: Sequence[ServiceAnswer | LogoSimilarityError | None] = [None] * len(queries)
            try:
                outcomes = self._client.search_batch(queries)
            except ServiceError as error:
                if error.answered != TOO_LARGE:  # each alone may be small enough
                    raise
            for one, outcome in zip(queries, outcomes, strict=True):
                yield self._outcome(one, outcome)

    def further_columns(self) -> Iterable[str]:
        return ()

    def _outcome(
        self, query: Query, outcome: ServiceAnswer | LogoSimilarityError | None
    ) -> Answer | LogoSimilarityError:
        """The outcome of a search in a batch. A search alone waits and repeats a request that was refused for a time."""
        if isinstance(outcome, BadImageError):
            return outcome
        try:
            if outcome is None or isinstance(outcome, LogoSimilarityError):
                return self.search(query)
        except OF_ONE_PICTURE as error:
            return error
        except ServiceError as error:
            if error.answered != TOO_LARGE:
                raise
            return error
        return self._answer(query, outcome)

    def _answer(self, query: Query, answer: ServiceAnswer) -> Answer:
        hits = answer.result.hits
        columns = default_columns(
            answer.fields,
            has_words=answer.result.words is not None and bool(answer.pictures),
            has_parts=answer.result.parts,
            has_copies=any(hit.copies for hit in hits),
            has_groups=query.group is not Group.NONE,
            has_damage=any(hit.damage for hit in hits),
        )

        def read_file(place: int, most: int) -> bytes | None:
            link = answer.image_urls[place]
            return None if link is None else _fetch(urljoin(self._url, link), most)

        return Answer(answer.result, columns, answer.pictures, read_file if any(answer.image_urls) else None)


def _batches(images: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for image in images:
        if batch and (len(batch) == MOST_IN_BATCH or sum(map(len, batch)) + len(image) > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def _fetch(link: str, most: int) -> bytes | None:
    """The image behind a link, which needs no key; None: it has expired, is larger, or nothing responds."""
    import httpx2

    file = bytearray()
    try:
        with httpx2.stream("GET", link) as response:
            if response.is_error:
                return None
            for piece in response.iter_bytes():
                file += piece
                if len(file) > most:
                    return None
    except httpx2.TransportError:
        return None
    return bytes(file)
