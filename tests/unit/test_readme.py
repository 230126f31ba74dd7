"""README.md and docs/ agree with the code, and their links and lines are in order."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from logo_similarity import errors
from logo_similarity.api.errors import CODES
from logo_similarity.api.schemas import HitOut
from logo_similarity.cli import app
from logo_similarity.config import Settings
from scripts import make_picture, measured, update_docs, update_readme
from scripts.update_readme import EVALUATION, PERFORMANCE, README, replaced
from tests.samples import SampleCatalog

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
AGAIN = "run `python -m scripts.update_docs`"
README_AGAIN = "run `python -m scripts.update_readme`"
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]+))?\)")
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def all_errors(base: type[errors.LogoSimilarityError]) -> set[type[errors.LogoSimilarityError]]:
    return {base}.union(*(all_errors(one) for one in base.__subclasses__()))


def test_every_setting_and_every_command_is_in_the_reference() -> None:
    text = (DOCS / "reference.md").read_text()
    assert replaced(text, "settings", update_docs.settings_table()) == text, AGAIN
    assert replaced(text, "commands", update_docs.commands()) == text, AGAIN
    assert len(Settings.model_fields) > 35
    for name in Settings.model_fields:
        assert f"`LOGO_{name.upper()}`" in text


def test_the_architecture_names_every_layer_and_every_module() -> None:
    text = (DOCS / "architecture.md").read_text()
    assert replaced(text, "layers", update_docs.layers()) == text, AGAIN
    assert replaced(text, "modules", update_docs.module_map()) == text, AGAIN


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
    assert replaced(text, "capacity", measured.capacity()) == text, AGAIN


def test_the_build_of_a_million_records_is_that_which_was_estimated() -> None:
    text = (DOCS / "registers.md").read_text()
    assert replaced(text, "million", measured.million()) == text, AGAIN


def test_the_scores_are_those_that_were_measured() -> None:
    text = (DOCS / "search.md").read_text()
    assert replaced(text, "scores", update_docs.scores()) == text, AGAIN
    text = README.read_text()
    assert replaced(text, "scores", update_readme.scores()) == text, README_AGAIN
    galleries = json.loads((update_readme.RESULTS / "score_meaning.json").read_text())["figures"]["galleries"]
    noise = galleries[max(galleries, key=int)]["score"]["quantiles"]["the best hit for noise"][2]
    assert f"even noise reaches about {noise:.1f}." in str(HitOut.model_fields["score"].description)


def test_the_figures_are_those_that_were_measured() -> None:
    for document, name, content in (
        (README, "headline", update_readme.headline()),
        (EVALUATION, "retrieval", update_readme.retrieval()),
        (PERFORMANCE, "figures", update_readme.figures()),
        (update_readme.CARD, "figures", update_readme.retrieval()),
    ):
        text = document.read_text()
        assert f"<!-- {name} -->\n{content}\n<!-- /{name} -->" in text, f"{document.name}: {README_AGAIN}"


@pytest.mark.parametrize(
    ("document", "name", "content"),
    [
        (PERFORMANCE, "parts", measured.part_cost),
        (PERFORMANCE, "filters", measured.filter_cost),
        (PERFORMANCE, "page", measured.page_speed),
        (PERFORMANCE, "live", measured.live_changes),
        (PERFORMANCE, "cold", measured.cold),
        (PERFORMANCE, "orders", measured.read_ahead),
        (PERFORMANCE, "scale", measured.growth),
        (EVALUATION, "chance", measured.chance_hits),
        (DOCS / "cluster.md", "metadata", measured.metadata_stores),
        (DOCS / "cluster.md", "milvus", measured.milvus_search),
        (DOCS / "ingest.md", "ray", measured.ray_scaling),
        (PERFORMANCE, "usual", measured.usual),
        (PERFORMANCE, "peers", measured.peers),
    ],
)
def test_the_tables_are_those_that_were_measured(document: Path, name: str, content: Callable[[], str]) -> None:
    text = document.read_text()
    assert replaced(text, name, content()) == text, AGAIN


def test_the_peers_that_are_better_are_named() -> None:
    even = {
        "p50_over_ours": 1.0, "searches_per_second_over_ours": 1.0, "build_seconds": 10.0, "disk_bytes": 100,
        "anonymous_bytes": 100,
    }  # fmt: skip
    worse = even | {"p50_over_ours": 3.0, "searches_per_second_over_ours": 0.5, "anonymous_bytes": 200}
    assert "No other index is better" in measured.peers_ahead({"ours": even, "even": even, "worse": worse})
    better = worse | {"searches_per_second_over_ours": 2.0, "build_seconds": 5.0}
    text = measured.peers_ahead({"ours": even, "worse": worse, "better": better})
    assert text.endswith("in searches a second: better (0.50); build time: better (0.50).")


def test_every_missed_goal_has_its_line() -> None:
    missed = [figure.what for figure in update_readme.speed_figures() if figure.missed]
    text = re.sub(r"\s+", " ", PERFORMANCE.read_text().partition("### Missed goals")[2].partition("###")[0])
    assert [what for what in missed if f"- **{what}**" not in text] == []
    figures = [update_readme.Figure("a", 2, at_most=1), update_readme.Figure("b", 0, at_least=1)]
    assert all(figure.missed for figure in figures)
    reached = [update_readme.Figure("c", 1, at_most=1), update_readme.Figure("d", 1, at_least=1)]
    assert not any(figure.missed for figure in [*reached, update_readme.Figure("e", 2)])


def test_the_example_answer_is_short() -> None:
    block = README.read_text().partition("<!-- answer -->")[2].partition("<!-- /answer -->")[0]
    assert "curl -F file=@samples/images/" in block
    answer = json.loads(block.partition("```json\n")[2].partition("```")[0])
    assert len(answer["results"]) == 1
    assert all(value not in (None, [], {}) for hit in answer["results"] for value in hit["metadata"].values())
    assert len(block.splitlines()) <= 40


def test_the_example_in_python_runs(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """In a folder with the samples and a catalog, as a checkout is after `make demo`."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / "catalogs").symlink_to(sample_catalog.root)
    code = README.read_text().partition("## From Python")[2].partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert [len(rows), rows[0][0], len(rows[0])] == [10, "1.000", 3]


def test_the_picture_shows_samples() -> None:
    names = {path.stem for path in (ROOT / "samples" / "images").glob("*.jpg")}
    assert [query.logo_id for query in make_picture.QUERIES if query.logo_id not in names] == []
    assert 10_000 < make_picture.PICTURE.stat().st_size < 150_000


def prose(text: str) -> str:
    """Markdown without fenced and indented code."""
    lines: list[str] = []
    code = False
    for line in FENCED.sub("", text).splitlines():
        code = line.startswith("    ") and (code or not lines or not lines[-1].strip())
        lines.append("" if code else line)
    return "\n".join(lines)


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """Target and anchor of each relative link."""
    for target, anchor in LINK.findall(re.sub(r"`[^`]*`", "", prose(document.read_text()))):
        yield (document.parent / target).resolve() if target else document, anchor


def anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: a repeated one gets a number."""
    slugs: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", document.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        repeats = sum(bool(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", earlier)) for earlier in slugs)
        slugs.append(f"{slug}-{repeats}" if repeats else slug)
    return set(slugs)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in links(document):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path.name}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_line_of_prose_is_long(document: Path) -> None:
    lines = re.sub(r"https?://[^\s)]+", "", prose(document.read_text())).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.lstrip().startswith("|")] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) < 200


def test_every_page_is_reachable_from_the_index() -> None:
    reached, pending = set[Path](), [DOCS / "index.md"]
    while pending:
        page = pending.pop()
        if page not in reached:
            reached.add(page)
            pending += [
                path for path, _ in links(page) if path.is_file() and path.suffix == ".md" and path.is_relative_to(DOCS)
            ]
    assert sorted(set(DOCS.rglob("*.md")) - reached) == []


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
