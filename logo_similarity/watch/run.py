"""A run: the new and changed logos of the catalog are searched for each watch, and its marks are compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from logo_similarity.domain import Band, Hit, Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import BadImageError, InvalidRequestError, NotFoundError
from logo_similarity.watch.model import Event, Kind, NewWatch, Values, Watch, values_of
from logo_similarity.watch.news import News, compare, state_of
from logo_similarity.watch.store import Mark, WatchStore
from logo_similarity.watch.webhook import WebhookRules

log = structlog.get_logger(__name__)

LEAST_WORD_SIMILARITY = 0.8
"""Of a watch for words without `min_score`: the same words with a letter or two changed, or that sound alike."""
MOST_IDENTICAL = 1000
"""Every logo with the image of a hit is reported."""

IsActive = Callable[[str], bool]
"""Whether the watches of an owner run."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did."""

    version: str
    before: str | None
    """The version that was watched before; None: there was none, and this one is the beginning."""
    new: int
    changed: int
    watches: int
    """Number of watches that were searched for."""
    alerts: int
    problems: int
    """Number of watches that could not be searched for."""


def run(store: WatchStore, engine: SearchEngine, is_active: IsActive) -> RunSummary:
    """Report what is new in the catalog since the last run. The caller holds `WatchStore.running`.

    The alerts and the watched version are committed together: a run that is killed is repeated as a whole.

    Raises:
        ConfigError: the store cannot be read or written.
        CatalogError: the catalog is damaged.
    """
    watches = store.watches()
    before = store.state()
    if not watches:
        return RunSummary(engine.edition, None, 0, 0, 0, 0, 0)
    if before is not None and before.version == engine.edition:
        return RunSummary(engine.edition, before.version, 0, 0, 0, 0, 0)
    after, rows = state_of(engine)
    if before is None:  # the first watch was added at the moment at which the last one was removed
        store.commit(after, [], {})
        return RunSummary(engine.edition, None, 0, 0, 0, 0, 0)
    positions = compare(before, after)
    news = News(rows[positions.new], rows[positions.changed])
    events: list[Event] = []
    problems: dict[str, str | None] = {}
    for watch in watches:
        if not is_active(watch.owner):
            continue
        marks = store.marks(watch.id)
        try:
            similar = list(_similar(engine, store.query(watch.id), watch.id, marks, news))
        except (BadImageError, InvalidRequestError, NotFoundError) as error:
            problems[watch.id] = str(error)
            similar = []
            log.warning("watch_not_searched", watch=watch.id, error=str(error))
        else:
            problems[watch.id] = None
        events += [*_changes(engine, watch, marks), *similar]
    alerts = store.commit(after, events, problems)
    failed = sum(problem is not None for problem in problems.values())
    return RunSummary(
        engine.edition, before.version, len(news.new), len(news.changed), len(problems) - failed, alerts, failed
    )


def add_watch(
    store: WatchStore, engine: SearchEngine, owner: str, new: NewWatch, *, rules: WebhookRules, most: int | None
) -> tuple[Watch, str | None]:
    """Store a watch, once its query is known to work. It watches from the version that was watched last on.

    Args:
        store: of the watches.
        engine: the catalog.
        owner: id of an API key, or ANONYMOUS.
        new: the watch.
        rules: where alerts may be sent.
        most: maximum number of watches of the owner; None: no limit.

    Returns:
        The watch, and the secret with which its webhook is signed; None: it has no webhook.

    Raises:
        BadImageError, InvalidRequestError: as `SearchEngine.search`; or the webhook is not allowed.
        NotFoundError: the catalog does not contain an own mark.
        WatchLimitError: the owner has that many watches.
    """
    if new.webhook is not None:
        rules.check(new.webhook)
    for each in _searches(new.query, ()):
        engine.search(each)
    marks: dict[str, Values] = {}
    for logo_id in new.marks:
        logo = engine.logo(logo_id)
        if logo is None:
            raise NotFoundError(f"no logo has the id {logo_id!r}")
        marks[logo.logo_id] = values_of(logo.record)
    state = state_of(engine)[0] if store.needs_state() else None
    return store.add(owner, new, marks, state, most=most)


def _searches(query: Query, rows: tuple[int, ...]) -> Iterator[Query]:
    """The searches of a watch: for its pictures, and for its words."""
    query = replace(query, rows=rows, max_identical=MOST_IDENTICAL)
    if query.image is not None or query.logo_id is not None:
        yield replace(query, words=None)
    if query.words is not None:
        least = LEAST_WORD_SIMILARITY if query.min_score is None else query.min_score
        yield replace(
            query, image=None, more_images=(), logo_id=None, crop=None, invert=False, greyscale=False, min_score=least
        )


def _similar(engine: SearchEngine, query: Query, watch: str, marks: Sequence[Mark], news: News) -> Iterator[Event]:
    own = {mark.logo_id for mark in marks if mark.own}
    new = set(news.new.tolist())
    hits: dict[int, Hit] = {}
    for each in _searches(query, (*news.new.tolist(), *news.changed.tolist())):
        for hit in engine.search(each).hits:
            # In a catalog of a few dozen logos, no number is expected, and most of them would be hits.
            if hit.cosine is not None and hit.expect is None and hit.band is not Band.NEAR_IDENTICAL:
                continue
            earlier = hits.get(hit.logo.id)
            hits[hit.logo.id] = (
                hit
                if earlier is None
                else earlier._replace(word_similarity=hit.word_similarity, word_field=hit.word_field)
            )
    for row, hit in hits.items():
        if hit.logo.logo_id in own:
            continue
        digest = engine.logos.image_digest(row)
        record = hit.logo.record
        by_picture = hit.cosine is not None
        yield Event(
            watch=watch,
            kind=Kind.SIMILAR,
            logo_id=hit.logo.logo_id,
            key=hit.logo.filename if digest is None else digest.hex(),
            filename=hit.logo.filename,
            detail={
                "reason": "new" if row in new else "changed",
                "score": round(hit.score, 4) if by_picture else None,
                "expect": hit.expect,
                "band": (hit.band and by_picture and hit.band.value) or None,
                "picture": hit.picture if by_picture else None,
                "word_similarity": hit.word_similarity and round(hit.word_similarity, 4),
                "word_field": hit.word_field,
                "metadata": json.loads(hit.logo.metadata_json),
            },
            values=values_of(record),
        )


def _changes(engine: SearchEngine, watch: Watch, marks: Sequence[Mark]) -> Iterator[Event]:
    """The changes of the marks of a watch since they were last seen."""
    for mark in marks:
        logo = engine.logo(mark.logo_id)
        after = None if logo is None else values_of(logo.record)
        if after == mark.values:
            continue
        yield Event(
            watch=watch.id,
            kind=Kind.CHANGED,
            logo_id=mark.logo_id,
            key=engine.edition,
            filename=None if logo is None else logo.filename,
            detail={
                "own": mark.own,
                "before": mark.values,
                "after": after,
                "metadata": None if logo is None else json.loads(logo.metadata_json),
            },
            values=after,
        )
