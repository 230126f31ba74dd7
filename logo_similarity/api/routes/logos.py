"""`GET /v1/logos/{logo_id}` and `GET /v1/image/{image_id}`: one logo, and the way to its picture."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from logo_similarity.api.deps import LinksDep, Runtime, RuntimeDep
from logo_similarity.api.schemas import LogoOut, Metadata
from logo_similarity.domain import Logo
from logo_similarity.errors import NotFoundError


def logos_router(responses: dict[int | str, dict[str, Any]]) -> APIRouter:
    """The two routes. Ids of registers may hold slashes, so they take the rest of the path."""
    router = APIRouter(responses=responses)

    @router.get("/logos/{logo_id:path}", summary="One logo of the catalog")
    def logo(logo_id: str, runtime: RuntimeDep, links: LinksDep) -> LogoOut:
        found = _find(runtime, logo_id)
        return LogoOut(
            id=found.record.logo_id,
            image_url=links.sign([found.record.filename])[0],
            metadata=Metadata.model_validate(found.record),
        )

    @router.get(
        "/image/{image_id:path}",
        status_code=307,
        response_class=RedirectResponse,
        summary="Go to a logo's picture by a fresh signed link",
    )
    def image(image_id: str, runtime: RuntimeDep, links: LinksDep) -> RedirectResponse:
        # The key in the store comes from the catalog, never from the request.
        link = links.sign([_find(runtime, image_id).record.filename])[0]
        if link is None:
            raise NotFoundError("this service has no image store: it knows the logo and has no picture of it")
        return RedirectResponse(link, 307, {"Cache-Control": "no-store"})

    return router


def _find(runtime: Runtime, logo_id: str) -> Logo:
    logo = runtime.engine.logo(logo_id)
    if logo is None:
        raise NotFoundError("the catalog has no logo with this id")
    return logo
