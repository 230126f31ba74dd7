"""Files under a prefix of a bucket: what publishing and pulling a catalog needs of S3."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from logo_similarity.errors import ConfigError, NotFoundError, StoreError
from logo_similarity.storage.s3 import open_bucket, s3_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obstore import GetResult

    from logo_similarity.config import Settings

_REQUEST = timedelta(seconds=120)
"""One piece of a file has that long."""
_PIECE = 8 << 20
MOST_BYTES = 16_000_000
"""Largest object that is read into memory as a whole, unless its reader allows less."""
_CREDENTIALS = (
    "these credentials are refused: check LOGO_S3_ACCESS_KEY, LOGO_S3_SECRET_KEY, LOGO_S3_REGION, what the key is allowed to do, "
    "and this machine's clock"
)
_REFUSED = re.compile(r"\b(40[13] |InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied)")
_LONGEST_REASON = 200


def _reason(error: Exception) -> str:
    """The last words of obstore's message, which begins with what was tried how often."""
    return str(error).splitlines()[0].rpartition("source: ")[2][:_LONGEST_REASON]


class ObjectFolder:
    """Whole files under `s3://bucket/prefix`, reached by the endpoint and the keys of the settings `LOGO_S3_*`."""

    def __init__(self, url: str, settings: Settings, *, seconds: float | None = None) -> None:
        """Connect to nothing yet.

        Args:
            url: "s3://bucket/prefix".
            settings: say how to reach it.
            seconds: what a request has in all, and no second try, for who asks again anyway. None: two minutes a piece, and
                three tries.

        Raises:
            ConfigError: the URL is none of that form.
        """
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or not prefix or parts.query or parts.fragment:
            raise ConfigError(f"{url}: not a place in a bucket; write s3://bucket/prefix")
        self.url = f"s3://{parts.netloc}/{prefix}"
        self._place = f"{self.url} at {s3_endpoint(settings) or 'AWS'}"
        place = settings.model_copy(update={"s3_bucket": parts.netloc, "s3_prefix": prefix})
        timeout = _REQUEST if seconds is None else timedelta(seconds=seconds)
        self._store = open_bucket(
            place, s3_endpoint(settings), timeout, None if seconds is None else {"max_retries": 0}
        )

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None where there is none."""
        try:
            with self._errors(key):
                return int(obstore.head(self._store, key)["size"])
        except NotFoundError:
            return None

    def read(self, key: str, most: int = MOST_BYTES) -> bytes:
        """A small object.

        Raises:
            NotFoundError: there is none.
            StoreError: it has more than `most` bytes, or the bucket does not answer.
        """
        with self._errors(key):
            return self._content(key, obstore.get(self._store, key), most)

    def read_tagged(self, key: str, known: str | None, most: int = MOST_BYTES) -> tuple[bytes | None, str | None]:
        """A small object and the tag of its content; None for the object where its tag is the known one.

        Raises as `read` does.
        """
        with self._errors(key):
            try:
                found = obstore.get(self._store, key, options={} if known is None else {"if_none_match": known})
            except NotModifiedError:
                return None, known
            return self._content(key, found, most), found.meta["e_tag"]

    def _content(self, key: str, found: GetResult, most: int) -> bytes:
        """The bytes of an object; of a larger one no more than a piece is read."""
        content = bytearray()
        if found.meta["size"] <= most:
            for piece in found:
                content += piece
                if len(content) > most:
                    break
            else:
                return bytes(content)
        raise StoreError(f"{self.url}/{key}: larger than {most:,} bytes; it is not what it should be")

    def pieces(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """The bytes of an object of that size from `start` on, some megabytes at a time."""
        while start < size:
            with self._errors(key):
                piece = bytes(obstore.get_range(self._store, key, start=start, length=min(_PIECE, size - start)))
            yield piece
            start += len(piece)

    def write(self, key: str, data: bytes) -> None:
        """Put a small object, over the one that is there."""
        with self._errors(key):
            obstore.put(self._store, key, data)

    def write_over(self, key: str, data: bytes, known: str | None) -> None:
        """Put a small object in the place of the one with that tag; None: where there is none.

        Raises:
            StoreError: somebody else wrote it meanwhile; nothing has changed.
        """
        with self._errors(key):
            try:
                obstore.put(self._store, key, data, mode="create" if known is None else {"e_tag": known})
            except (AlreadyExistsError, PreconditionError):
                raise StoreError(f"{self.url}/{key}: somebody else changed it at this moment; try again") from None

    def write_file(self, key: str, path: Path) -> None:
        """Put a file, in parts where it is large. Nobody sees it before it is whole."""
        with self._errors(key):
            obstore.put(self._store, key, path)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFoundError(f"{self.url}/{key}: there is no such object") from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise StoreError(f"{self.url}: {_CREDENTIALS}") from None
        except BaseError as error:
            if _REFUSED.search(str(error)):
                raise StoreError(f"{self.url}: {_CREDENTIALS}") from None
            raise StoreError(
                f"{self._place} does not answer as it should: check LOGO_S3_ENDPOINT, and that the store runs "
                f"({_reason(error)})"
            ) from None
