"""Imports into a live version."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.build import catalog, embeddings
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.importing import ImportResult, import_source
from logo_similarity.build.texts import write_texts
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.updates import UPDATES, read_updates
from logo_similarity.catalog.versions import Catalog
from logo_similarity.description import Description
from logo_similarity.domain import Query, Reject, Removal
from logo_similarity.embed.describe import describe_with_parts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError
from logo_similarity.fields import Record
from logo_similarity.image.files import open_images
from tests.importing import FILES, OPTIONS, Desk, Register, Row, day
from tests.registers import case_file, uspto
from tests.zips import make_zip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.build(*(desk.record(f"US-{n}", 2, n, text=f"text {n}", status="registered") for n in range(5)))
    return desk


def test_what_becomes_of_each_logo(desk: Desk) -> None:
    result = desk.add(
        desk.record("US-0", 3, text="changed"),
        desk.record("US-1", 3, status="ended"),
        desk.record("US-2", 2, text="text 2"),
        Removal("US-3", "here", day(3)),
        desk.record("US-7", 3, 7, text="new"),
        desk.record("US-8", 3, text="no image"),
        Reject("here", "not readable"),
    )
    summary = result.summary
    assert result.published
    assert (summary.added, summary.changed, summary.unchanged, summary.removed) == (1, 2, 1, 1)
    assert (summary.ended, summary.images_missing, summary.rejected) == (1, 1, 1)
    assert summary.reasons == ["1: not readable (here)"]
    assert summary.examples["added"] == ["US-7"]
    assert desk.texts() == {
        "US-0": "changed", "US-1": "text 1", "US-2": "text 2", "US-4": "text 4", "US-7": "new"
    }  # fmt: skip
    assert [record.status for record in desk.logos()][:2] == ["registered", "ended"]
    (new,) = [record for record in desk.logos() if record.logo_id == "US-7"]
    assert (desk.store / new.filename).read_bytes() == FILES[7].read_bytes()
    with SearchEngine.open(desk.root) as engine:
        assert engine.search(Query(image=FILES[7].read_bytes())).hits[0].logo.logo_id == "US-7"
        assert engine.search(Query(image=FILES[4].read_bytes())).hits[0].logo.logo_id == "US-4"


def test_images_of_the_live_version_are_not_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (*desk.store.iterdir(), *desk.images.iterdir()):
        path.unlink()
    described: list[object] = []

    def count(pixels: NDArray[np.uint8], encoder: Encoder) -> Description:
        described.append(pixels)
        return describe_with_parts(pixels, encoder)

    monkeypatch.setattr(embeddings, "describe_with_parts", count)
    result = desk.add(desk.record("US-1", 3, text="changed"), desk.record("US-9", 3, 9))
    assert result.manifest.count == 6
    assert len(described) == 1


def test_words_that_were_read_in_an_image_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "read_texts", lambda _records, _total, _images, texts, **_: _write_word(texts))
    desk = Desk(tmp_path)
    source = Register(open_images(desk.images), [desk.record("US-1", 1, 1), desk.record("US-2", 1, 2)])
    build_catalog(source, desk.root, replace(OPTIONS, read_words=True))
    desk.add(desk.record("US-0", 3, 7), desk.record("US-1", 3, status="ended"))
    with SearchEngine.open(desk.root) as engine:
        hit = engine.search(Query(words="zanzibar")).hits[0]
    assert (hit.logo.logo_id, hit.word_field) == ("US-2", "image")


def _write_word(texts: Path) -> None:
    texts.mkdir()
    write_texts(texts, 0, {"US-2": "Zanzibar"})


def test_an_import_without_news_publishes_nothing(desk: Desk) -> None:
    rows = [desk.record("US-1", 3, text="changed"), desk.record("US-9", 3, 9), desk.record("US-8", 3, text="later")]
    first = desk.add(*rows)
    again = desk.add(*rows)
    assert not again.published
    assert again.folder == first.folder
    assert again.summary.unchanged == 2
    assert [path.name for path in desk.root.iterdir() if path.name.startswith(".build")] == []


def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    before = {path: path.stat().st_mtime_ns for path in desk.root.rglob("*") if path.name != ".lock"}
    result = desk.add(Removal("US-0", "here"), desk.record("US-9", 3, 9), dry_run=True)
    assert (result.summary.added, result.summary.removed, result.published) == (1, 1, False)
    after = {path: path.stat().st_mtime_ns for path in desk.root.rglob("*") if path.name != ".lock"}
    assert {path: time for path, time in after.items() if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }
    assert len(list(desk.store.rglob("*"))) == 5


def test_an_image_that_comes_later_brings_its_logo(desk: Desk) -> None:
    desk.add(desk.record("US-8", 3, text="eight", goods="hats"))
    assert "US-8" not in desk.texts()
    desk.add(desk.record("US-8", 4, 8))
    (logo,) = [record for record in desk.logos() if record.logo_id == "US-8"]
    assert (logo.text, logo.goods) == ("eight", "hats")


def test_an_image_that_cannot_be_decoded_is_a_reject_and_its_record_is_kept(desk: Desk) -> None:
    broken = desk.record("US-8", 3, 8, text="eight")
    (desk.images / broken.filename).write_bytes(b"not an image")
    desk.add(broken, desk.record("US-9", 3, 9))
    assert "US-8" not in desk.texts()
    assert not any(path.read_bytes() == b"not an image" for path in desk.store.rglob("*") if path.is_file())
    desk.add(desk.record("US-8", 4, 8))
    assert desk.texts()["US-8"] == "eight"


def test_a_changed_image_without_a_changed_record_is_noticed(desk: Desk) -> None:
    shutil.copy(FILES[20], desk.images / "US-1-1.jpg")
    record = Record(logo_id="US-1", filename="US-1-1.jpg", transaction_date=day(2), text="text 1", status="registered")
    assert desk.add(record).summary.changed == 1
    with SearchEngine.open(desk.root) as engine:
        best = engine.search(Query(image=FILES[20].read_bytes())).hits[0]
    assert best.logo.logo_id == "US-1"
    assert best.score == pytest.approx(1, abs=1e-3)


UPDATES_OF_ONE = (
    {"date": 3, "text": "three", "goods": "g3"},
    {"date": 5, "status": "ended"},
    {"date": 6, "text": "five"},
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::4])
def test_any_order_of_imports_gives_the_same_catalog(tmp_path: Path, order: tuple[int, ...]) -> None:
    """One of the four is a removal between the updates."""
    desk = Desk(tmp_path)
    desk.build(desk.record("US-0", 1, 0, text="zero", company="C"), desk.record("US-1", 1, 1))
    rows: list[Row] = [desk.record("US-0", **values) for values in UPDATES_OF_ONE]  # type: ignore[arg-type]
    rows[1:1] = [Removal("US-0", "here", day(4))]
    for place in order[:2]:
        desk.add(rows[place])
    desk.add(*(rows[place] for place in order[2:]))
    assert [record.logo_id for record in desk.logos()] == ["US-1"]  # its image was deleted on the fourth day
    kept = [row for row in read_updates(Catalog(desk.root).current() / UPDATES) if row.logo_id == "US-0"]
    assert [json.loads(row.record)["text"] for row in kept if row.record is not None] == [None, "five"]


def test_a_killed_import_is_taken_up_again(desk: Desk) -> None:
    rows: list[Row] = [
        desk.record("US-0", 3, text="changed"), desk.record("US-9", 3, 9), Removal("US-1", "here", day(3))
    ]  # fmt: skip
    stages = ["rows read", "logos embedded", "finding identical images", "images indexed", "checking recall",
              "computing digests", "images stored"]  # fmt: skip

    def stop_at(stage: str) -> Any:
        def progress(name: str, _done: int, _total: int | None) -> None:
            if name == stage:
                raise KeyboardInterrupt

        return progress

    live = Catalog(desk.root).current()
    for stage in stages[1:]:
        with pytest.raises(KeyboardInterrupt):
            desk.add(*rows, progress=stop_at(stage))
        assert Catalog(desk.root).current() == live
    assert desk.add(*rows).published
    assert desk.texts() == {"US-0": "changed", "US-2": "text 2", "US-3": "text 3", "US-4": "text 4", "US-9": None}


def test_a_file_that_was_imported_is_not_read_again(desk: Desk, tmp_path: Path) -> None:
    desk.image("00000009.jpg", 9)
    file = tmp_path / "daily.xml"
    file.write_text(uspto(case_file("00000009", header="<mark-drawing-code>3000</mark-drawing-code>")))

    def add() -> ImportResult:
        source = open_source(file, images=desk.images)
        return import_source(source, desk.root, OPTIONS, lambda _name, _content: None)

    assert add().summary.examples["added"] == ["US-00000009"]
    again = add()
    assert not again.published
    assert again.summary.unchanged == 0


def test_a_file_of_which_rows_were_rejected_is_read_again(desk: Desk, tmp_path: Path) -> None:
    """A missing image may be there the next time."""
    desk.image("8.jpg", 8)
    table = tmp_path / "new.csv"
    table.write_text("logo_id,filename\nA,8.jpg\nB,9.jpg\n")

    def add() -> ImportResult:
        return import_source(open_source(table, images=desk.images), desk.root, OPTIONS, lambda _name, _content: None)

    first = add().summary
    assert (first.examples["added"], first.rejected) == (["A"], 1)
    desk.image("9.jpg", 9)
    second = add().summary
    assert (second.examples["added"], second.unchanged, second.rejected) == (["B"], 1, 0)
    assert add().summary.unchanged == 0  # now it is not read again


def test_images_are_imported_from_zip_files(desk: Desk, tmp_path: Path) -> None:
    content = FILES[9].read_bytes()
    daily = tmp_path / "daily"
    daily.mkdir()
    drawing = "<mark-drawing-code>3000</mark-drawing-code>"
    records = uspto(*(case_file(f"0000000{number}", header=drawing) for number in range(1, 5)))
    make_zip(daily / "apc1.zip", {"apc1.xml": records.encode()})
    make_zip(daily / "hrs1.zip", {"00000001.jpg": content, "00000002.jpg": content, "00000003.jpg": b"", "x.zip": b""})
    damaged = (daily / "hrs1.zip").read_bytes()
    crc = damaged.rindex(b"00000002.jpg") - 46 + 16
    (daily / "hrs1.zip").write_bytes(damaged[:crc] + b"wrong"[:4] + damaged[crc + 4 :])
    kept: dict[str, bytes] = {}
    result = import_source(open_source(daily), desk.root, OPTIONS, kept.__setitem__)
    summary = result.summary
    assert summary.examples["added"] == ["US-00000001", "US-00000003"]
    assert summary.examples["images_missing"] == ["US-00000004"]
    assert summary.rejected == 1
    assert "its checksum is wrong (entry '00000002.jpg' of 'hrs1.zip')" in summary.reasons[0]
    digest = sha256(content).hexdigest()
    assert kept == {f"{digest[:2]}/{digest}.jpg": content}
    (logo,) = [record for record in desk.logos() if record.logo_id.startswith("US-0000")]
    assert (logo.logo_id, logo.filename) == ("US-00000001", *kept)


def test_an_enrichment_changes_only_logos_that_are_there(desk: Desk) -> None:
    rows = [Record(logo_id=f"US-{n}", filename="nowhere.jpg", company=f"company {n}") for n in (1, 2, 90)]
    summary = desk.add(*rows, enrich=True).summary
    assert (summary.changed, summary.unknown, summary.added, summary.images_missing) == (2, 1, 0, 0)
    assert [record.company for record in desk.logos()] == [None, "company 1", "company 2", None, None]
    assert desk.texts()["US-1"] == "text 1"


def test_a_catalog_of_embeddings_alone_cannot_be_updated(desk: Desk, tmp_path: Path) -> None:
    path = Catalog(desk.root).current() / "patches.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(CatalogError, match="its embeddings cannot be used again"):
        desk.add(desk.record("US-9", 3, 9))
