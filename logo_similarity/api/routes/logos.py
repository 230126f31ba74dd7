"""`GET /v1/logos/{logo_id}` and `GET /v1/image/{image_id}`: one logo, and the way to its picture.

Ids of registers may hold slashes, so each takes the rest of the path. What is in it only ever meets the catalog's ids: the key
in the image store comes from the catalog.
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


@router.get("/v1/logos/{logo_id:path}", summary="One logo of the catalog")
def logo(logo_id: str, runtime: RuntimeDep, links: LinksDep) -> LogoOut:
    """What the register says of it, and a signed link to its picture."""
    found = _find(runtime, logo_id)
    return LogoOut(
        id=found.logo_id,
        image_url=links.sign([found.filename])[0],
        metadata=Metadata.model_validate_json(found.metadata_json),
    )


@router.get(
    "/v1/image/{image_id:path}",
    status_code=307,
    response_class=RedirectResponse,
    summary="Go to a logo's picture by a fresh signed link",
)
def image(image_id: str, runtime: RuntimeDep, links: LinksDep) -> RedirectResponse:
    """Redirects to the image store, so that a client needs no credentials of the store."""
    link = links.sign([_find(runtime, image_id).filename])[0]
    if link is None:
        raise NotFoundError("this service has no image store: it knows the logo and has no picture of it")
    return RedirectResponse(link, 307, {"Cache-Control": "no-store"})


def _find(runtime: Runtime, logo_id: str) -> Logo:
    logo = runtime.live.current.engine.logo(logo_id)
    if logo is None:
        raise NotFoundError("the catalog has no logo with this id")
    return logo
