"""A client of a running service, with the interface of `SearchEngine`. Needs the extra `client`.

>>> from logo_similarity.client import Client
>>> from logo_similarity import Query
>>> with Client("https://logos.example", api_key="lsk_...") as client:
...     answer = client.search(Query(image=Path("logo.png").read_bytes(), top_k=10))
"""

from __future__ import annotations

from logo_similarity.client.answers import (
    NO_ROW,
    AddedWatch,
    AlertPage,
    ChangedLogo,
    ServiceAlert,
    ServiceAnswer,
    ServiceCatalog,
    ServiceLogo,
    ServicePage,
    WatchPage,
)
from logo_similarity.errors import ConfigError

try:
    from logo_similarity.client.clients import TIMEOUT_SECONDS, AsyncClient, Client
except ModuleNotFoundError as error:
    if error.name not in ("httpx2", "tenacity"):
        raise
    raise ConfigError(
        "the client needs httpx2 and tenacity: run pip install '.[client]' in the source folder"
    ) from None

__all__ = [
    "NO_ROW",
    "TIMEOUT_SECONDS",
    "AddedWatch",
    "AlertPage",
    "AsyncClient",
    "ChangedLogo",
    "Client",
    "ServiceAlert",
    "ServiceAnswer",
    "ServiceCatalog",
    "ServiceLogo",
    "ServicePage",
    "WatchPage",
]
