"""The project's vocabulary as frozen dataclasses. No I/O, no third-party imports."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from logo_similarity.description import TURNS, Box, Description
from logo_similarity.errors import InvalidRequestError
from logo_similarity.field_kinds import JsonValue
from logo_similarity.fields import Record
from logo_similarity.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Image = bytes | NDArray[np.uint8]
    """The content of an image file, or (h, w, 3) uint8 RGB pixels."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row of a source that is not indexed."""

    where: str
    """Its position in the source, as `Record.where`."""
    reason: str
    """Why, for a person."""
    logo_id: str | None = None
    """Its id; None: not known."""
    filename: str | None = None
    """Its image; None: not known."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A logo that a source deletes: earlier records of it are not indexed."""

    logo_id: str
    where: str
    """The position of the row in the source, as `Record.where`."""
    transaction_date: dt.date | None = None
    """Date of the deletion; None: it is later than every row before it."""


class _LogoRow(NamedTuple):
    id: int
    """Its row in the catalog."""
    logo_id: str
    """Its public id."""
    filename: str
    """Its image in the image store."""
    metadata_json: str
    """`Record.metadata()` as JSON: an answer over HTTP contains it as it is."""


class Logo(_LogoRow):
    """One record of a catalog, as its row in `metadata.db`. A tuple, since a search creates a hundred of them."""

    @cached_property
    def record(self) -> Record:
        """The record, parsed when it is first read.

        Raises:
            KeyError, TypeError, ValueError: the metadata is damaged.
        """
        return Record.from_json({"logo_id": self.logo_id, "filename": self.filename, **json.loads(self.metadata_json)})


class Matched(NamedTuple):
    """The regions of the query and of a logo that made it a hit; at least one is a part of its picture."""

    query_box: Box
    hit_box: Box


class Band(StrEnum):
    """How strong a hit is, for people. The precision of each is measured by `evaluate`."""

    NEAR_IDENTICAL = "near-identical"
    """A score of `NEAR_IDENTICAL_SCORE` or more: most likely the same drawing."""
    STRONG = "strong"
    """At most `STRONG_EXPECT` unrelated logos are expected."""
    POSSIBLE = "possible"
    """At most `POSSIBLE_EXPECT`."""
    WEAK = "weak"
    """More: chance explains it."""


MOST_IMAGES = 4
"""Maximum number of images of a query."""
MOST_LOOKS = len(TURNS) + 1
"""Maximum number of pictures that one image of a query stands for: it may be turned, and completed."""
MOST_SHOWN = 1000
"""Maximum number of results on all pages of a search, and of hits that are put into groups."""
MOST_OTHERS = 100
"""Maximum number of further hits that are named for each group."""
NEAR_IDENTICAL_SCORE = 0.95
STRONG_EXPECT, POSSIBLE_EXPECT = 0.01, 1.0


def band_of(score: float, expect: float | None) -> Band | None:
    """The band of a hit; None: the catalog has too few logos to tell."""
    if score >= NEAR_IDENTICAL_SCORE:
        return Band.NEAR_IDENTICAL
    if expect is None:
        return None
    if expect <= STRONG_EXPECT:
        return Band.STRONG
    return Band.POSSIBLE if expect <= POSSIBLE_EXPECT else Band.WEAK


@dataclass(frozen=True, slots=True)
class Others:
    """The further hits in the group of a hit."""

    count: int
    ids: tuple[str, ...]
    """Public ids of the best of them, at most `MOST_OTHERS`."""


class Hit(NamedTuple):
    """One result. Like `Logo` a tuple, since an answer has a hundred of them."""

    score: float
    """Of the whole pictures, -1 to 1, 1 for an identical one. Without re-ranking it is the cosine;
    with it, the mean of the cosine and the agreement of patches, minus the part common to all candidates.
    If the query has words, it is the mean of `image_score` and `word_similarity`, or the latter; hits are ordered by it."""
    cosine: float | None
    """Between the query's and the logo's embedding, -1 to 1; None if the query has no image."""
    logo: Logo
    copies: int
    """Number of other logos of the catalog with exactly this image; under a filter, of the logos that pass it."""
    expect: float | None = None
    """Number of unrelated logos that this catalog shows by chance with as much evidence; None: it has too few logos to
    tell, or the query has no image. Hits are ordered by it if the query has no words."""
    matched: Matched | None = None
    """The regions that matched; None: the whole pictures did."""
    picture: int = 0
    """Which picture of the query matched, from 0."""
    image_score: float | None = None
    """The part of the image in the score of a query with words, -1 to 1: the score of the whole pictures, or if a part is
    more surprising, the score that would be as surprising. None if the query has no words or no image."""
    word_similarity: float | None = None
    """Similarity of the words, 0 to 1, 1 for the same letters; None if the query or the logo has no words."""
    word_field: str | None = None
    """Where these words are: "text", "company", or "image" if a build read them in it; None as `word_similarity`."""
    others: Others | None = None
    """The further hits in the group of which this is the best; None: the hits are not grouped."""
    damage: str | None = None
    """What is wrong with the file of the logo's image, of which only a part was readable; None: nothing is known to be."""

    @property
    def band(self) -> Band | None:
        """How strong the evidence of the image is; None: there is no image, or the catalog has too few logos to tell."""
        has_words = self.image_score is not None or self.word_similarity is not None
        score = self.image_score if has_words else self.score
        return None if score is None else band_of(score, self.expect)

    def evidence(self) -> dict[str, object]:
        """Everything but the logo, as an object for JSON."""
        return {
            "score": self.score,
            "cosine": self.cosine,
            "copies": self.copies,
            "expect": self.expect,
            "band": self.band,
            "matched": None if self.matched is None else self.matched._asdict(),
            "picture": self.picture,
            "image_score": self.image_score,
            "word_similarity": self.word_similarity,
            "word_field": self.word_field,
            "others": None if self.others is None else dataclasses.asdict(self.others),
            "damage": self.damage,
        }


class PartsMode(StrEnum):
    """Whether a search compares parts of images."""

    AUTO = "auto"
    OFF = "off"
    ONLY = "only"


class Group(StrEnum):
    """Which hits of a search are put into one group."""

    NONE = "none"
    PICTURE = "picture"
    COMPANY = "company"


class CellMatch(NamedTuple):
    """A cell of the query's content, and the cell of a logo that matches it."""

    query_box: Box
    hit_box: Box
    strength: float
    """Share of the cell's content that the other cell repeats, 0 to 1."""


class RegionMatch(NamedTuple):
    """A region of the query, whole or part, and one of a logo; at least one is a part."""

    query_box: Box
    hit_box: Box
    cosine: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a logo is a hit of a query, or is none."""

    hit: Hit
    """As a search returns it, even if it is not among the hits of one."""
    regions: tuple[RegionMatch, ...]
    """Regions that resemble each other, the nearest first."""
    cells: tuple[CellMatch, ...]
    """Cells of the whole pictures that match each other, the strongest first; empty without patches."""


class ValueCount(NamedTuple):
    """A value of a register field, and the number of logos that have it."""

    value: JsonValue
    logos: int


class ValueShare(NamedTuple):
    """A value of a register field, and the share of some logos that have it."""

    value: JsonValue
    share: float


@dataclass(frozen=True, slots=True)
class Facets:
    """How many of the logos that pass a filter have each value of some fields."""

    passed: int
    """Number of logos that pass."""
    counts: Mapping[str, tuple[ValueCount, ...]]
    """For each field its most frequent values."""


@dataclass(frozen=True, slots=True)
class LogoPage:
    """Logos that pass a filter, in the order of the catalog."""

    logos: tuple[Logo, ...]
    passed: int
    """Number of logos that pass, on all pages."""
    next_row: int | None
    """Where the next page starts; None: this is the last one."""


def _parameter(default: Any, description: str, least: float | None = None, most: float | None = None) -> Any:  # noqa: ANN401 - as `dataclasses.field`
    """A field of `Query` that clients may set: HTTP, the command line and the documentation take it from here.

    The bounds of a text are those of its length.
    """
    return field(default=default, metadata={"description": description, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search: images or a logo or words, or words with one of the others; a filter, and the parameters of the answer.

    Raises:
        InvalidRequestError: there is nothing to search for, or too much, or a parameter is out of its range.
    """

    image: Image | None = None
    """The picture to search for."""
    more_images: tuple[Image, ...] = ()
    """Further pictures of the same mark. For each logo, the picture that it resembles most counts."""
    described: tuple[Description, ...] = ()
    """Pictures that an earlier search described, instead of images: those of the query of a further page."""
    shown: tuple[int, ...] = ()
    """Rows of logos that are left out: those on earlier pages. With `group`, so are the others of their groups."""
    left_out: tuple[int, ...] = ()
    """Rows of logos that are left out of every page: that of the logo that the first page searched for."""
    filter: Filter | None = None
    """Only logos that pass it are searched; None: all logos."""
    rows: tuple[int, ...] | None = None
    """Only the logos of these rows are searched, those that pass the filter; None: all. Scores and expected numbers are
    those of a search of the whole catalog."""
    logo_id: str | None = _parameter(
        None, "A logo of the catalog to search for, instead of an image. It is not among the results.", 1, 500
    )
    crop: str | None = _parameter(
        None,
        "Search for a region of the image only: its left, top, right and bottom as shares of the upright image's width and "
        "height, for example `0,0,0.5,1` for the left half.",
        7,
        100,
    )
    invert: bool = _parameter(
        False,  # noqa: FBT003 - a default
        "Invert the colours of the image, for a mark that is registered white on black.",
    )
    greyscale: bool = _parameter(
        False,  # noqa: FBT003 - a default
        "Ignore the colours of the image.",
    )
    turned: bool = _parameter(
        False,  # noqa: FBT003 - a default
        "Search for the image as it looks when turned by 90, 180 and 270 degrees, too. It takes three more runs of the encoder.",
    )
    part_of_mark: bool = _parameter(
        False,  # noqa: FBT003 - a default
        "The image shows only a part of the mark: also find logos that contain it and show more. It takes another run of the "
        "encoder and ten times as many comparisons.",
    )
    top_k: int = _parameter(100, "Maximum number of results.", 1, 1000)
    max_identical: int = _parameter(
        10, "Maximum number of results with exactly the same image. `copies` of a result counts all others.", 1, 1000
    )
    min_score: float | None = _parameter(
        None,
        "Leave out results with a smaller `score`. No threshold separates right results from wrong ones; 0.9 keeps most "
        "copies of an image.",
        -1,
        1,
    )
    rerank: bool | None = _parameter(
        None, "Compare the best candidates again, cell by cell. Default: yes, if the catalog supports it."
    )
    parts: PartsMode = _parameter(  # noqa: RUF009 - a dataclass field, as the others
        PartsMode.AUTO,
        "Compare parts, too: figures and words of a composite mark, and what stands in a frame. `auto`: whole images and "
        "parts, if the catalog supports it; `off`: whole images only; `only`: no comparison of whole with whole.",
    )
    group: Group = _parameter(  # noqa: RUF009 - a dataclass field, as the others
        Group.NONE,
        "Show one result for each group of the best 1,000, the best, and name the others of its group in `others`. `picture`: "
        "results that show the same picture, be it in another size or colour; `company`: results with the same `company`.",
    )
    max_expect: float | None = _parameter(
        None,
        "Leave out results with a larger `expect`: with 1, about one unrelated logo remains in each answer.",
        0,
        1e9,
    )
    words: str | None = _parameter(
        None,
        "Words to look for in `text` and `company`, also in other spellings: alone, or with an image.",
        1,
        200,
    )
    read_words: bool = _parameter(
        False,  # noqa: FBT003 - a default
        "Read the words in the image, and search for them, too, unless `words` are given.",
    )
    propose: bool = _parameter(
        False,  # noqa: FBT003 - a default
        "Propose codes for the image: those that the nearest logos have most often.",
    )
    word_weight: float = _parameter(
        0.3, "Share of the words in the `score` of a search with an image and words; the image has the rest.", 0, 1
    )

    def __post_init__(self) -> None:
        self._check_pictures()
        for parameter in PARAMETERS:
            value = getattr(self, parameter.name)
            name, number = (
                (f"the length of {parameter.name}", len(value)) if isinstance(value, str) else (parameter.name, value)
            )
            # NaN compares false, so it is out of every range.
            if number is not None and parameter.least is not None and not parameter.least <= number <= parameter.most:
                raise InvalidRequestError(f"{name} is {number}; it must be from {parameter.least} to {parameter.most}")

    def _check_pictures(self) -> None:
        images = [] if self.image is None else [self.image, *self.more_images]
        given = [kind for kind in (images, self.logo_id, self.described) if kind]
        if not given and self.words is None:
            raise InvalidRequestError("the query has no image, no logo_id and no words; give it one of them")
        if len(given) > 1:
            raise InvalidRequestError("the query has an image and a logo_id; give it one of them")
        if len(images) > MOST_IMAGES:
            raise InvalidRequestError(f"the query has {len(images)} images; at most {MOST_IMAGES} are accepted")
        if (self.crop is not None or self.invert or self.greyscale or self.turned or self.part_of_mark) and not images:
            raise InvalidRequestError(
                "crop, invert, greyscale, turned and part_of_mark apply to an image, and the query has none"
            )
        if self.turned and len(images) > 1:
            raise InvalidRequestError("turned applies to one image; send one, or turn the images yourself")
        if self.part_of_mark and len(images) > 1:
            raise InvalidRequestError("part_of_mark applies to one image, and the query has several; send one")
        if self.crop is not None:
            if len(images) > 1:
                raise InvalidRequestError("a crop applies to one image; send one, or crop the images yourself")
            self._read_crop()

    @property
    def crop_box(self) -> Box | None:
        """`crop` as a box."""
        return None if self.crop is None else self._read_crop()

    def _read_crop(self) -> Box:
        try:
            left, top, right, bottom = map(float, (self.crop or "").split(","))
        except ValueError:
            raise InvalidRequestError(
                f"crop is {self.crop!r:.100}; it must be four numbers, as 0,0,0.5,1 for the left half"
            ) from None
        # NaN compares false.
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise InvalidRequestError(
                f"crop is {self.crop!r:.100}; left must be less than right, and top than bottom, all from 0 to 1"
            )
        return left, top, right, bottom


class Parameter(NamedTuple):
    """A parameter of a search, as `Query` declares it."""

    name: str
    type: type
    """int, float, bool, str or a StrEnum."""
    default: Any
    """None: the parameter is optional and has no default value."""
    description: str
    least: Any
    """Smallest and largest value, or length of a text; None: any value is accepted."""
    most: Any


_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "PartsMode": PartsMode, "Group": Group}
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
    parts: float
    """Finding and embedding the parts."""
    search: float
    rerank: float
    metadata: float


STAGES = tuple(stage.name for stage in dataclasses.fields(Timings))


class Outcome(StrEnum):
    """What a change did to a logo."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


class SearchedPicture(NamedTuple):
    """How a picture of a query was searched for."""

    damage: str | None
    """What is wrong with its file, of which only a part is readable; None: nothing is known to be."""
    turned: int
    """By how many degrees clockwise it was turned."""
    completed: bool
    """Whether it was searched for as a part of a mark."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first, the catalog version that answered, and the time of each stage."""

    hits: tuple[Hit, ...]
    reranked: bool
    parts: bool
    """Whether parts were compared."""
    version: str
    timings: Timings
    exact: bool
    """Whether the query was compared with every logo that may be a hit; if not, a graph search found the candidates."""
    passed: int | None
    """Number of logos that pass the filter; None without a filter."""
    pictures: tuple[Description, ...] = ()
    """What was compared of each picture of the query."""
    proposed: Mapping[str, tuple[ValueShare, ...]] | None = None
    """For each field of codes those that the nearest logos have most often; None: not asked for."""
    next: Query | None = None
    """The query of the next page; None: this is the last one."""
    words: str | None = None
    """The words that were searched for: those of the query, or read in its image; None: the image alone was searched for."""
    generation: int = 0
    """Of the live changes that were searched; 0: none."""
