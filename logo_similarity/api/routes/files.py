"""`GET /v1/files/...`: images from the local image store, by signed link."""

from __future__ import annotations

from fastapi.responses import FileResponse

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.errors import NotFoundError
from logo_similarity.storage.local import LocalStore

router = CheckedRouter()

# An SVG among the images may contain a script; these headers prevent browsers from running it.
HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}


@router.get("/v1/files/{token}/{name}", include_in_schema=False)
def local_file(token: str, name: str, runtime: RuntimeDep) -> FileResponse:  # noqa: ARG001 - part of the path
    """The image that the link was signed for. Only the token selects it; the name is for display."""
    if not isinstance(runtime.store, LocalStore):
        raise NotFoundError("no local image store is configured")
    headers = {**HEADERS, "Cache-Control": f"private, max-age={runtime.settings.link_seconds}"}
    return FileResponse(runtime.store.open_link(token), headers=headers)
