"""`POST /v1/search` and `POST /v1/search/batch`."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Annotated, NamedTuple

import orjson
from fastapi import File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import SkipJsonSchema

from logo_similarity.api.admission import run_while_connected
from logo_similarity.api.cursor import LONGEST_CURSOR, read_cursor, write_cursor
from logo_similarity.api.deps import Links, LinksDep, RuntimeDep
from logo_similarity.api.live import OpenCatalog
from logo_similarity.api.middleware import new_request_id
from logo_similarity.api.parameters import LONGEST_FIELD, ParametersDep, SearchFilterDep
from logo_similarity.api.paths import BATCH_PATH, SEARCH_PATH
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.runtime import Runtime
from logo_similarity.api.schemas import BatchResponse, SearchResponse, hit_json, picture_json, shares_json, timings_of
from logo_similarity.domain import MOST_IMAGES, STAGES, Query, SearchResult, Timings
from logo_similarity.errors import BadImageError, InvalidRequestError, SearchTimeoutError, TryLaterError
from logo_similarity.image.formats import ACCEPTED_QUERIES
from logo_similarity.metrics import CACHED, DAMAGED, STAGE_SECONDS

router = CheckedRouter()
MOST_IN_BATCH = 20
"""Maximum number of images in a request."""
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
            description=f"{ACCEPTED_QUERIES}. For an animation, one frame is used. Several files are pictures of one "
            "mark: for each logo, the one that it resembles most counts. Optional with `words` or `logo_id`."
        ),
    ] = None,
    # Not documented as a field, since forms generated from the OpenAPI document would fill it in and send it.
    cursor: Annotated[SkipJsonSchema[str | None], Form(max_length=LONGEST_CURSOR)] = None,
) -> Response:
    """Returns the most similar logos, the most surprising hits first. A score of 1 means the same image.

    Send an image, or the `logo_id` of a logo of the catalog, or `words`, or `words` and one of the others.

    A further page is asked for with the form field `cursor` alone, the `next` of the previous page.

    Only logos that pass the filter are searched. Each field of the register is a parameter that filters by it.

    The parameters may also be sent as form fields with the same names.
    """
    if file is None and cursor is None and not parameters.keys() & {"words", "logo_id"}:
        instead = ", or words or a logo_id"
        raise RequestValidationError([{"type": "missing", "loc": ("body", "file"), "ctx": {"instead": instead}}])
    if cursor is not None and (file or parameters or condition):
        raise InvalidRequestError("a cursor continues a search as it began; send it without any other parameter")
    accepted = time.perf_counter()
    catalog = runtime.live.current  # read once: a swap during this search does not affect it

    def job() -> tuple[float, Found]:
        queue = (time.perf_counter() - accepted) * 1000
        # Read in this thread: large uploads are on disk, and reading them must not block the event loop.
        images = [each.file.read() for each in file or ()]
        if cursor is not None:
            return queue, find(runtime, links, catalog, read_cursor(cursor, catalog.engine))
        query = Query(image=next(iter(images), None), more_images=tuple(images[1:]), filter=condition, **parameters)
        return queue, find(runtime, links, catalog, query)

    outcome = await run_while_connected(request, runtime.gate, job)
    if outcome is None:
        return Response(status_code=499)
    queue, found = outcome
    stages = timings_of(found.result, queue=queue, links=found.links_time)
    executed = {name: duration for name, duration in stages.items() if not found.cached or name in ("queue", "links")}
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
        **found.json(),
        "cached": found.cached,
        "catalog": catalog.out.model_dump(),
        "timings_ms": stages,
    }
    # Not validated against SearchResponse, except in the tests: with a hundred hits it takes as long as the search.
    return Response(orjson.dumps(content), media_type="application/json", headers=headers)


@router.post(
    BATCH_PATH,
    response_model=BatchResponse,
    summary="Find the logos most similar to each of several images",
    form_limits={"max_files": MOST_IN_BATCH, "max_fields": 50, "max_part_size": LONGEST_FIELD},
)
async def search_batch(
    request: Request,
    runtime: RuntimeDep,
    links: LinksDep,
    parameters: ParametersDep,
    condition: SearchFilterDep,
    file: Annotated[
        list[UploadFile], File(description=f"Images of different marks, at most {MOST_IN_BATCH}. {ACCEPTED_QUERIES}.")
    ],
) -> Response:
    """Returns for each image what a search with the same parameters returns, or why it has no results.

    The images are searched for one after the other, between the searches of other clients.
    """
    catalog = runtime.live.current
    searches: list[dict[str, object]] = []
    for each in file:

        def job(image: UploadFile = each) -> Found:
            query = Query(image=image.file.read(), filter=condition, **parameters)
            return find(runtime, links, catalog, query)

        try:
            found = await run_while_connected(request, runtime.gate, job)
        except (BadImageError, TryLaterError, SearchTimeoutError) as error:
            searches.append({"name": each.filename, "code": error.code, "detail": str(error), "answer": None})
            continue
        if found is None:
            return Response(status_code=499)
        searches.append({"name": each.filename, "code": None, "detail": None, "answer": found.json()})
    content = {"searches": searches, "catalog": catalog.out.model_dump()}
    return Response(orjson.dumps(content), media_type="application/json", headers={"Cache-Control": "no-store"})


class Found(NamedTuple):
    """The result of a search, with links."""

    result: SearchResult
    urls: list[str | None]
    mark: str
    """As `write_cursor`."""
    cached: bool
    links_time: float
    """Milliseconds."""

    def json(self) -> dict[str, object]:
        """The members of a response that come from the search."""
        result = self.result
        return {
            "results": [hit_json(hit, url) for hit, url in zip(result.hits, self.urls, strict=True)],
            "reranked": result.reranked,
            "parts": result.parts,
            "words": result.words,
            "exact": result.exact,
            "passed": result.passed,
            "pictures": list(map(picture_json, result.pictures)),
            "proposed": None if result.proposed is None else shares_json(result.proposed),
            "next": None if result.next is None else write_cursor(result.next, self.mark),
        }


def find(runtime: Runtime, links: Links, catalog: OpenCatalog, query: Query) -> Found:
    """Search, or take the result of an earlier search, and sign the links. Called in a search thread."""
    engine = catalog.engine
    # The query of a further page has arrays, and no page is asked for twice.
    key = None if query.described else runtime.cache.key(engine.version, engine.generation, query)
    earlier = None if key is None else runtime.cache.get(key)
    if earlier is not None:
        result = replace(earlier, timings=NO_TIME)
        CACHED.inc()
    else:
        result = engine.search(query)
        if not query.described:
            DAMAGED.inc(sum(picture.damage is not None for picture in result.pictures))
        if key is not None:
            runtime.cache.put(key, result)
    signing = time.perf_counter()
    # Signed in this thread too: a store whose credentials have expired fetches new ones over the network.
    urls = links.sign([hit.logo.filename for hit in result.hits])
    return Found(result, urls, engine.logos.marks[-1], earlier is not None, (time.perf_counter() - signing) * 1000)
