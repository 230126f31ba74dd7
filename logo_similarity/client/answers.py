"""The answers of a service, and how they are read from JSON.

A reader raises ValueError, KeyError, TypeError or AttributeError if a service answers otherwise.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logo_similarity.domain import (
    STAGES,
    CellMatch,
    Explanation,
    Facets,
    Hit,
    Logo,
    Matched,
    Others,
    Outcome,
    RegionMatch,
    SearchedPicture,
    SearchResult,
    Timings,
    ValueCount,
)
from logo_similarity.errors import LogoSimilarityError, ServiceError, TryLaterError
from logo_similarity.watch.model import Alert, Kind, Watch

NO_ROW = -1
"""`Logo.id` of a logo of a service, which does not send its row."""
DETAILS = {
    Kind.SIMILAR: (
        "reason", "score", "expect", "band", "picture", "word_similarity", "word_field", "metadata",
    ),
    Kind.CHANGED: ("own", "before", "after", "metadata"),
}  # fmt: skip
"""What `Alert.detail` has, by the kind of the alert."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """The answer of a service to a search."""

    result: SearchResult
    """Its logos have no row (`NO_ROW`) and no filename."""
    image_urls: tuple[str | None, ...]
    """A signed, short-lived link for each hit; None: the service has no image store."""
    pictures: tuple[SearchedPicture, ...]
    """Those that were searched for: with `turned`, the image four times."""
    query_id: str
    cached: bool
    """Whether the service answered from its cache."""
    logos: int
    """Number of logos in the catalog."""
    fields: tuple[str, ...]
    """Names of the register fields in it."""


@dataclass(frozen=True, slots=True)
class ServiceLogo:
    """One logo of a service."""

    logo: Logo
    image_url: str | None


@dataclass(frozen=True, slots=True)
class ServicePage:
    """A page of logos of a service, in the order of its catalog."""

    logos: tuple[ServiceLogo, ...]
    passed: int
    """Number of logos that pass the filter, on all pages."""
    next: str | None
    """The cursor of the next page; None: this is the last one."""


@dataclass(frozen=True, slots=True)
class ServiceCatalog:
    """What a service can search."""

    version: str
    created: dt.datetime
    newest: dt.date | None
    """Latest application date of its logos; None: not known."""
    logos: int
    fields: tuple[str, ...]
    """Names of the register fields, and of the facets as `extra.colour`."""
    encoder_id: str
    encoder_sha256: str
    engine: str
    """Version of the software."""
    description: Mapping[str, Any]
    """The whole response, as JSON."""


@dataclass(frozen=True, slots=True)
class ChangedLogo:
    """A logo after a change. Searches see it within two seconds."""

    logo: Logo
    image_url: str | None
    outcome: Outcome
    """Unchanged: the change says nothing new, or is older than what is known of the logo."""


@dataclass(frozen=True, slots=True)
class AddedWatch:
    """A watch that was just added."""

    watch: Watch
    secret: str | None
    """With which requests to its webhook are signed. It is not shown again."""


@dataclass(frozen=True, slots=True)
class WatchPage:
    """A page of watches, oldest first."""

    watches: tuple[Watch, ...]
    next: str | None
    """The cursor of the next page; None: this is the last one."""


@dataclass(frozen=True, slots=True)
class ServiceAlert:
    """One alert of a watch."""

    alert: Alert
    """Without a filename."""
    image_url: str | None
    delivery: str | None
    """`pending`, `delivered` or `failed`; None: the watch has no webhook."""


@dataclass(frozen=True, slots=True)
class AlertPage:
    """A page of alerts, newest first."""

    alerts: tuple[ServiceAlert, ...]
    next: str | None
    """The cursor of the next page; None: this is the last one."""


@functools.cache
def _errors_by_code() -> dict[str, type[LogoSimilarityError]]:
    """For each code of a client's error, the most general class with it."""
    classes: dict[str, type[LogoSimilarityError]] = {}
    kinds = [LogoSimilarityError]
    for kind in kinds:
        classes.setdefault(kind.code, kind)
        kinds += kind.__subclasses__()
    return classes


def error_kind(code: str) -> type[LogoSimilarityError]:
    """The class of an error that a service reports; ServiceError if the code is not known."""
    return _errors_by_code().get(code, ServiceError)


def error_of(code: str, message: str, retry_after: int = 1) -> LogoSimilarityError:
    """An error that a service reports."""
    kind = error_kind(code)
    return kind(message, retry_after=retry_after) if issubclass(kind, TryLaterError) else kind(message)


def read_search(answer: dict[str, Any]) -> ServiceAnswer:
    """The answer to a search."""
    catalog, hits = answer["catalog"], answer["results"]
    return ServiceAnswer(
        result=SearchResult(
            hits=tuple(map(_read_hit, hits)),
            reranked=answer["reranked"],
            parts=answer["parts"],
            version=catalog["version"],
            timings=Timings(**{stage: answer["timings_ms"][stage] for stage in STAGES}),
            exact=answer["exact"],
            passed=answer["passed"],
            words=answer["words"],
        ),
        image_urls=tuple(hit["image_url"] for hit in hits),
        pictures=tuple(
            SearchedPicture(picture["damage"], picture["turned"], picture["completed"])
            for picture in answer["pictures"]
        ),
        query_id=answer["query_id"],
        cached=answer["cached"],
        logos=catalog["logos"],
        fields=tuple(catalog["fields"]),
    )


def read_batch(answer: dict[str, Any]) -> tuple[ServiceAnswer | LogoSimilarityError, ...]:
    """The answers in a batch, or the error of an image."""
    common = {"catalog": answer["catalog"], "timings_ms": dict.fromkeys(STAGES, 0.0), "query_id": "", "cached": False}
    return tuple(
        error_of(one["code"], one["detail"]) if one["answer"] is None else read_search({**one["answer"], **common})
        for one in answer["searches"]
    )


def _read_hit(answer: dict[str, Any]) -> Hit:
    matched, others = answer["matched"], answer["others"]
    return Hit(
        score=answer["score"],
        cosine=answer["cosine"],
        logo=_logo(answer),
        copies=answer["copies"],
        expect=answer["expect"],
        matched=None if matched is None else Matched(tuple(matched["query_box"]), tuple(matched["hit_box"])),
        image_score=answer["image_score"],
        word_similarity=answer["word_similarity"],
        picture=answer["picture"],
        word_field=answer["word_field"],
        damage=answer["damage"],
        others=None if others is None else Others(others["count"], tuple(others["ids"])),
    )


def _logo(answer: dict[str, Any]) -> Logo:
    return Logo(NO_ROW, answer["id"], "", json.dumps(answer["metadata"], ensure_ascii=False))


def read_logo(answer: dict[str, Any]) -> ServiceLogo:
    """One logo."""
    return ServiceLogo(_logo(answer), answer["image_url"])


def read_page(answer: dict[str, Any]) -> ServicePage:
    """A page of logos."""
    return ServicePage(tuple(map(read_logo, answer["logos"])), answer["passed"], answer["next"])


def read_facets(answer: dict[str, Any]) -> Facets:
    """Counts by value."""
    counts = {
        name: tuple(ValueCount(one["value"], one["count"]) for one in values)
        for name, values in answer["facets"].items()
    }
    return Facets(answer["passed"], counts)


def read_catalog(answer: dict[str, Any]) -> ServiceCatalog:
    """The description of a catalog."""
    newest = answer["newest"]
    return ServiceCatalog(
        version=answer["version"],
        created=dt.datetime.fromisoformat(answer["created"]),
        newest=None if newest is None else dt.date.fromisoformat(newest),
        logos=answer["logos"],
        fields=tuple(field["name"] for field in answer["fields"]),
        encoder_id=answer["encoder"]["id"],
        encoder_sha256=answer["encoder"]["sha256"],
        engine=answer["engine"],
        description=answer,
    )


def read_explanation(answer: dict[str, Any]) -> Explanation:
    """An explanation."""

    def boxes(match: dict[str, Any]) -> tuple[Any, Any]:
        return tuple(match["query_box"]), tuple(match["hit_box"])

    return Explanation(
        _read_hit(answer["hit"]),
        tuple(RegionMatch(*boxes(match), match["cosine"]) for match in answer["regions"]),
        tuple(CellMatch(*boxes(match), match["strength"]) for match in answer["cells"]),
    )


def read_changed(answer: dict[str, Any]) -> ChangedLogo:
    """A logo after a change."""
    return ChangedLogo(_logo(answer), answer["image_url"], Outcome(answer["outcome"]))


def _read_watch(answer: dict[str, Any]) -> Watch:
    return Watch(
        id=answer["id"],
        owner=answer["owner"],
        created=dt.datetime.fromisoformat(answer["created"]),
        name=answer["name"],
        query={"parameters": answer["parameters"], "filter": answer["filter"]},
        pictures=answer["pictures"],
        marks=tuple(answer["marks"]),
        webhook=answer["webhook"],
        problem=answer["problem"],
        alerts=answer["alerts"],
    )


def read_added_watch(answer: dict[str, Any]) -> AddedWatch:
    """A new watch."""
    return AddedWatch(_read_watch(answer), answer["secret"])


def read_watches(answer: dict[str, Any]) -> WatchPage:
    """A page of watches."""
    return WatchPage(tuple(map(_read_watch, answer["watches"])), answer["next"])


def _read_alert(answer: dict[str, Any]) -> ServiceAlert:
    kind = Kind(answer["kind"])
    alert = Alert(
        id=answer["id"],
        watch=answer["watch"]["id"],
        watch_name=answer["watch"]["name"],
        kind=kind,
        logo_id=answer["logo_id"],
        at=dt.datetime.fromisoformat(answer["at"]),
        version=answer["catalog"],
        filename=None,
        detail={name: answer[name] for name in DETAILS[kind]},
    )
    return ServiceAlert(alert, answer["image_url"], answer["delivery"])


def read_alerts(answer: dict[str, Any]) -> AlertPage:
    """A page of alerts."""
    return AlertPage(tuple(map(_read_alert, answer["alerts"])), answer["next"])


def read_nothing(answer: object) -> None:
    """Nothing: the answer has no body."""
    if answer is not None:
        raise ValueError
