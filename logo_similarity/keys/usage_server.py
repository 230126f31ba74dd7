"""The Redis or Valkey server on which all replicas count the requests of keys together. Needs the extra `redis`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from limits.storage import RedisStorage
from pydantic import SecretStr

from logo_similarity.errors import ConfigError
from logo_similarity.keys.document import Key
from logo_similarity.keys.usage import Usage

SECONDS = 0.25
"""Time limit for a connection, and for each answer. Options of the URL replace it."""
PREFIX = "logo-similarity"
"""Prefix of the counters, so that other programs can use the same database."""


class UsageServer:
    """How to connect to a server."""

    def __init__(self, url: SecretStr) -> None:
        """Makes no connection.

        Raises:
            ConfigError: the extra `redis` is not installed, or an option of the URL is not valid.
        """
        try:
            from redis import ConnectionPool, RedisError
            from redis.backoff import NoBackoff
            from redis.exceptions import ConnectionError as BrokenConnectionError
            from redis.retry import Retry
        except ImportError:
            raise ConfigError(
                "LOGO_USAGE_URL: counting on a server needs the extra `redis`; run "
                "pip install '.[redis]' in the source folder, or unset LOGO_USAGE_URL"
            ) from None
        address = re.sub("^valkey(s?)", r"redis\1", url.get_secret_value())  # the client speaks to both
        self.name = urlsplit(address).netloc.rpartition("@")[2]
        """Host and port, without the password."""
        try:
            pool = ConnectionPool.from_url(
                address,
                protocol=2,  # every server and proxy understands it
                # A closed connection is opened again, but a count that was not answered in time is not repeated.
                retry=Retry(NoBackoff(), 1, supported_errors=(BrokenConnectionError,)),
                socket_timeout=SECONDS,
                socket_connect_timeout=SECONDS,
            )
            pool.make_connection()  # connects when it is used
        except TypeError:
            raise ConfigError(
                "LOGO_USAGE_URL: an option of the address is not valid: redis-py does not know it; see its documentation"
            ) from None
        except (RedisError, ValueError) as error:
            raise ConfigError(f"LOGO_USAGE_URL: an option of the address is not valid: {error}") from None
        self._storage = RedisStorage(address, connection_pool=pool, key_prefix=PREFIX)
        self._usage = Usage(self._storage, pool.disconnect)

    def open(self) -> Usage:
        """Connect to the server.

        Raises:
            ConfigError: it does not respond, or does not let this client count.
        """
        try:
            self._storage.incr("connected", 1)  # reading would succeed on a server that is full or read-only
        except self._usage.failures as error:
            raise self._failure(error) from None
        return self._usage

    def today(self, keys: Iterable[Key]) -> dict[str, int]:
        """Number of admitted requests of each key since 00:00 UTC, by the id of the key.

        Raises:
            ConfigError: the server does not respond, or refuses this client.
        """
        try:
            return {key.id: self._usage.today(key) for key in keys}
        except self._usage.failures as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> ConfigError:
        return ConfigError(f"LOGO_USAGE_URL: {self.name} cannot be used: {error}")
