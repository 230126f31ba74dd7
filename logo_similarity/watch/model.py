"""Watches and their alerts. Pure values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from logo_similarity.domain import PARAMETERS, Query
from logo_similarity.errors import InvalidRequestError
from logo_similarity.field_kinds import JsonValue
from logo_similarity.fields import FIELDS, Record
from logo_similarity.filters import Filter

ANONYMOUS = "anonymous"
"""Owner of the watches of a service without API keys, and of those that the command line adds."""
DEFAULT_MAX_EXPECT = 1.0
LONGEST_NAME = 100
MOST_MARKS = 100
"""Maximum number of own marks of a watch."""
MOST_PICTURE_BYTES = 5_000_000
LONGEST_ADDRESS = 2_000
MONITORED = ("status", "office_status", "company", "applicant", "expiry_date")
"""The fields of a mark of which a change is an alert."""
_UNWATCHED = ("read_words", "propose")
"""Parameters that a watch cannot have: they add to an answer, or read from it what to search for."""

Values = Mapping[str, JsonValue]
"""The monitored fields of a mark, as JSON."""


class Kind(StrEnum):
    """What an alert reports."""

    SIMILAR = "similar"
    """A new or changed mark that resembles the watch."""
    CHANGED = "changed"
    """Another status, owner or expiry date of an own mark, or of one that was reported as similar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWatch:
    """A watch as its owner describes it.

    Raises:
        InvalidRequestError: a part of it is too long, or the query has parameters that a watch cannot have.
    """

    name: str
    query: Query
    """What is watched. Its pictures are the content of files. Pictures and words are searched for separately."""
    marks: tuple[str, ...] = ()
    """Ids of own marks, of which changes are reported. They are not reported as similar."""
    webhook: str | None = None
    """Address to which alerts are sent."""

    def __post_init__(self) -> None:
        if not (0 < len(self.name) <= LONGEST_NAME and self.name.isprintable()):
            raise InvalidRequestError(f"the name of a watch must have 1 to {LONGEST_NAME} printable characters")
        if len(self.marks) > MOST_MARKS:
            raise InvalidRequestError(f"the watch has {len(self.marks)} own marks; at most {MOST_MARKS} are accepted")
        if self.webhook is not None and len(self.webhook) > LONGEST_ADDRESS:
            raise InvalidRequestError(f"the address of the webhook is longer than {LONGEST_ADDRESS:,} characters")
        for name in _UNWATCHED:
            if getattr(self.query, name):
                raise InvalidRequestError(f"a watch cannot have the parameter {name}; leave it out")
        for picture in pictures_of(self.query):
            if len(picture) > MOST_PICTURE_BYTES:
                raise InvalidRequestError(
                    f"a picture of the watch has {len(picture):,} bytes; at most {MOST_PICTURE_BYTES:,} are accepted"
                )
        if self.query.max_expect is None:
            object.__setattr__(self, "query", replace(self.query, max_expect=DEFAULT_MAX_EXPECT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A watch that is stored."""

    id: str
    owner: str
    """Id of an API key, or ANONYMOUS."""
    created: dt.datetime
    name: str
    query: Mapping[str, Any]
    """As of `query_to_json`; `WatchStore.query` has it with its pictures."""
    pictures: int
    """Number of its pictures."""
    marks: tuple[str, ...]
    webhook: str | None
    problem: str | None
    """Why it could not be searched for in the last new version of the catalog; None: it could."""
    alerts: int
    """Number of its alerts."""

    def to_json(self) -> dict[str, Any]:
        """The watch in answers."""
        return {
            "id": self.id,
            "owner": self.owner,
            "name": self.name,
            "created": self.created.isoformat(timespec="seconds"),
            "pictures": self.pictures,
            **self.query,
            "marks": list(self.marks),
            "webhook": self.webhook,
            "alerts": self.alerts,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a run has to report to one watch."""

    watch: str
    kind: Kind
    logo_id: str
    key: str
    """A second event of the same watch, logo, kind and key is not reported: the digest of the image of a similar mark, the
    version of the catalog of a change."""
    filename: str | None
    """The image of the mark in the image store; None: the catalog no longer contains the mark."""
    detail: Mapping[str, Any]
    """JSON, see docs/watch.md."""
    values: Values | None
    """The monitored fields of the mark from now on; None: the catalog no longer contains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An event that is stored."""

    id: int
    watch: str
    watch_name: str
    kind: Kind
    logo_id: str
    at: dt.datetime
    version: str
    filename: str | None
    detail: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The alert in answers, feeds and webhooks."""
        return {
            "id": self.id,
            "watch": {"id": self.watch, "name": self.watch_name},
            "kind": self.kind.value,
            "logo_id": self.logo_id,
            "at": self.at.isoformat(timespec="seconds"),
            "catalog": self.version,
            **self.detail,
        }


def pictures_of(query: Query) -> tuple[bytes, ...]:
    """The image files of a query."""
    images = () if query.image is None else (query.image, *query.more_images)
    assert all(isinstance(image, bytes) for image in images)  # noqa: S101 - a watch has no arrays
    return tuple(image for image in images if isinstance(image, bytes))


def query_to_json(query: Query) -> dict[str, Any]:
    """A query without its pictures."""
    parameters = {
        parameter.name: value
        for parameter in PARAMETERS
        if (value := getattr(query, parameter.name)) != parameter.default
    }
    return {"parameters": parameters, "filter": None if query.filter is None else query.filter.to_json()}


def query_from_json(content: Mapping[str, Any], pictures: tuple[bytes, ...]) -> Query:
    """The query that `query_to_json` wrote.

    Raises:
        InvalidRequestError: this version of the software does not accept it.
    """
    types = {parameter.name: parameter.type for parameter in PARAMETERS}
    tree = content["filter"]
    try:
        parameters: dict[str, Any] = {name: types[name](value) for name, value in content["parameters"].items()}
    except (KeyError, ValueError) as error:
        raise InvalidRequestError(f"a parameter of the watch is no longer accepted: {error}; add it again") from None
    return Query(
        image=next(iter(pictures), None),
        more_images=pictures[1:],
        filter=None if tree is None else Filter.from_json(tree),
        **parameters,
    )


def values_of(record: Record) -> dict[str, JsonValue]:
    """The monitored fields of a mark."""
    return {field.name: field.kind.to_json(getattr(record, field.name)) for field in FIELDS if field.name in MONITORED}
