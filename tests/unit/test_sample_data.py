"""`samples/`: what the scripts make is what is committed, and the readers take all of it."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.render_icons import SIDE, encode_jpeg
from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.field_kinds import canonical_vienna_code
from logo_similarity.fields import Record
from scripts.join_samples import TABLE, rows
from scripts.make_synthetic_marks import COLOURS, COPIERS, JPEG_QUALITY, OFFICE, make_marks
from scripts.sample_metadata import describe, spell
from scripts.synthetic_figures import FIGURES, VIENNA, monogram
from tests.samples import SAMPLES

SYNTHETIC = SAMPLES / "synthetic"
GRADLE = "075d1f55-a324-5351-b637-f32323df9837"
BRANDS: dict[str, dict[str, Any]] = {
    "dotnet": {"title": ".NET", "hex": "512BD4", "source": "https://example.org/s", "license": {"type": "CC0-1.0"}},
    "hermes": {"title": "Hermes", "hex": "0091CD", "source": "https://example.org/s"},
    "vlcmediaplayer": {
        "title": "VLC media player",
        "hex": "FF8800",
        "source": "https://example.org/s",
        "guidelines": "https://example.org/g",
        "license": {"type": "custom", "url": "https://example.org/l"},
    },
}


def records(source: Path, images: Path | None = None) -> list[Record]:
    rows = list(open_source(source, images=images).rows())
    assert [row for row in rows if not isinstance(row, Record)] == []
    return [row for row in rows if isinstance(row, Record)]


def test_the_synthetic_table_is_what_the_script_makes() -> None:
    with (SYNTHETIC / "marks.csv").open(encoding="utf8", newline="") as file:
        assert [mark.row() for mark in make_marks()] == list(csv.DictReader(file))


def test_the_synthetic_pictures_are_what_the_script_draws() -> None:
    marks = list(make_marks())
    assert {mark.filename for mark in marks} == {path.name for path in (SYNTHETIC / "images").iterdir()}
    for mark in marks[::13]:
        picture = cv2.imdecode(np.frombuffer(encode_jpeg(mark.design.draw(), JPEG_QUALITY), np.uint8), cv2.IMREAD_COLOR)
        original = cv2.imread(str(SYNTHETIC / "images" / mark.filename))
        assert original.shape == (SIDE, SIDE, 3)
        # Another processor may round differently.
        assert cv2.absdiff(picture, original).mean() < 0.5, mark.filename


def test_every_synthetic_mark_is_complete_and_different() -> None:
    marks = records(SYNTHETIC / "marks.csv")
    assert len(marks) == len({(SYNTHETIC / "images" / one.filename).read_bytes() for one in marks}) == 300
    for one in marks:
        assert one.company is not None
        assert "Fictional" in one.company
        assert one.office == OFFICE
        assert one.extra["synthetic"] == "true"
        assert one.status in {"registered", "expired", "ended", "pending"}
        assert one.application_date is not None
        assert one.nice_classes
        assert one.vienna_codes
        assert not any(name.endswith("_unreadable") for name in one.extra)
        assert (one.text is None) <= (one.mark_feature == "figurative")


def test_vienna_codes_are_canonical_and_have_a_heading() -> None:
    assert [code for code in VIENNA if canonical_vienna_code(code) != code] == []
    codes = {code for mark in make_marks() for code in mark.design.vienna_codes}
    codes |= {code for seed in range(30) for figure in FIGURES for code in figure(Random(seed)).codes}
    codes |= {code for seed in range(30) for code in monogram(Random(seed), "K").codes}
    assert codes == VIENNA.keys()


def test_vienna_codes_fit_what_is_drawn() -> None:
    for mark in make_marks():
        design, codes = mark.design, set(mark.design.vienna_codes)
        assert (design.feature == "figurative") == (not design.text)
        assert ("27.05.01" in codes) == (bool(design.text) or bool(design.figure and design.figure.letter))
        assert design.ground is None or design.ground.codes <= codes
        picture = design.draw()
        inks = {
            ink for ink, (rgb, _) in COLOURS.items() if cv2.countNonZero(cv2.inRange(picture, rgb[::-1], rgb[::-1])) > 4
        }
        colours = {code for code in codes if "29.01.01" <= code <= "29.01.08"}
        if inks <= {"black", "grey", "white"}:
            assert not colours, mark
        else:
            assert {COLOURS[ink][1] for ink in inks - {"white"}} <= colours <= {COLOURS[ink][1] for ink in inks}, mark


def test_a_family_shares_its_figure_and_some_figures_have_two_owners() -> None:
    figures = defaultdict(set)
    owners = defaultdict(set)
    for mark in make_marks():
        if mark.design.figure is not None:
            figures[mark.family].add(mark.design.figure.codes)
            for figure in (mark.design.figure, mark.design.figure.mirrored()):
                owners[figure.areas[0].outline.tobytes()].add(mark.company)
    assert {len(codes) for codes in figures.values()} == {1}
    assert sum(len(companies) > 1 for companies in owners.values()) >= len(COPIERS)


def test_the_joined_table_has_both_sets_and_keeps_the_ids() -> None:
    assert [json.loads(line) for line in TABLE.read_text(encoding="utf8").splitlines()] == list(rows())
    table = {one.logo_id: one for one in records(TABLE, SAMPLES)}
    real, synthetic = records(SAMPLES), records(SYNTHETIC / "marks.csv")
    assert list(table) == [one.logo_id for one in (*real, *synthetic)]
    assert table[GRADLE].text == "Gradle"
    for one in synthetic:
        copy = table[one.logo_id].metadata()
        assert copy == one.metadata() | {"extra": {**one.extra, "synthetic": True}}


def test_a_catalog_of_the_joined_table_has_fields_of_every_kind(tmp_path: Path) -> None:
    lines = TABLE.read_text(encoding="utf8").splitlines()
    (tmp_path / "marks.jsonl").write_text("\n".join([*lines[:5], *lines[-5:]]))
    build_catalog(open_source(tmp_path / "marks.jsonl", images=SAMPLES), tmp_path / "built", BuildOptions(threads=2))
    with SearchEngine.open(tmp_path / "built") as engine:
        assert set(engine.manifest.fields) == {
            "text", "company", "vienna_codes", "nice_classes", "mark_feature", "status", "office",
            "application_date", "year",
        }  # fmt: skip
        picture = SAMPLES / "synthetic" / "images" / "XX-000300.jpg"
        assert (
            engine.search(Query(image=picture.read_bytes())).hits[0].logo.record.company
            == json.loads(lines[-1])["company"]
        )


def test_real_samples_have_titles_and_name_their_drawing() -> None:
    marks = json.loads((SAMPLES / "results.json").read_text())
    assert all(re.fullmatch(r"(logos|simple-icons):[a-z0-9-]+", one["icon"]) for one in marks)
    assert {one["text"] for one in marks} >= {"Gradle", "Visual Studio", "AWS CloudTrail", ".NET"}
    assert all(re.fullmatch(r"#[0-9A-F]{6}", one["hex"]) for one in marks if "hex" in one)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("baker-street", "Baker Street"),
        ("aws-cloudtrail", "AWS CloudTrail"),
        ("visaelectron", "Visa Electron"),
        ("viteplus", "Vite+"),
        ("c-sharp", "C#"),
        ("jquery-mobile", "jQuery Mobile"),
    ],
)
def test_titles_are_spelled_as_the_brand_does(name: str, title: str) -> None:
    assert spell(name) == title


def test_metadata_of_a_brand() -> None:
    assert describe("logos", "dotnet", BRANDS) == {
        "text": ".NET", "icon": "logos:dotnet", "hex": "#512BD4", "license": "CC0-1.0"
    }  # fmt: skip
    assert describe("simple-icons", "vlcmediaplayer", BRANDS) == {
        "text": "VLC media player",
        "icon": "simple-icons:vlcmediaplayer",
        "hex": "#FF8800",
        "guidelines": "https://example.org/g",
        "license": "https://example.org/l",
        "source": "https://example.org/s",
    }
    assert describe("logos", "dotnet-icon-alt", BRANDS)["text"] == ".NET"
    assert describe("logos", "hermes", BRANDS) == {"text": "Hermes", "icon": "logos:hermes"}
    assert describe("simple-icons", "hermes", BRANDS)["hex"] == "#0091CD"


def test_the_notices_name_origin_and_licence() -> None:
    readme, notice = ((SAMPLES.parent / name).read_text() for name in ("samples/README.md", "NOTICE"))
    marks = json.loads((SAMPLES / "results.json").read_text())
    own = sum(one.get("license", "CC0-1.0") != "CC0-1.0" for one in marks)
    assert f"for {own} of the pictures it names another licence" in " ".join(readme.split())
    for key in ("hex", "guidelines", "license", "source"):
        assert f"| `{key}` | {sum(key in one for one in marks):,} |" in readme
    for text in (readme, notice):
        assert "CC0 1.0" in " ".join(text.split())
        assert "Simple Icons 16.37.0" in " ".join(text.split()) or "`simple-icons` 16.37.0" in " ".join(text.split())
    assert "samples/results.json" in notice
