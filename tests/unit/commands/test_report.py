from __future__ import annotations

import io
import json
from pathlib import Path

import pypdf
import pytest

from tests.commands import run
from tests.samples import SampleCatalog


@pytest.fixture(scope="module")
def case(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case that a search recorded."""
    path = tmp_path_factory.mktemp("cases") / "case.json"
    image = sample_catalog.images / sample_catalog.files[7]
    outcome = run("search", image, "--catalogs", sample_catalog.root, "--top-k", 4, "--case", path)
    assert outcome.returncode == 0, outcome.stderr
    assert len(outcome.stdout.splitlines()) == len(json.loads(path.read_text())["hits"]) == 4
    return path


def test_a_report_without_a_server(case: Path, sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    out = tmp_path / "report.pdf"
    outcome = run("report", case, "--out", out, "--catalogs", sample_catalog.root, "--images", sample_catalog.images)
    assert outcome.returncode == 0, outcome.stderr
    assert "the list is the same, 4 hits" in outcome.stderr
    reader = pypdf.PdfReader(io.BytesIO(out.read_bytes()))
    assert "EM/000007" in "".join(page.extract_text() for page in reader.pages)
    assert sum(len(page.images) for page in reader.pages) >= 5


def test_changes_are_told_on_stderr(case: Path, sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    content = json.loads(case.read_text())
    content["hits"] = [content["hits"][0], {"id": "gone", "score": 0.5, "metadata": {"text": "\u0378"}}]
    content["catalog"]["version"] = "another"
    (tmp_path / "case.json").write_text(json.dumps(content))
    words = ("report", tmp_path / "case.json", "--catalogs", sample_catalog.root, "--out")
    outcome = run(*words, tmp_path / "report.csv")
    assert "the catalog has changed; 3 hits new, 1 gone, 0 in another order" in outcome.stderr
    outcome = run(*words, tmp_path / "report.pdf")
    assert "no font has these characters, so a transliteration is printed: symbols and marks (U+0378)" in outcome.stderr


def test_a_report_without_a_catalog(case: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    outcome = run("report", case, "--out", out, "--no-search", "--catalogs", tmp_path / "none")
    assert outcome.returncode == 0, outcome.stderr
    assert "the search was not made again: no catalog was given" in outcome.stderr
    assert json.loads(out.read_text())["repetition"] is None


def test_what_is_wrong_is_told(case: Path, tmp_path: Path) -> None:
    outcome = run("report", case, "--out", tmp_path / "report.docx")
    assert outcome.returncode == 2
    assert "does not end with .pdf, .csv or .json" in " ".join(outcome.stderr.replace("│", " ").split())
    (tmp_path / "bad.json").write_text("{}")
    outcome = run("report", tmp_path / "bad.json", "--out", tmp_path / "x.pdf", "--no-search")
    assert (outcome.returncode, outcome.stderr) == (1, "logo-similarity: the case is not valid: case: Field required\n")
    outcome = run("search", "--words", "x", "--url", "http://127.0.0.1:9", "--case", tmp_path / "case.json")
    assert "--url: cannot be combined with --case" in outcome.stderr
