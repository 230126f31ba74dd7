"""The image store in an S3 bucket: AWS, MinIO, SeaweedFS or any other S3-compatible server."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from logo_similarity.errors import ConfigError, NotFoundError, StoreError
from logo_similarity.image.formats import recognise
from logo_similarity.storage.errors import store_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractContextManager

    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

    from logo_similarity.config import Settings

LONGEST_LINK = 7 * 24 * 3600
"""Maximum lifetime of a signed S3 URL in seconds, from AWS Signature Version 4."""

_CONNECT = timedelta(seconds=2)
_REQUEST = timedelta(seconds=10)
_RETRIES: RetryConfig = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}

_NAME_PART = r"(?!\.\.?(?:/|\Z))[^/\x00-\x1f\x7f\ud800-\udfff]+"
_FILENAME = re.compile(f"{_NAME_PART}(?:/{_NAME_PART})*")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object in the bucket: its filename (the key without the prefix) and its size in bytes."""

    filename: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The bytes and content type of an object."""

    data: bytes
    content_type: str | None


class S3Service:
    """Images in a bucket; the key of each is `LOGO_S3_PREFIX` + "/" + filename.

    Requests go to `LOGO_S3_ENDPOINT`. Links are signed for `LOGO_S3_PUBLIC_ENDPOINT`: the signature covers the host,
    so the host cannot be rewritten afterwards. Without keys in the settings, the credentials come from `AWS_*`
    environment variables, a web identity, or the machine's role.

    Requests run in threads of ours. The asynchronous functions of obstore complete in threads of its own, which abort
    the process (SIGABRT) if the interpreter ends at that moment.

    Every method raises StoreError if the bucket does not respond or refuses the request.

    Raises:
        ConfigError: a setting is invalid.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.s3_bucket is None:
            raise ConfigError("LOGO_S3_BUCKET is not set")
        if settings.link_seconds > LONGEST_LINK:
            raise ConfigError(f"LOGO_LINK_SECONDS: S3 allows at most {LONGEST_LINK} (7 days)")
        endpoint = s3_endpoint(settings)
        public = _endpoint("LOGO_S3_PUBLIC_ENDPOINT", settings.s3_public_endpoint) or endpoint
        bucket = partial(open_bucket, settings, settings.s3_bucket, settings.s3_prefix, timeout=_REQUEST)
        self._store = bucket(endpoint=endpoint)
        self._signer = self._store if public == endpoint else bucket(endpoint=public)
        self._link_life = timedelta(seconds=settings.link_seconds)
        self._place = f"bucket {settings.s3_bucket!r} at {endpoint or 'AWS'}"

    def sign(self, filenames: Sequence[str]) -> list[str]:
        """One presigned GET URL per filename, in order. Uses no network unless credentials must be fetched.

        Raises:
            StoreError: a filename is not a valid key, or no credentials are available.
        """
        keys = [_key(filename) for filename in filenames]
        with self._errors():
            return list(obstore.sign(self._signer, "GET", keys, self._link_life))

    async def check(self) -> None:
        """Test reading an object and listing the bucket. Raises StoreError with the reason and a remedy."""
        with suppress(NotFoundError):
            await self.head("logo-similarity-check")
        try:
            await asyncio.to_thread(next, iter(obstore.list(self._store, chunk_size=1)), None)
        except BaseError as error:
            raise StoreError(
                f"{self._place} cannot be listed: create the bucket, or allow these credentials to list it"
            ) from error

    async def put(self, filename: str, data: bytes, *, content_type: str) -> None:
        """Create or replace an object."""
        await asyncio.to_thread(self._put, filename, data, content_type)

    def write(self, filename: str, data: bytes) -> None:
        """See `ImageStore.write`. Raises BadImageError if the file is not an image in an accepted format."""
        self._put(filename, data, recognise(data).media_type)

    def _put(self, filename: str, data: bytes, content_type: str) -> None:
        key = _key(filename)
        with self._errors():
            obstore.put(self._store, key, data, attributes={"Content-Type": content_type})

    async def get(self, filename: str) -> StoredObject:
        """Read an object. Raises NotFoundError if it does not exist."""
        key = _key(filename)
        with self._errors():
            result = await asyncio.to_thread(obstore.get, self._store, key)
            data = await asyncio.to_thread(result.bytes)
            return StoredObject(bytes(data), result.attributes.get("Content-Type"))

    def read(self, filename: str, max_bytes: int) -> bytes:
        """See `ImageStore.read`."""
        key = _key(filename)
        with self._errors():
            result = obstore.get(self._store, key)
            if result.meta["size"] > max_bytes:
                raise NotFoundError(f"The image has more than {max_bytes:,} bytes.")
            return bytes(result.bytes())

    async def head(self, filename: str) -> ObjectInfo:
        """Describe an object. Raises NotFoundError if it does not exist."""
        key = _key(filename)
        with self._errors():
            meta = await asyncio.to_thread(obstore.head, self._store, key)
            return ObjectInfo(filename, meta["size"])

    async def list_objects(self) -> AsyncIterator[ObjectInfo]:
        """All objects under the prefix, fetched page by page."""
        with self._errors():
            pages = iter(obstore.list(self._store, chunk_size=1000))
            while (page := await asyncio.to_thread(next, pages, None)) is not None:
                for meta in page:
                    yield ObjectInfo(meta["path"], meta["size"])

    def _errors(self) -> AbstractContextManager[None]:
        return store_errors(self._place, missing="The image is not in the store.")


def s3_endpoint(settings: Settings) -> str | None:
    """The endpoint to connect to; None: AWS."""
    return _endpoint("LOGO_S3_ENDPOINT", settings.s3_endpoint)


def _endpoint(name: str, url: str | None) -> str | None:
    """The URL in a setting. Raises ConfigError with the setting's name if it is invalid."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{name} is not a URL such as https://s3.example.org or http://127.0.0.1:9000")
    return url


def open_bucket(
    settings: Settings,
    bucket: str,
    prefix: str,
    *,
    endpoint: str | None,
    timeout: timedelta,
    retries: RetryConfig | None = None,
) -> S3Store:
    """A bucket prefix, with the region and credentials in the settings. Makes no connection.

    Args:
        settings: region and credentials.
        bucket: name of the bucket.
        prefix: prepended to every key.
        endpoint: URL of the server; None: AWS.
        timeout: time limit of a request.
        retries: None: two retries within ten seconds.
    """
    config: S3Config = {}
    client: ClientConfig = {"connect_timeout": _CONNECT, "timeout": timeout}
    if settings.s3_region is not None:
        config["region"] = settings.s3_region
    if endpoint is not None:
        # Both names are set: obstore prefers AWS_ENDPOINT_URL_S3 from the environment to `endpoint`.
        config["endpoint"] = config["aws_endpoint_url_s3"] = endpoint
        config["virtual_hosted_style_request"] = False
        client["allow_http"] = endpoint.startswith("http://")
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,
        client_options=client,
        retry_config=_RETRIES if retries is None else retries,
        credential_provider=_given_credentials(settings),
    )


class _GivenCredentials:
    """Keys from the settings. As plain options, obstore would combine them with AWS_SESSION_TOKEN if it is set."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._credential: S3Credential = {
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "token": None,
            "expires_at": None,
        }

    def __call__(self) -> S3Credential:
        return self._credential


def _given_credentials(settings: Settings) -> _GivenCredentials | None:
    if settings.s3_access_key is None or settings.s3_secret_key is None:
        return None
    return _GivenCredentials(settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value())


def is_key(filename: str) -> bool:
    """Whether a filename can be the key of an image."""
    return _FILENAME.fullmatch(filename) is not None


def _key(filename: str) -> str:
    # obstore raises a bare TypeError for these, and would sign the whole bucket for an empty name.
    if not is_key(filename):
        raise StoreError(f"the filename {filename!r} is not a valid key in the image store")
    return filename
