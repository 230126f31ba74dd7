"""The connection to a Milvus server, and the errors of its client in terms of this project."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from logo_similarity.config import IndexKind, Settings
from logo_similarity.errors import CatalogError, ConfigError, IndexUnavailableError, LogoSimilarityError

if TYPE_CHECKING:
    from logo_similarity.milvus.client import MilvusClient

RETRY_AFTER = 5
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
"""The names of gRPC's codes for a wrong token."""
_NO_CONNECTION = 2
_NO_COLLECTION, _NO_DATABASE = 100, 800
"""Codes of Milvus."""
_NO_NODES = "nodes not enough"
"""In its message, whose code is that of many errors."""


@dataclass(frozen=True, slots=True)
class IndexServer:
    """Where the vectors of a catalog are, and how the server is asked."""

    url: str
    token: str = field(default="", repr=False)
    database: str = "default"
    ca: Path | None = None
    """File of the certificates that the server's is verified with; None: those of gRPC."""
    seconds: float = 5.0
    """Time limit of a request and its repetitions."""
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
        return cls(
            url=settings.index_url,
            token="" if settings.index_token is None else settings.index_token.get_secret_value(),
            database=settings.index_database,
            ca=settings.index_ca,
            seconds=settings.index_seconds,
            kind=settings.index_kind,
            shards=settings.index_shards,
            replicas=settings.index_replicas,
        )

    def version(self) -> str:
        """The version of the server's software. Raises as `connected`."""
        with self.connected() as client:
            return str(client.get_server_version(timeout=self.seconds))

    @contextmanager
    def connected(self) -> Iterator[MilvusClient]:
        """The client, which all threads share. Its calls need a `timeout`: without one, they repeat a request for minutes.

        Raises:
            IndexUnavailableError: the server does not answer in time, or does not have the collection loaded.
            CatalogError: the server does not have the collection.
            ConfigError: pymilvus is not installed, or the server refuses the token or does not have the database.
        """
        try:
            from grpc import RpcError

            from logo_similarity.milvus.client import MilvusException
        except ModuleNotFoundError:
            raise ConfigError(
                "LOGO_INDEX_URL is set, but pymilvus is not installed: run pip install '.[milvus]' in the source folder"
            ) from None
        try:
            yield _client(self, os.getpid())
        except (MilvusException, RpcError) as error:
            raise _translated(self, error) from error


def needed_server(settings: Settings) -> IndexServer:
    """The server in the settings. Raises ConfigError if there is none."""
    return required(IndexServer.of(settings))


def required(server: IndexServer | None) -> IndexServer:
    """The server of a version whose vectors are in collections. Raises ConfigError if there is none."""
    if server is None:
        raise ConfigError("the vectors of this catalog are on a Milvus server; set LOGO_INDEX_URL to its address")
    return server


@functools.lru_cache(maxsize=8)
def _client(server: IndexServer, _process: int) -> MilvusClient:
    """The client of a process. A connection must not be used after a fork."""
    from logo_similarity.milvus.client import MilvusClient

    # It logs each error with its traceback, also those of requests that it repeats.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    try:
        tls = {} if server.ca is None else {"server_pem_path": str(server.ca.resolve(strict=True))}
    except OSError as error:
        raise ConfigError(f"LOGO_INDEX_CA: {server.ca}: {error.strerror}") from None
    return MilvusClient(
        server.url, token=server.token, db_name=server.database, timeout=server.seconds, dedicated=True, **tls
    )


def _translated(server: IndexServer, error: Exception) -> LogoSimilarityError:
    """The error of this project for one of pymilvus or of gRPC, which may be the cause of pymilvus' own."""
    code = getattr(error, "code", None)
    text = " ".join(str(getattr(error, "message", "") or error).split())
    if _grpc_code(error) in _REFUSED:
        fault = "refuses LOGO_INDEX_TOKEN; set it" if server.token else "demands a token; set LOGO_INDEX_TOKEN"
        return ConfigError(f"{server.url}: the Milvus server {fault} to `user:password`")
    if code == _NO_DATABASE:
        return ConfigError(
            f"{server.url}: the Milvus server has no database {server.database!r}; see LOGO_INDEX_DATABASE"
        )
    if code == _NO_COLLECTION:
        return CatalogError(
            f"{server.url}: the Milvus server lacks a collection of this catalog version; build it again: {text}"
        )
    if _NO_NODES in text:
        return ConfigError(
            f"{server.url}: the Milvus server has fewer query nodes than LOGO_INDEX_REPLICAS ({server.replicas}); lower it"
        )
    if code == _NO_CONNECTION:
        others = (
            " or its certificate is not valid; check LOGO_INDEX_CA," if server.url.startswith("https:") else "; check"
        )
        text = f"no connection within {server.seconds:g} s{others} LOGO_INDEX_URL, and that it runs"
    if _grpc_code(error) == "DEADLINE_EXCEEDED":
        text = f"did not answer within {server.seconds:g} s"
    return IndexUnavailableError(f"{server.url}: the Milvus server is unavailable: {text}", retry_after=RETRY_AFTER)


def _grpc_code(error: BaseException) -> str:
    """The name of gRPC's code of an error or of its causes; empty: there is none."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:  # pymilvus makes errors their own causes
        if callable(code := getattr(cause, "code", None)):
            return str(code().name)
        causes.append(cause)
        cause = cause.__cause__
    return ""
