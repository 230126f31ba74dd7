"""Facets on the command line: built, searched, enriched and recorded."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from logo_similarity.cli import app
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import InvalidRequestError
from logo_similarity.reports.case import Case
from logo_similarity.reports.report import make_report
from tests.importing import CELLS, FILES, Desk


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    desk = Desk(tmp_path)
    rows = [("id", "filename", "Colour claim")]
    rows += [(f"L{n}", desk.image(f"{n}.jpg", n), ("red", "red, blue", "")[n % 3]) for n in range(6)]
    with (tmp_path / "marks.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGO_CATALOGS", "catalogs")
    run(
        "build",
        "marks.csv",
        "--images",
        "images",
        "--model",
        CELLS,
        "--out",
        "catalogs",
        "--map",
        "extra.c=Colour claim",
    )
    return tmp_path


def run(*words: object) -> Result:
    outcome = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome


def hits(*words: object) -> set[str]:
    return set(run("search", FILES[0], "--columns", "id", *words).stdout.split())


def test_a_search_is_filtered_and_its_case_is_repeated(folder: Path) -> None:
    assert hits("--where", "extra.c=red") == {"L0", "L1", "L3", "L4"}
    assert hits("--where", "extra.c=red", "--where", "extra.c=-blue") == {"L0", "L3"}
    assert hits("--where", json.dumps({"field": "extra.c", "is": "blue"}), "--case", "case.json") == {"L1", "L4"}
    case = Case.from_json((folder / "case.json").read_bytes())
    assert case.query.filter == {"and": [{"field": "extra.c", "is": ["blue"]}]}
    assert case.hits[0].metadata.extra == {"c": ["blue", "red"]}
    with SearchEngine.open("catalogs") as engine:
        repeated = make_report(case, engine)
    assert repeated.repetition is not None
    assert not repeated.repetition.changes


def test_a_case_with_a_facet_that_the_catalog_lacks_is_reported_without_its_repetition(folder: Path) -> None:
    hits("--where", "extra.c=blue", "--case", "case.json")
    case = Case.from_json((folder / "case.json").read_bytes().replace(b"extra.c", b"extra.other"))
    with SearchEngine.open("catalogs") as engine:
        report = make_report(case, engine)
    assert report.not_repeated == "this catalog has no extra.other to filter by; it has extra.c"


def test_a_table_that_enriches_the_catalog_adds_its_facets(folder: Path) -> None:
    (folder / "teams.csv").write_text("id;Team\nL1;north\nL2;south|north\n")
    run("import", "teams.csv", "--enrich", "--map", "extra.Team=team")
    assert hits("--where", "extra.Team=north") == {"L1", "L2"}
    assert hits("--where", "extra.Team=north", "--where", "extra.c=red") == {"L1"}
    with pytest.raises(InvalidRequestError, match=r"no extra\.team to filter by; it has extra\.c, extra\.Team"):
        hits("--where", "extra.team=north")


def test_inspect_shows_columns_that_could_be_facets(folder: Path) -> None:
    shown = run("inspect", "marks.csv", "--images", "images").stdout
    assert "few different values: Colour claim; --map extra.NAME=COLUMN" in shown
    mapped = json.loads(run("inspect", "marks.csv", "--map", "extra.c=Colour claim", "--json").stdout)
    assert mapped["possible_facets"] == []
    assert mapped["columns"][2] == {"name": "Colour claim", "fields": ["extra.c"], "reason": "mapped"}
