"""`GET /v1/files/...`: pictures of the local image store, behind its own signed links."""

from __future__ import annotations

from fastapi.responses import FileResponse

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.errors import NotFoundError
from logo_similarity.storage.local import LocalStore

router = CheckedRouter()

# A picture is shown, never run: an SVG among the images could carry a script.
HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}


@router.get("/v1/files/{token}/{name}", include_in_schema=False)
def local_file(token: str, name: str, runtime: RuntimeDep) -> FileResponse:  # noqa: ARG001 - part of the path
    """The picture that the link was signed for; the name is there for the reader of the link, the token decides."""
    if not isinstance(runtime.store, LocalStore):
        raise NotFoundError("this service has no local image store")
    headers = {**HEADERS, "Cache-Control": f"private, max-age={runtime.settings.link_seconds}"}
    return FileResponse(runtime.store.open_link(token), headers=headers)
