"""The README and docs/ hold what the code has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from logo_similarity import errors
from logo_similarity.api.errors import CODES
from logo_similarity.api.schemas import HitOut
from logo_similarity.cli import app
from logo_similarity.config import Settings
from scripts import update_docs, update_readme
from scripts.update_readme import README, replaced

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AGAIN = "run `python -m scripts.update_docs`"


def all_errors(base: type[errors.LogoSimilarityError]) -> set[type[errors.LogoSimilarityError]]:
    return {base}.union(*(all_errors(one) for one in base.__subclasses__()))


def test_every_setting_and_every_command_is_in_the_reference() -> None:
    text = (DOCS / "reference.md").read_text()
    assert replaced(text, "settings", update_docs.settings_table()) == text, AGAIN
    assert replaced(text, "commands", update_docs.commands()) == text, AGAIN
    assert len(Settings.model_fields) > 35
    for name in Settings.model_fields:
        assert f"`LOGO_{name.upper()}`" in text


def test_every_register_field_is_in_the_documentation() -> None:
    text = (DOCS / "ingest.md").read_text()
    assert replaced(text, "fields", update_docs.fields_table()) == text, AGAIN


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text()
    commands = typer.main.get_command(app)
    names = set(getattr(commands, "commands", {}))
    assert names >= {"build", "serve", "search", "catalog", "images", "keys", "doctor"}
    assert [name for name in names if f"logo-similarity {name}" not in text] == []


def test_every_error_has_its_line_and_was_provoked() -> None:
    text = (DOCS / "api.md").read_text()
    codes = {error.code for error in all_errors(errors.LogoSimilarityError)} | set(CODES.values())
    assert len(codes) > 20
    assert [code for code in sorted(codes) if f"`{code}`" not in text] == []
    table = text[text.index("<!-- errors -->") : text.index("<!-- /errors -->")]
    assert re.findall(r"^\| \d+ \| `(\w+)`", table, re.MULTILINE) == [case.code for case in update_docs.CASES], AGAIN


def test_the_sizes_are_those_that_were_measured() -> None:
    text = (DOCS / "operate.md").read_text()
    assert replaced(text, "sizes", update_docs.sizes()) == text, AGAIN


def test_the_scores_are_those_that_were_measured() -> None:
    text = (DOCS / "scores.md").read_text()
    assert replaced(text, "scores", update_docs.scores()) == text, AGAIN
    text = README.read_text()
    assert replaced(text, "scores", update_readme.scores()) == text, "run `python -m scripts.update_readme`"
    galleries = json.loads((update_readme.RESULTS / "score_meaning.json").read_text())["figures"]["galleries"]
    noise = galleries[max(galleries, key=int)]["score"]["quantiles"]["the best hit for noise"][2]
    assert f"noise finds one of about {noise:.1f}." in str(HitOut.model_fields["score"].description)


@pytest.mark.parametrize(
    "document", [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))], ids=lambda path: path.name
)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, _, anchor in (
        link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text())
    ):
        path = (document.parent / target) if target else document
        assert path.exists(), f"{document.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{document.name}: {target}#{anchor}"


def test_every_test_that_a_document_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (DOCS / "security.md").read_text())
    assert len(named) > 30
    for file, function in named:
        text = (DOCS.parent / file).read_text()
        assert not function or f"def test_{function}(" in text, (file, function)


def test_every_setting_that_a_document_names_exists() -> None:
    settings = {f"LOGO_{name.upper()}" for name in Settings.model_fields}
    for document in (README, *sorted(DOCS.glob("*.md"))):
        named = set(re.findall(r"\bLOGO_[A-Z0-9_]+\b", document.read_text()))
        assert {name for name in named if not name.endswith("_")} <= settings, document.name
