"""Objects under a prefix of a bucket: published catalogs and their live changes, and API keys shared by replicas."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import NotModifiedError

from logo_similarity.errors import ConfigError, NotFoundError, StoreError
from logo_similarity.storage.errors import store_errors
from logo_similarity.storage.s3 import open_bucket, s3_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from obstore import GetResult

    from logo_similarity.config import Settings

_REQUEST = timedelta(seconds=120)
"""Time limit of a request, which transfers one piece of a file."""
_PIECE = 8 << 20
MOST_BYTES = 16_000_000
"""Maximum size of an object that is read into memory, unless the caller sets another limit."""


class StoredObject(NamedTuple):
    """What a bucket says about an object without reading it."""

    size: int
    """In bytes."""
    modified: datetime
    """When it was written last, by the clock of the bucket."""


class ObjectFolder:
    """The objects under `s3://bucket/prefix`, with the endpoint and credentials in `LOGO_S3_*`.

    Every method raises StoreError if the bucket does not respond or refuses the request.
    """

    def __init__(self, url: str, settings: Settings, *, seconds: float | None = None) -> None:
        """Prepare access; makes no connection.

        Args:
            url: "s3://bucket/prefix".
            settings: endpoint, region and credentials.
            seconds: time limit of a request, without retries, for callers that repeat it anyway. None: two minutes
                per piece, with retries.

        Raises:
            ConfigError: the URL has another form.
        """
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or not prefix or parts.query or parts.fragment:
            raise ConfigError(f"{url}: not a valid bucket prefix; use the form s3://bucket/prefix")
        self.url = f"s3://{parts.netloc}/{prefix}"
        endpoint = s3_endpoint(settings)
        self._endpoint = endpoint or "AWS"
        self._store = open_bucket(
            settings,
            parts.netloc,
            prefix,
            endpoint=endpoint,
            timeout=_REQUEST if seconds is None else timedelta(seconds=seconds),
            retries=None if seconds is None else {"max_retries": 0},
        )

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None if it does not exist."""
        try:
            with self._errors(key):
                return int(obstore.head(self._store, key)["size"])
        except NotFoundError:
            return None

    def read(self, key: str, most: int = MOST_BYTES) -> bytes:
        """The content of a small object.

        Raises:
            NotFoundError: it does not exist.
            StoreError: it is larger than `most` bytes.
        """
        with self._errors(key):
            return self._content(key, obstore.get(self._store, key), most)

    def read_tagged(self, key: str, known: str | None, most: int = MOST_BYTES) -> tuple[bytes | None, str | None]:
        """The content of a small object and its entity tag. The content is None if the tag equals `known`.

        Raises as `read` does.
        """
        with self._errors(key):
            try:
                result = obstore.get(self._store, key, options={} if known is None else {"if_none_match": known})
            except NotModifiedError:
                return None, known
            return self._content(key, result, most), result.meta["e_tag"]

    def _content(self, key: str, result: GetResult, most: int) -> bytes:
        """The bytes of an object. Reading stops at the piece that exceeds `most`."""
        content = bytearray()
        if result.meta["size"] <= most:
            for piece in result:
                content += piece
                if len(content) > most:
                    break
            else:
                return bytes(content)
        raise StoreError(f"{self.url}/{key}: larger than {most:,} bytes; it was not written by this software")

    def pieces(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """The bytes of an object of `size` bytes from `start` on, in pieces of 8 MiB."""
        while start < size:
            with self._errors(key):
                piece = bytes(obstore.get_range(self._store, key, start=start, length=min(_PIECE, size - start)))
            yield piece
            start += len(piece)

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a small object."""
        with self._errors(key):
            obstore.put(self._store, key, data)

    def write_over(self, key: str, data: bytes, known: str | None) -> None:
        """Replace a small object if its entity tag is `known`. If `known` is None, create it.

        Raises:
            StoreError: it was modified concurrently; nothing was written.
        """
        with self._errors(key):
            obstore.put(self._store, key, data, mode="create" if known is None else {"e_tag": known})

    def list_folder(self, folder: str) -> dict[str, StoredObject]:
        """The objects whose keys begin with `folder` and a slash, by their keys."""
        with self._errors(folder):
            pages = obstore.list(self._store, folder, chunk_size=1000)
            return {
                entry["path"]: StoredObject(entry["size"], entry["last_modified"]) for page in pages for entry in page
            }

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. Those that do not exist are no error."""
        if keys:
            with self._errors(keys[0]):
                obstore.delete(self._store, keys)

    def write_file(self, key: str, path: Path) -> None:
        """Upload a file, in parts if it is large. The object appears once it is complete."""
        with self._errors(key):
            obstore.put(self._store, key, path)

    def _errors(self, key: str) -> AbstractContextManager[None]:
        return store_errors(f"{self.url}/{key} at {self._endpoint}")
