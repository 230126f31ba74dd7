"""`/v1/watches`: watches, their alerts, and the feed of a key. A key sees its own watches, an admin those of all keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, Form, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import SkipJsonSchema

from logo_similarity.api.admission import run_while_connected
from logo_similarity.api.deps import CallerDep, LinksDep, RuntimeDep
from logo_similarity.api.parameters import LONGEST_FIELD, ParametersDep, SearchFilterDep
from logo_similarity.api.paths import FEED_PATH, WATCHES_PATH
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import AlertOut, AlertsOut, FeedOut, NewWatchOut, WatchesOut, WatchOut
from logo_similarity.domain import MOST_IMAGES
from logo_similarity.domain import Query as SearchQuery
from logo_similarity.errors import InvalidRequestError, NotFoundError
from logo_similarity.image.formats import ACCEPTED_QUERIES
from logo_similarity.keys.document import Key
from logo_similarity.watch.feed import ENTRIES, MEDIA_TYPE, write_feed
from logo_similarity.watch.model import ANONYMOUS, LONGEST_ADDRESS, LONGEST_NAME, MOST_MARKS, NewWatch, Watch
from logo_similarity.watch.run import add_watch

router = CheckedRouter()

Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next` of the previous page.")]


@router.get(WATCHES_PATH, summary="List watches")
def list_watches(runtime: RuntimeDep, caller: CallerDep, limit: Limit = 100, cursor: Cursor = None) -> WatchesOut:
    """Returns the watches of the key, oldest first; for an admin, those of all keys."""
    watches = runtime.watches.store.watches(_scope(caller), after=cursor, limit=limit + 1)
    return WatchesOut(
        watches=[WatchOut(**watch.to_json()) for watch in watches[:limit]],
        next=watches[limit - 1].id if len(watches) > limit else None,
    )


@router.post(
    WATCHES_PATH,
    status_code=201,
    summary="Watch for new and changed marks",
    form_limits={"max_files": MOST_IMAGES, "max_fields": 200, "max_part_size": LONGEST_FIELD},
)
async def add(
    request: Request,
    runtime: RuntimeDep,
    caller: CallerDep,
    parameters: ParametersDep,
    condition: SearchFilterDep,
    name: Annotated[str, Form(min_length=1, max_length=LONGEST_NAME, description="Name of the watch.")],
    file: Annotated[
        list[UploadFile] | None,
        File(description=f"Pictures of one mark. {ACCEPTED_QUERIES}. Optional with `words` or `logo_id`."),
    ] = None,
    # Not documented as fields, since forms generated from the OpenAPI document would fill them in and send them.
    mark: Annotated[SkipJsonSchema[list[str] | None], Form(max_length=MOST_MARKS)] = None,
    webhook: Annotated[SkipJsonSchema[str | None], Form(max_length=LONGEST_ADDRESS)] = None,
) -> NewWatchOut:
    """A watch is a search that is made again whenever the catalog has new or changed logos, among these.

    It has the parameters and filters of a search. `max_expect` is 1 if it is not given. Pictures and `words` are each a
    reason for an alert.

    Further form fields: `mark`, the id of an own mark, of which changes are reported (repeatable), and `webhook`, the
    address to which alerts are sent.
    """
    if not file and not parameters.keys() & {"words", "logo_id"}:
        raise RequestValidationError([{"type": "missing", "loc": ("body", "file")}])
    engine, watches = runtime.live.current.engine, runtime.watches
    most = None if caller is not None and caller.role == "admin" else runtime.settings.most_watches

    def job() -> tuple[Watch, str | None]:
        pictures = [each.file.read() for each in file or ()]
        query = SearchQuery(
            image=next(iter(pictures), None), more_images=tuple(pictures[1:]), filter=condition, **parameters
        )
        new = NewWatch(name=name, query=query, marks=tuple(mark or ()), webhook=webhook)
        return add_watch(watches.store, engine, _owner(caller), new, rules=watches.rules, most=most)

    outcome = await run_while_connected(request, runtime.gate, job)
    if outcome is None:
        return Response(status_code=499)  # type: ignore[return-value]
    watch, secret = outcome
    return NewWatchOut(**watch.to_json(), secret=secret)


@router.post(FEED_PATH, status_code=201, summary="Create the feed of the key, or give it a new address")
def create_feed(runtime: RuntimeDep, caller: CallerDep, links: LinksDep) -> FeedOut:
    """Returns the address of an Atom feed of the key's alerts. Whoever has the address can read the feed, without a key.

    It is not shown again. An earlier address is no longer valid.
    """
    return FeedOut(url=f"{links.base}{FEED_PATH}/{runtime.watches.store.new_feed(_owner(caller))}")


@router.delete(FEED_PATH, status_code=204, summary="Revoke the feed of the key")
def revoke_feed(runtime: RuntimeDep, caller: CallerDep) -> None:
    """The address of the feed is no longer valid."""
    runtime.watches.store.revoke_feed(_owner(caller))


@router.get(FEED_PATH + "/{token}", response_class=Response, summary="The alerts of a key as an Atom feed")
def feed(token: str, runtime: RuntimeDep, links: LinksDep) -> Response:
    """Needs no key: feed readers send no headers. The token in the address is the secret."""
    store = runtime.watches.store
    owner = store.feed_owner(token)
    if not (runtime.watches.is_active(owner) and (owner != ANONYMOUS or not runtime.keys.needed)):
        raise NotFoundError("no feed has this address; it may have been revoked")
    content = write_feed(store.alerts(owner=owner, limit=ENTRIES), feed_id=owner, page=links.base + "/")
    return Response(content, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


@router.get(WATCHES_PATH + "/{watch_id}", summary="Get a watch")
def watch(watch_id: str, runtime: RuntimeDep, caller: CallerDep) -> WatchOut:
    """Returns one watch."""
    return WatchOut(**runtime.watches.store.watch(watch_id, _scope(caller)).to_json())


@router.delete(WATCHES_PATH + "/{watch_id}", status_code=204, summary="Delete a watch")
def remove(watch_id: str, runtime: RuntimeDep, caller: CallerDep) -> None:
    """Deletes a watch with its pictures and alerts. Alerts that were not sent yet are not sent."""
    runtime.watches.store.remove(watch_id, _scope(caller))


@router.get(WATCHES_PATH + "/{watch_id}/alerts", summary="List the alerts of a watch")
def alerts(
    watch_id: str,
    runtime: RuntimeDep,
    caller: CallerDep,
    links: LinksDep,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> AlertsOut:
    """Returns the alerts of a watch, newest first."""
    store = runtime.watches.store
    store.watch(watch_id, _scope(caller))
    found = store.alerts(watch=watch_id, before=_number(cursor), limit=limit + 1)
    page, deliveries = found[:limit], store.deliveries(alert.id for alert in found[:limit])
    names = [alert.filename for alert in page]
    urls = iter(links.sign([name for name in names if name is not None]))
    return AlertsOut(
        alerts=[
            AlertOut(
                **alert.to_json(),
                image_url=None if alert.filename is None else next(urls),
                delivery=deliveries[alert.id][0].value if alert.id in deliveries else None,
            )
            for alert in page
        ],
        next=str(page[-1].id) if len(found) > limit else None,
    )


def _owner(caller: Key | None) -> str:
    return ANONYMOUS if caller is None else caller.id


def _scope(caller: Key | None) -> str | None:
    """The owner whose watches the caller may see; None: any."""
    return None if caller is not None and caller.role == "admin" else _owner(caller)


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise InvalidRequestError("the cursor is not the `next` of an earlier response; send it unchanged")
    return int(cursor)
