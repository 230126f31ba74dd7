"""`/v1/logos`, `/v1/logos/{logo_id}` and `/v1/image/{image_id}`: logos, one logo, changes of it, a redirect to its image.

Register ids may contain slashes, so an id is the whole rest of the path. It is only compared with the catalog's ids;
the key in the image store comes from the catalog.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import orjson
from fastapi import File, Form, Header, Query, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from starlette.requests import ClientDisconnect

from logo_similarity.api.admission import FORM, run_while_connected
from logo_similarity.api.auth import CALLER
from logo_similarity.api.deps import Links, LinksDep, RuntimeDep
from logo_similarity.api.parameters import LONGEST_RECORD, FilterDep
from logo_similarity.api.paths import LOGO_PATH, LOGOS_PATH
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.runtime import Runtime
from logo_similarity.api.schemas import ChangedLogoOut, LogoOut, LogosOut, Metadata, problems
from logo_similarity.build.changing import Applied, LogoChange, RepeatableRequest, read_day, read_record
from logo_similarity.catalog.overlay import Operation
from logo_similarity.domain import Logo, Outcome
from logo_similarity.errors import CatalogChangedError, InvalidRequestError, MediaTypeError, NotFoundError
from logo_similarity.fields import Record
from logo_similarity.image.formats import ACCEPTED
from logo_similarity.keys.document import Key
from logo_similarity.metrics import CHANGES

router = CheckedRouter()
FORM_LIMITS: Any = {"max_files": 1, "max_fields": 1, "max_part_size": LONGEST_RECORD}
JSON = "application/json"
RECORD = (
    "The record as a JSON object: `logo_id`, fields of the register by their names in `metadata`, and `extra`. `logo_id` "
    "is left out if it is in the path."
)
REFUSALS = problems(400, 403, 408, 409, 413, 415, 503)

ImageFile = Annotated[UploadFile, File(description=f"The image of the logo: {ACCEPTED}.")]
RecordForm = Annotated[str, Form(description=RECORD, max_length=LONGEST_RECORD)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern="^[!-~]{1,200}$",
        description="A text that this client uses for one request only. If the request is sent again within a day, it has "
        "no effect, and the answer is the same.",
    ),
]


@router.get(LOGOS_PATH, summary="List logos", responses=problems(409))
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


@router.get(LOGO_PATH, summary="Get a logo")
def logo(logo_id: str, runtime: RuntimeDep, links: LinksDep) -> LogoOut:
    """Returns the register data of one logo, and a signed link to its image."""
    entry = _find(runtime, logo_id)
    return _logo_out(entry, links.sign([entry.filename])[0])


@router.post(LOGOS_PATH, status_code=201, summary="Add a logo", responses=REFUSALS, form_limits=FORM_LIMITS)
async def create(
    request: Request,
    runtime: RuntimeDep,
    links: LinksDep,
    image: ImageFile,
    record: RecordForm,
    key: IdempotencyKey = None,
) -> ChangedLogoOut:
    """Adds a logo that the catalog does not have. When this returns, the logo is stored durably."""
    parsed = read_record(_parse(record), None, sparse=False)
    return await _change(request, runtime, links, "create", parsed, await image.read(), key)


@router.put(LOGO_PATH, summary="Replace a logo", responses=REFUSALS, form_limits=FORM_LIMITS)
async def replace(
    request: Request,
    response: Response,
    logo_id: str,
    runtime: RuntimeDep,
    links: LinksDep,
    image: ImageFile,
    record: RecordForm,
    key: IdempotencyKey = None,
) -> ChangedLogoOut:
    """Replaces a logo with its image and all its fields, or adds it (201)."""
    parsed = read_record(_parse(record), logo_id, sparse=False)
    changed = await _change(request, runtime, links, "replace", parsed, await image.read(), key)
    if changed.outcome is Outcome.CREATED:
        response.status_code = 201
    return changed


@router.patch(
    LOGO_PATH,
    summary="Change some fields of a logo",
    responses=REFUSALS,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"type": "object", "description": RECORD}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "record": {"type": "string", "description": RECORD},
                            "image": {"type": "string", "format": "binary"},
                        },
                    }
                },
            },
        }
    },
)
async def update(
    request: Request, logo_id: str, runtime: RuntimeDep, links: LinksDep, key: IdempotencyKey = None
) -> ChangedLogoOut:
    """Changes the fields that are sent, and the image if one is. All others stay as they are.

    If `transaction_date` is sent and older than what is known of the logo, only fields that nothing newer is known of
    change.
    """
    values, image = await _read_update(request)
    parsed = read_record(values, logo_id, sparse=True)
    return await _change(request, runtime, links, "update", parsed, image, key)


@router.delete(LOGO_PATH, status_code=204, summary="Delete a logo", responses=REFUSALS)
async def delete(
    request: Request,
    logo_id: str,
    runtime: RuntimeDep,
    transaction_date: Annotated[
        str | None,
        Query(
            max_length=60, description="Date of the deletion at the office. Default: after everything that is known."
        ),
    ] = None,
    key: IdempotencyKey = None,
) -> Response:
    """Deletes a logo. Its image stays in the image store."""
    day = None if transaction_date is None else read_day(transaction_date)
    change = LogoChange(operation="delete", logo_id=logo_id, record=None, image=None, day=day)
    await _apply(request, runtime, change, key)
    return Response(status_code=204)


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


async def _change(
    request: Request,
    runtime: Runtime,
    links: Links,
    operation: Operation,
    record: Record,
    content: bytes | None,
    key: str | None,
) -> ChangedLogoOut:
    change = LogoChange(
        operation=operation, logo_id=record.logo_id, record=record, image=content, day=record.transaction_date
    )
    applied = await _apply(request, runtime, change, key)
    made = applied.record
    assert made is not None  # noqa: S101 - only deletions have none
    url = links.sign([made.filename])[0]
    metadata = Metadata.model_validate(made.metadata())
    return ChangedLogoOut(id=made.logo_id, image_url=url, metadata=metadata, outcome=applied.outcome)


async def _apply(request: Request, runtime: Runtime, change: LogoChange, key: str | None) -> Applied:
    engine = runtime.live.current.engine
    caller: Key | None = request.scope.get(CALLER)
    repeatable = None if key is None else RepeatableRequest("" if caller is None else caller.id, key)
    async with runtime.changes.turn(runtime.settings.queue_seconds):
        applied = await run_while_connected(
            request, runtime.gate, lambda: runtime.changes.apply(engine, change, repeatable)
        )
    runtime.changes.wake.set()
    if applied is None:
        raise ClientDisconnect
    CHANGES.labels(applied.outcome).inc()
    return applied


async def _read_update(request: Request) -> tuple[object, bytes | None]:
    """The record and the image of an update."""
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind == JSON:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_RECORD:
                raise InvalidRequestError(f"the record has more than {LONGEST_RECORD:,} bytes; send a shorter one")
        return _parse(bytes(body)), None
    if kind != FORM.decode():
        raise MediaTypeError(
            "send the record as application/json, or as multipart/form-data with the fields image and record"
        )
    async with request.form(**FORM_LIMITS) as form:
        for name in form:
            if name not in ("image", "record"):
                raise InvalidRequestError(f"unknown parameter {name[:64]!r}. Known: image, record")
        record, image = form.get("record", "{}"), form.get("image")
        if len(form.multi_items()) != len(form) or not isinstance(record, str) or isinstance(image, str):
            raise InvalidRequestError("send at most one file `image` and one field `record`")
        if not form:
            raise InvalidRequestError("the form is empty; send the field `record`, the file `image`, or both")
        return _parse(record), None if image is None else await image.read()


def _parse(text: str | bytes) -> object:
    try:
        parsed: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the record is not valid JSON: {error}") from None
    return parsed


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
