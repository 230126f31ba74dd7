"""An examiner's work on the page: search, compare, decide, hand on."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, Route, expect

from logo_similarity.domain import MOST_IMAGES
from tests.browsing import HOSTILE_COMPANY, HOSTILE_TEXT, Visit, choose, settled, tiles
from tests.samples import SampleCatalog
from tests.service import KEY, serving

# A file that reaches the page as from another program: by a drop or by the clipboard.
HAND_OVER = """([selector, kind, name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste" ? new ClipboardEvent("paste", { ...options, clipboardData: data })
    : new DragEvent(kind, { ...options, dataTransfer: data });
  document.querySelector(selector).dispatchEvent(event);
}"""


def names(page: Page) -> list[str]:
    return page.locator(".tile .name > span:first-child").all_text_contents()


def text_of(catalog: SampleCatalog, number: int) -> str:
    rows = (catalog.root.parent / "marks.jsonl").read_text().splitlines()
    return str(json.loads(rows[number])["text"])


def picture(catalog: SampleCatalog, number: int) -> Path:
    return catalog.images / catalog.files[number]


def test_the_first_visit_says_what_is_there_and_offers_marks_to_try(visit: Visit) -> None:
    page = visit().open()
    expect(page.locator("#register")).to_contain_text("120 marks · register of")
    expect(page.locator("#start .facts")).to_contain_text("Latest application31 Jan 2019")
    expect(page.locator(".sample")).to_have_count(3)
    expect(page.get_by_role("link", name="API documentation")).to_have_attribute("href", "docs")


def test_a_chosen_picture_is_compared_side_by_side(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5))
    name = text_of(page_catalog, 5)
    expect(tiles(page).first).to_have_accessible_name(f"Mark {name} EM/000005 EM , registered, near-identical")
    expect(page.locator("#live")).to_contain_text("1 near-identical")
    assert "%" not in page.locator("main").inner_text()

    tiles(page).first.click()
    panel = page.get_by_role("complementary", name="One result beside the query")
    expect(panel.get_by_role("heading", level=2)).to_have_text(name)
    expect(panel.locator("figure img")).to_have_count(2)
    expect(panel).to_contain_text("The pictures are practically the same.")
    expect(panel).to_contain_text("Expected by chance:")
    expect(panel.locator("tr", has_text="Owner")).to_contain_text("Company 0")
    office = panel.get_by_role("link", name="Open at the office")
    expect(office).to_have_attribute("href", "https://office.example/EM/EM%2F000005")
    expect(office).to_have_attribute("rel", "noreferrer noopener")

    page.keyboard.press("ArrowRight")
    expect(panel.get_by_role("heading", level=2)).to_have_text(names(page)[1])
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_regions_are_lit_on_both_marks(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5))
    tiles(page).first.click()
    regions = page.locator("#detail .region")
    page.locator("#detail .legend .toggle").first.wait_for()
    assert regions.count() % 2 == 0
    page.locator("#detail .legend .toggle").first.hover()
    expect(page.locator("#detail .region.lit")).to_have_count(2)


def test_a_box_on_the_picture_is_searched_for(visit: Visit, page_catalog: SampleCatalog, tmp_path: Path) -> None:
    # Two marks side by side: with a crop, each finds its own.
    both = np.hstack([cv2.imread(str(picture(page_catalog, number))) for number in (5, 11)])
    cv2.imwrite(str(tmp_path / "both.png"), both)
    page = visit().open()
    choose(page, tmp_path / "both.png")
    frame = page.locator(".frame .canvas")
    box = frame.bounding_box()
    assert box is not None
    with page.expect_response("**/v1/search"):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 1)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] - 1, steps=3)
        page.mouse.up()
    expect(tiles(page).first).to_have_accessible_name(re.compile(re.escape(f"Mark {text_of(page_catalog, 11)} EM/")))
    left = float(page.url.partition("crop=")[2].split(",")[0])
    assert 0.47 < left < 0.53

    # By keyboard: to the left edge, and search.
    page.locator(".crop-box").focus()
    with page.expect_response("**/v1/search"):
        for _ in range(25):
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
    expect(tiles(page).first).to_have_accessible_name(re.compile(re.escape(f"Mark {text_of(page_catalog, 5)} EM/")))
    assert "crop=0," in page.url
    page.get_by_role("button", name="Whole picture").click()
    settled(page)
    assert "crop" not in page.url


def test_what_the_engine_saw_is_shown(visit: Visit, page_catalog: SampleCatalog, tmp_path: Path) -> None:
    both = np.vstack([cv2.imread(str(picture(page_catalog, number))) for number in (5, 11)])
    cv2.imwrite(str(tmp_path / "both.png"), both)
    page = visit().open()
    choose(page, tmp_path / "both.png")
    expect(page.locator(".frame .content")).to_have_count(1)
    parts = page.locator("#query .parts button")
    parts.first.wait_for()
    expect(page.locator(".frame .part")).to_have_count(parts.count())
    parts.first.hover()
    expect(page.locator(".frame .part.lit")).to_have_count(1)
    with page.expect_response("**/v1/search"):
        parts.first.click()
    assert "crop=" in page.url


def test_a_result_becomes_the_query(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    page.locator(".sample").first.click()
    tiles(page).first.wait_for()
    query = page.url.partition("logo_id=")[2]
    assert query
    assert query not in page.locator(".tile .id").all_text_contents()
    page.keyboard.press("ArrowRight")
    with page.expect_response("**/v1/search"):
        page.keyboard.press("m")
    settled(page)
    assert page.url.partition("logo_id=")[2] not in ("", query)
    tiles(page).first.click()
    # Register data of both, with the shared codes marked.
    expect(page.locator("#detail thead")).to_contain_text("QueryResult")
    expect(page.locator("#detail tr", has_text="Nice classes").locator("mark").first).to_have_text("9")
    page.locator("#detail .legend:has(.toggle), #detail .legend:has-text('as a whole')").wait_for()
    page.go_back()
    page.go_back()
    settled(page)
    assert page.url.partition("logo_id=")[2] == query


def test_several_views_of_one_mark(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5), picture(page_catalog, 11))
    expect(page.locator(".view-thumb")).to_have_count(2)
    found = [names(page)[0], names(page)[1]]
    assert sorted(found) == sorted([text_of(page_catalog, 5), text_of(page_catalog, 11)])
    with page.expect_response("**/v1/search"):
        page.get_by_role("button", name="Remove this picture").first.click()
    expect(tiles(page).first).to_have_accessible_name(re.compile(re.escape(f"Mark {text_of(page_catalog, 11)} EM/")))


def test_more_views_than_the_service_accepts_are_left_out(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, *(picture(page_catalog, number) for number in range(5, 11)))
    expect(page.locator(".view-thumb")).to_have_count(MOST_IMAGES)
    expect(page.get_by_role("button", name="Add another picture of this mark")).to_have_count(0)


def test_a_dropped_and_a_pasted_picture_are_searched_for(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    for number, kind, selector in ((7, "drop", "#start"), (8, "paste", "body")):
        file = picture(page_catalog, number)
        with page.expect_response("**/v1/search"):
            content = base64.b64encode(file.read_bytes()).decode()
            page.evaluate(HAND_OVER, [selector, kind, file.name, content])
        expect(tiles(page).first).to_have_accessible_name(
            re.compile(re.escape(f"Mark {text_of(page_catalog, number)} EM/"))
        )


def test_words_are_searched_for_while_they_are_typed(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    name = text_of(page_catalog, 9)
    page.keyboard.press("/")
    page.keyboard.type(name)
    expect(tiles(page).first).to_have_accessible_name(re.compile(re.escape(f"Mark {name} EM/")))
    tiles(page).first.click()
    expect(page.locator("#detail")).to_contain_text("The words are the same (words in the mark).")
    assert "words=" in page.url


def test_filters_have_live_counts_and_are_in_the_address(visit: Visit) -> None:
    page = visit().open()
    status = page.locator("details", has=page.get_by_text("Status", exact=True))
    expect(status.locator("li", has_text="ended").locator(".count")).to_have_text("30")
    status.get_by_role("checkbox", name="ended").check()
    expect(tiles(page)).to_have_count(30)
    expect(page.locator("#filters .section-title")).to_contain_text("30 marks pass")
    # The other value keeps its count: it says what it would add.
    expect(status.locator("li", has_text="registered").locator(".count")).to_have_text("90")
    assert page.url.endswith("#status=ended")

    page.get_by_label("Exclude US").click()
    expect(tiles(page)).to_have_count(20)
    page.go_back()
    expect(tiles(page)).to_have_count(30)
    page.get_by_role("button", name="Remove the filter Status: ended").click()
    expect(page.locator("#start")).to_be_visible()

    page.get_by_role("button", name="Open 27").click()
    page.locator("li", has_text="27.05").last.get_by_role("button", name="Open 27.05").click()
    page.get_by_role("checkbox", name="27.05.03").check()
    expect(tiles(page)).to_have_count(6)
    assert page.url.endswith("#vienna=27.05.03")


def test_codes_have_names_in_the_language_of_the_page(visit: Visit) -> None:
    page = visit().open()
    expect(page.get_by_role("checkbox", name=re.compile("^27 Styles of letters"))).to_be_visible()
    page.get_by_label("Find a code or a heading").fill("26")
    page.get_by_label("Find a code or a heading").press("Enter")
    expect(page.locator("#chips")).to_contain_text("Vienna codes: 26 Geometric shapes and bodies")
    german = visit(locale="de-DE").open()
    expect(german.locator("#filters")).to_contain_text("Geometrische")


def test_no_results_say_which_filter_excludes_everything(visit: Visit) -> None:
    page = visit().open("#status=ended&text=nothingofthiskind")
    message = page.locator("#message")
    expect(message).to_contain_text("No results")
    message.get_by_role("button", name="Remove “Words in the mark: nothingofthiskind”: 30 marks pass").click()
    expect(tiles(page)).to_have_count(30)
    expect(message).to_be_hidden()


def test_decisions_notes_and_undo(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5))
    tiles(page).first.hover()
    page.locator(".hover-tools").get_by_role("button", name="Keep").click()
    expect(tiles(page).first).to_have_accessible_name(re.compile("kept"))
    expect(page.locator("#case-count")).to_have_text("1 kept · 0 dismissed")
    tiles(page).nth(1).click()
    page.keyboard.press("x")
    page.keyboard.press("n")
    page.keyboard.type("other goods")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(tiles(page).nth(1)).to_have_accessible_name(re.compile("dismissed, has a note"))
    page.keyboard.press("Control+z")
    expect(tiles(page).nth(1)).to_have_accessible_name(re.compile("dismissed ?$"))
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(page.locator("#case-count")).to_have_text("0 kept · 0 dismissed")
    page.keyboard.press("Control+z")
    expect(page.locator("#toast")).to_contain_text("Nothing to undo")


def test_a_case_survives_a_reload_and_moves_to_another_browser(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5))
    tiles(page).first.click()
    page.keyboard.press("k")
    page.keyboard.press("n")
    page.keyboard.type("=cmd()")
    page.keyboard.press("Escape")
    page.get_by_label("Name of the case").fill("Matter 17")
    page.locator("#case[aria-busy=false]").wait_for()
    page.reload()
    expect(page.get_by_label("Name of the case")).to_have_value("Matter 17")
    expect(page.locator("#case .kept li")).to_have_count(1)
    expect(page.locator("#detail #note")).to_have_value("=cmd()")  # the open result is in the address, the picture kept
    page.keyboard.press("Escape")

    def export(item: str) -> Path:
        page.keyboard.press("e")
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=item).click()
        return Path(download.value.path())

    exported = export("Case as JSON")
    (row,) = csv.DictReader(io.StringIO(export("Case as CSV").read_text("utf-8-sig")))
    assert (row["decision"], row["id"], row["nice_classes"]) == ("kept", "EM/000005", "6 9")
    assert row["note"] == "'=cmd()"  # a spreadsheet would run it

    other = visit().open()
    with other.expect_file_chooser() as chooser:
        other.get_by_role("button", name="Import").click()
    chooser.value.set_files({"name": "case.json", "mimeType": "application/json", "buffer": exported.read_bytes()})
    expect(other.locator("#case-count")).to_have_text("1 kept · 0 dismissed")
    expect(other.get_by_label("Name of the case")).to_have_value("Matter 17")
    # The picture of the query came with the case.
    other.goto(page.url)
    expect(tiles(other).first).to_have_accessible_name(re.compile("kept"))

    with other.expect_file_chooser() as chooser:
        other.get_by_role("button", name="Import").click()
    chooser.value.set_files({"name": "bad.json", "mimeType": "application/json", "buffer": b"[]"})
    expect(other.locator("#message")).to_contain_text("The file is not a case")


def test_the_address_holds_everything_but_the_picture(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 5))
    page.get_by_role("checkbox", name="registered").check()
    settled(page)
    page.get_by_label("Group").select_option("applicant")
    shown = names(page)
    assert len(shown) < 13
    page.reload()
    expect(tiles(page)).to_have_count(len(shown))
    assert names(page) == shown
    expect(page.get_by_label("Group")).to_have_value("applicant")

    other = visit().open("#" + page.url.partition("#")[2])
    expect(other.locator("#message")).to_contain_text("The picture of this search is not on this computer")
    choose(other, picture(page_catalog, 5))
    assert names(other) == shown


def test_files_that_cannot_be_searched_for(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    visitor.expected += ("the server responded with a status of 4",)
    page = visitor.open()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    large, text, photo = tmp_path / "large.png", tmp_path / "notes.png", tmp_path / "mark.psd"
    large.write_bytes(bytes(300_001))
    text.write_text("not a picture")
    photo.write_bytes(b"8BPS\0\1" + bytes(100))
    for file, title in (
        (large, "The picture is too large"),
        (text, "The file cannot be read as a picture"),
        (photo, "This format is not accepted"),
    ):
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("u")
        chooser.value.set_files(file)
        expect(page.get_by_role("alert")).to_contain_text(title)
        if file == large:
            assert not any("v1/search" in url for url in requests)  # refused before it is sent
        else:
            expect(page.get_by_role("alert")).to_contain_text("JPEG, PNG, WebP")


def test_a_busy_server_is_waited_for(visit: Visit, page_catalog: SampleCatalog) -> None:
    visitor = visit()
    visitor.expected += ("503",)
    page = visitor.open()
    refusals = 1

    def refuse_once(route: Route) -> None:
        nonlocal refusals
        if refusals == 0:
            route.continue_()
            return
        refusals -= 1
        problem = json.dumps({"status": 503, "code": "overloaded", "title": "The service is busy"})
        route.fulfill(status=503, body=problem, headers={"Retry-After": "1"}, content_type="application/problem+json")

    page.route("**/v1/search", refuse_once)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("u")
    chooser.value.set_files(picture(page_catalog, 5))
    expect(page.locator("#message")).to_contain_text("The server is busy")
    tiles(page).first.wait_for()
    expect(page.locator("#message")).to_be_hidden()


def test_a_lost_connection_is_waited_for(visit: Visit, page_catalog: SampleCatalog) -> None:
    visitor = visit()
    visitor.expected += ("ERR_INTERNET_DISCONNECTED",)
    page = visitor.open()
    choose(page, picture(page_catalog, 5))
    visitor.context.set_offline(True)
    page.get_by_role("checkbox", name="registered").check()
    expect(page.locator("#message")).to_contain_text("No connection to the server")
    assert tiles(page).count() > 0  # the earlier results stay
    visitor.context.set_offline(False)
    expect(page.locator("#message")).to_be_hidden()
    settled(page)
    expect(page.locator("#chips")).to_contain_text("Status: registered")


def test_an_old_answer_never_replaces_a_newer_one(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    held: list[Route] = []
    page.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
    page.locator("#words").fill(text_of(page_catalog, 9))
    page.locator("#words").press("Enter")
    page.locator("body[data-busy]").wait_for()
    page.locator("#words").fill(text_of(page_catalog, 11))
    page.locator("#words").press("Enter")
    second = re.compile(re.escape(f"Mark {text_of(page_catalog, 11)} EM/"))
    expect(tiles(page).first).to_have_accessible_name(second)
    held[0].abort()  # the page abandoned it
    expect(tiles(page).first).to_have_accessible_name(second)
    expect(page.locator("#message")).to_be_hidden()


def test_an_expired_link_is_renewed_silently(visit: Visit, page_catalog: SampleCatalog) -> None:
    visitor = visit()
    visitor.expected += ("403",)
    page = visitor.open()
    seen: set[str] = set()

    def expire_first(route: Route) -> None:
        token = route.request.url.split("/")[-2]
        name = route.request.url.split("/")[-1]
        if name in seen:
            route.continue_()
        else:
            seen.add(name)
            route.fulfill(status=403, body=token)

    page.route("**/v1/files/**", expire_first)
    choose(page, picture(page_catalog, 5))
    loaded = "(image) => new Promise((done) => image.naturalWidth ? done(true) : image.onload = () => done(true))"
    assert tiles(page).first.locator("img").evaluate(loaded)
    expect(page.locator("#message")).to_be_hidden()


def test_a_key_is_asked_for_and_kept_in_the_tab(visit: Visit, page_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(page_catalog, tmp_path, LOGO_WORKERS="1", LOGO_THREADS="1") as guarded:
        visitor = visit(guarded.url)
        visitor.expected += ("401",)
        page = visitor.open()
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("Key", exact=True).fill("a wrong one")
        dialog.get_by_role("button", name="Use this key").click()
        expect(dialog.get_by_role("alert")).to_have_text("The service did not accept this key.")
        dialog.get_by_label("Key", exact=True).fill(KEY)
        dialog.get_by_role("button", name="Use this key").click()
        expect(dialog).to_be_hidden()
        choose(page, picture(page_catalog, 5))
        page.reload()
        tiles(page).first.wait_for()
        expect(dialog).to_be_hidden()
        kept = page.evaluate("[JSON.stringify(localStorage), document.cookie, location.href]")
        assert not any(KEY in text for text in kept)
        # Another tab asks again.
        expect(visitor.open().get_by_role("dialog", name="API key")).to_be_visible()


def test_everything_by_keyboard(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    press = page.keyboard.press
    press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("more like this")
    press("Escape")
    press("/")
    page.keyboard.type(text_of(page_catalog, 9))
    with page.expect_response("**/v1/search"):
        press("Enter")
    settled(page)
    press("ArrowDown")
    press("k")
    expect(page.locator("#results").get_by_role("option", selected=True)).to_have_accessible_name(re.compile("kept"))
    press("ArrowRight")
    expect(page.locator("#tile-1")).to_have_attribute("aria-selected", "true")
    press("Enter")
    expect(page.locator("#detail-title")).to_be_focused()
    press("x")
    press("Escape")
    expect(page.locator("#results")).to_be_focused()
    expect(page.locator("#tile-1")).to_have_accessible_name(re.compile("dismissed"))
    press("g")
    expect(page.get_by_label("Group")).to_have_value("picture")
    press("e")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    press("Escape")
    press("f")
    press("Tab")
    assert page.evaluate("document.querySelector('#filters').contains(document.activeElement)")
    # Speech software types letters: they can be switched off.
    press("Escape")
    press("?")
    page.get_by_label("Single-key shortcuts").uncheck()
    press("Escape")
    press("g")
    expect(page.get_by_label("Group")).to_have_value("picture")


def test_a_small_screen_needs_no_horizontal_scrolling(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit(viewport={"width": 380, "height": 800}, has_touch=True, is_mobile=True).open()

    def wide() -> list[str]:
        return list(
            page.evaluate(
                "[document.documentElement, ...document.querySelectorAll('main, #rail, #detail')]"
                ".filter((one) => one.scrollWidth > Math.max(one.clientWidth, 0) && one.clientWidth > 0)"
                ".map((one) => one.id || one.tagName)"
            )
        )

    assert wide() == []
    with page.expect_file_chooser() as chooser:
        page.locator("#start .drop").tap()
    chooser.value.set_files(picture(page_catalog, 5))
    tiles(page).first.wait_for()
    assert wide() == []
    tiles(page).first.tap()
    expect(page.locator("#detail")).to_be_visible()
    assert wide() == []
    page.locator("#detail").get_by_role("button", name="Close").tap()
    page.get_by_role("button", name="Query and filters").tap()
    expect(page.locator("#filters")).to_be_visible()
    assert wide() == []
    page.get_by_role("button", name="Show results").tap()
    expect(page.locator("#rail")).to_be_hidden()


def test_dark_by_the_system_and_by_choice(visit: Visit) -> None:
    lightness = "Math.round(getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] / 255)"
    page = visit(color_scheme="dark").open()
    assert page.evaluate(lightness) == 0
    button = page.locator("#theme-button")
    button.click()
    assert page.evaluate(lightness) == 1
    page.reload()
    assert page.evaluate(lightness) == 1
    marks = page.locator(".sample .mark").first
    button.click()
    assert page.evaluate(lightness) == 0
    assert marks.evaluate("(one) => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"


def test_hostile_names_stay_text(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    choose(page, picture(page_catalog, 0))
    tiles(page).first.click()
    page.keyboard.press("k")
    expect(page.locator("#detail-title")).to_have_text(HOSTILE_TEXT)
    expect(page.locator("#detail")).to_contain_text(HOSTILE_COMPANY)
    expect(page.locator("#detail")).to_contain_text("javascript:alert(3)")
    expect(page.locator("#case .kept")).to_contain_text(HOSTILE_TEXT)
    assert page.locator("img[onerror], a[href^='javascript:'], body script").count() == 0


def test_german(visit: Visit, page_catalog: SampleCatalog) -> None:
    visitor = visit(locale="de-AT")
    page = visitor.open()
    assert page.evaluate("document.documentElement.lang") == "de"
    expect(page.get_by_role("button", name="Marke hier ablegen")).to_be_visible()
    choose(page, picture(page_catalog, 5))
    expect(tiles(page).first).to_have_accessible_name(re.compile("^Marke .*, nahezu identisch$"))
    page.get_by_role("button", name="Show in English").click()
    expect(tiles(page).first).to_have_accessible_name(re.compile("near-identical"))
    page.reload()
    expect(page.get_by_role("button", name="Auf Deutsch anzeigen")).to_be_visible()


def test_a_language_that_is_no_locale(visit: Visit) -> None:
    """Chromium passes on the language of the system, such as that of LANG=C."""
    visitor = visit()
    visitor.context.add_init_script("Object.defineProperty(navigator, 'languages', { value: ['en-US@posix'] })")
    expect(visitor.open().locator("#register")).to_contain_text("120 marks")


def test_codes_of_the_nearest_are_offered_as_filters(visit: Visit, page_catalog: SampleCatalog) -> None:
    page = visit().open()
    proposed = page.get_by_role("region", name="Frequent among the closest results")
    choose(page, picture(page_catalog, 5))
    expect(proposed.get_by_role("button").first).to_have_text("26.01.01Geometric shapes and bodies100%")
    expect(proposed).to_contain_text("A help for filtering, not a classification of the query.")
    assert proposed.get_by_role("button").count() <= 5
    second = proposed.get_by_role("button").nth(1)
    code = second.locator(".code").inner_text()
    with page.expect_response("**/v1/search"):
        second.click()
    settled(page)
    assert page.url.endswith(f"&vienna={code}")
    expect(page.locator("#chips")).to_contain_text(f"Vienna codes: {code}")
    expect(tiles(page)).to_have_count(6)
    chosen = proposed.get_by_role("button", name=code)
    expect(chosen).to_have_attribute("aria-pressed", "true")
    with page.expect_response("**/v1/search"):
        chosen.click()
    settled(page)
    assert "vienna" not in page.url

    # Words say nothing about figures.
    page.get_by_role("button", name="Remove", exact=True).click()
    page.locator("#words").fill(text_of(page_catalog, 9))
    page.locator("#words").press("Enter")
    tiles(page).first.wait_for()
    settled(page)
    expect(proposed).to_have_count(0)

    german = visit(locale="de-DE").open()
    choose(german, picture(page_catalog, 5))
    expect(german.get_by_role("region", name="Häufig unter den nächsten")).to_contain_text("26.01.01Geometrische")
