"""Recording a search as a case, and making the search of a case again."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from logo_similarity.domain import PARAMETERS, Hit, Query, SearchResult
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CaseError
from logo_similarity.filters import Filter
from logo_similarity.reports.case import (
    VERSION,
    Case,
    CaseCatalog,
    CaseEncoder,
    CaseHit,
    CaseMatched,
    CaseOthers,
    CaseQuery,
    Parameters,
    Picture,
    RegisterData,
    Searched,
)
from logo_similarity.version import __version__


@dataclass(frozen=True, slots=True)
class Moved:
    """A hit of both lists that has another rank among the hits of both."""

    logo_id: str
    before: int
    """Its rank in the case, from 1."""
    now: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between the list of a case and that of its repetition."""

    new: tuple[str, ...] = ()
    """Ids of the logos that are only in the new list, in its order."""
    gone: tuple[str, ...] = ()
    """Those that are only in the case."""
    deleted: tuple[str, ...] = ()
    """Those of `gone` that the catalog no longer contains."""
    moved: tuple[Moved, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.moved)


@dataclass(frozen=True, slots=True)
class Repetition:
    """The search of a case, made again."""

    at: dt.datetime
    catalog: CaseCatalog
    encoder: CaseEncoder
    same_catalog: bool
    """Whether the catalog is the version that the case names: its name contains a digest of its content."""
    result: SearchResult
    changes: Changes


def record_case(query: Query, result: SearchResult, engine: SearchEngine, *, names: Sequence[str] = ()) -> Case:
    """The case of a search that was just made: no hit is reviewed.

    Args:
        query: its images are PNG or JPEG files.
        result: the result of the query.
        engine: the engine that searched.
        names: file names of the images.

    Raises:
        CaseError: an image has another format, or too many bytes.
    """
    images = () if query.image is None else (query.image, *query.more_images)
    given = {name: getattr(query, name) for name in Parameters.model_fields}
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    return Case(
        case=VERSION,
        searched_at=dt.datetime.now(dt.UTC).replace(microsecond=0),
        engine=__version__,
        catalog=_catalog(engine),
        encoder=_encoder(engine),
        query=CaseQuery(
            pictures=tuple(_picture(image, name) for image, name in itertools.zip_longest(images, names, fillvalue="")),
            logo_id=query.logo_id,
            crop=query.crop_box,
            invert=query.invert,
            greyscale=query.greyscale,
            filter=None if query.filter is None else query.filter.to_json(),
            parameters=Parameters(**{name: value for name, value in given.items() if value != defaults[name]}),
        ),
        searched=Searched(
            passed=result.passed, exact=result.exact, reranked=result.reranked, parts=result.parts, words=result.words
        ),
        hits=tuple(map(case_hit, result.hits)),
    )


def _picture(image: object, name: str) -> Picture:
    if not isinstance(image, bytes):
        raise CaseError("an image is an array; a case needs the content of a PNG or JPEG file")
    try:
        return Picture(data=image, name=name[-200:])
    except ValueError as error:
        raise CaseError(f"{name}: a case holds PNG and JPEG files of at most 5 MB; {_reason(error)}") from None


def case_hit(hit: Hit) -> CaseHit:
    """A hit in the form of a case, not reviewed."""
    record = hit.logo.record
    return CaseHit(
        id=record.logo_id,
        score=hit.score,
        cosine=hit.cosine,
        copies=hit.copies,
        expect=hit.expect,
        band=hit.band,
        matched=None if hit.matched is None else CaseMatched(**hit.matched._asdict()),
        image_score=hit.image_score,
        word_similarity=hit.word_similarity,
        word_field=hit.word_field,
        others=None if hit.others is None else CaseOthers(count=hit.others.count, ids=hit.others.ids),
        metadata=RegisterData(
            **{name: getattr(record, name) for name in RegisterData.model_fields if name != "extra"},
            extra=dict(record.extra),
        ),
    )


def repeat_search(case: Case, engine: SearchEngine) -> Repetition:
    """Make the search of a case again, and compare the lists.

    Raises:
        BadImageError: a picture is refused.
        InvalidRequestError: a parameter is not valid, or not for this catalog.
        NotFoundError: the logo of the query is not in the catalog.
    """
    result = engine.search(query_of(case))
    catalog = _catalog(engine)
    changes = compare([hit.id for hit in case.hits], [hit.logo.logo_id for hit in result.hits])
    deleted = tuple(logo_id for logo_id in changes.gone if engine.logo(logo_id) is None)
    return Repetition(
        at=dt.datetime.now(dt.UTC).replace(microsecond=0),
        catalog=catalog,
        encoder=_encoder(engine),
        same_catalog=catalog.version == case.catalog.version,
        result=result,
        changes=replace(changes, deleted=deleted),
    )


def query_of(case: Case) -> Query:
    """The query of a case.

    Raises:
        InvalidRequestError: a parameter is out of its range, or the parts of the query exclude each other.
    """
    query = case.query
    images = [picture.data for picture in query.pictures]
    return Query(
        image=next(iter(images), None),
        more_images=tuple(images[1:]),
        logo_id=query.logo_id,
        crop=None if query.crop is None else ",".join(map(str, query.crop)),
        invert=query.invert,
        greyscale=query.greyscale,
        filter=None if query.filter is None else Filter.from_json(query.filter),
        **{name: value for name, value in query.parameters if value is not None},
    )


def compare(before: Sequence[str], now: Sequence[str]) -> Changes:
    """What differs between two lists of ids. `deleted` is empty."""
    old, new = {one: place for place, one in enumerate(before)}, {one: place for place, one in enumerate(now)}
    common_before, common_now = [one for one in before if one in new], [one for one in now if one in old]
    order_now = {one: place for place, one in enumerate(common_now)}
    return Changes(
        new=tuple(one for one in now if one not in old),
        gone=tuple(one for one in before if one not in new),
        moved=tuple(
            Moved(one, old[one] + 1, new[one] + 1) for place, one in enumerate(common_before) if order_now[one] != place
        ),
    )


def _catalog(engine: SearchEngine) -> CaseCatalog:
    return CaseCatalog(
        version=engine.version,
        logos=engine.logos.count,
        fields=engine.logos.fields,
        built=engine.manifest.created,
        newest=engine.metadata.newest(),
    )


def _encoder(engine: SearchEngine) -> CaseEncoder:
    return CaseEncoder(id=engine.manifest.encoder.id, sha256=engine.manifest.encoder.sha256)


def _reason(error: ValueError) -> str:
    return str(error).splitlines()[-2].strip() if len(str(error).splitlines()) > 2 else str(error)
