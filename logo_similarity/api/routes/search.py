"""`POST /v1/search`."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, File, Request, Response, UploadFile

from logo_similarity.api.admission import run_while_connected
from logo_similarity.api.deps import LinksDep, ParametersDep, RuntimeDep
from logo_similarity.api.schemas import SearchResponse, hit_of, timings_of
from logo_similarity.domain import SearchResult
from logo_similarity.metrics import QUEUE_SECONDS, STAGE_SECONDS


def search_router(responses: dict[int | str, dict[str, Any]], max_upload_bytes: int) -> APIRouter:
    """The route, with the limit on its body."""
    router = APIRouter()

    @router.post(
        "/search",
        response_model=SearchResponse,
        responses=responses,
        summary="Find the logos most similar to a picture",
        max_body_size=max_upload_bytes,
        form_limits={"max_files": 1, "max_fields": 8, "max_part_size": 1024},
    )
    async def search(
        request: Request,
        response: Response,
        runtime: RuntimeDep,
        links: LinksDep,
        parameters: ParametersDep,
        file: Annotated[UploadFile, File(description="JPEG, PNG, WebP, GIF (first frame), BMP, TIFF or AVIF.")],
    ) -> Any:  # noqa: ANN401 - a SearchResponse, or a bare Response that nobody will read
        accepted = time.perf_counter()
        queue = 0.0

        def job() -> SearchResult:
            nonlocal queue
            queue = time.perf_counter() - accepted
            # Read here: an upload of more than a megabyte lies on disk, and that read must not stop the event loop.
            return runtime.engine.search(file.file.read(), top_k=parameters.top_k, min_score=parameters.min_score)

        result = await run_while_connected(request, runtime.gate, job)
        if result is None:
            return Response(status_code=499)
        signing = time.perf_counter()
        urls = links.sign([hit.logo.record.filename for hit in result.hits])
        signed = (time.perf_counter() - signing) * 1000
        timings = timings_of(result, queue=queue * 1000, links=signed)
        QUEUE_SECONDS.observe(queue)
        stages = timings.model_dump()
        for stage, milliseconds in stages.items():
            STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)
        response.headers["Server-Timing"] = ", ".join(f"{stage};dur={value}" for stage, value in stages.items())
        response.headers["Cache-Control"] = "no-store"
        return SearchResponse(
            query_id=str(uuid.uuid4()),
            results=[hit_of(hit, url) for hit, url in zip(result.hits, urls, strict=True)],
            catalog=runtime.catalog,
            timings_ms=timings,
        )

    return router
