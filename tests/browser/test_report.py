"""The case of the page, handed on: a report as PDF, and a document that the command reads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect
from pypdf import PdfReader

from logo_similarity.domain import Band
from logo_similarity.reports.case import Case, Verdict
from tests.browsing import Visit, choose, settled, tiles
from tests.samples import SampleCatalog
from tests.service import Server


def picture(catalog: SampleCatalog, number: int) -> Path:
    return catalog.images / catalog.files[number]


def export(page: Page, item: str) -> Path:
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=item).click()
    return Path(download.value.path())


def exported_case(page: Page) -> Case:
    return Case.from_json(export(page, "Case for the command line").read_bytes())


def decide(page: Page) -> None:
    """Keep the first result with a note, and dismiss the second."""
    tiles(page).first.click()
    page.keyboard.press("k")
    page.keyboard.press("n")
    page.keyboard.type("Same device.")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("Escape")


def repetition(service: Server, case: Case) -> dict[str, object]:
    """What the service finds when it makes the search of a case again."""
    with service.client() as client:
        answer = client.post("/v1/report?format=json", files={"case": case.to_json()})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["repetition"])


def test_the_case_is_a_report_and_a_document_for_the_command(
    visit: Visit, page_catalog: SampleCatalog, service: Server
) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5))
    decide(page)
    page.get_by_label("Name of the case").fill("Matter 17")

    text = "".join(each.extract_text() for each in PdfReader(export(page, "Report (PDF)")).pages)
    assert "Matter 17" in text
    assert "Same device." in text
    expect(page.locator("#toast")).to_have_text("Saved.")

    case = exported_case(page)
    assert (case.title, len(case.hits)) == ("Matter 17", tiles(page).count())
    first, second, *others = case.hits
    assert (first.id, first.verdict, first.note, first.band) == (
        "EM/000005", Verdict.KEPT, "Same device.", Band.NEAR_IDENTICAL,
    )  # fmt: skip
    assert first.expect is not None
    assert first.metadata.model_dump()["nice_classes"] == (6, 9)
    assert second.verdict == Verdict.DISMISSED
    assert all(hit.verdict is None for hit in others)
    (file,) = case.query.pictures
    assert (file.data, file.complete) == (picture(page_catalog, 5).read_bytes(), True)
    with service.client() as client:
        served = client.get("/v1/catalog").json()
    assert case.engine == served["engine"]
    assert case.catalog.version == served["version"]
    assert str(case.catalog.newest) == served["newest"]
    assert case.encoder is not None
    assert case.encoder.model_dump() == served["encoder"]
    assert repetition(service, case)["same_list"]


@pytest.mark.parametrize(
    "query",
    [
        "vienna=26.01,27.05&vienna=-27.05.03&nice=1..30&year=2003..&status=ended,registered&text=-nothing&company=company",
        "crop=0,0,0.75,1&invert=true&greyscale=true",
        "words=apple&min_score=0.1&parts=off&office=EM",
    ],
)
def test_every_part_of_a_query_can_be_made_again(
    visit: Visit, page_catalog: SampleCatalog, service: Server, query: str
) -> None:
    visitor = visit()
    visitor.expected += ("v1/facets?min_score",)  # a link may have any parameter of a search; counts take filters only
    page = visitor.open()
    choose(page, picture(page_catalog, 5))
    address = page.url.partition("#")[2]
    visitor.open(f"#{address}&{query}&top_k=300", page=page)
    page.reload()
    tiles(page).first.wait_for()
    settled(page)
    case = exported_case(page)
    assert len(case.hits) == tiles(page).count() > 0
    again = repetition(service, case)
    assert (again["same_list"], again["changes"]) == (
        True, {"new": [], "gone": [], "deleted": [], "moved": []},
    )  # fmt: skip


def test_a_result_as_the_query_and_decisions_on_other_marks(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5))
    decide(page)
    tiles(page).first.click()
    with page.expect_response("**/v1/search"):
        page.keyboard.press("m")
    settled(page)
    case = exported_case(page)
    assert (case.query.logo_id, case.query.pictures) == ("EM/000005", ())
    # The query is not among its own results, so the decision on it is in no report of this search.
    expect(page.locator("#toast")).to_contain_text(
        "1 entry of this case is about a mark that is not among these results"
    )


def test_a_picture_of_another_format_is_converted(visit: Visit, page_catalog: SampleCatalog, tmp_path: Path) -> None:
    page = visit().open()
    pixels = cv2.imread(str(picture(page_catalog, 5)))
    cv2.imwrite(str(tmp_path / "mark.webp"), pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><path d="M2 2h16v6h-16z"/></svg>'
    (tmp_path / "mark.svg").write_text(drawing)
    choose(page, tmp_path / "mark.webp", tmp_path / "mark.svg")
    copy, drawn = exported_case(page).query.pictures
    assert (copy.name, copy.complete, drawn.name, drawn.complete) == ("mark.webp", False, "mark.svg", False)
    decoded = cv2.imdecode(np.frombuffer(copy.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, pixels)
    assert cv2.imdecode(np.frombuffer(drawn.data, np.uint8), cv2.IMREAD_COLOR).shape == (512, 1024, 3)


def test_a_large_picture_is_made_smaller(visit: Visit, tmp_path: Path) -> None:
    page = visit().open()
    # The service of the tests takes 300,000 bytes; this file and its PNG copies need more room in a case.
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    assert 240_000 < (tmp_path / "noise.png").stat().st_size < 300_000
    choose(page, tmp_path / "noise.png")
    assert len(PdfReader(export(page, "Report (PDF)")).pages) > 0
    # The command takes the file as it is.
    (file,) = exported_case(page).query.pictures
    assert file.complete


def test_a_picture_that_the_browser_cannot_convert(visit: Visit, page_catalog: SampleCatalog, tmp_path: Path) -> None:
    page = visit().open()
    cv2.imwrite(str(tmp_path / "mark.tiff"), cv2.imread(str(picture(page_catalog, 5))))
    choose(page, tmp_path / "mark.tiff")
    page.keyboard.press("e")
    page.get_by_role("menuitem", name="Report (PDF)").click()
    expect(page.get_by_role("alert")).to_contain_text("This browser cannot convert the picture mark.tiff")


def test_a_service_without_the_extra_offers_the_command(visit: Visit, page_catalog: SampleCatalog) -> None:
    visitor = visit()
    visitor.expected += ("501",)
    page = visitor.open()
    problem = {"status": 501, "code": "reports_unavailable", "title": "The service cannot make PDF reports"}
    body = json.dumps(problem)

    def refuse(route: Route) -> None:
        route.fulfill(status=501, body=body, content_type="application/problem+json")

    page.route("**/v1/report**", refuse)
    choose(page, picture(page_catalog, 5))
    page.keyboard.press("e")
    page.get_by_role("menuitem", name="Report (PDF)").click()
    message = page.get_by_role("alert")
    expect(message).to_contain_text("This service cannot make PDF reports")
    expect(message).to_contain_text("logo-similarity report")
    with page.expect_download() as download:
        message.get_by_role("button", name="Case for the command line").click()
    assert Case.from_json(Path(download.value.path()).read_bytes()).hits
    expect(page.locator("#message")).to_be_hidden()


def test_there_is_no_report_without_a_search(visit: Visit) -> None:
    page = visit().open("#status=ended")
    tiles(page).first.wait_for()
    page.keyboard.press("e")
    page.get_by_role("menuitem", name="Report (PDF)").click()
    expect(page.locator("#toast")).to_contain_text("A report is about one search")
