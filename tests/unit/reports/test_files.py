"""The files of a report: text and pictures are read back out of the PDF."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import pypdf
import pytest

from logo_similarity.classification import load_classifications
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CaseError, OverloadedError, ReportError, ReportsUnavailableError, StoreError
from logo_similarity.image.decode import decode
from logo_similarity.reports import exchange, fonts, pdf
from logo_similarity.reports.case import Case, CaseHit, Verdict
from logo_similarity.reports.fonts import Fonts, load_fonts, printable, scripts_of
from logo_similarity.reports.formats import ReportFormat, write_report
from logo_similarity.reports.pdf import to_pages, to_pdf
from logo_similarity.reports.report import Report, make_report
from logo_similarity.reports.table import to_csv
from logo_similarity.storage.local import LocalStore

NAMES = load_classifications()
MARKUP = '#panic("x") *bold* _it_ $x^2$ `raw` <label> @ref \\ // /* = head'


def changed(case: Case, place: int = 0, metadata: dict[str, Any] | None = None, **facts: Any) -> Case:
    """The case with facts of one hit changed."""
    hit: CaseHit = case.hits[place]
    if metadata is not None:
        facts["metadata"] = hit.metadata.model_copy(update=metadata)
    hits = [*case.hits[:place], hit.model_copy(update=facts), *case.hits[place + 1 :]]
    return case.model_copy(update={"hits": tuple(hits)})


def text_of(report: Report) -> str:
    reader = pypdf.PdfReader(io.BytesIO(to_pdf(report, NAMES)[0]))
    return " ".join(" ".join(page.extract_text().split()) for page in reader.pages)


@pytest.fixture(scope="module")
def reviewed(case: Case) -> Case:
    """The case with a title, a kept and a dismissed hit."""
    kept = changed(
        case,
        0,
        verdict=Verdict.KEPT,
        note=f"A note.\n{MARKUP}",
        metadata={"status": "registered", "nice_classes": (25,)},
    )
    both = changed(kept, 2, verdict=Verdict.DISMISSED, note="Another shape")
    return both.model_copy(update={"title": "Saucer, class 9", "reference": "2026/0815-K", "note": MARKUP})


def test_the_pdf_says_what_was_searched_and_found(reviewed: Case, engine: SearchEngine, store: LocalStore) -> None:
    text = text_of(make_report(reviewed, engine, store))
    assert engine.manifest.encoder.sha256[:16] in text
    for expected in (
        "Saucer, class 9", "2026/0815-K", f"Catalog {engine.version}, 200 logos", "logo.jpg",
        "Vienna codes: 26.01 (Geometric shapes and bodies) or 27 (Styles of letters and digits); not (Year: until 1999)",
        "top_k = 10", "Of these, the 200 logos that pass the filter.", "Whole images, and parts of images",
        "Words: neither those in the picture nor those of the logos were compared.", "Nice classes, Status, Office",
        "Hits after the first 10.", "Search made again: the list is the same", "all 10 hits in the same order",
        "near-identical", "most likely the same drawing", "By chance, about 1 of", "25 (Clothes, shoes and hats)",
        "registered", "A note.", "Another shape", "10 hits: 1 kept, 1 dismissed, 8 not reviewed.", "Page 1 of",
    ):  # fmt: skip
        assert expected in text, expected
    assert all(hit.id in text for hit in reviewed.hits)
    assert text.count(str(reviewed.hits[0].metadata.text)) == 2  # with the kept hits, and in the list


def test_no_text_is_taken_for_markup(reviewed: Case, engine: SearchEngine) -> None:
    names = dict.fromkeys(("text", "company", "status"), MARKUP) | {"extra": {MARKUP: MARKUP}}
    case = changed(reviewed, 0, id=MARKUP, metadata=names).model_copy(update={"title": MARKUP, "author": MARKUP})
    text = text_of(make_report(case, engine))
    shown = " ".join(MARKUP.split())
    assert text.count(shown) >= 9


def test_the_pdf_shows_the_pictures(reviewed: Case, engine: SearchEngine, store: LocalStore) -> None:
    reader = pypdf.PdfReader(io.BytesIO(to_pdf(make_report(reviewed, engine, store), NAMES)[0]))
    pictures = [image.data for page in reader.pages for image in page.images]
    assert len({hash(data) for data in pictures}) >= 11
    query = decode(reviewed.query.pictures[0].data)
    smallest = min(_difference(query, decode(data)) for data in pictures)
    assert smallest < 3


def _difference(one: Any, other: Any) -> float:
    """Mean difference of two pictures, 0 to 255."""
    small = [cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(float) for picture in (one, other)]
    return float(np.abs(small[0] - small[1]).mean())


def test_a_thumbnail_of_the_case_comes_first(case: Case, engine: SearchEngine, store: LocalStore) -> None:
    red = cv2.imencode(".png", np.full((40, 60, 3), (0, 0, 255), np.uint8))[1].tobytes()
    report = make_report(changed(case, 1, thumbnail=red), engine, store)
    assert len(report.thumbnails) == 10
    assert decode(report.thumbnails[case.hits[1].id])[20, 20].tolist() == pytest.approx([255, 0, 0], abs=4)
    assert set(make_report(changed(case, 1, thumbnail=red), engine).thumbnails) == {case.hits[1].id}
    with pytest.raises(CaseError, match=f"the thumbnail of the hit '{case.hits[1].id}'"):
        make_report(changed(case, 1, thumbnail=red[:50]), engine)


def test_a_bounded_number_of_images_is_read_for_kept_hits_first(
    case: Case, engine: SearchEngine, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logo_similarity.reports.report.MOST_FETCHED", 2)
    report = make_report(changed(case, 7, verdict=Verdict.KEPT), engine, store)
    assert set(report.thumbnails) == {case.hits[7].id, case.hits[0].id}
    monkeypatch.setattr("logo_similarity.reports.report.FETCH_SECONDS", -1)
    assert make_report(case, engine, store).thumbnails == {}


def test_a_store_that_does_not_respond_is_asked_once(
    case: Case, engine: SearchEngine, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(_: LocalStore, filename: str, most: int) -> bytes:
        asked.append(filename)
        raise StoreError("no answer")

    monkeypatch.setattr(LocalStore, "read", fail)
    assert make_report(case, engine, store).thumbnails == {}
    assert len(asked) == 1


def test_changes_are_in_the_pdf_and_the_csv(case: Case, engine: SearchEngine) -> None:
    hits = (case.hits[0], case.hits[2], case.hits[1], *case.hits[4:], case.hits[3].model_copy(update={"id": "EM/none"}))
    catalog = case.catalog.model_copy(update={"version": "20200101T000000Z-12345678"})
    report = make_report(case.model_copy(update={"hits": hits, "catalog": catalog}), engine)
    text = text_of(report)
    assert "Search made again: the list has changed" in text
    assert "The case was searched in the catalog 20200101T000000Z-12345678." in text
    assert f"New (1): {case.hits[3].id} (rank 4)." in text
    assert "Gone (1): EM/none (no longer in the catalog)." in text
    assert f"In another order (2): {case.hits[2].id} (rank 2, now 3), {case.hits[1].id} (rank 3, now 2)." in text
    rows = list(csv.DictReader(to_csv(report).decode("utf-8-sig").splitlines()))
    assert [row["rank"] for row in rows] == [*map(str, range(1, 11)), ""]
    assert [row["rank_now"] for row in rows][:3] == ["1", "3", "2"]
    assert [row["rank_now"] for row in rows][-2:] == ["", "4"]


def test_cells_of_the_csv_are_no_formulas(case: Case) -> None:
    names = {"text": "=1+1", "company": "@SUM(A1)", "status": "-x", "office": "fine =1"}
    report = make_report(changed(case, 0, score=-0.25, id="+1", note="\t=1\n=2", metadata=names), None)
    row = next(csv.DictReader(io.StringIO(to_csv(report).decode("utf-8-sig"))))
    expected = {
        "id": "'+1",
        "text": "'=1+1",
        "company": "'@SUM(A1)",
        "status": "'-x",
        "office": "fine =1",
        "note": "'\t=1\n=2",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["score"] == "-0.25"
    assert to_csv(report).startswith(b"\xef\xbb\xbf")


def test_the_json_has_the_case_and_the_repetition(reviewed: Case, engine: SearchEngine) -> None:
    content, missing = write_report(make_report(reviewed, engine), ReportFormat.JSON, NAMES)
    answer = json.loads(content)
    assert missing == []
    assert Case.from_json(json.dumps(answer["case"]).encode()) == reviewed
    assert answer["repetition"]["same_catalog"]
    assert answer["repetition"]["same_list"]
    assert [hit["id"] for hit in answer["repetition"]["hits"]] == [hit.id for hit in reviewed.hits]
    assert answer["not_repeated"] is None
    content, _ = write_report(make_report(reviewed, None), ReportFormat.JSON, NAMES)
    assert json.loads(content)["not_repeated"] == "no catalog was given to search again"


def test_scripts_without_a_font_are_named_and_transliterated() -> None:
    bare = load_fonts(with_system=False)
    assert bare.text == fonts.CONTAINED
    text = "Größe Ελληνικά Привет 商標 テスト 한글"
    families, missing = bare.choose([text, "x"])
    assert families == [fonts.CONTAINED]
    assert printable(text, missing) == "Größe Ελληνικά Привет [ShangBiao] [tesuto] [HanGeul]"
    scripts = [one.partition(" (U+")[0] for one in scripts_of(missing)]
    assert scripts == ["Chinese characters", "Hangul", "Katakana"]


def test_a_character_needs_one_font_for_itself_and_its_marks() -> None:
    first, second = np.array([ord("a"), ord("b")], np.uint32), np.array([ord("c"), 0x301], np.uint32)
    both = Fonts("first", {"first": first, "second": second, "third": second}, {})
    assert both.choose(["ab"]) == (["first"], frozenset())
    assert both.choose(["ac\u0301\u200d"]) == (["first", "second"], frozenset())
    assert both.choose(["a\u0301"]) == (["first"], frozenset({"a\u0301"}))


def test_the_fewest_fonts_are_chosen_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [np.arange(100 * place, 100 * place + 20, dtype=np.uint32) for place in range(1, 20)]
    many = Fonts(
        "0",
        {
            "0": codes[0],
            **{str(place): one for place, one in enumerate(codes[1:], 1)},
            "all": np.concatenate(codes[1:4]),
        },
        {},
    )
    families, missing = many.choose(["".join(map(chr, np.concatenate(codes[:4]).tolist()))])
    assert (families, missing) == (["0", "all"], frozenset())
    families, missing = many.choose(["".join(map(chr, np.concatenate(codes[:18]).tolist()))])
    assert families[:2] == ["0", "all"]
    assert len(families) == fonts.MOST_FAMILIES
    assert missing


def test_control_characters_are_left_out() -> None:
    assert printable("a\x07\u202eb\u3000c\u200d", ()) == "ab c\u200d"


def test_the_report_names_what_cannot_be_printed(case: Case) -> None:
    unassigned = "\u0378"
    content, missing = to_pdf(make_report(changed(case, 0, metadata={"text": f"a{unassigned}b"}), None), NAMES)
    assert missing == ["symbols and marks (U+0378)"]
    text = " ".join(" ".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(content)).pages)
    assert "Missing: symbols and marks (U+0378)." in text
    assert "a[U+0378]b" in text


def test_names_in_the_scripts_of_the_installed_fonts_are_printed(case: Case) -> None:
    loaded = load_fonts()
    words = [
        word
        for word in ("Größe", "Привет", "Ελληνικά", "שלום", "مرحبا", "商標", "テスト", "한글")
        if not loaded.choose([word])[1]
    ]
    assert {"Größe", "Привет", "Ελληνικά"} <= set(words)
    content, missing = to_pdf(make_report(changed(case, 0, metadata={"text": " ".join(words)}), None), NAMES)
    assert missing == []
    text = (
        pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()
        + pypdf.PdfReader(io.BytesIO(content)).pages[1].extract_text()
    )
    assert all(set(word) <= set(text) for word in words)


def test_a_damaged_font_has_no_characters(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"\x00\x01\x00\x00")
    assert not len(fonts._code_points(tmp_path / "broken.ttf", 0))
    assert not len(fonts._code_points(tmp_path / "none.ttf", 0))


def test_pages_are_pictures_in_their_order(case: Case, engine: SearchEngine, store: LocalStore) -> None:
    report = make_report(case, engine, store)
    pages = to_pages(report, NAMES)
    assert len(pages) == len(pypdf.PdfReader(io.BytesIO(to_pdf(report, NAMES)[0])).pages) >= 2
    assert all(page.startswith(b"\x89PNG") for page in pages)


def test_a_long_list_is_cut_and_says_so(case: Case) -> None:
    hits = tuple(case.hits[0].model_copy(update={"id": f"N{number}", "verdict": Verdict.KEPT}) for number in range(305))
    text = text_of(make_report(case.model_copy(update={"hits": hits}), None))
    assert "105 further kept hits without details. 5 further hits of the list." in text
    assert "N299" in text
    assert "N300" not in text


def test_any_text_can_be_set(case: Case) -> None:
    """Characters of all planes, marks on letters of other scripts, and private characters."""
    random = Random(3)
    texts = [
        "".join(chr(random.choice((random.randrange(0x3000), random.randrange(0xE000, 0x20000)))) for _ in range(40))
        for _ in case.hits
    ]
    hits = tuple(
        hit.model_copy(update={"metadata": hit.metadata.model_copy(update={"text": text}), "verdict": Verdict.KEPT})
        for hit, text in zip(case.hits, texts, strict=True)
    )
    content, missing = to_pdf(make_report(case.model_copy(update={"hits": hits}), None), NAMES)
    assert content.startswith(b"%PDF")
    assert missing


def test_the_pdf_is_for_archives_and_screen_readers(case: Case) -> None:
    root: Any = pypdf.PdfReader(io.BytesIO(to_pdf(make_report(case, None), NAMES)[0])).root_object
    metadata = root["/Metadata"].get_data()
    assert b"<pdfaid:part>2</pdfaid:part>" in metadata
    assert b"<pdfuaid:part>1</pdfuaid:part>" in metadata


def test_an_error_of_typst_is_reported(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "DATA", "other.json")
    with pytest.raises(ReportError, match=r"the report cannot be set: (.|\n)*data\.json"):
        to_pdf(make_report(case, None), NAMES)


@pytest.mark.parametrize(
    ("source", "limit", "value"),
    [
        ("#for i in range(100000) { for j in range(100000) { } }", "CPU_SECONDS", 1),
        ("#let text = range(10000000).map(str)", "MEMORY_BYTES", 200_000_000),
    ],
)
def test_the_typesetter_is_killed_beyond_its_limits(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, limit: str, value: int
) -> None:
    (tmp_path / exchange.TEMPLATE).write_text(source)
    monkeypatch.setattr(pdf, "files", lambda _: tmp_path)
    monkeypatch.setattr(pdf, limit, value)
    with pytest.raises(CaseError, match="takes too much time or memory"):
        to_pdf(make_report(case, None), NAMES)


def test_a_report_that_is_not_made_in_time_may_be_tried_again(case: Case) -> None:
    with pytest.raises(OverloadedError, match="was not made in time"):
        to_pdf(make_report(case, None), NAMES, seconds=0)


def test_without_the_extra_only_pdf_is_unavailable(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "logo_similarity.reports.fonts", None)
    report = make_report(case, None)
    with pytest.raises(ReportsUnavailableError, match=r"pip install '\.\[reports\]'"):
        write_report(report, ReportFormat.PDF, NAMES)
    assert write_report(report, ReportFormat.CSV, NAMES)[0]
