"""The JSON of requests and responses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model
from pydantic.config import JsonDict

from logo_similarity.api.errors import MEDIA_TYPE
from logo_similarity.description import Description
from logo_similarity.domain import MOST_OTHERS, STAGES, Band, Hit, Outcome, SearchResult, ValueShare
from logo_similarity.fields import FIELDS, Record
from logo_similarity.image.formats import ACCEPTED

IMAGE_URL = "Signed, short-lived URL. Null if no image store is configured."
EXAMPLE_HIT: JsonDict = {
    "score": 0.9895,
    "cosine": 0.981,
    "copies": 0,
    "expect": 2.1e-9,
    "band": "near-identical",
    "matched": {"query_box": [0, 0, 1, 1], "hit_box": [0.04, 0.2, 0.37, 0.8]},
    "picture": 0,
    "image_score": 0.985,
    "word_similarity": 1.0,
    "word_field": "text",
    "others": {"count": 2, "ids": ["US-123457", "US-123460"]},
    "damage": "the JPEG file is cut off; 80% of its pixels are readable",
    "id": "US-123456",
    "image_url": "http://minio.example:9000/l3d/images/abc.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=300&...",
    "metadata": {**{field.name: field.kind.to_json(field.example) for field in FIELDS}, "extra": {}},
}
EXAMPLE_SEARCH: JsonDict = {
    "query_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "results": [EXAMPLE_HIT],
    "reranked": True,
    "parts": True,
    "words": "example",
    "exact": True,
    "passed": 1204,
    "pictures": [
        {
            "box": [0, 0, 1, 1], "content": [0.05, 0.1, 0.95, 0.9],
            "parts": [[0.05, 0.1, 0.3, 0.9], [0.4, 0.3, 0.95, 0.7]],
        }
    ],
    "proposed": {"vienna_codes": [{"value": "26.01.01", "share": 0.4}]},
    "next": "eyJ2ZXJzaW9uIjoiMjAyNjEx...",
    "cached": False,
    "catalog": {"version": "20261123T100000Z-1f3a9c2e", "logos": 769674, "fields": ["text", "vienna_codes", "year"]},
    "timings_ms": {
        "queue": 0.05, "decode": 0.9, "preprocess": 0.2, "embed": 1.5, "parts": 3.4, "search": 1.6, "rerank": 2.1,
        "metadata": 0.6, "links": 0.7,
    },
}  # fmt: skip
EXAMPLE_PROBLEM: JsonDict = {
    "type": "about:blank",
    "status": 415,
    "code": "image_format_unsupported",
    "title": "Unsupported image format",
    "detail": f"Photoshop is not among the accepted formats: {ACCEPTED}",
}


def _register_fields() -> dict[str, Any]:
    """The register fields, in the form that `create_model` expects."""
    types = get_type_hints(Record)
    return {field.name: (types[field.name], Field(description=field.description)) for field in FIELDS}


class Metadata(create_model("RegisterFields", **_register_fields())):  # type: ignore[misc]
    """Register data of a logo. The source has no values for fields that are not listed in `catalog.fields`."""

    extra: Annotated[dict[str, JsonValue], Field(description="All other columns of the source.")]


class LogoOut(BaseModel):
    """One logo of the catalog."""

    id: Annotated[str, Field(description="The logo's public id.")]
    image_url: Annotated[str | None, Field(description=IMAGE_URL)]
    metadata: Metadata


class ChangedLogoOut(LogoOut):
    """A logo after a change. Searches see it within two seconds."""

    outcome: Annotated[
        Outcome,
        Field(
            description="`created` or `changed`; `unchanged` if the change says nothing new, or is older than what is "
            "known of the logo."
        ),
    ]


class LogosOut(BaseModel):
    """Logos that pass a filter, in the order of the catalog."""

    logos: list[LogoOut]
    passed: Annotated[int, Field(description="Number of logos that pass the filter, on all pages.")]
    next: Annotated[str | None, Field(description="`cursor` of the next page. Null on the last page.")]


class ValueCountOut(BaseModel):
    """A value of a field, and the number of logos that have it."""

    value: JsonValue
    count: int


BoxOut = tuple[float, float, float, float]


class MatchedOut(BaseModel):
    """The regions that made a logo a hit. A box is left, top, right and bottom, as shares of width and height."""

    query_box: BoxOut
    hit_box: BoxOut


class OthersOut(BaseModel):
    """The further results in the group of a result."""

    count: int
    ids: Annotated[list[str], Field(description=f"Their ids, best first; at most {MOST_OTHERS}.")]


class HitOut(BaseModel):
    """One result."""

    score: Annotated[
        float,
        Field(
            description="Similarity of the whole images, -1 to 1; 1 means the same image. It is not a probability: every "
            "search has a best hit, and among tens of thousands of logos even noise reaches about 0.8. Without re-ranking "
            "it is the cosine. If `reranked`, it is the mean of the cosine and the agreement of the cells of the images, "
            "minus the part common to all candidates, so it also depends on the catalog. With `words` it is the mean of "
            "`image_score` and `word_similarity`, with `word_weight`, and results are sorted by it; without an image, it is "
            "the latter."
        ),
    ]
    cosine: Annotated[
        float | None,
        Field(
            description="Cosine of the two embeddings, -1 to 1. It depends only on the images and the encoder, so it "
            "is comparable between responses. Null if no image was sent."
        ),
    ]
    copies: Annotated[
        int,
        Field(
            description="Number of other logos of the catalog with exactly this image. At most `max_identical` logos "
            "with one image are among the results, next to each other."
        ),
    ]
    expect: Annotated[
        float | None,
        Field(
            description="Number of unrelated logos that this catalog shows by chance with as much evidence as there is "
            "for this hit; results are sorted by it, unless there are `words`. Below 0.1 a hit is surprising, at 10 it "
            "is not. Null without an image, or if the catalog has fewer than 60 logos; the results are then sorted by "
            "`score`."
        ),
    ]
    band: Annotated[
        Band | None,
        Field(
            description="How strong the hit is: a `score` of at least 0.95 is near-identical; otherwise an `expect` of at "
            "most 0.01 is strong, of at most 1 possible, and any other weak. Null if neither is known."
        ),
    ]
    matched: Annotated[
        MatchedOut | None,
        Field(description="The regions that matched, if a part of an image did. Null if the whole images matched."),
    ]
    picture: Annotated[int, Field(description="Which picture of the query matched, from 0.")]
    image_score: Annotated[
        float | None,
        Field(
            description="The part of the image in `score`: the score of the whole images, or if `matched` has parts, the "
            "score that would be as surprising as they are. Null if the search has no words or no image."
        ),
    ]
    word_similarity: Annotated[
        float | None,
        Field(
            description="Similarity of the words, 0 to 1; 1 means the same letters and digits. Null if the search or the "
            "logo has no words."
        ),
    ]
    word_field: Annotated[
        str | None,
        Field(
            description="Field with these words: `text`, `company`, or `image` if they were read in it. Null like "
            "`word_similarity`."
        ),
    ]
    others: Annotated[
        OthersOut | None,
        Field(description="The further results in the group of this one, among the best 1,000. Null without `group`."),
    ]
    damage: Annotated[
        str | None,
        Field(
            description="Why only a part of the logo's image was readable and is compared. Null: nothing is known to be "
            "wrong."
        ),
    ]
    id: Annotated[str, Field(description="The logo's public id.")]
    image_url: Annotated[str | None, Field(description=IMAGE_URL)]
    metadata: Metadata


class RegionOut(MatchedOut):
    """A region of the image, whole or part, and one of the logo that resembles it."""

    cosine: Annotated[float, Field(description="Cosine of their embeddings, -1 to 1.")]


class CellOut(MatchedOut):
    """A cell of the image's content, and the cell of the logo that matches it."""

    strength: Annotated[float, Field(description="Share of the cell's content that the other one repeats, 0 to 1.")]


class ExplanationOut(BaseModel):
    """Why a logo resembles an image."""

    hit: Annotated[HitOut, Field(description="As in the results of a search, even if the logo is not among them.")]
    regions: Annotated[list[RegionOut], Field(description="Regions that resemble each other, nearest first.")]
    cells: Annotated[
        list[CellOut],
        Field(
            description="Cells of the whole images that match each other, strongest first; empty without re-ranking."
        ),
    ]


class CatalogOut(BaseModel):
    """The catalog version that was searched."""

    version: str
    logos: Annotated[int, Field(description="Number of logos in the catalog.")]
    fields: Annotated[tuple[str, ...], Field(description="Names of the metadata fields in its source.")]


class FacetsOut(BaseModel):
    """How many of the logos that pass a filter have each value of some fields."""

    passed: Annotated[int, Field(description="Number of logos that pass the filter.")]
    facets: Annotated[
        dict[str, list[ValueCountOut]],
        Field(
            description="For each field its most frequent values. A code counts the logos with the code or one below it."
        ),
    ]
    catalog: CatalogOut


class FieldOut(BaseModel):
    """A register field of the catalog, or a facet of its source."""

    name: Annotated[
        str,
        Field(
            description="Its name in `metadata` and in a filter as JSON. `extra.colour`: a facet, in `metadata.extra`."
        ),
    ]
    parameter: Annotated[str, Field(description="The parameter that filters by it.")]
    description: str
    kind: Annotated[str, Field(description="Kind of its values, e.g. Codes or Date.")]
    operators: Annotated[list[str], Field(description="Its operators in a filter as JSON.")]
    facet: Annotated[bool, Field(description="Whether `/v1/facets` counts its values.")]


class EncoderOut(BaseModel):
    """The encoder that computed the embeddings."""

    id: str
    sha256: str


class CatalogDetailsOut(BaseModel):
    """What the service can search, and how."""

    version: str
    created: Annotated[dt.datetime, Field(description="When the catalog was built.")]
    newest: Annotated[dt.date | None, Field(description="Latest `application_date` of its logos. Null: not known.")]
    logos: Annotated[int, Field(description="Number of logos.")]
    fields: list[FieldOut]
    reranks: Annotated[bool, Field(description="Whether searches can be re-ranked.")]
    parts: Annotated[bool, Field(description="Whether parts of images can be compared.")]
    words: Annotated[bool, Field(description="Whether words can be searched for.")]
    reads_words: Annotated[bool, Field(description="Whether the words in an image can be read.")]
    encoder: EncoderOut
    engine: Annotated[str, Field(description="Version of this software.")]
    accepts: Annotated[str, Field(description="Accepted image formats.")]
    max_upload_bytes: Annotated[int, Field(description="Maximum size of a request body, in bytes.")]
    record_url: Annotated[
        str | None,
        Field(description="Address of a logo's record at its office, with `{id}` and `{office}` in it. Null: not set."),
    ]


if TYPE_CHECKING:
    TimingsOut = BaseModel
else:
    TimingsOut = create_model(
        "TimingsOut",
        __doc__="Milliseconds per stage.",
        **dict.fromkeys(("queue", *STAGES, "links"), (float, ...)),
    )


class ValueShareOut(BaseModel):
    """A value of a field, and the share of the logos with a value in this field that have it."""

    value: JsonValue
    share: float


class PictureOut(BaseModel):
    """What was compared of a picture. A box is left, top, right and bottom, as shares of its width and height."""

    box: Annotated[BoxOut, Field(description="The crop; the whole picture without one.")]
    content: Annotated[BoxOut | None, Field(description="The mark without the margin around it. Null: not known.")]
    parts: Annotated[list[BoxOut], Field(description="The parts of the mark; none if it is one piece.")]
    damage: Annotated[
        str | None,
        Field(
            description="Why only a part of the image was readable and searched for. Null: nothing is known to be wrong."
        ),
    ] = None
    turned: Annotated[
        int,
        Field(description="By how many degrees clockwise the image was turned: 0, and with `turned` 90, 180 or 270."),
    ] = 0
    completed: Annotated[
        bool, Field(description="With `part_of_mark`, whether this picture is compared by what logos repeat of it.")
    ] = False


class SearchAnswer(BaseModel):
    """What a search found, best hit first."""

    results: list[HitOut]
    reranked: bool
    parts: Annotated[bool, Field(description="Whether parts of the images were compared, too.")]
    words: Annotated[
        str | None,
        Field(description="The words that were searched for: `words`, or those read in the image. Null: none."),
    ]
    exact: Annotated[
        bool,
        Field(
            description="Whether the query was compared with every logo that may be a result. If not, a graph search found "
            "the candidates."
        ),
    ]
    passed: Annotated[int | None, Field(description="Number of logos that pass the filter. Null without a filter.")]
    pictures: Annotated[list[PictureOut], Field(description="What was compared of each picture of the query.")]
    proposed: Annotated[
        dict[str, list[ValueShareOut]] | None,
        Field(
            description="For each field of codes those that the first 30 results have most often. Null without `propose`."
        ),
    ]
    next: Annotated[
        str | None,
        Field(description="`cursor` of the next page, valid for this catalog version. Null on the last page."),
    ]


class SearchResponse(SearchAnswer):
    """The response to a search, best hit first."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_SEARCH]})

    query_id: str
    cached: Annotated[
        bool, Field(description="Whether the results come from an earlier search with the same image and parameters.")
    ]
    catalog: CatalogOut
    timings_ms: TimingsOut


class BatchEntry(BaseModel):
    """The search for one image."""

    name: Annotated[str | None, Field(description="File name of the image.")]
    code: Annotated[str | None, Field(description="Error code if the image has no results.")]
    detail: Annotated[str | None, Field(description="Why it has none.")]
    answer: SearchAnswer | None


class BatchResponse(BaseModel):
    """The searches for several images, in the order of the request."""

    searches: list[BatchEntry]
    catalog: CatalogOut


class Problem(BaseModel):
    """An error response (RFC 9457)."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PROBLEM]})

    type: str
    status: int
    code: Annotated[str, Field(description="Stable error code for programs.")]
    title: str
    detail: str | None = None
    errors: list[dict[str, str]] | None = None


class KeyOut(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    role: str
    state: Annotated[str, Field(description="active, expired or revoked.")]
    created: dt.datetime
    expires: dt.datetime | None
    revoked: dt.datetime | None
    rate: Annotated[str | None, Field(description="Request rate limit; null: unlimited.")]
    quota: Annotated[int | None, Field(description="Requests per day (UTC); null: unlimited.")]
    requests_today: Annotated[
        int | None, Field(description="Requests admitted on this machine since 00:00 UTC; null: unknown.")
    ]


class KeysOut(BaseModel):
    """All keys in LOGO_KEYS."""

    keys: list[KeyOut]


class WatchOut(BaseModel):
    """A watch, without its pictures."""

    id: str
    owner: Annotated[str, Field(description="Id of the API key that it belongs to, or `anonymous`.")]
    name: str
    created: dt.datetime
    pictures: Annotated[int, Field(description="Number of its pictures.")]
    parameters: Annotated[dict[str, JsonValue], Field(description="Parameters of its search other than the defaults.")]
    filter: JsonValue
    marks: Annotated[list[str], Field(description="Ids of own marks, of which changes are reported.")]
    webhook: str | None
    alerts: Annotated[int, Field(description="Number of its alerts.")]
    problem: Annotated[
        str | None,
        Field(description="Why it could not be searched for in the last new version of the catalog. Null: it could."),
    ]


class WatchesOut(BaseModel):
    """Watches, oldest first."""

    watches: list[WatchOut]
    next: Annotated[str | None, Field(description="`cursor` of the next page. Null on the last page.")]


class NewWatchOut(WatchOut):
    """A watch that was just added."""

    secret: Annotated[
        str | None, Field(description="With which requests to the webhook are signed. It is not shown again.")
    ]


class AlertWatchOut(BaseModel):
    """The watch of an alert."""

    id: str
    name: str


class AlertOut(BaseModel):
    """An alert. `similar` has `reason` and the evidence, `changed` has `own`, `before` and `after`."""

    id: int
    watch: AlertWatchOut
    kind: Annotated[str, Field(description="`similar` or `changed`.")]
    logo_id: str
    at: dt.datetime
    catalog: Annotated[str, Field(description="The version of the catalog in which it was found.")]
    reason: Annotated[str | None, Field(description="`new`, or `changed`: the register data or the image.")] = None
    score: float | None = None
    expect: float | None = None
    band: Band | None = None
    picture: Annotated[int | None, Field(description="Which picture of the watch it resembles, from 0.")] = None
    word_similarity: float | None = None
    word_field: str | None = None
    own: Annotated[
        bool | None, Field(description="Whether it is an own mark, or one that was reported as similar.")
    ] = None
    before: Annotated[
        dict[str, JsonValue] | None, Field(description="The monitored fields. Null: it was not in the catalog.")
    ] = None
    after: Annotated[
        dict[str, JsonValue] | None, Field(description="The monitored fields. Null: it is not in the catalog.")
    ] = None
    metadata: Annotated[
        dict[str, JsonValue] | None,
        Field(description="The register data at that time. Null: it was not in the catalog."),
    ]
    image_url: Annotated[str | None, Field(description=IMAGE_URL)]
    delivery: Annotated[
        str | None, Field(description="`pending`, `delivered` or `failed`. Null: the watch has no webhook.")
    ]


class AlertsOut(BaseModel):
    """Alerts, newest first."""

    alerts: list[AlertOut]
    next: Annotated[str | None, Field(description="`cursor` of the next page. Null on the last page.")]


class FeedOut(BaseModel):
    """A new feed."""

    url: Annotated[str, Field(description="Its address, which is a secret.")]


class ClassificationOut(BaseModel):
    """The names of a classification's codes."""

    scheme: str
    source: Annotated[
        str,
        Field(
            description="`built-in`: short names in this project's own words, for Vienna codes only of the categories; "
            "`file`: the official list in LOGO_VIENNA_NAMES."
        ),
    ]
    codes: Annotated[
        dict[str, str],
        Field(description="Names by code. A code that is not listed has the name of the nearest code above it."),
    ]


class Health(BaseModel):
    """State of the process."""

    status: str


class Readiness(BaseModel):
    """State of the service in this worker."""

    status: str
    catalog: CatalogOut
    encoder: str
    device: str


def hit_json(hit: Hit, image_url: str | None) -> dict[str, object]:
    """A HitOut as a dictionary for orjson."""
    return {
        **hit.evidence(),
        "id": hit.logo.logo_id,
        "image_url": image_url,
        "metadata": orjson.Fragment(hit.logo.metadata_json),
    }


def picture_json(picture: Description) -> dict[str, object]:
    """A PictureOut as a dictionary for orjson."""
    return {
        "box": picture.box,
        "content": None if picture.place is None else picture.place[:4],
        "parts": [] if picture.parts is None else picture.parts.boxes.tolist(),
        "damage": picture.damage,
        "turned": picture.turned,
        "completed": picture.completed,
    }


def shares_json(proposed: Mapping[str, Sequence[ValueShare]]) -> dict[str, object]:
    """Values with their shares as a dictionary for orjson."""
    return {name: [share._asdict() for share in shares] for name, shares in proposed.items()}


def timings_of(result: SearchResult, *, queue: float, links: float) -> dict[str, float]:
    """The content of a TimingsOut: all stages, in milliseconds rounded to microseconds."""
    stages = {"queue": queue, **asdict(result.timings), "links": links}
    return {stage: round(milliseconds, 3) for stage, milliseconds in stages.items()}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of error responses with these statuses."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"model": Problem, "content": {MEDIA_TYPE: schema}} for status in statuses}
