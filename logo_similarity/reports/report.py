"""A report: a case, the repetition of its search, and small pictures of its hits. The same for every format."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from logo_similarity.domain import Hit, Logo
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import BadImageError, CaseError, InvalidRequestError, NotFoundError, StoreError
from logo_similarity.image.contained import Decoder
from logo_similarity.reports.case import Case, CaseHit, Verdict
from logo_similarity.reports.pictures import small_jpeg, small_png
from logo_similarity.reports.record import Repetition, case_hit, repeat_search
from logo_similarity.storage import ImageStore

log = structlog.get_logger(__name__)

MOST_PRINTED, MOST_DETAILED = 300, 200
"""Hits in the printed list, and kept hits that are printed with details. The CSV and JSON files have all hits."""
MOST_FETCHED = 100
FETCH_SECONDS = 5.0
"""Images that are read from the image store for one report, and the time for it: those of the kept hits and then of the
first ones without a thumbnail in the case."""


@dataclass(frozen=True, slots=True)
class Row:
    """A hit of the case, or a new one of the repetition."""

    hit: CaseHit
    rank: int | None
    """Its rank in the case, from 1; None: it is new."""
    rank_now: int | None
    """Its rank in the repetition; None: it is gone, or the search was not repeated."""

    @property
    def is_kept(self) -> bool:
        """Whether the examiner kept it."""
        return self.hit.verdict is Verdict.KEPT


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report."""

    case: Case
    made: dt.datetime
    repetition: Repetition | None
    not_repeated: str
    """Why the search was not made again; empty if it was."""
    rows: tuple[Row, ...]
    """The hits of the case in its order, then the new ones of the repetition."""
    pictures: tuple[bytes, ...] = ()
    """The pictures of the query as small PNG files."""
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    """Small JPEG files by logo id; logos without one are missing."""


def make_report(
    case: Case, engine: SearchEngine | None, store: ImageStore | None = None, *, decoder: Decoder | None = None
) -> Report:
    """Make the search of a case again, and collect what its report shows.

    Args:
        case: the case.
        engine: the catalog to search; None: the search is not made again.
        store: has the images of hits without a thumbnail in the case; None: they are printed without one.
        decoder: decodes pictures within its limits. Default: that of the engine.

    Raises:
        BadImageError: a picture of the query is refused.
        CaseError: a thumbnail is not a picture.
    """
    decoder = decoder or (Decoder() if engine is None else engine.decoder)
    pictures = tuple(small_png(picture.data, decoder) for picture in case.query.pictures)
    repetition, reason = None, "no catalog was given to search again"
    if engine is not None:
        try:
            repetition, reason = repeat_search(case, engine), ""
        except (CaseError, InvalidRequestError) as error:
            reason = str(error)
    rows = _rows(case.hits, () if repetition is None else repetition.result.hits)
    now = {} if repetition is None else {hit.logo.logo_id: hit for hit in repetition.result.hits}
    return Report(
        case=case,
        made=dt.datetime.now(dt.UTC).replace(microsecond=0),
        repetition=repetition,
        not_repeated=reason,
        rows=rows,
        pictures=pictures,
        thumbnails=_thumbnails(rows, now, engine, store, decoder),
    )


def _rows(before: Sequence[CaseHit], now: Sequence[Hit]) -> tuple[Row, ...]:
    ranks = {hit.logo.logo_id: place for place, hit in enumerate(now, 1)}
    rows = [Row(hit, rank, ranks.pop(hit.id, None)) for rank, hit in enumerate(before, 1)]
    rows += [Row(case_hit(now[rank - 1]), None, rank) for rank in ranks.values()]
    return tuple(rows)


def _thumbnails(
    rows: Sequence[Row], now: Mapping[str, Hit], engine: SearchEngine | None, store: ImageStore | None, decoder: Decoder
) -> dict[str, bytes]:
    thumbnails: dict[str, bytes] = {}
    lacking: list[str] = []
    for row in sorted(rows, key=lambda row: not row.is_kept):
        hit = row.hit
        if hit.thumbnail is None:
            lacking.append(hit.id)
            continue
        try:
            thumbnails[hit.id] = small_jpeg(hit.thumbnail, decoder)
        except BadImageError as error:
            raise CaseError(f"the thumbnail of the hit {hit.id!r:.60}: {error}") from None
    if engine is not None and store is not None:
        logos = (now[one].logo if one in now else engine.logo(one) for one in lacking[:MOST_FETCHED])
        thumbnails |= _fetch([logo for logo in logos if logo is not None], store, decoder)
    return thumbnails


def _fetch(logos: Sequence[Logo], store: ImageStore, decoder: Decoder) -> dict[str, bytes]:
    """Small copies of images in the store. Logos whose image is missing or damaged are left out."""
    thumbnails: dict[str, bytes] = {}
    deadline = time.monotonic() + FETCH_SECONDS
    for logo in logos:
        if time.monotonic() > deadline:
            break
        try:
            thumbnails[logo.logo_id] = small_jpeg(store.read(logo.filename, decoder.limits.max_bytes), decoder)
        except (NotFoundError, BadImageError):
            continue
        except StoreError as error:
            log.warning("image_store_unavailable", error=str(error))
            break
    return thumbnails
