"""The project's vocabulary as frozen dataclasses. No I/O, no third-party imports."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from logo_similarity.errors import InvalidRequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One logo as a source tells of it, before it has a row in a catalog.

    A field that the source has but this record lacks is None (or an empty tuple). Which fields a source has at all is
    `Source.fields`.
    """

    logo_id: str
    """Public text id, unique in its source ("US-123456")."""
    filename: str
    """Name of the image, relative to the source's image folder, with "/" between parts; its key in the image store."""
    text: str | None = None
    """The words in the logo."""
    company: str | None = None
    vienna_codes: tuple[str, ...] = ()
    """Codes of the Vienna classification in padded form ("27.05.01"), sorted, without repeats."""
    nice_classes: tuple[int, ...] = ()
    """Nice classes, 1 to 45, sorted, without repeats."""
    status: str | None = None
    office: str | None = None
    """Code of the registering office ("EM", "US")."""
    application_date: dt.date | None = None
    year: int | None = None
    """Year of application: of `application_date` where there is one, else as the source says."""
    extra: Mapping[str, JsonValue] = field(default_factory=dict)
    """Every further column of the source, by name."""

    def metadata(self) -> dict[str, JsonValue]:
        """What the register says, ready for JSON: every field but the id and the filename; dates in ISO 8601."""
        return {
            "text": self.text,
            "company": self.company,
            "vienna_codes": list(self.vienna_codes),
            "nice_classes": list(self.nice_classes),
            "status": self.status,
            "office": self.office,
            "application_date": self.application_date.isoformat() if self.application_date else None,
            "year": self.year,
            "extra": dict(self.extra),
        }


def record_of(fields: Mapping[str, Any]) -> Record:
    """The record whose id, filename and `metadata()` these are, read from JSON."""
    applied = fields["application_date"]
    return Record(
        **{
            **fields,
            "vienna_codes": tuple(fields["vienna_codes"]),
            "nice_classes": tuple(fields["nice_classes"]),
            "application_date": None if applied is None else dt.date.fromisoformat(applied),
        }
    )


@dataclass(frozen=True, slots=True)
class Reject:
    """A row of a source that is not indexed."""

    where: str
    """Where it stands: file and position ("results.json[12]", "marks.csv:13")."""
    reason: str
    """Why, for a person."""


class Logo(NamedTuple):
    """One record of a catalog: its row there (= its FAISS id), its public id, its image and what the register says."""

    id: int
    logo_id: str
    filename: str
    metadata_json: str
    """`Record.metadata()` as JSON: what an answer over HTTP holds as it is. `record` reads it."""

    @property
    def record(self) -> Record:
        """The record."""
        return record_of({"logo_id": self.logo_id, "filename": self.filename, **json.loads(self.metadata_json)})


class Hit(NamedTuple):
    """One result. Like `Logo` a tuple, since an answer has a hundred of them."""

    score: float
    """-1 to 1, 1 for an identical picture; hits are ordered by it. The cosine; or, re-ranked, the mean of the cosine and the
    agreement of patches, corrected for what all candidates have in common."""
    cosine: float
    """Between the query's and the logo's embedding, -1 to 1."""
    logo: Logo


def _parameter(default: Any, description: str, least: float | None = None, most: float | None = None) -> Any:  # noqa: ANN401 - as `dataclasses.field`
    """A field of `Query` that clients may set: HTTP, the command line and the documentation take it from here."""
    return field(default=default, metadata={"description": description, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search: the picture, and the parameters of the answer.

    Raises:
        InvalidRequestError: a parameter is out of its range.
    """

    image: bytes | NDArray[np.uint8]
    """The content of an image file, or (h, w, 3) uint8 RGB pixels."""
    top_k: int = _parameter(100, "Maximum number of results.", 1, 1000)
    min_score: float | None = _parameter(
        None,
        "Leave out results with a smaller `score`. No value keeps all right results and drops all wrong ones; 0.9 keeps most "
        "copies of a picture.",
        -1,
        1,
    )
    rerank: bool | None = _parameter(
        None, "Score the first candidates again by their parts. Default: yes, if the catalog can."
    )

    def __post_init__(self) -> None:
        for parameter in PARAMETERS:
            value = getattr(self, parameter.name)
            # NaN compares false, so it is out of every range.
            if value is not None and parameter.least is not None and not parameter.least <= value <= parameter.most:
                raise InvalidRequestError(
                    f"{parameter.name} is {value}; it must be from {parameter.least} to {parameter.most}"
                )


class Parameter(NamedTuple):
    """A parameter of a search, as `Query` declares it."""

    name: str
    type: type
    """int, float or bool."""
    default: Any
    """None: the parameter is optional and has no default value."""
    description: str
    least: Any
    """Smallest and largest value; None: any value is accepted."""
    most: Any


_TYPES = {"int": int, "float": float, "bool": bool}
PARAMETERS = tuple(
    Parameter(declared.name, _TYPES[str(declared.type).removesuffix(" | None")], declared.default, **declared.metadata)
    for declared in dataclasses.fields(Query)
    if declared.metadata
)
"""Every parameter of a search, in order."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds spent in each stage of one search."""

    decode: float
    preprocess: float
    embed: float
    search: float
    rerank: float
    metadata: float


STAGES = tuple(stage.name for stage in dataclasses.fields(Timings))


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first, the catalog version that answered, and the time of each stage."""

    hits: tuple[Hit, ...]
    reranked: bool
    version: str
    timings: Timings
