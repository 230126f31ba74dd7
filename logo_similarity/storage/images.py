"""The images of a source in a bucket, read where they are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore

from logo_similarity.errors import BadImageError, ConfigError, NotFoundError
from logo_similarity.image.folder import FileState, FolderEntry, check_size
from logo_similarity.storage.errors import store_errors
from logo_similarity.storage.s3 import is_key, open_bucket, s3_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from obstore import ObjectMeta
    from obstore.store import RetryConfig

    from logo_similarity.config import Settings
    from logo_similarity.image.zips import ZipImages

_REQUEST = timedelta(seconds=30)
_PAGE = 1_000
# A build of hours should outlive the restart of a gateway.
_RETRIES: RetryConfig = {"max_retries": 8, "retry_timeout": timedelta(minutes=2)}


class BucketImages:
    """The objects under `s3://bucket/prefix`, with the endpoint and credentials in `LOGO_S3_*`: see `ImageFiles`.

    ZIP files in the bucket are not opened. Every method that connects raises StoreError if the bucket does not respond or
    refuses the request. Can be pickled, with the credentials.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        """Prepare access; makes no connection.

        Raises:
            ConfigError: the URL has another form, or a setting is invalid.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise ConfigError(f"{url}: not a location in a bucket; use the form s3://bucket/prefix")
        self._settings = settings.for_s3()
        self._folder = parts.path.strip("/")
        self._url = f"s3://{parts.netloc}/{self._folder}".rstrip("/")
        endpoint = s3_endpoint(settings)
        self._endpoint = endpoint or "AWS"
        self._store = open_bucket(
            settings, parts.netloc, self._folder, endpoint=endpoint, timeout=_REQUEST, retries=_RETRIES
        )

    def __reduce__(self) -> tuple[type[BucketImages], tuple[str, Settings]]:
        return BucketImages, (self._url, self._settings)

    def __str__(self) -> str:
        return self._url

    def folder_name(self) -> str:
        """See `ImageFiles.folder_name`."""
        return self._url.rpartition("/")[2]

    def exists(self) -> bool:
        """Whether there is an object under the prefix."""
        return next(self._objects(chunk=1), None) is not None

    def states(self) -> Iterator[FileState]:
        """See `ImageFiles.states`: the objects, in the order of the bucket's list."""
        for entry in self._objects():
            yield FileState(entry["path"], entry["size"], round(entry["last_modified"].timestamp() * 1e9))

    def archives(self) -> tuple[ZipImages, ...]:
        """None: ZIP files in a bucket are not opened."""
        return ()

    def roots(self) -> tuple[str, ...]:
        """None."""
        return ()

    def entries(self) -> Iterator[FolderEntry]:
        """The objects, in the order of the bucket's list."""
        for entry in self._objects():
            name = entry["path"]
            yield FolderEntry(name, _problem(name))

    def size(self, name: str) -> int | None:
        """See `ImageFiles.size`."""
        try:
            with self._errors(name):
                return int(obstore.head(self._store, name)["size"])
        except NotFoundError:
            return None

    def start(self, name: str, size: int) -> bytes:
        """See `ImageFiles.start`."""
        length = min(size, self.size(name) or 0)
        if not length:
            return b""
        with self._errors(name):
            return bytes(obstore.get_range(self._store, name, start=0, length=length))

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `ImageFiles.read`."""
        try:
            with self._errors(name):
                result = obstore.get(self._store, name)
                check_size(result.meta["size"], max_bytes)
                return bytes(result.bytes())
        except NotFoundError as error:
            raise BadImageError(f"the file cannot be read: {error}") from None

    def _objects(self, chunk: int = _PAGE) -> Iterator[ObjectMeta]:
        """All objects that are not the markers of folders, fetched page by page."""
        with self._errors(""):
            for page in obstore.list(self._store, chunk_size=chunk):
                yield from (entry for entry in page if entry["size"] or not entry["path"].endswith("/"))

    def _errors(self, name: str) -> AbstractContextManager[None]:
        return store_errors(f"{self._url}/{name} at {self._endpoint}")


def _problem(name: str) -> str | None:
    """Why an object is not read: as in a folder, `image.folder.walk_folder`."""
    if any(part.startswith(".") for part in name.split("/")):
        return "hidden files and folders are not read"
    return None if is_key(name) else "its key cannot be the name of a file"
