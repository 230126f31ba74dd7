"""Changes of single logos: merged with what is known of the logo by the rule of imports, and stored in the overlay."""

from __future__ import annotations

import datetime as dt
import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

from logo_similarity.build.base import BaseVersion
from logo_similarity.build.embeddings import describe_image
from logo_similarity.build.merging import MergedLogo, merge_logo, record_object
from logo_similarity.build.overlay_images import encoder_key, pack
from logo_similarity.catalog.overlay import Answer, Change, Operation, Overlay, OverlayImage
from logo_similarity.catalog.sources.rows import RowError, checked_id, make_record
from logo_similarity.catalog.versions import Catalog
from logo_similarity.dates import parse_day
from logo_similarity.domain import Outcome
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.text import can_read, thread_reader
from logo_similarity.errors import (
    BadImageError,
    IdempotencyError,
    InvalidRequestError,
    LogoExistsError,
    NotFoundError,
    OverloadedError,
    StoreError,
    SupersededError,
)
from logo_similarity.field_kinds import json_object
from logo_similarity.fields import FIELDS, UNREADABLE, Record
from logo_similarity.image.contained import Decoder
from logo_similarity.image.formats import recognise

MOST_NAME = 64
"""Maximum length of the name of a field in a message."""
KeepImage = Callable[[str, bytes], object]
"""Stores the content of an image under a name, durably."""
ReadImage = Callable[[str, int], bytes]
"""Reads an image from the image store, by its name and the maximum number of bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoChange:
    """A change that somebody asks for."""

    operation: Operation
    logo_id: str
    record: Record | None
    """Without a filename; None: the logo is deleted."""
    image: bytes | None
    """The content of its new image file."""
    day: dt.date | None
    """The date of the change at the office; None: it is later than everything that is known."""

    def digest(self) -> bytes:
        """Sha256 of all that it consists of."""
        record = None if self.record is None else record_object(self.record)
        image = None if self.image is None else sha256(self.image).hexdigest()
        content = [self.operation, self.logo_id, record, image, None if self.day is None else self.day.isoformat()]
        return sha256(json.dumps(content, sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True)
class RepeatableRequest:
    """What recognises the repetition of a request."""

    owner: str
    """Who sent it: keys of different owners are different."""
    key: str
    """The idempotency key."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that is stored, or has no effect."""

    outcome: Outcome
    record: Record | None
    """The logo as it now is; None: it is deleted."""

    def to_json(self) -> str:
        """As text, for a later `from_json`."""
        return json.dumps([self.outcome, None if self.record is None else record_object(self.record)])

    @classmethod
    def from_json(cls, text: str) -> Applied:
        """The opposite of `to_json`."""
        outcome, record = json.loads(text)
        return cls(Outcome(outcome), None if record is None else Record.from_json(record))


class Changer:
    """Applies changes to one version of a catalog and the overlay above it. Safe to use from many threads."""

    def __init__(
        self, catalog: Catalog, overlay: Overlay, base: BaseVersion, decoder: Decoder, keep: KeepImage
    ) -> None:
        """Apply nothing yet.

        Args:
            catalog: the folder of the versions.
            overlay: stores the changes.
            base: the version.
            decoder: reads new images.
            keep: stores new images.
        """
        self._catalog = catalog
        self._overlay = overlay
        self._base = base
        self._decoder = decoder
        self._keep = keep

    def apply(self, change: LogoChange, request: RepeatableRequest | None = None) -> Applied:
        """Apply a change. When this returns, it is stored durably; if it raises, nothing has changed.

        The new image is stored first. If the change then fails, the image remains in the store, where no logo names it.

        Raises:
            BadImageError: the image cannot be read.
            LogoExistsError: a logo is created that exists.
            NotFoundError: a logo is updated or deleted that does not exist.
            SupersededError: a later change makes this one useless.
            IdempotencyError: the key of the request was used for another one.
            StoreError: the image cannot be stored.
            NotWritableError, OverloadedError, ChangeNotStoredError, CatalogError: see `Overlay`.
        """
        self._check_facets(change.record)
        asked = change.digest()
        if request is not None and (earlier := self._overlay.answer(request.owner, request.key)) is not None:
            if earlier.request != asked:
                raise IdempotencyError("this Idempotency-Key was used for another request; send a new one")
            return Applied.from_json(earlier.answer)
        start = self._start()
        # Before the image is read, which takes longest.
        known = [*self._base.rows(change.logo_id), *self._overlay.rows(change.logo_id, start)]
        self._check_before(change, merge_logo(known))
        record, image = change.record, None
        if record is not None and change.image is not None:
            read_words = self._base.reads_words and record.text is None and can_read()
            filename, image = self._read_image(change.logo_id, change.image, read_words=read_words)
            record = replace(record, filename=filename)
        with self._overlay.changing() as changing:
            if request is not None and changing.answered(request.owner, request.key):
                raise OverloadedError("the same request was sent twice at once; try again shortly", retry_after=1)
            rows = [*self._base.rows(change.logo_id), *changing.rows(change.logo_id, start)]
            before = merge_logo(rows)
            self._check_before(change, before)
            # Without a date it follows what is known now, but not what an import brings later.
            day = max((row.day for row in rows), default="") if change.day is None else change.day.isoformat()
            text = None if record is None else json.dumps(record_object(record), ensure_ascii=False)
            after = merge_logo([*rows, *Change(0, change.operation, change.logo_id, day, text).rows])
            applied = self._outcome(change, before, after, image)
            if after != before:
                changing.append(change.operation, change.logo_id, day, text)
                if image is not None:
                    changing.keep_image(image)
            if request is not None:
                changing.keep_answer(request.owner, request.key, Answer(asked, applied.to_json()))
        return applied

    def _start(self) -> int:
        start = self._overlay.start(self._base.name)
        if start > self._overlay.folded(self._base.name) and self._catalog.current_name() != self._base.name:
            # The live version contains changes that are no longer in the overlay, and not in the open version.
            raise OverloadedError("a new catalog version is being opened; try again shortly", retry_after=2)
        return start

    def _check_facets(self, record: Record | None) -> None:
        extra = {} if record is None else record.extra
        for name in self._base.manifest.facets:
            value = extra.get(name)
            texts = value if isinstance(value, list) else [value]
            if value is not None and not all(isinstance(text, str) for text in texts):
                raise InvalidRequestError(f"extra.{name} is a facet of this catalog; send a text, or an array of texts")

    def _check_before(self, change: LogoChange, before: MergedLogo | None) -> None:
        exists = self._is_visible(before)
        if change.operation == "create" and exists:
            raise LogoExistsError("the catalog has a logo with this id; change it with PATCH, or replace it with PUT")
        if change.operation in ("update", "delete") and not exists:
            raise NotFoundError("the catalog has no logo with this id")

    def _outcome(
        self, change: LogoChange, before: MergedLogo | None, after: MergedLogo | None, image: OverlayImage | None
    ) -> Applied:
        existed, exists = self._is_visible(before), self._is_visible(after, image)
        if exists == (change.operation == "delete"):
            raise SupersededError(
                "the change is older than what is known of this logo, and has no effect; send a later transaction_date"
            )
        record = after.record if exists and after is not None else None
        if not exists:
            return Applied(Outcome.DELETED, None)
        if not existed:
            return Applied(Outcome.CREATED, record)
        unchanged = before is not None and before.record == record
        return Applied(Outcome.UNCHANGED if unchanged else Outcome.CHANGED, record)

    def _is_visible(self, merged: MergedLogo | None, image: OverlayImage | None = None) -> bool:
        """Whether a logo is searched: it has a record, and an image that is described."""
        if merged is None or merged.record is None or not merged.record.filename:
            return False
        filename = merged.record.filename
        if image is not None and image.filename == filename:
            return True
        logo = self._base.find(merged.logo_id)
        if logo is not None and logo.filename == filename:
            return True
        return self._overlay.image(filename, encoder_key(self._base.encoder)) is not None

    def _read_image(self, logo_id: str, content: bytes, *, read_words: bool) -> tuple[str, OverlayImage | None]:
        """The name of an image in the image store, and its description unless the version has it."""
        digest = sha256(content).digest()
        logo = self._base.find(logo_id)
        if logo is not None and self._base.images.digest(logo.id) == digest:
            return logo.filename, None
        filename = image_name(content, digest)
        encoder = self._base.encoder
        known = self._overlay.image(filename, encoder_key(encoder))
        if known is not None:
            return filename, known
        damage: list[str] = []
        pixels = self._decoder.decode(content, damage.append)
        image = describe_image(digest, pixels, encoder, next(iter(damage), None))
        words = thread_reader().read(pixels) if read_words else None
        self._keep(filename, content)
        return filename, pack(image, filename, encoder, words)


def describe_stored(
    filename: str, overlay: Overlay, encoder: Encoder, decoder: Decoder, read: ReadImage
) -> OverlayImage | None:
    """Describe an image of the store that a change named, and keep the description in the overlay.

    Another encoder may have described it, if the version that the change was made to has been replaced.

    Args:
        filename: its name in the store.
        overlay: keeps the description.
        encoder: of the present version.
        decoder: reads the image.
        read: reads the store.

    Returns:
        None: the store does not have it, or it cannot be decoded any more.
    """
    try:
        content = read(filename, decoder.limits.max_bytes)
        damage: list[str] = []
        pixels = decoder.decode(content, damage.append)
    except (NotFoundError, StoreError, BadImageError):
        return None
    described = describe_image(sha256(content).digest(), pixels, encoder, next(iter(damage), None))
    image = pack(described, filename, encoder, None)
    with overlay.changing() as changing:
        changing.keep_image(image)
    return image


def image_name(content: bytes, digest: bytes) -> str:
    """The name in the image store of an image file with this sha256.

    Raises:
        BadImageError: it is not an image in an accepted format.
    """
    return f"{digest.hex()[:2]}/{digest.hex()}{recognise(content).extensions[0]}"


def read_record(values: object, logo_id: str | None, *, sparse: bool) -> Record:
    """A record from the JSON object that a client sends.

    Args:
        values: `logo_id`, the fields of the register by name, and `extra`.
        logo_id: the id, if it need not be in the object.
        sparse: whether a missing field means that it stays as it is: then null is refused, which could mean either.

    Raises:
        InvalidRequestError: a name is not known, or a value cannot be read.
    """
    if not isinstance(values, dict):
        raise InvalidRequestError("the record must be a JSON object with the fields of the register")
    known = ("logo_id", *(field.name for field in FIELDS), "extra")
    for name in values:
        if name not in known:
            nearest = difflib.get_close_matches(name[:MOST_NAME], known, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(known)}"
            raise InvalidRequestError(f"the record has an unknown field {name[:MOST_NAME]!r}{hint}")
    cleared = [name for name, value in values.items() if value is None]
    if sparse and cleared:
        raise InvalidRequestError(
            f"{cleared[0]} is null, but an update does not clear fields; replace the logo with PUT, or leave the field out"
        )
    stated = values.get("logo_id")
    if stated is None and logo_id is None:
        raise InvalidRequestError("the record has no logo_id; give the logo one")
    extra = values.get("extra")
    if not isinstance(extra, dict | None):
        raise InvalidRequestError("extra must be a JSON object")
    fields = {name: value for name, value in values.items() if name not in ("logo_id", "extra")}
    try:
        own = checked_id(stated if logo_id is None else logo_id)
        if stated is not None and checked_id(stated) != own:
            raise InvalidRequestError("the record has another logo_id than the address; leave it out")
        record = make_record(where="", logo_id=own, filename="", fields=fields, extra={})
    except RowError as error:
        raise InvalidRequestError(str(error)) from None
    if record.extra:  # values that their fields cannot hold
        name, value = next(iter(record.extra.items()))
        field = next(field for field in FIELDS if field.name + UNREADABLE == name)
        raise InvalidRequestError(
            f"{field.name} cannot be {json.dumps(value, ensure_ascii=False):.100}; an example is "
            f"{json.dumps(field.kind.to_json(field.example), ensure_ascii=False)}"
        )
    return replace(record, extra=json_object(extra or {}))


def read_day(text: str) -> dt.date:
    """The date that a client sends. Raises InvalidRequestError if it is none."""
    try:
        return parse_day(text)
    except ValueError as error:
        raise InvalidRequestError(f"{text!r:.100} is not a date ({error}); write it as 2024-02-01") from None
