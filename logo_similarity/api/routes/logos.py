"""`GET /v1/logos`, `GET /v1/logos/{logo_id}` and `GET /v1/image/{image_id}`: logos, one logo, and a redirect to its image.

Register ids may contain slashes, so an id is the whole rest of the path. It is only compared with the catalog's ids;
the key in the image store comes from the catalog.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import Query
from fastapi.responses import RedirectResponse

from logo_similarity.api.deps import LinksDep, RuntimeDep
from logo_similarity.api.parameters import FilterDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.runtime import Runtime
from logo_similarity.api.schemas import LogoOut, LogosOut, Metadata, Problem
from logo_similarity.domain import Logo
from logo_similarity.errors import CatalogChangedError, InvalidRequestError, NotFoundError

router = CheckedRouter()


@router.get("/v1/logos", summary="List logos", responses={409: {"model": Problem}})
def logos(
    runtime: RuntimeDep,
    links: LinksDep,
    condition: FilterDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of logos.")] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the previous page.")] = None,
) -> LogosOut:
    """Returns the logos that pass a filter, in the order of the catalog, page by page."""
    engine = runtime.live.current.engine
    page = engine.browse(condition, start=_start(cursor, engine.logos.marks), limit=limit)
    urls = links.sign([entry.filename for entry in page.logos])
    return LogosOut(
        logos=list(map(_logo_out, page.logos, urls)),
        passed=page.passed,
        next=None if page.next_row is None else f"{page.next_row}@{engine.logos.marks[-1]}",
    )


@router.get("/v1/logos/{logo_id:path}", summary="Get a logo")
def logo(logo_id: str, runtime: RuntimeDep, links: LinksDep) -> LogoOut:
    """Returns the register data of one logo, and a signed link to its image."""
    entry = _find(runtime, logo_id)
    return _logo_out(entry, links.sign([entry.filename])[0])


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


def _logo_out(entry: Logo, url: str | None) -> LogoOut:
    return LogoOut(id=entry.logo_id, image_url=url, metadata=Metadata.model_validate_json(entry.metadata_json))


def _start(cursor: str | None, marks: Collection[str]) -> int:
    """The row at which a page starts."""
    if cursor is None:
        return 0
    row, _, mark = cursor.partition("@")
    if not (row.isascii() and row.isdecimal()):
        raise InvalidRequestError("the cursor is not the `next` of an earlier response; send it unchanged")
    if mark not in marks:
        raise CatalogChangedError("the catalog has changed since the first page; start again without a cursor")
    return int(row)


def _find(runtime: Runtime, logo_id: str) -> Logo:
    logo = runtime.live.current.engine.logo(logo_id)
    if logo is None:
        raise NotFoundError("the catalog has no logo with this id")
    return logo
