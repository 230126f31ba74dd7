"""`GET` and `POST /v1/explain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import orjson
from fastapi import File, Query, Request, Response, UploadFile

from logo_similarity.api.admission import run_while_connected
from logo_similarity.api.deps import Links, LinksDep, RuntimeDep
from logo_similarity.api.parameters import PictureParametersDep
from logo_similarity.api.paths import EXPLAIN_PATH
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.runtime import Runtime
from logo_similarity.api.schemas import ExplanationOut, hit_json
from logo_similarity.domain import Explanation
from logo_similarity.domain import Query as ImageQuery
from logo_similarity.image.formats import ACCEPTED_QUERIES

router = CheckedRouter()

HitId = Annotated[
    str, Query(max_length=500, description="The public id of the logo that is compared, as a search returns it.")
]


@router.get(EXPLAIN_PATH, response_model=ExplanationOut, summary="Explain why two logos resemble each other")
async def explain_logo(
    request: Request,
    runtime: RuntimeDep,
    links: LinksDep,
    hit_id: HitId,
    logo_id: Annotated[
        str, Query(min_length=1, max_length=500, description="The public id of the logo of the search.")
    ],
) -> Response:
    """Returns the same as for the image of the logo `logo_id`."""
    return await _explain(request, runtime, links, lambda: ImageQuery(logo_id=logo_id), hit_id)


@router.post(
    EXPLAIN_PATH,
    response_model=ExplanationOut,
    summary="Explain why a logo resembles an image",
    form_limits={"max_files": 1, "max_fields": 8, "max_part_size": 1024},
)
async def explain_image(
    request: Request,
    runtime: RuntimeDep,
    links: LinksDep,
    hit_id: HitId,
    parameters: PictureParametersDep,
    file: Annotated[UploadFile, File(description=f"The image of the search. {ACCEPTED_QUERIES}.")],
) -> Response:
    """Returns the hit that a search would return for this logo, and the regions and cells of the two images that match.

    The logo need not be among the results of a search.
    """
    return await _explain(request, runtime, links, lambda: ImageQuery(image=file.file.read(), **parameters), hit_id)


async def _explain(
    request: Request, runtime: Runtime, links: Links, query: Callable[[], ImageQuery], hit_id: str
) -> Response:
    engine = runtime.live.current.engine

    def job() -> tuple[Explanation, str | None]:
        explanation = engine.explain(query(), hit_id)
        return explanation, links.sign([explanation.hit.logo.filename])[0]

    outcome = await run_while_connected(request, runtime.gate, job)
    if outcome is None:
        return Response(status_code=499)
    explanation, url = outcome
    content = {
        "hit": hit_json(explanation.hit, url),
        "regions": [match._asdict() for match in explanation.regions],
        "cells": [match._asdict() for match in explanation.cells],
    }
    return Response(orjson.dumps(content), media_type="application/json", headers={"Cache-Control": "no-store"})
