"""The connection to a Milvus server, and the errors of its client in terms of this project."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from logo_similarity.errors import CatalogError, ConfigError, IndexUnavailableError

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from logo_similarity.config import Settings

IndexKind = Literal["hnsw", "hnsw-sq8", "ivf-sq8", "diskann"]

RETRY_AFTER = 5
_MISSING = 100
"""Milvus' code of a collection that does not exist."""


@dataclass(frozen=True, slots=True)
class IndexServer:
    """Where the vectors of a catalog are, and how the server is asked."""

    url: str
    token: str = field(default="", repr=False)
    database: str = ""
    ca: Path | None = None
    seconds: float = 10.0
    """Time limit of a request."""
    kind: IndexKind = "hnsw"
    """Of the indexes of new collections."""
    shards: int = 1
    """Of new collections."""
    replicas: int = 1
    """Copies of a collection in the memory of the server's nodes."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The server in the settings; None: there is none."""
        if settings.index_url is None:
            return None
        return cls(settings.index_url)

    def version(self) -> str:
        """The version of the server's software. Raises as `connected`."""
        with self.connected() as client:
            return str(client.get_server_version(timeout=self.seconds))

    @contextmanager
    def connected(self) -> Iterator[MilvusClient]:
        """The client, which all threads share.

        Raises:
            IndexUnavailableError: the server does not answer in time, or does not have the collection loaded.
            CatalogError: the server does not have the collection.
        """
        from pymilvus.exceptions import MilvusException

        try:
            yield _client(self)
        except MilvusException as error:
            if error.code == _MISSING:
                raise CatalogError(f"{self.url}: {error.message}") from None
            raise IndexUnavailableError(f"{self.url}: {error.message}", retry_after=RETRY_AFTER) from None


@functools.lru_cache(maxsize=8)
def _client(server: IndexServer) -> MilvusClient:
    try:
        from pymilvus import MilvusClient
    except ModuleNotFoundError:
        raise ConfigError("pymilvus is not installed; run `pip install logo-similarity[milvus]`") from None
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return MilvusClient(uri=server.url, token=server.token, db_name=server.database, timeout=server.seconds)
