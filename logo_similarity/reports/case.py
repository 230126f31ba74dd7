"""A case: the record of one search and of what an examiner made of its hits, as a versioned JSON document.

The document comes from outside, from the page or from an archive: unknown keys are refused, and every size is bounded.
docs/reports.md describes the keys, and docs/case.schema.json is their JSON Schema.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from logo_similarity.description import Box
from logo_similarity.domain import MOST_OTHERS, PARAMETERS, Band
from logo_similarity.errors import CaseError, LogoSimilarityError
from logo_similarity.fields import FIELDS, Record
from logo_similarity.filters import Filter
from logo_similarity.image.formats import Format, recognise
from logo_similarity.wording import counted

VERSION: Literal[1] = 1
CASE_BYTES = 20_000_000
"""Maximum size of the document."""
PICTURE_BYTES = 5_000_000
THUMBNAIL_BYTES = 100_000
MOST_PICTURES = 8
MOST_HITS = 1000
QUERY_KEYS = ("logo_id", "crop", "invert", "greyscale")
"""Keys of the query itself: they say what is searched for, not how."""
LONGEST_NOTE = 10_000
LONGEST_NAME = 200
LONGEST_ID = 500


def _decode(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64: {error}") from None


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _check_picture(value: bytes, *, most: int) -> bytes:
    if len(value) > most:
        raise ValueError(f"has {counted(len(value), 'byte')}; at most {most:,} are accepted")
    try:
        image_format = recognise(value)
    except LogoSimilarityError as error:
        raise ValueError(str(error)) from None
    if image_format not in (Format.PNG, Format.JPEG):
        raise ValueError(f"is a {image_format.title} file; PNG and JPEG are accepted")
    return value


def _check_filter(tree: JsonValue) -> JsonValue:
    """The tree in canonical form."""
    try:
        return None if tree is None else Filter.from_json(tree).to_json()
    except LogoSimilarityError as error:
        raise ValueError(str(error)) from None


def _base64_schema(most: int) -> JsonDict:
    """The JSON Schema of at most `most` bytes."""
    return {"type": "string", "contentEncoding": "base64", "maxLength": 4 * ((most + 2) // 3)}


PictureFile = Annotated[
    bytes,
    BeforeValidator(_decode),
    AfterValidator(partial(_check_picture, most=PICTURE_BYTES)),
    PlainSerializer(_encode),
    WithJsonSchema(_base64_schema(PICTURE_BYTES)),
]
"""A PNG or JPEG file in base64."""
ThumbnailFile = Annotated[
    bytes,
    BeforeValidator(_decode),
    AfterValidator(partial(_check_picture, most=THUMBNAIL_BYTES)),
    PlainSerializer(_encode),
    WithJsonSchema(_base64_schema(THUMBNAIL_BYTES)),
]
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Note = Annotated[str, Field(max_length=LONGEST_NOTE)]
Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Similarity = Annotated[float, Field(ge=-1.01, le=1.01)]
"""With room for the rounding of float32."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Verdict(StrEnum):
    """What the examiner decided about a hit."""

    KEPT = "kept"
    DISMISSED = "dismissed"


class Picture(_Part):
    """A picture of the query."""

    data: PictureFile = Field(description="A PNG or JPEG file.")
    name: Name = Field("", description="Its file name, for the report.")
    complete: bool = Field(
        default=True,
        description="Whether `data` is the file that was searched for. False: a smaller copy of it; a repetition of the "
        "search may then find slightly different scores.",
    )


def _register_fields() -> dict[str, Any]:
    """The register fields, in the form that `create_model` expects."""
    types = get_type_hints(Record)
    return {field.name: (types[field.name], Field(field.kind.empty, description=field.description)) for field in FIELDS}


def _parameter_fields() -> dict[str, Any]:
    """The parameters of a search, in the form that `create_model` expects."""
    fields: dict[str, Any] = {}
    for parameter in PARAMETERS:
        if parameter.name in QUERY_KEYS:
            continue
        names = ("min_length", "max_length") if parameter.type is str else ("ge", "le")
        bounds = {name: value for name, value in zip(names, parameter[4:6], strict=True) if value is not None}
        fields[parameter.name] = (
            Annotated[parameter.type | None, Field(description=parameter.description, **bounds)],
            None,
        )
    return fields


class Parameters(create_model("ParameterFields", __base__=_Part, **_parameter_fields())):  # type: ignore[misc]
    """The parameters of the search by name, as in a request; null or absent: the default."""


class RegisterData(create_model("RegisterFields", __base__=_Part, **_register_fields())):  # type: ignore[misc]
    """The register data of a logo, as `metadata` in a response."""

    extra: Annotated[dict[str, JsonValue], Field(max_length=200)] = Field(default_factory=dict)


class CaseQuery(_Part):
    """The query of the search."""

    pictures: Annotated[tuple[Picture, ...], Field(max_length=MOST_PICTURES)] = ()
    logo_id: Id | None = Field(None, description="A logo of the catalog that was the query instead of a picture.")
    crop: Box | None = Field(
        None,
        description="The region that was searched for: left, top, right and bottom, as shares of the upright picture.",
    )
    invert: bool = False
    greyscale: bool = False
    filter: JsonValue = Field(
        None, description="The filter as one tree of conditions, the form of the parameter `filter`; null: none."
    )
    parameters: Parameters = Field(default_factory=Parameters)

    _checked = field_validator("filter")(_check_filter)

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not (self.pictures or self.logo_id or self.words):
            raise ValueError("has no picture, no logo_id and no words; a search needs one of them")
        return self

    @property
    def words(self) -> str | None:
        """The words that the examiner entered."""
        return getattr(self.parameters, "words", None)


class CaseCatalog(_Part):
    """The catalog version that answered."""

    version: Name
    logos: Count
    fields: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    built: AwareDatetime | None = Field(None, description="When it was built.")
    newest: dt.date | None = Field(None, description="The latest application date in it.")


class CaseEncoder(_Part):
    """The encoder of that version."""

    id: Name
    sha256: Sha256


class Searched(_Part):
    """What was searched, and how: the values of the response."""

    passed: Count | None = Field(None, description="Number of logos that pass the filter; null without a filter.")
    exact: bool | None = Field(None, description="Whether every one of them was compared; null: not known.")
    reranked: bool = False
    parts: bool = False
    words: Name | None = Field(None, description="The words that were searched for, given or read in the picture.")


class CaseMatched(_Part):
    """The regions that matched."""

    query_box: Box
    hit_box: Box


class CaseOthers(_Part):
    """The further hits in the group of a hit."""

    count: Count
    ids: Annotated[tuple[Id, ...], Field(max_length=MOST_OTHERS)] = ()


class CaseHit(_Part):
    """One hit, as in the response, with the examiner's verdict and note."""

    id: Id
    score: Similarity
    cosine: Similarity | None = None
    copies: Count = 0
    expect: Annotated[float, Field(ge=0)] | None = None
    band: Band | None = None
    matched: CaseMatched | None = None
    image_score: Similarity | None = None
    word_similarity: Share | None = None
    word_field: Name | None = None
    others: CaseOthers | None = Field(
        None, description="The further hits in its group; null: the hits are not grouped."
    )
    metadata: RegisterData = Field(default_factory=RegisterData)
    thumbnail: ThumbnailFile | None = Field(None, description="A small copy of its image, as a PNG or JPEG file.")
    verdict: Verdict | None = Field(None, description="Null: not reviewed.")
    note: Note = ""


class Case(_Part):
    """The whole document."""

    case: Literal[1] = Field(description="Version of this form.")
    title: Name = ""
    reference: Name = Field("", description="The examiner's own file number.")
    author: Name = ""
    note: Note = ""
    searched_at: AwareDatetime = Field(description="When the search was made.")
    engine: Name = Field(description="Version of the software that searched, as `GET /v1/catalog` names it.")
    catalog: CaseCatalog
    encoder: CaseEncoder | None = None
    query: CaseQuery
    searched: Searched = Field(default_factory=Searched)
    hits: Annotated[tuple[CaseHit, ...], Field(max_length=MOST_HITS)] = Field(
        description="Every hit of the response in its order, the dismissed ones included: the list as it was seen."
    )

    @model_validator(mode="after")
    def _no_hit_twice(self) -> Self:
        ids = [hit.id for hit in self.hits]
        if len(set(ids)) < len(ids):
            twice = next(one for place, one in enumerate(ids) if one in ids[:place])
            raise ValueError(f"the hit {twice!r:.60} is listed twice")
        return self

    @classmethod
    def from_json(cls, content: bytes) -> Case:
        """The case in a JSON document.

        Raises:
            CaseError: the document is too large, is not JSON, or is not a case; the message names the key.
        """
        if len(content) > CASE_BYTES:
            raise CaseError(f"the case has {counted(len(content), 'byte')}; at most {CASE_BYTES:,} are accepted")
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise CaseError(_explain(error)) from None
        except RecursionError:
            raise CaseError("the case is nested too deeply") from None

    def to_json(self) -> bytes:
        """The document, which `from_json` reads."""
        return self.model_dump_json(indent=1).encode()


def _explain(error: ValidationError) -> str:
    """The key and its fault, without the value, which may be a whole picture."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = ".".join(map(str, first["loc"]))
    unknown = first["type"] == "extra_forbidden"
    message = "is not a key of a case" if unknown else first["msg"].removeprefix("Value error, ")
    return f"the case is not valid: {key}: {message}" if key else f"the case is not valid: {message}"
