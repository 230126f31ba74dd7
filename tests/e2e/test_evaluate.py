"""`logo-similarity evaluate` on real logos."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from logo_similarity.cli import app
from logo_similarity.errors import SourceError
from logo_similarity.evaluation.composites import COMPOSITES
from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.evaluate import CUT, TURNED
from logo_similarity.evaluation.scans import SCANS

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "images").glob("*.jpg"))[::50][:30]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty logos; of ten there is a second file, the same picture."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "images").mkdir()
    labels: dict[str, dict[str, str | bool]] = {}
    for number, path in enumerate(SAMPLES):
        row: dict[str, str | bool] = {"brand": f"brand {number}", "kind": "mark", "set": "one", "split": "public"}
        shutil.copy(path, folder / "images" / path.name)
        labels[path.name] = row
        if number < 10:
            shutil.copy(path, folder / "images" / f"again-{path.name}")
            labels[f"again-{path.name}"] = row | {"set": "two"}
        if number == 0:
            labels[path.name] = row | {"alone": True}
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_table_and_page(labelled: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    found = json.loads(run(labelled, "--copies", "5", "--report", page, "--json"))
    [split] = found["splits"]
    assert (found["pictures"], split["name"], split["whole"]["all"]["queries"]) == (40, "public", 20)
    assert split["whole"]["all"]["mean_average_precision"] == 1.0  # the same picture is the nearest
    assert split["whole"]["hard"] is None  # and the easiest
    assert (split["answerable"]["name"], split["answerable"]["all"]["queries"]) == ("public, answerable", 19)
    assert {part["name"] for part in split["sets"]} == {"one", "two"}
    assert len(found["copies"]) == len(CHANGES) + len(TURNED)
    assert found["copies"][1] == {"change": "greyscale", "recall_at_1": 1.0, "recall_at_10": 1.0}
    assert [row["change"] for row in found["scans"]] == [*SCANS, *CUT]
    assert [row["composite"] for row in found["composites"]] == list(COMPOSITES)
    html = page.read_text()
    assert html.count("<figure class=changed>") == sum(
        len(kinds) for kinds in (CHANGES, TURNED, SCANS, CUT, COMPOSITES)
    )
    assert html.count("<section>") == 20
    assert "data:image/png;base64," in html
    table = run(labelled, "--copies", "1")
    assert [name for name in (*CHANGES, *TURNED, *SCANS, *CUT, *COMPOSITES, "answerable") if name not in table] == []


def test_twice_the_same(labelled: Path) -> None:
    first, second = (json.loads(run(labelled, "--copies", "2", "--baseline", "hog", "--json")) for _ in range(2))
    assert first["speed"].pop("describe") != 0
    assert second["speed"].pop("describe") != 0
    assert first == second


def test_pairs_of_ones_own(labelled: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    with pairs.open("w", newline="") as lines:
        csv.writer(lines).writerows([("query", "relevant"), (SAMPLES[0].name, f"again-{SAMPLES[0].name}")])
    found = json.loads(run(labelled / "images", "--labels", pairs, "--baseline", "phash", "--copies", "0", "--json"))
    assert [(split["name"], split["whole"]["all"]["queries"]) for split in found["splits"]] == [("pairs", 1)]


def test_a_catalog(labelled: Path, tmp_path: Path) -> None:
    built = CliRunner().invoke(app, ["build", str(labelled / "images"), "--out", str(tmp_path / "catalogs")])
    assert built.exit_code == 0, built.output
    by_catalog = json.loads(run(labelled, "--catalogs", tmp_path / "catalogs", "--copies", "2", "--json"))
    by_model = json.loads(run(labelled, "--copies", "2", "--json"))
    assert by_catalog["speed"]["recall"] == 1.0
    assert by_catalog["speed"]["search"] > 0
    assert "queries" not in by_model["splits"][0]
    assert by_catalog["splits"] == by_model["splits"]
    for changes in ("copies", "scans", "composites"):
        assert by_catalog[changes] == by_model[changes]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "sift"], "unknown baseline 'sift'; the baselines are grey, hog, phash"),
        (["--split", "private"], "split 'private' has no queries; available splits: public"),
        (["--baseline", "hog", "--catalogs", "x"], "exclude each other"),
    ],
)
def test_what_can_not_be_meant(labelled: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        run(labelled, *arguments)
