"""The dependencies of the routes.

They are coroutines although they wait for nothing: FastAPI would send a plain function to another thread and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from logo_similarity.api.runtime import Runtime
from logo_similarity.storage import ImageStore


@dataclass(frozen=True, slots=True)
class Links:
    """Signs image links for one request."""

    store: ImageStore | None
    base: str
    """What a link of the service itself begins with: scheme and host, without a slash at the end."""

    def sign(self, filenames: Sequence[str]) -> list[str | None]:
        """One absolute, signed, short-lived link for each file; None where there is no store. No network."""
        if self.store is None:
            return [None] * len(filenames)
        return [self.base + link if link.startswith("/") else link for link in self.store.sign(filenames)]


async def get_runtime(request: Request) -> Runtime:
    """The runtime of the application that serves this request."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def get_links(request: Request, runtime: Annotated[Runtime, Depends(get_runtime)]) -> Links:
    """Links that the sender of this request can follow."""
    base = runtime.settings.public_url or str(request.base_url)
    return Links(runtime.store, base.rstrip("/"))


RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
LinksDep = Annotated[Links, Depends(get_links)]
