"""`POST /v1/search`."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Annotated

import orjson
from fastapi import File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError

from logo_similarity.api.admission import run_while_connected
from logo_similarity.api.cursor import LONGEST_CURSOR, read_cursor, write_cursor
from logo_similarity.api.deps import LinksDep, RuntimeDep
from logo_similarity.api.middleware import new_request_id
from logo_similarity.api.parameters import LONGEST_FIELD, ParametersDep, SearchFilterDep
from logo_similarity.api.paths import SEARCH_PATH
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import SearchResponse, hit_json, picture_json, timings_of
from logo_similarity.domain import MOST_IMAGES, STAGES, Query, SearchResult, Timings
from logo_similarity.errors import InvalidRequestError
from logo_similarity.image.formats import ACCEPTED
from logo_similarity.metrics import CACHED, STAGE_SECONDS

router = CheckedRouter()
NO_TIME = Timings(*[0.0] * len(STAGES))


@router.post(
    SEARCH_PATH,
    response_model=SearchResponse,
    summary="Find the logos most similar to an image or to words",
    # A few files and fields: only an attacker sends a form with a thousand parts.
    form_limits={"max_files": MOST_IMAGES, "max_fields": 50, "max_part_size": LONGEST_FIELD},
)
async def search(
    request: Request,
    runtime: RuntimeDep,
    links: LinksDep,
    parameters: ParametersDep,
    condition: SearchFilterDep,
    file: Annotated[
        list[UploadFile] | None,
        File(
            description=f"{ACCEPTED}. For an animation, the first frame is used. Several files are pictures of one mark: for "
            "each logo, the one that it resembles most counts. Optional with `words` or `logo_id`."
        ),
    ] = None,
    cursor: Annotated[
        str | None,
        Form(max_length=LONGEST_CURSOR, description="`next` of the previous page, without any other parameter."),
    ] = None,
) -> Response:
    """Returns the most similar logos, the most surprising hits first. A score of 1 means the same image.

    Send an image, or the `logo_id` of a logo of the catalog, or `words`, or `words` and one of the others.

    Only logos that pass the filter are searched. Each field of the register is a parameter that filters by it.

    The parameters may also be sent as form fields with the same names.
    """
    if file is None and cursor is None and not parameters.keys() & {"words", "logo_id"}:
        raise RequestValidationError([{"type": "missing", "loc": ("body", "file")}])
    if cursor is not None and (file or parameters or condition):
        raise InvalidRequestError("a cursor continues a search as it began; send it without any other parameter")
    accepted = time.perf_counter()
    catalog = runtime.live.current  # read once: a swap during this search does not affect it
    queue = links_time = 0.0
    cached = False

    def job() -> tuple[SearchResult, list[str | None]]:
        nonlocal queue, links_time, cached
        queue = (time.perf_counter() - accepted) * 1000
        # Read in this thread: large uploads are on disk, and reading them must not block the event loop.
        if cursor is None:
            images = [each.file.read() for each in file or ()]
            query = Query(image=next(iter(images), None), more_images=tuple(images[1:]), filter=condition, **parameters)
        else:
            query = read_cursor(cursor, catalog.engine)
        # The query of a further page has arrays, and no page is asked for twice.
        key = runtime.cache.key(catalog.out.version, query) if cursor is None else None
        earlier = None if key is None else runtime.cache.get(key)
        cached = earlier is not None
        if earlier is not None:
            result = replace(earlier, timings=NO_TIME)
            CACHED.inc()
        else:
            result = catalog.engine.search(query)
            if key is not None:
                runtime.cache.put(key, result)
        signing = time.perf_counter()
        # Signed in this thread too: a store whose credentials have expired fetches new ones over the network.
        urls = links.sign([hit.logo.filename for hit in result.hits])
        links_time = (time.perf_counter() - signing) * 1000
        return result, urls

    outcome = await run_while_connected(request, runtime.gate, job)
    if outcome is None:
        return Response(status_code=499)
    result, urls = outcome
    stages = timings_of(result, queue=queue, links=links_time)
    executed = {name: duration for name, duration in stages.items() if not cached or name in ("queue", "links")}
    for stage, milliseconds in executed.items():
        STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)
    if runtime.tracing is not None:
        runtime.tracing.add_stages(executed)
    headers = {
        "Server-Timing": ", ".join(f"{stage};dur={value}" for stage, value in stages.items()),
        "Cache-Control": "no-store",
    }
    content = {
        "query_id": str(uuid.UUID(new_request_id(), version=4)),
        "results": [hit_json(hit, url) for hit, url in zip(result.hits, urls, strict=True)],
        "reranked": result.reranked,
        "parts": result.parts,
        "words": result.words,
        "exact": result.exact,
        "passed": result.passed,
        "pictures": list(map(picture_json, result.pictures)),
        "next": None if result.next is None else write_cursor(result.next, result.version),
        "cached": cached,
        "catalog": catalog.out.model_dump(),
        "timings_ms": stages,
    }
    # Not validated against SearchResponse, except in the tests: with a hundred hits it takes as long as the search.
    return Response(orjson.dumps(content), media_type="application/json", headers=headers)
