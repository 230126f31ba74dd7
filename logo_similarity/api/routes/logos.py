"""`GET /v1/logos/{logo_id}` and `GET /v1/image/{image_id}`: one logo, and a redirect to its image.

Register ids may contain slashes, so an id is the whole rest of the path. It is only compared with the catalog's ids;
the key in the image store comes from the catalog.
"""

from __future__ import annotations

from fastapi.responses import RedirectResponse

from logo_similarity.api.deps import LinksDep, RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.runtime import Runtime
from logo_similarity.api.schemas import LogoOut, Metadata
from logo_similarity.domain import Logo
from logo_similarity.errors import NotFoundError

router = CheckedRouter()


@router.get("/v1/logos/{logo_id:path}", summary="Get a logo")
def logo(logo_id: str, runtime: RuntimeDep, links: LinksDep) -> LogoOut:
    """Returns the register data of one logo, and a signed link to its image."""
    entry = _find(runtime, logo_id)
    return LogoOut(
        id=entry.logo_id,
        image_url=links.sign([entry.filename])[0],
        metadata=Metadata.model_validate_json(entry.metadata_json),
    )


@router.get(
    "/v1/image/{image_id:path}",
    status_code=307,
    response_class=RedirectResponse,
    summary="Redirect to a logo's image",
)
def image(image_id: str, runtime: RuntimeDep, links: LinksDep) -> RedirectResponse:
    """Redirects to a new signed link, so clients need no credentials for the image store."""
    link = links.sign([_find(runtime, image_id).filename])[0]
    if link is None:
        raise NotFoundError("no image store is configured; the logo exists but its image is not available")
    return RedirectResponse(link, 307, {"Cache-Control": "no-store"})


def _find(runtime: Runtime, logo_id: str) -> Logo:
    logo = runtime.live.current.engine.logo(logo_id)
    if logo is None:
        raise NotFoundError("the catalog has no logo with this id")
    return logo
