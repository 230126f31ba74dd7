"""Dependencies of the routes.

They are coroutines although they await nothing: FastAPI would run plain functions in a thread pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from logo_similarity.api.auth import CALLER
from logo_similarity.api.runtime import Runtime
from logo_similarity.keys.document import Key
from logo_similarity.storage import ImageStore


@dataclass(frozen=True, slots=True)
class Links:
    """Signs image links for one request."""

    store: ImageStore | None
    base: str
    """Scheme and host of links to this service, without a trailing slash."""

    def sign(self, filenames: Sequence[str]) -> list[str | None]:
        """One absolute, signed, short-lived link per file; all None without an image store. Uses no network."""
        if self.store is None:
            return [None] * len(filenames)
        return [self.base + link if link.startswith("/") else link for link in self.store.sign(filenames)]


async def get_runtime(request: Request) -> Runtime:
    """The runtime of the application that serves this request."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def get_links(request: Request, runtime: Annotated[Runtime, Depends(get_runtime)]) -> Links:
    """Links with a host that the client can reach."""
    base = runtime.settings.public_url or str(request.base_url)
    return Links(runtime.store, base.rstrip("/"))


async def get_caller(request: Request) -> Key | None:
    """The API key of this request; None: the service has no keys."""
    caller: Key | None = request.scope.get(CALLER)
    return caller


CallerDep = Annotated[Key | None, Depends(get_caller)]
RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
LinksDep = Annotated[Links, Depends(get_links)]
