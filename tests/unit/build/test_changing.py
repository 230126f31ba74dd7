"""Changes of single logos."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from logo_similarity.build import catalog, changing
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.changing import RepeatableRequest, image_name, read_day, read_record
from logo_similarity.build.compacting import compact
from logo_similarity.build.merging import merge_logo
from logo_similarity.build.overlay_images import encoder_key
from logo_similarity.build.texts import write_texts
from logo_similarity.domain import Outcome, Query, Removal
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import (
    BadImageError,
    IdempotencyError,
    InvalidRequestError,
    LogoExistsError,
    NotFoundError,
    OverloadedError,
    StoreError,
    SupersededError,
    UnsupportedFormatError,
)
from logo_similarity.image.files import ImageFiles, open_images
from tests.changing import Office
from tests.importing import FILES, OPTIONS, Desk, Register, day


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.build(*(desk.record(f"US-{n}", 2, n, text=f"text {n}", company="Old Ltd") for n in range(4)))
    return desk


@pytest.fixture
def office(desk: Desk) -> Iterator[Office]:
    office = Office(desk)
    yield office
    office.overlay.close()


def test_a_logo_is_created_once_with_its_image(office: Office) -> None:
    applied = office.change("create", "US-9", 9, text="nine", nice_classes=[9])
    assert applied.outcome is Outcome.CREATED
    assert applied.record is not None
    assert (applied.record.logo_id, applied.record.text, applied.record.nice_classes) == ("US-9", "nine", (9,))
    content = FILES[9].read_bytes()
    assert applied.record.filename == image_name(content, hashlib.sha256(content).digest())
    assert (office.desk.store / applied.record.filename).read_bytes() == content
    for logo_id in ("US-9", "US-0"):
        with pytest.raises(LogoExistsError):
            office.change("create", logo_id, 9, text="again")
    assert office.overlay.last() == office.overlay.count() == 1


def test_an_update_changes_what_it_names(office: Office) -> None:
    applied = office.change("update", "US-1", company="New Ltd")
    assert applied.outcome is Outcome.CHANGED
    assert applied.record is not None
    assert (applied.record.text, applied.record.company) == ("text 1", "New Ltd")
    applied = office.change("update", "US-1", 12)
    assert applied.record is not None
    assert (applied.record.text, applied.record.company) == ("text 1", "New Ltd")
    assert (office.desk.store / applied.record.filename).read_bytes() == FILES[12].read_bytes()
    with pytest.raises(NotFoundError):
        office.change("update", "US-9", text="nine")


def test_the_image_that_a_logo_has_is_neither_stored_nor_described_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = office.stored_images()
    monkeypatch.setattr(changing, "describe_image", None)
    applied = office.change("update", "US-1", 1, text="new")
    assert applied.record is not None
    assert applied.record.filename == office.base.metadata.fetch([1])[0].filename
    assert office.stored_images() == before


@pytest.mark.parametrize("read", [True, False])
def test_words_in_a_new_image_are_read_if_the_version_has_such_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, read: bool
) -> None:
    def write_word(_records: Path, _total: int, _images: ImageFiles, texts: Path, **_: object) -> None:
        texts.mkdir()
        write_texts(texts, 0, {"US-0": "Zanzibar"})

    monkeypatch.setattr(catalog, "read_texts", write_word)
    desk = Desk(tmp_path)
    source = Register(open_images(desk.images), [desk.record("US-0", 1, 0), desk.record("US-1", 1, 1)])
    build_catalog(source, desk.root, dataclasses.replace(OPTIONS, read_words=read))
    office = Office(desk)
    canvas = np.full((200, 400, 3), 255, np.uint8)
    cv2.putText(canvas, "Kodiak", (20, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (20, 20, 120), 5, cv2.LINE_AA)
    record = office.change("create", "US-9", cv2.imencode(".png", canvas)[1].tobytes()).record
    assert record is not None
    image = office.overlay.image(record.filename, encoder_key(office.base.encoder))
    assert image is not None
    assert (image.words or "").casefold() == ("kodiak" if read else "")
    live = compact(desk.root, OPTIONS, None).folder
    with SearchEngine.open(desk.root) as engine:
        assert engine.version == live.name
        assert [hit.word_field for hit in engine.search(Query(words="kodiak")).hits[:1]] == ["image"] * read
    office.overlay.close()


def test_a_replacement_leaves_nothing_of_the_old_record(office: Office) -> None:
    applied = office.change("replace", "US-1", 12, text="new")
    assert (applied.outcome, applied.record and applied.record.company) == (Outcome.CHANGED, None)
    assert office.change("replace", "US-9", 9).outcome is Outcome.CREATED


def test_a_deleted_logo_is_gone_until_it_is_created(office: Office) -> None:
    assert office.change("delete", "US-1").outcome is Outcome.DELETED
    for operation in ("update", "delete"):
        with pytest.raises(NotFoundError):
            office.change(operation, "US-1", **({"text": "x"} if operation == "update" else {}))  # type: ignore[arg-type]
    created = office.change("create", "US-1", 1, text="again")
    assert (created.outcome, created.record and created.record.company) == (Outcome.CREATED, None)


def test_an_older_change_never_overwrites_a_newer_one(office: Office) -> None:
    office.change("update", "US-1", date=5, text="five")
    older = office.change("update", "US-1", date=4, text="four", goods="hats")
    assert (older.outcome, older.record and (older.record.text, older.record.goods)) == (
        Outcome.CHANGED,
        ("five", "hats"),
    )
    count = office.overlay.count()
    assert office.change("update", "US-1", date=4, text="four").outcome is Outcome.UNCHANGED
    assert office.overlay.count() == count
    office.change("replace", "US-2", 12, date=5, text="five")
    with pytest.raises(SupersededError):
        office.change("delete", "US-2", date=4)
    office.change("delete", "US-3", date=6)
    with pytest.raises(SupersededError):
        office.change("create", "US-3", 3, date=5)
    assert office.change("replace", "US-2", 13, date=3, text="three").outcome is Outcome.UNCHANGED


def test_a_change_without_a_date_follows_what_is_known_but_not_a_later_import(office: Office, desk: Desk) -> None:
    office.change("update", "US-1", date=5, text="five")
    office.change("update", "US-1", text="undated")
    desk.add(desk.record("US-1", 8, text="eight"))
    base = office.open_base()
    merged = merge_logo([*base.rows("US-1"), *office.overlay.rows("US-1", 0)])
    assert merged is not None
    assert merged.record is not None
    assert merged.record.text == "eight"


CHANGES: list[dict[str, Any]] = [
    {"operation": "update", "date": 3, "text": "three", "goods": "g3"},
    {"operation": "replace", "date": 4, "image": 12, "company": "four"},
    {"operation": "update", "date": 5, "image": 13, "status": "ended"},
    {"operation": "update", "date": 6, "text": "six"},
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_changes_in_any_order_are_what_an_import_makes_of_them(
    office: Office, desk: Desk, order: tuple[int, ...]
) -> None:
    for number in order:
        applied = office.change(logo_id="US-1", **CHANGES[number])
    record = applied.record
    desk.add(desk.record("US-1", 3, text="three", goods="g3"), Removal("US-1", "here", day(4)),
             desk.record("US-1", 4, 12, company="four"), desk.record("US-1", 5, 13, status="ended"),
             desk.record("US-1", 6, text="six"))  # fmt: skip
    (imported,) = [one for one in desk.logos() if one.logo_id == "US-1"]
    assert record == imported


def test_a_repeated_request_has_the_same_answer_and_no_effect(office: Office) -> None:
    request = RepeatableRequest("team", "one")
    first = office.change("create", "US-9", 9, text="nine", request=request)
    assert office.change("create", "US-9", 9, text="nine", request=request) == first
    assert office.overlay.count() == 1
    with pytest.raises(IdempotencyError):
        office.change("create", "US-9", 9, text="another", request=request)
    with pytest.raises(LogoExistsError):
        office.change("create", "US-9", 9, text="nine", request=RepeatableRequest("others", "one"))


def test_answers_are_kept_for_a_day(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    request = RepeatableRequest("team", "one")
    office.change("update", "US-1", text="nine", request=request)
    monkeypatch.setattr("logo_similarity.catalog.overlay.ANSWER_SECONDS", 0)
    assert office.change("update", "US-1", text="ten", request=request).outcome is Outcome.CHANGED


def test_nothing_is_stored_of_a_change_that_fails(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    before = office.stored_images()
    for content, error in ((b"no image", BadImageError), (b"<svg/>", UnsupportedFormatError)):
        with pytest.raises(error):
            office.change("create", "US-9", content)

    def fail(*_: object) -> None:
        raise StoreError("full")

    monkeypatch.setattr(office.store, "write", fail)
    with pytest.raises(StoreError):
        office.change("create", "US-9", 9)
    assert (office.overlay.count(), office.stored_images()) == (0, before)


def test_changes_wait_while_a_version_is_opened_that_has_dropped_ones(office: Office, desk: Desk) -> None:
    office.change("update", "US-1", text="one")
    desk.add(desk.record("US-2", 8, text="eight"))
    live = office.catalog.current().name
    office.change("update", "US-1", text="two")  # nothing was dropped
    office.overlay.record_fold(live, 2)
    office.overlay.drop(2)
    with pytest.raises(OverloadedError):
        office.change("update", "US-1", text="three")
    office.open_base()
    assert office.change("update", "US-1", text="three").outcome is Outcome.CHANGED


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "must be a JSON object"),
        ({"tekst": "x"}, "did you mean text"),
        ({"filename": "../x"}, "unknown field 'filename'"),
        ({"nice_classes": [99]}, r"nice_classes cannot be \[99\]"),
        ({"application_date": "yesterday"}, "application_date cannot be"),
        ({"text": None}, "does not clear"),
        ({"extra": 3}, "extra must be"),
        ({"logo_id": "US-2"}, "another logo_id"),
    ],
)
def test_a_record_that_cannot_be_read(values: object, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        read_record(values, "US-1", sparse=True)


def test_a_record_needs_an_id_and_a_day_a_date() -> None:
    with pytest.raises(InvalidRequestError, match="logo_id"):
        read_record({"text": "x"}, None, sparse=False)
    with pytest.raises(InvalidRequestError, match="not a date"):
        read_day("soon")
    assert read_day("2024-01-05") == day(5)
    record = read_record(
        {"logo_id": "A-1", "text": None, "status": "Registered", "extra": {"colour": "red"}}, None, sparse=False
    )
    assert (record.text, record.status, record.extra) == (None, "registered", {"colour": "red"})
