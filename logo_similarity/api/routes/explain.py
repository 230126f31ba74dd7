"""`POST /v1/explain`."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import File, Query, Request, Response, UploadFile

from logo_similarity.api.admission import run_while_connected
from logo_similarity.api.deps import LinksDep, RuntimeDep
from logo_similarity.api.paths import EXPLAIN_PATH
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import ExplanationOut, hit_json
from logo_similarity.domain import Explanation
from logo_similarity.domain import Query as ImageQuery
from logo_similarity.image.formats import ACCEPTED

router = CheckedRouter()


@router.post(
    EXPLAIN_PATH,
    response_model=ExplanationOut,
    summary="Explain why a logo resembles an image",
    form_limits={"max_files": 1, "max_fields": 8, "max_part_size": 1024},
)
async def explain(
    request: Request,
    runtime: RuntimeDep,
    links: LinksDep,
    logo_id: Annotated[str, Query(max_length=500, description="The logo's public id, as a search returns it.")],
    file: Annotated[UploadFile, File(description=f"The image of the search. {ACCEPTED}.")],
) -> Response:
    """Returns the hit that a search would return for this logo, and the regions and cells of the two images that match.

    The logo need not be among the results of a search.
    """
    engine = runtime.live.current.engine

    def job() -> tuple[Explanation, str | None]:
        explanation = engine.explain(ImageQuery(image=file.file.read()), logo_id)
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
